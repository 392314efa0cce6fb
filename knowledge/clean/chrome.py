"""Remove what a page puts around an author's words: heads, tails, buttons, calls, cards.

Whole paragraphs go, or the ranges that a platform's profile names; nothing is rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from knowledge.clean.rules import BUTTONS, BYLINE, CALL_CHARS, CALLS, CARD, FOOTER, PROFILES, Profile
from knowledge.sources.fields import parse_date
from knowledge.view import fold, search_view
from twin.records import SourceItem

_TOP = 6
_BOTTOM = 4
_RULES = ("* * *", "***", "---", "___")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)+")
_FENCE = re.compile(r"^ {0,3}(?:```|~~~)")


@dataclass(frozen=True)
class _Paragraph:
    """A run of lines without a blank one: `text[start:end]`, line end included. `key` is for comparing."""

    start: int
    end: int
    folded: str
    code: bool

    @property
    def key(self) -> str:
        return self.folded.strip("#*_> ").casefold()

    @property
    def heading(self) -> bool:
        return self.folded.startswith("#")

    @property
    def marked(self) -> bool:
        """A heading, or set off as a whole by emphasis."""
        return self.heading or (self.folded[:1] in "*_" and self.folded[-1:] in "*_")


def remove_chrome(text: str, item: SourceItem) -> str:
    """`text` without its chrome; `item` tells title, subtitle, author and date, which pages repeat."""
    for profile in PROFILES:
        if profile.fingerprint.search(search_view(text[:4000]).text):
            text = _cut_edges(text, profile)
            text = _cut_spans(text, profile)
    paragraphs = list(_paragraphs(text))
    dropped = _dropped(paragraphs, item)
    return _without(text, [(p.start, p.end) for at, p in enumerate(paragraphs) if at in dropped])


def _cut_edges(text: str, profile: Profile) -> str:
    view = search_view(text)
    start, end = 0, len(view.text)
    if profile.head and (head := profile.head.search(view.text)):
        start = head.end()
    for tail in profile.tails:
        if found := tail.search(view.text, start):
            end = min(end, found.start())
    return text[slice(*view.to_source(start, end))]


def _cut_spans(text: str, profile: Profile) -> str:
    view = search_view(text)
    found = sorted(match.span() for span in profile.spans for match in span.finditer(view.text))
    return _without(text, [view.to_source(*span) for span in found], whole_lines=False)


def _without(text: str, ranges: list[tuple[int, int]], whole_lines: bool = True) -> str:
    """`text` without the ranges; the blank lines after a whole-line range go with it."""
    kept: list[str] = []
    at = 0
    for start, end in ranges:
        kept.append(text[at : max(start, at)])
        at = max(at, end)
        if whole_lines and (blank := _BLANK_LINES.match(text, at)):
            at = blank.end()
    kept.append(text[at:])
    return "".join(kept)


def _paragraphs(text: str) -> Iterator[_Paragraph]:
    start, lines, at, fenced = 0, list[str](), 0, False
    for line in [*_LINE.findall(text), ""]:
        fence = bool(_FENCE.match(line))
        if line.strip() or (fenced and line):
            if not lines:
                start = at
            lines.append(line)
        elif lines:
            yield _paragraph(start, lines)
            lines = []
        fenced = fenced != fence
        at += len(line)


def _paragraph(start: int, lines: list[str]) -> _Paragraph:
    written = "".join(lines)
    code = bool(_FENCE.match(lines[0])) or all(line.startswith(("    ", "\t")) for line in lines)
    return _Paragraph(start, start + len(written), fold(written), code)


def _dropped(paragraphs: list[_Paragraph], item: SourceItem) -> set[int]:
    dropped = {at for at, paragraph in enumerate(paragraphs) if not paragraph.code and _is_chrome(paragraph)}
    dropped |= _repeated_metadata(paragraphs, item, dropped)
    kept = [at for at in range(len(paragraphs)) if at not in dropped]
    for at in reversed(kept[-_BOTTOM:]):
        if not FOOTER.search(paragraphs[at].folded):
            break
        dropped.add(at)
    return dropped | _card_sections(paragraphs, dropped)


def _is_chrome(paragraph: _Paragraph) -> bool:
    if paragraph.key in BUTTONS:
        return not paragraph.heading
    if len(paragraph.folded) > CALL_CHARS:
        return False
    return any(call.search(paragraph.key) for call in CALLS)


def _repeated_metadata(paragraphs: list[_Paragraph], item: SourceItem, dropped: set[int]) -> set[int]:
    """Title, subtitle and byline at the top of the text: they are the document's metadata already.

    A plain paragraph that equals the subtitle stays (descriptions are often made of the first
    sentence), and so does one that equals the title and is all there is.
    """
    title, subtitle = (fold(value, casefold=True).strip("#*_> ") for value in (item.title, item.subtitle))
    found: set[int] = set()
    kept = [at for at in range(len(paragraphs)) if at not in dropped]
    for at in kept[:_TOP]:
        paragraph = paragraphs[at]
        said = paragraph.key in (title, subtitle) and paragraph.marked
        said = said or (paragraph.key == title and len(kept) > 1)
        if not paragraph.key or not (said or (not paragraph.heading and _is_byline(paragraph.key, item))):
            break
        found.add(at)
    return found


def _is_byline(key: str, item: SourceItem) -> bool:
    """Whether a line tells nothing but this item's author, date or reading time."""
    line = BYLINE.match(key)
    if line is None or not any(line.groups()):
        return False
    name, day, time = line.group("name").strip(), line.group("date"), line.group("time")
    if name and name != fold(item.author, casefold=True):
        return False
    moment = parse_date(day) if day else None
    if day and (moment is None or item.published_at is None or moment.date() != item.published_at.date()):
        return False
    return bool(name or day or time)


def _card_sections(paragraphs: list[_Paragraph], dropped: set[int]) -> set[int]:
    """Sections of nothing but link previews, their heading included, and previews at the very end."""
    found: set[int] = set()
    section: list[int] = []
    for at in [*(at for at in range(len(paragraphs)) if at not in dropped), len(paragraphs)]:
        if at == len(paragraphs) or paragraphs[at].heading or paragraphs[at].folded in _RULES:
            found.update(_only_cards(paragraphs, section, at == len(paragraphs)))
            section = []
        section.append(at)
    return found


def _only_cards(paragraphs: list[_Paragraph], section: list[int], last: bool) -> list[int]:
    body = [at for at in section if not (paragraphs[at].heading or paragraphs[at].folded in _RULES)]
    cards = [at for at in body if CARD.search(paragraphs[at].folded)]
    if cards and len(cards) == len(body) and len(body) < len(section):
        return section
    trailing: list[int] = []
    while last and body and body[-1] in cards:
        trailing.append(body.pop())
    return trailing
