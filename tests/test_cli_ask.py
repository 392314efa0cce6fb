"""`twin ask` and the root of the command line."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from serving.cli.app import COMMANDS
from serving.cli.attach import RemoteSession, find_server, read_events
from serving.cli.render import Printer, plain, source_lines
from serving.cli.session import Streamed
from serving.identity import is_loopback, url_of
from serving.problems import ServerGoneError, exit_code_of
from tests.processes import COMMAND, ROOT, WAIT, ServerProcess, environment, twin, twin_server
from twin.records import Answer
from twin.settings import Settings

ANSWER = "After 0 turns: The pump failed 🙂 in March. [1] We fixed it with tape. [2] It has held since. [3]\n"
SOURCES = "\nSources\n  [1][2][3] The pump · blog · https://example.org/pump\n"
HEAVY = {
    "langgraph",
    "langchain_core",
    "lancedb",
    "deltalake",
    "polars",
    "onnxruntime",
    "fastapi",
    "httpx",
    "uvicorn",
    "numpy",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("twin")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with twin_server(folder) as server:
        yield server


def test_ask_prints_sentences_markers_and_sources(folder: Path) -> None:
    result = twin(folder, "ask", "what", "happened?")
    assert (result.returncode, result.stdout.decode(), result.stderr) == (0, ANSWER + SOURCES, b"")


def test_ask_json_prints_the_record_and_nothing_else(folder: Path) -> None:
    result = twin(folder, "ask", "--json", "-", "--thread", "j", stdin="what happened? 🙂\n".encode(), LC_ALL="C")
    answer = Answer.model_validate_json(result.stdout)
    assert (answer.question, answer.thread_id, len(answer.citations)) == ("what happened? 🙂", "j", 3)
    assert (result.returncode, result.stderr) == (0, b"")


def test_an_abstention_is_an_answer(folder: Path) -> None:
    result = twin(folder, "ask", "something unknown")
    assert (result.returncode, result.stdout.decode()) == (0, "I have not written about that.\n")


BAD: list[tuple[list[str], bytes, dict[str, str], int, str]] = [
    (["ask", ""], b"", {}, 2, "the question is empty"),
    (["ask"], b"", {}, 2, "the question is empty"),
    (["ask", "-"], b"\xff\xfe\x00w", {}, 2, "not UTF-8 text: byte 1 is 0xFF"),
    (["ask", "-"], b"x" * 100_000, {}, 2, "more than 8,000 characters"),
    (["ask", "-"], b"x" * 9_000, {}, 2, "has 9,000 characters, the limit is 8,000"),
    (["ask", "hi", "--since", "2023-13-01"], b"", {}, 2, "--since '2023-13-01' is not a day. Write it as YYYY-MM-DD"),
    (["ask", "hi", "--thread", "../x"], b"", {}, 2, "conversation's id"),
    (["ask", "hi", "--writer", "nobody"], b"", {}, 2, "there is no writer 'nobody'"),
    (["ask", "outage"], b"", {}, 4, "the index cannot be read"),
    (["ask", "broken"], b"", {}, 1, "The log has the details"),
    (["ask", "hi"], b"", {"TWIN_PORT": "eighty"}, 3, "TWIN_PORT"),
    (["ask", "hi"], b"", {"TWIN_ENDPOINTS": "{sk-secret"}, 3, "TWIN_ENDPOINTS is not JSON. Write it like '{"),
    (["ask", "slow"], b"", {"TWIN_RUN_TIMEOUT": "0.2"}, 7, "TWIN_RUN_TIMEOUT"),
    (["ask", "hi"], b"", {"TWIN_DATA_DIR": "/dev/null/x"}, 4, "/dev/null/x"),
]


@pytest.mark.parametrize(("args", "stdin", "env", "code", "told"), BAD, ids=lambda value: str(value)[:30])
def test_what_is_wrong_is_one_line_and_a_status(
    folder: Path, args: list[str], stdin: bytes, env: dict[str, str], code: int, told: str
) -> None:
    result = twin(folder, *args, stdin=stdin, **env)
    said = result.stderr.decode()
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert result.returncode == code, said
    assert len(errors) == 1, said
    assert told in errors[0]
    assert "Traceback" not in said
    assert "sk-secret" not in said
    if "broken" not in args:
        assert said.splitlines() == errors


def test_the_stack_is_there_for_who_asks(folder: Path) -> None:
    result = twin(folder, "ask", "broken", TWIN_LOG_LEVEL="DEBUG")
    assert result.returncode == 1
    assert b"Traceback" in result.stderr
    assert b"secret-of-the-inside" in result.stderr


def test_a_reader_that_goes_away_is_no_error(folder: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "ask", "hello", "--thread", "pipe"],
        cwd=ROOT,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(WAIT) == 1


def test_ctrl_c_stops_a_question(folder: Path) -> None:
    with subprocess.Popen(
        [*COMMAND, "ask", "slow", "--thread", "stopped"],
        cwd=ROOT,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(len("After 0 turns: The pump"))
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT) == 130
        assert process.stderr.read() == b""
    assert twin(folder, "ask", "next", "--thread", "stopped").stdout.startswith(b"After 0 turns")


def test_ask_uses_a_running_server_and_loads_nothing(folder: Path, server: ServerProcess) -> None:
    settings = Settings(_env_file=None, data_dir=folder / "data", port=int(server.port))
    attached = find_server(settings)
    assert attached is not None
    thread = "attached"
    first = list(attached.ask("first", thread, None))
    assert [event.type for event in first][-2:] == ["answer", "done"]
    script = (
        "import sys\nfrom serving.cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    env = environment(folder, TWIN_PORT=server.port, TWIN_ATTACH="1")
    command = [sys.executable, "-c", script, "ask", "--thread", thread, "second"]
    result = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=WAIT)
    assert result.stdout.decode() == ANSWER.replace("After 0", "After 2") + SOURCES
    assert result.stderr == b"[]\n"
    stored = attached.thread(thread)
    assert stored is not None
    assert [run["question"] for run in stored["runs"]] == ["first", "second"]
    assert attached.thread("nothing") is None


def test_the_servers_problems_come_through(folder: Path, server: ServerProcess) -> None:
    for question, code, told in [("outage", 4, b"the index cannot be read"), ("x" * 9000, 2, b"the limit is 8,000")]:
        result = twin(folder, "ask", question, TWIN_ATTACH="1", TWIN_PORT=server.port)
        assert (result.returncode, told in result.stderr) == (code, True)


@pytest.mark.parametrize("change", [{"tenant": "other"}, {"data_dir": Path("/elsewhere")}])
def test_another_twins_server_is_left_alone(folder: Path, server: ServerProcess, change: dict[str, Any]) -> None:
    values: dict[str, Any] = {"data_dir": folder / "data", "port": int(server.port), **change}
    assert find_server(Settings(_env_file=None, **values)) is None


@pytest.mark.parametrize(
    "reply",
    [b"", b"HTTP/1.1 200 OK\r\n\r\nhello", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"],
)
def test_something_else_on_the_port_is_left_alone(folder: Path, reply: bytes) -> None:
    with Talker([reply]) as talker:
        assert find_server(Settings(_env_file=None, data_dir=folder / "data", port=talker.port)) is None


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def sse(number: int, kind: str, data: dict[str, Any]) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def test_a_dropped_stream_is_taken_up_where_it_broke() -> None:
    run, one, two, done = (
        sse(1, "run", {"run_id": "r-1"}),
        sse(2, "token", {"text": "a"}),
        sse(3, "token", {"text": "b"}),
        sse(4, "done", {}),
    )
    with Talker([HEAD + run + one + two[:-9], HEAD, HEAD + two + done]) as talker:
        events = list(RemoteSession("127.0.0.1", talker.port).ask("hi", None, None))
    assert [event.type for event in events] == ["run", "token", "token", "done"]
    assert [event.data.get("text") for event in events[1:3]] == ["a", "b"]
    assert b"POST /v1/chat" in talker.requests[0]
    for request in talker.requests[1:]:
        assert b"GET /v1/runs/r-1/events" in request
        assert b"Last-Event-ID: 2\r\n" in request


def test_a_server_that_is_gone_is_an_error() -> None:
    with Talker([HEAD + sse(1, "run", {"run_id": "r-1"})]) as talker:
        events = RemoteSession("127.0.0.1", talker.port).ask("hi", None, None)
        assert next(events).type == "run"
        with pytest.raises(ServerGoneError, match="does not answer any more"):
            next(events)


class Talker:
    """Says one prepared reply per connection, whatever it is asked, and then refuses connections."""

    def __init__(self, replies: list[bytes]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._replies = replies
        self.port = self._listener.getsockname()[1]
        self.requests: list[bytes] = []
        self._thread = threading.Thread(target=self._talk)

    def _talk(self) -> None:
        for number, reply in enumerate(self._replies):
            connection, _ = self._listener.accept()
            if number == len(self._replies) - 1:
                self._listener.close()
            with connection:
                self.requests.append(connection.recv(65536))
                connection.sendall(reply)

    def __enter__(self) -> Talker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(WAIT)


def test_events_are_read_whole_or_not_at_all() -> None:
    body = (
        ": ping\n\n"
        + sse(7, "token", {"text": "a\nb 🙂"}).decode()
        + "event: x\n\n"
        + 'id: 8\r\ndata: {"n":\r\ndata: 1}\r\n\r\nid: 9\ndata: {"n'
    )
    assert list(read_events(iter(body.encode().splitlines(True)))) == [
        (7, Streamed("token", {"text": "a\nb 🙂"})),
        (8, Streamed("message", {"n": 1})),
    ]


def test_a_terminal_is_not_steered_by_a_document() -> None:
    assert plain("a\x1b[2Jb\x07c\u202ed\te\nf\r\ng\x9b1m") == "a[2Jbcd\te\nf\ng1m"
    out = StringIO()
    printer = Printer(out)
    printer.show(Streamed("token", {"text": "\n\nThe \x1b]0;title\x07pump.", "sentence": 0}))
    for marker in (2, 2, 1):
        printer.show(Streamed("citation", {"marker": marker, "sentence": 0}))
    printer.end()
    assert out.getvalue() == "The ]0;titlepump. [2] [1]\n"


def test_sources_are_one_line_per_document() -> None:
    cited = [
        {"marker": 3, "document_id": "b", "title": "", "url": ""},
        {"marker": 4, "document_id": "c", "title": "", "url": "https://c", "quote": "one two\nthree 4 5 6 7 8 9"},
        {"marker": 5, "document_id": "e", "url": "https://e"},
        {"marker": 1, "document_id": "a", "title": "A\nB", "published_at": "2024-05-06T00:00:00Z", "url": "https://a"},
        {"marker": 2, "document_id": "a", "title": "A"},
    ]
    assert source_lines(cited) == [
        "[1][2] A B · 2024-05-06 · https://a",
        "[3] b",
        "[4] “one two three 4 5 6 7 8 …” · https://c",
        "[5] a short post · https://e",
    ]


def test_help_is_light_and_complete(folder: Path) -> None:
    script = (
        "import sys\nfrom serving.cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print(sorted({HEAVY | {'pydantic'}!r} & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, "--help"], cwd=ROOT, env=environment(folder), capture_output=True, timeout=WAIT
    )
    assert (result.returncode, result.stderr) == (0, b"[]\n")
    for name in COMMANDS:
        assert f"  {name} ".encode() in result.stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    from serving.cli.app import load_command

    command = load_command(name)
    assert command.name == name
    assert command.help


def test_a_wrong_command_is_explained(folder: Path) -> None:
    result = twin(folder, "aks", "hello")
    assert result.returncode == 2
    assert b"Did you mean 'ask'" in result.stderr


def test_problem_types_have_the_exit_codes_of_their_errors() -> None:
    expected = {
        "input": 2,
        "not-found": 2,
        "config": 3,
        "index-mismatch": 4,
        "thread-busy": 5,
        "model": 6,
        "run-timeout": 7,
    }
    assert {kind: exit_code_of(kind) for kind in expected} == expected
    assert exit_code_of("internal") == exit_code_of("whatever") == 1


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("LOCALHOST", True),
        ("0.0.0.0", False),
        ("127.0.0.1.evil.org", False),
        ("", False),
        ("192.168.0.1", False),
    ],
)
def test_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


def test_urls() -> None:
    assert [url_of(host, 80) for host in ("127.0.0.1", "0.0.0.0", "::1", "::")] == [
        "http://127.0.0.1:80",
        "http://127.0.0.1:80",
        "http://[::1]:80",
        "http://[::1]:80",
    ]


def test_a_port_in_use_is_said_before_anything_is_loaded(folder: Path, server: ServerProcess) -> None:
    result = twin(folder, "serve", "--port", server.port, TWIN_DATA_DIR="/dev/null/x")
    assert result.returncode == 3
    said = result.stderr.decode()
    assert f"port {server.port}" in said
    assert "--port or TWIN_PORT" in said


def test_serving_the_network_takes_a_flag(folder: Path) -> None:
    result = twin(folder, "serve", "--port", "0", TWIN_HOST="0.0.0.0")
    assert result.returncode == 3
    assert b"--host 0.0.0.0" in result.stderr
