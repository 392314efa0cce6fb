"""The command line as processes of their own: over the stand-in assistant of `tests.command`, or as it is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "tests.command"]
REAL = [sys.executable, "-c", "from serving.cli import main; main()"]
WAIT = 90.0


def environment(folder: Path, **values: str) -> dict[str, str]:
    """A clean environment whose twin lives in `folder` and attaches to nothing unless told to."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TWIN_")}
    own = {"TWIN_HOME": str(folder / "home"), "TWIN_DATA_DIR": str(folder / "data"), "TWIN_ATTACH": "0"}
    return {**inherited, **own, **values}


def twin(
    folder: Path, *args: str, stdin: bytes = b"", command: Sequence[str] = COMMAND, **values: str
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        [*command, *args], cwd=ROOT, env=environment(folder, **values), input=stdin, capture_output=True, timeout=WAIT
    )


@dataclass
class ServerProcess:
    process: subprocess.Popen[bytes]
    url: str

    @property
    def port(self) -> str:
        return self.url.rsplit(":", 1)[1]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(how)
        return self.process.wait(WAIT)


@contextmanager
def twin_server(folder: Path, command: Sequence[str] = COMMAND, **values: str) -> Iterator[ServerProcess]:
    """`twin serve` on a free port, killed in the end if it has not ended."""
    with subprocess.Popen(
        [*command, "serve", "--port", "0"], cwd=ROOT, env=environment(folder, **values), stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            url = re.search(r"http://\S+", line)
            assert url is not None, f"the server said {line!r}"
            yield ServerProcess(process, url.group())
        finally:
            process.kill()
