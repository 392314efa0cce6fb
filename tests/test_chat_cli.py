"""`twin chat` on a real terminal and in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serving.cli.attach import RemoteSession
from tests.processes import COMMAND, ROOT, WAIT, environment, twin, twin_server

CTRL_C, CTRL_D = "\x03", "\x04"
ESCAPES = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class Terminal:
    """A person at a terminal: types, and reads until something appears."""

    def __init__(self, process: subprocess.Popen[bytes], fd: int) -> None:
        self.process = process
        self._fd = fd
        self._seen = ""

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def until(self, pattern: str) -> str:
        """What appears up to the end of `pattern`."""
        deadline = time.monotonic() + WAIT
        while not (found := re.search(pattern, self._seen)):
            ready, _, _ = select.select([self._fd], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"no {pattern!r} in {self._seen!r}"
            try:
                raw = os.read(self._fd, 65536)
            except OSError:  # how Linux says that the other side has closed
                raw = b""
            assert raw, f"ended without {pattern!r}: {self._seen!r}"
            self._seen = ESCAPES.sub("", self._seen + raw.decode(errors="replace"))
        shown, self._seen = self._seen[: found.end()], self._seen[found.end() :]
        return shown

    def prompt(self) -> str:
        return self.until(r"(^|\n)> $")


@contextmanager
def terminal(folder: Path, *args: str, **values: str) -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "chat", *args],
        cwd=ROOT,
        env=environment(folder, TERM="dumb", **values),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_sitting_at_the_terminal(tmp_path: Path) -> None:
    with terminal(tmp_path) as person:
        assert "New conversation t-" in person.prompt()
        person.type("what happened?\n")
        assert "The pump failed 🙂 in March. [1] We fixed it" in person.prompt()
        person.type("/sources\n")
        listed = person.prompt()
        assert "[1][2][3] The pump · blog" in listed
        assert "[2] “We fixed it with tape.”" in listed

        person.type("a slow one\n")
        person.until(r"After 2 turns: The pump failed 🙂 in March\. \[1\]")
        person.type(CTRL_C)
        assert "Stopped" in person.prompt()
        assert person.process.poll() is None

        person.type("and then?\n")
        assert "After 2 turns:" in person.prompt()
        person.type("/new\n")
        assert "New conversation t-" in person.prompt()
        person.type("who are you?\n")
        assert "After 0 turns:" in person.prompt()
        person.type("broken\n")
        assert "error: The log has the details" in person.prompt()
        person.type("/what\n")
        assert "no command /what" in person.prompt()

        person.type("half a line" + CTRL_C)
        assert "Ctrl-C again" in person.prompt()
        person.type("\n")
        person.prompt()
        person.type(CTRL_C)
        assert "Ctrl-C again" in person.prompt()
        person.type(CTRL_C)
        assert person.process.wait(WAIT) == 130


def test_end_of_input_leaves(tmp_path: Path) -> None:
    with terminal(tmp_path, "--thread", "mine") as person:
        assert "New conversation mine" in person.prompt()
        person.type(CTRL_D)
        assert person.process.wait(WAIT) == 0


def test_stopping_an_answer_stops_it_in_the_server(tmp_path: Path) -> None:
    with twin_server(tmp_path) as server:
        with terminal(tmp_path, "--thread", "shared", TWIN_ATTACH="1", TWIN_PORT=server.port) as person:
            assert server.url in person.prompt()
            person.type("a slow one\n")
            person.until(r"in March\. \[1\]")
            person.type(CTRL_C)
            assert "Stopped" in person.prompt()
            person.type("next\n")
            assert "After 0 turns:" in person.prompt()
            person.type("/quit\n")
            assert person.process.wait(WAIT) == 0
        thread = RemoteSession("127.0.0.1", int(server.port)).thread("shared")
        assert thread is not None
        assert [run["status"] for run in thread["runs"]] == ["cancelled", "answered"]


def test_questions_from_a_pipe(tmp_path: Path) -> None:
    lines = ["first", "", "outage", "/nothing", "/etc/hosts is what?", "x" * 9000, "caf\udce9", "last"]
    piped = "\n".join(lines).encode(errors="surrogateescape")
    result = twin(tmp_path, "chat", "--thread", "piped", stdin=piped)
    said = result.stderr.decode()
    assert [line[:15] for line in result.stdout.decode().splitlines()] == [
        "After 0 turns: ",
        "After 2 turns: ",
        "After 4 turns: ",
    ]
    assert said.splitlines() == [
        "error: the index cannot be read. Run `twin index rebuild`",
        "There is no command /nothing. /help lists them.",
        "error: the question has 9,000 characters, the limit is 8,000. "
        "Ask something shorter, or raise TWIN_MAX_QUESTION_CHARS",
        "error: the question is not plain text: character 4 is U+DCE9. Send UTF-8 text without control characters",
    ]
    assert result.returncode == 2

    again = twin(tmp_path, "chat", "--thread", "piped", stdin=b"/sources\n/quit\nnever")
    assert "Conversation piped, 3 answers so far" in again.stderr.decode()
    assert "“It has held since.”" in again.stdout.decode()
    assert "turns" not in again.stdout.decode()
    assert again.returncode == 0
