"""How long `twin ask` takes to its first words: cold (the twin opened by the command) and attached to a
running server; and what the server holds in memory.

    python scripts/bench_ask.py ["a question"] [--times 5]

Uses the twin that the settings name (TWIN_DATA_DIR, TWIN_TENANT); it must have been fed. Prints a table
and, with --json FILE, writes the numbers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

QUESTION = "Why does Tove leave gaps in the data instead of filling them?"
"""One that the sample corpus answers."""
TWIN = [sys.executable, "-c", "from serving.cli import main; main()"]


def first_and_last(question: str, **settings: str) -> tuple[float, float]:
    """Seconds from the start of the command to its first byte of output, and to its end."""
    begun = time.perf_counter()
    with subprocess.Popen([*TWIN, "ask", question], stdout=subprocess.PIPE, env={**os.environ, **settings}) as process:
        assert process.stdout is not None
        first = os.read(process.stdout.fileno(), 1)
        seconds = time.perf_counter() - begun
        process.stdout.read()
        status = process.wait()
    if not first or status != 0:
        sys.exit(f"error: twin ask failed with status {status}")
    return seconds, time.perf_counter() - begun


def resident_megabytes(pid: int) -> float:
    """Resident memory of the process in megabytes; Linux only (0 elsewhere)."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0.0
    match = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
    return int(match.group(1)) / 1000 if match else 0.0


def measure(question: str, times: int) -> dict[str, list[float] | float]:
    """The raw measurements: seconds, and megabytes."""
    results: dict[str, list[float] | float] = {}
    cold = [first_and_last(question, TWIN_ATTACH="0") for _ in range(times)]
    results["cold, first words"] = [first for first, _ in cold]
    results["cold, whole command"] = [last for _, last in cold]
    begun = time.perf_counter()
    with subprocess.Popen([*TWIN, "serve", "--port", "0"], stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            address = re.search(rb"http://\S+:(\d+)", server.stdout.readline())
            if address is None:
                sys.exit("error: twin serve did not start")
            results["server ready"] = [time.perf_counter() - begun]
            port = address.group(1).decode()
            attached = [first_and_last(question, TWIN_PORT=port, TWIN_ATTACH="1") for _ in range(times)]
            results["attached, first words, first question"] = [attached[0][0]]
            results["attached, first words"] = [first for first, _ in attached[1:]] or [attached[0][0]]
            results["attached, whole command"] = [last for _, last in attached]
            results["server, resident MB"] = resident_megabytes(server.pid)
        finally:
            server.terminate()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?", default=QUESTION)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    results = measure(arguments.question, arguments.times)
    print(f"{'':40} {'median':>8} {'min':>8} {'max':>8}")
    for name, values in results.items():
        if isinstance(values, float):
            print(f"{name:40} {values:8.0f}")
        else:
            print(f"{name:40} {statistics.median(values):7.2f}s {min(values):7.2f}s {max(values):7.2f}s")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
