"""A run's events on a terminal: sentences as they come, their markers, the list of sources."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO

from serving.cli.session import Streamed

if TYPE_CHECKING:
    from rich.console import Console

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What could steer a terminal or reorder its line; a document may hold anything."""
_ERASE_LINE = "\r\x1b[2K"
WIDTH_ELSEWHERE = 120
"""Columns of a table that goes to a file or a pipe."""
TITLE_WORDS = 8
"""Words of the quote that stand for the title of a document without one."""


def plain(text: str) -> str:
    """`text` without characters that a terminal obeys instead of showing."""
    return _CONTROLS.sub("", text.replace("\r\n", "\n"))


class Printer:
    """Prints one answer to `out`; what is going on goes to `progress`, if that is a terminal."""

    def __init__(self, out: TextIO, progress: TextIO | None = None) -> None:
        from knowledge.display import display

        self._display = display
        self._out = out
        self._progress = progress if progress is not None and progress.isatty() else None
        self._status_shown = False
        self._shown: set[tuple[int, int]] = set()
        self.wrote = False
        self.citations: dict[int, dict[str, Any]] = {}

    def show(self, event: Streamed) -> None:
        """Print what the event adds."""
        if event.type == "status" and not self.wrote:
            self._status(plain(str(event.data["text"])))
        elif event.type == "token":
            self._token(str(event.data["text"]))
        elif event.type == "citation":
            self._citation(event.data)

    def end(self) -> None:
        """Close the line."""
        self._clear_status()
        if self.wrote:
            self._write("\n")

    def _token(self, text: str) -> None:
        self._clear_status()
        shown = plain(self._display(text))
        self._write(shown if self.wrote else shown.lstrip())
        self.wrote = True

    def _citation(self, citation: dict[str, Any]) -> None:
        marker = int(citation["marker"])
        self.citations.setdefault(marker, citation)
        key = (int(citation["sentence"]), marker)
        if key not in self._shown:
            self._shown.add(key)
            self._write(f" [{marker}]")

    def _status(self, text: str) -> None:
        if self._progress is not None:
            self._progress.write(f"{_ERASE_LINE}\x1b[2m{text} …\x1b[0m")
            self._progress.flush()
            self._status_shown = True

    def _clear_status(self) -> None:
        if self._progress is not None and self._status_shown:
            self._progress.write(_ERASE_LINE)
            self._progress.flush()
            self._status_shown = False

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def source_lines(citations: Iterable[dict[str, Any]]) -> list[str]:
    """One line per document: its markers, title, date, platform and address, in order of first use."""
    documents: dict[str, tuple[list[int], dict[str, Any]]] = {}
    for citation in sorted(citations, key=lambda cited: int(cited["marker"])):
        documents.setdefault(citation["document_id"], ([], citation))[0].append(int(citation["marker"]))
    lines = []
    for markers, citation in documents.values():
        published = str(citation.get("published_at") or "")[:10]
        title = citation.get("title") or _opening(citation)
        details = [published, citation.get("platform") or "", citation.get("url") or ""]
        head = "".join(f"[{marker}]" for marker in markers)
        lines.append(plain(" · ".join([f"{head} {title}", *filter(None, details)])).replace("\n", " "))
    return lines


def _opening(citation: dict[str, Any]) -> str:
    """What stands for the title of a post without one; its address has its own place in the line."""
    words = plain(citation.get("quote") or "").split()
    if words:
        return f"“{' '.join(words[:TITLE_WORDS])}{' …' if len(words) > TITLE_WORDS else ''}”"
    return "a short post" if citation.get("url") else str(citation["document_id"])


def print_sources(citations: Iterable[dict[str, Any]], out: TextIO) -> None:
    """The list of sources under an answer; nothing for an answer without."""
    lines = source_lines(citations)
    if lines:
        out.write("\nSources\n" + "".join(f"  {line}\n" for line in lines))
        out.flush()


def console() -> Console:
    """A console for tables: as wide as the terminal, and wide enough for every column elsewhere."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else WIDTH_ELSEWHERE)


def use_utf8() -> None:
    """Answers are UTF-8 whatever the locale says; what cannot be read as UTF-8 is kept to be reported."""
    for stream, errors in ((sys.stdout, "replace"), (sys.stderr, "replace"), (sys.stdin, "surrogateescape")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors=errors)
