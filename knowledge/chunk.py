"""Passages of a document, cut between blocks and sentences, with exact offsets.

A passage grows sentence by sentence to about the wanted number of words; a heading begins a new one
where the old one is long enough, and never ends one. What is embedded and searched is
`search_text`: title and section in front, folded.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from knowledge.sentences import SentenceSpan, split_sentences
from knowledge.view import display, fold
from twin.records import Chunk, Document

MAX_PIECES = 244
"""The embedding model reads 256 word pieces, two of them its own markers, and the estimate may err."""

_PIECE = re.compile(r"[^\W_]+|[^\w\s]|_")
_LONGEST = 1.5
_FRESH_SECTION = 0.5
_LAST_PART = 0.25
_SECTION_DEPTH = 2
_FOLDED_TITLE_CHARS = 160


def chunker_identity(words: int = 180) -> str:
    """What an index must have been built with to hold the passages `chunk_document` makes now."""
    return f"blocks-{words}-v1"


CHUNKER = chunker_identity()


@dataclass(frozen=True)
class _Unit:
    """A piece of text that stays whole: a sentence, or part of one that is longer than a passage."""

    start: int
    end: int
    words: int
    pieces: int
    heading: bool
    section: str
    head_pieces: int


def chunk_document(document: Document, words: int = 180) -> list[Chunk]:
    """The passages of `document`, in order, about `words` words each; none if it is blank.

    `chunk.text == document.text[chunk.start:chunk.end]`; every sentence lies in one passage, unless
    it alone is longer than a passage, then its parts follow each other.
    """
    units = list(_units(document, words))
    groups = _settle_last(list(_groups(units, words)), words)
    meta = document.model_dump(
        include={
            "tenant", "document_id", "version", "title", "author",
            "platform", "url", "published_at", "language", "tags",
        }
    )  # fmt: skip
    return [
        Chunk(
            **meta,
            chunk_id=f"{document.document_id}-{document.version[:8]}-{ordinal:04d}",
            ordinal=ordinal,
            total=len(groups),
            start=group[0].start,
            end=group[-1].end,
            text=document.text[group[0].start : group[-1].end],
            section=_section_of(group),
            search_text=_search_text(document, _section_of(group), group[0].start, group[-1].end),
        )
        for ordinal, group in enumerate(groups)
    ]


def estimate_pieces(text: str) -> int:
    """About how many word pieces an uncased WordPiece tokenizer of 30,000 entries makes of `text`.

    Linear in the length of each token by kind, fitted on technical prose and code: within 5 % for
    nine passages of ten.
    """
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return math.ceil(sum(map(_token_pieces, _PIECE.findall(plain))))


@lru_cache(maxsize=65536)
def _token_pieces(token: str) -> float:
    length = len(token)
    if length == 1:
        return 1.0
    if token.isalpha():
        if token.islower():
            return 1 + 0.07 * max(0, length - 5)
        if token[1:].islower():
            return 1 + 0.1 * max(0, length - 4)
        return 1.0 if length == 2 else 1.1 + 0.2 * length
    return max(1.0, 0.47 * length) if token.isdigit() else 1.5 + 0.3 * length


def _search_text(document: Document, section: str, start: int, end: int) -> str:
    parts = [document.title[:_FOLDED_TITLE_CHARS], section, document.text[start:end]]
    heads = [part if part.rstrip()[-1:] in ".?!" else f"{part}." for part in parts[:-1] if part.strip()]
    return fold(" ".join([*heads, parts[-1]]))


def _section_of(group: list[_Unit]) -> str:
    """The heading path that most of the passage stands under."""
    return next((unit.section for unit in group if not unit.heading), group[-1].section)


def _units(document: Document, words: int) -> Iterator[_Unit]:
    text, title = document.text, fold(document.title, casefold=True)
    title_pieces = estimate_pieces(document.title[:_FOLDED_TITLE_CHARS])
    path: list[tuple[int, str]] = []
    section, head, reached = "", title_pieces, 0
    for span in split_sentences(text):
        heading = span.block == "heading"
        if heading:
            name = fold(display(text[span.start : span.end])).strip("#*_ :")
            path = [(level, above) for level, above in path if level < span.level]
            if name.casefold() not in title:
                path.append((span.level, name[:_FOLDED_TITLE_CHARS]))
            section = " > ".join(name for _, name in path[-_SECTION_DEPTH:])
            head = title_pieces + estimate_pieces(section) + 2
        for start, end in _parts(text, span, words, MAX_PIECES - head):
            pieces = estimate_pieces(text[reached:end])
            yield _Unit(start, end, len(text[start:end].split()), pieces, heading, section, head)
            reached = end


def _parts(text: str, span: SentenceSpan, words: int, room: int) -> Iterator[tuple[int, int]]:
    """The span itself, or, where it alone is longer than a passage, parts cut between lines, else words."""
    piece = text[span.start : span.end]
    if len(piece) < room or (len(piece.split()) <= _LONGEST * words and estimate_pieces(piece) <= room):
        yield span.start, span.end
        return
    begin, last, used, count = span.start, span.start, 0, 0
    for token in _token_ranges(piece, span.block in ("code", "table"), room):
        cost = estimate_pieces(piece[slice(*token)])
        length = len(piece[slice(*token)].split())
        if used and (used + cost > room or count + length > _LONGEST * words):
            yield begin, last
            begin, used, count = span.start + token[0], 0, 0
        used, count, last = used + cost, count + length, span.start + token[1]
    yield begin, last


def _token_ranges(piece: str, by_lines: bool, room: int) -> Iterator[tuple[int, int]]:
    """What a cut must not go through: lines of code and tables, words of all else; very long ones in runs."""
    for match in re.finditer(r"[^\n]*\S" if by_lines else r"\S+", piece):
        if estimate_pieces(match.group()) <= room // 2:
            yield match.span()
        else:
            for run in re.finditer(rf"\S{{1,{room // 4}}}", match.group()):
                yield match.start() + run.start(), match.start() + run.end()


def _groups(units: list[_Unit], words: int) -> Iterator[list[_Unit]]:
    group: list[_Unit] = []
    for unit in units:
        if group and _starts_new(group, unit, words):
            body = next((at for at in range(len(group), 0, -1) if not group[at - 1].heading), len(group))
            yield group[:body]
            group = group[body:]
        group.append(unit)
    if group:
        yield group


def _starts_new(group: list[_Unit], unit: _Unit, words: int) -> bool:
    if _pieces([*group, unit]) > MAX_PIECES:
        return True
    if all(member.heading for member in group):
        return False
    used = _words(group)
    if unit.heading and used >= _FRESH_SECTION * words:
        return True
    return used + unit.words > words and used >= _FRESH_SECTION * words


def _settle_last(groups: list[list[_Unit]], words: int) -> list[list[_Unit]]:
    """Join a very short last passage with the one before it, or even the two out where both do not fit."""
    if len(groups) < 2 or _words(groups[-1]) >= _LAST_PART * words:
        return groups
    *others, before, last = groups
    if _pieces(before + last) <= MAX_PIECES:
        return [*others, before + last]
    before, last = list(before), list(last)
    while len(before) > 1 and _words(last) < _LAST_PART * words and _pieces([before[-1], *last]) <= MAX_PIECES:
        last.insert(0, before.pop())
    return [*others, before, last]


def _words(group: list[_Unit]) -> int:
    return sum(unit.words for unit in group)


def _pieces(group: list[_Unit]) -> int:
    return max(unit.head_pieces for unit in group) + sum(unit.pieces for unit in group)
