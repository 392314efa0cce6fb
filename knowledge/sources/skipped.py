"""What is said about an item that is not read."""

from __future__ import annotations

from twin.records import Record


class Skipped(Record):
    """An item that was left out. `origin` is its path, with line or record where that is known;
    `reason` is one line, without the origin, so that equal reasons can be counted."""

    origin: str
    reason: str


class UnreadableError(Exception):
    """Raised inside a reader; its text is the reason that `Skipped` carries."""
