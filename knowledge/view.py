"""The search view of a text: folded for finding, with a way back to the text itself.

The stored text is never altered: quotes, dashes, line breaks and Unicode-bold letters stay. What is
matched is a view of it: NFKC (which turns the letters of the mathematical alphabets into plain
ones), invisible characters dropped, exotic spaces, quotes and dashes in their ASCII form. Each
character of the view knows which characters of the text it stands for.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from dataclasses import dataclass
from functools import lru_cache

from knowledge.display import display

__all__ = ["SearchView", "display", "fold", "search_view"]

_SAME_WIDTH = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′‵", "'"),
        **dict.fromkeys("“”„‟«»", '"'),
        **dict.fromkeys("‐‑‒–—―−⸺⸻", "-"),
        "⁄": "/",
        **dict.fromkeys("\x0b\x0c\x1c\x1d\x1e\x1f\x7f\x85\u1680\u2028\u2029", " "),
        **{chr(code): " " for code in range(9)},
        **{chr(code): " " for code in range(14, 28)},
    }
)
"""One character for one character, so that applying it cannot shift an offset."""

_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U0001bca0-\U0001bca3\U000e0000-\U000e0fff]"
)
_FOREIGN_RUN = re.compile(r"[\x00-\x7f]?[^\x00-\x7f]+")
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True)
class SearchView:
    """A folded text and, per character, where it came from.

    `starts[i]:ends[i]` is the half-open range of source code points that `text[i]` stands for; both
    are None where the view has the same length as the source, character for character.
    """

    text: str
    source_length: int
    starts: array[int] | None = None
    ends: array[int] | None = None

    def to_source(self, start: int, end: int) -> tuple[int, int]:
        """The smallest source range that covers `text[start:end]`; an empty range stays empty.

        Raises ValueError if the range does not lie within the view.
        """
        if not 0 <= start <= end <= len(self.text):
            raise ValueError(f"range {start}:{end} is outside a view of {len(self.text)} characters")
        if self.starts is None or self.ends is None:
            return start, end
        if start == end:
            at = self.starts[start] if start < len(self.text) else self.source_length
            return at, at
        return self.starts[start], self.ends[end - 1]


def search_view(text: str) -> SearchView:
    """The view of `text` that is searched and matched."""
    if text.isascii():
        return SearchView(text.translate(_SAME_WIDTH), len(text))
    parts: list[str] = []
    starts, ends = array("I"), array("I")
    at = 0
    for run in _FOREIGN_RUN.finditer(text):
        parts.append(text[at : run.start()])
        starts.extend(range(at, run.start()))
        ends.extend(range(at + 1, run.start() + 1))
        for start, end, folded in _clusters(text, run.start(), run.end()):
            parts.append(folded)
            starts.extend([start] * len(folded))
            ends.extend([end] * len(folded))
        at = run.end()
    parts.append(text[at:])
    starts.extend(range(at, len(text)))
    ends.extend(range(at + 1, len(text) + 1))
    return SearchView("".join(parts).translate(_SAME_WIDTH), len(text), starts, ends)


def fold(text: str, casefold: bool = False) -> str:
    """The view's text with white space collapsed and trimmed; for comparing, not for showing."""
    folded = _SPACE.sub(" ", search_view(text).text).strip()
    return folded.casefold() if casefold else folded


def _clusters(text: str, start: int, end: int) -> list[tuple[int, int, str]]:
    """Cut a run into pieces that NFKC folds independently: (start, end, folded) each.

    A piece is a character and what composes with it or marks it, invisible characters included, so
    that no mark is torn from its letter.
    """
    pieces: list[tuple[int, int, str]] = []
    first, kept = start, ""
    for at in range(start, end):
        character = text[at]
        if _INVISIBLE.match(character):
            continue
        if kept and not _joins(kept, character):
            pieces.append((first, at, unicodedata.normalize("NFKC", kept)))
            first, kept = at, ""
        kept += character
    pieces.append((first, end, unicodedata.normalize("NFKC", kept)))
    return pieces


@lru_cache(maxsize=4096)
def _joins(kept: str, character: str) -> bool:
    """Whether `character` belongs to the piece `kept`: a mark, or something NFKC composes with it."""
    if unicodedata.category(character)[0] == "M":
        return True
    normal = unicodedata.normalize
    return normal("NFKC", kept + character) != normal("NFKC", kept) + normal("NFKC", character)
