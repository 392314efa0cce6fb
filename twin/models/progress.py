"""One line on stderr that says how far a download is."""

from __future__ import annotations

import sys
from typing import TextIO

MEGABYTE = 1_000_000


class ProgressLine:
    """`OnProgress` for places without a display of their own: rewrites its line on a terminal, else
    writes one line when a file begins and one when it is there."""

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._title = title
        self._stream = stream or sys.stderr
        self._shown: tuple[str, int] | None = None

    def __call__(self, name: str, done: int, total: int) -> None:
        percent = 100 * done // total if total else 0
        interactive = self._stream.isatty()
        is_news = self._shown is None or self._shown[0] != name or percent == 100 or interactive
        if (name, percent) == self._shown or not is_news:
            return
        self._shown = (name, percent)
        text = f"{self._title}: {name} {done / MEGABYTE:.0f} of {total / MEGABYTE:.0f} MB ({percent} %)"
        end = "\n" if percent == 100 or not interactive else ""
        self._stream.write(f"\r{text}{end}" if interactive else f"{text}\n")
        self._stream.flush()
