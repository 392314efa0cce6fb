"""Sentences of a text with exact offsets: `text[start:end]` is the sentence as written.

Blocks come first (`knowledge.blocks`), then sentences within prose, lists and quotes; a heading or
a block of code is one span, a table one per row. A sentence never crosses a block.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass

from knowledge.blocks import Block, BlockKind, split_blocks
from knowledge.glued import glued_cuts

_CODE_SPAN = re.compile(r"(`+)(?!`)[^`]+?\1(?!`)")
_TARGET = re.compile(r"(?<=\])\([^()\s]*(?:\([^()\s]*\)[^()\s]*)*(?:\s+\"[^\"]*\")?\)|https?://[^\s)>\]]+")
_MARKS = re.compile(r"[*_~\\]")
_HARD_BREAK = re.compile(r"(?:  +|\\)\n(?=\s*[^\sa-z])")
_CLOSED = re.compile(r"[.!?…][\"'”’)\]]+\s+(?=[\"'“‘(\[]?[A-Z0-9])")
_ENUMERATOR = re.compile(r"^\W*(?:(?:\d{1,2}\.)*\d{1,3}|[A-Za-z])[.)]\s*$")
_CLOSERS = re.compile(r"[\"'”’)\]*_~]*(?=\s|$)")
_TRAILING_OPENERS = re.compile(r"(?<=\s)[\"'“‘(\[*_~#]+$")
_STYLED = re.compile(r"[\u2100-\u214f\uff01-\uff5e\U0001d400-\U0001d7ff]")
_WORD = re.compile(r"\w")
_ABBREVIATION = re.compile(
    r"\b(?:(?P<link>vs|approx|ca|cf|incl|resp)|(?P<reference>fig|eq|sec|ch|vol|pp?|no|nr)|(?P<hour>[ap]\.m))\.$",
    re.IGNORECASE,
)
_ZONE = re.compile(r"(?:CES?T|UTC|GMT|[ECMP][SD]?T|BST|IST|JST)\b")
_END = re.compile(r"[.!?…。！？]")
_FEW = 40


@dataclass(frozen=True)
class SentenceSpan:
    """A sentence: `text[start:end]`, in the block `block_id` (blocks count from 0).

    `level` is that of the heading it is (1-6), else 0.
    """

    start: int
    end: int
    block: BlockKind
    block_id: int
    level: int = 0


def split_sentences(text: str) -> list[SentenceSpan]:
    """All sentences of `text` in order, without overlap, free of outer white space.

    What holds neither letter nor digit (a row of arrows, a lone full stop) is no sentence.
    """
    spans: list[SentenceSpan] = []
    for block_id, block in enumerate(split_blocks(text)):
        for start, end in _block_sentences(block):
            spans.append(SentenceSpan(block.start + start, block.start + end, block.kind, block_id, block.level))
    return spans


def _block_sentences(block: Block) -> list[tuple[int, int]]:
    if block.kind in ("heading", "code"):
        return [(0, len(block.masked))]
    if block.kind == "table":
        cuts = [at + 1 for at, character in enumerate(block.masked) if character == "\n"]
    else:
        cuts = _boundaries(block.masked)
    return [trimmed for piece in _ranges(cuts, len(block.masked)) if (trimmed := _trim(block.masked, *piece))]


def _ranges(cuts: list[int], length: int) -> list[tuple[int, int]]:
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < length}), length]
    return list(itertools.pairwise(edges))


def _trim(masked: str, start: int, end: int) -> tuple[int, int] | None:
    piece = masked[start:end]
    if not _WORD.search(piece):
        return None
    return start + len(piece) - len(piece.lstrip()), end - (len(piece) - len(piece.rstrip()))


def _boundaries(masked: str) -> list[int]:
    """Offsets in `masked` at which a sentence begins."""
    import sentencex

    plain = _plain(masked)
    last = _last_word(plain)
    end = _END.search(plain)
    if (end is None or end.start() > last) and "\n" not in masked:
        return []
    cuts = {match.end() for match in _CLOSED.finditer(plain)}
    cuts |= {match.end() for match in _HARD_BREAK.finditer(masked)}
    for found in sentencex.get_sentence_boundaries("en", plain):
        cut = found["start_index"]
        if 0 < cut < len(plain) and not _abbreviated(plain, cut):
            cuts.add(cut)
    cuts = {_place(masked, plain, cut) for cut in cuts}
    cuts = {cut for cut in cuts if cut >= len(masked) or masked[cut - 1].isspace()}
    return _join_fragments(plain, sorted(cuts.union(glued_cuts(plain))), last)


def _abbreviated(plain: str, cut: int) -> bool:
    """Whether the full stop before `cut` belongs to an abbreviation that the next word completes."""
    found = _ABBREVIATION.search(plain[max(0, cut - _FEW) : cut].rstrip())
    if found is None:
        return False
    following = plain[cut : cut + _FEW]
    if found.group("reference"):
        return following[:1].isdigit()
    return not found.group("hour") or bool(_ZONE.match(following))


def _place(masked: str, plain: str, cut: int) -> int:
    """Move a cut so that closing marks stay with the sentence before and opening marks go with the next."""
    closers = _CLOSERS.match(masked, cut)
    if closers and closers.group() and not plain[cut - 1].isspace():
        cut = closers.end()
    near = max(0, cut - _FEW)
    openers = _TRAILING_OPENERS.search(masked[near:cut])
    if openers and cut < len(masked) and not masked[cut].isspace():
        cut = near + openers.start()
    while cut < len(masked) and masked[cut].isspace():
        cut += 1
    return cut


def _last_word(plain: str) -> int:
    """Offset of the last letter or digit, -1 if there is none."""
    return next((at for at in range(len(plain) - 1, -1, -1) if _WORD.match(plain, at)), -1)


def _join_fragments(plain: str, cuts: list[int], last: int) -> list[int]:
    """Drop the cuts that would leave an enumerator ("1.") or bare punctuation standing alone."""
    kept: list[int] = []
    begin = 0
    for cut in cuts:
        short = cut - begin <= _FEW and _ENUMERATOR.match(plain[begin:cut])
        if short or not _WORD.search(plain, begin, cut) or cut > last:
            continue
        kept.append(cut)
        begin = cut
    return kept


def _plain(masked: str) -> str:
    """The block as the splitter should see it, character for character.

    Code spans and link targets cannot end a sentence; styled letters become plain ones; emphasis
    marks become spaces (a full stop before `**` ends a sentence all the same); a wrapped line is
    one line.
    """
    plain = _CODE_SPAN.sub(lambda match: "x" * len(match.group()), masked)
    plain = _TARGET.sub(lambda match: "x" * len(match.group()), plain)
    plain = _MARKS.sub(" ", plain).replace("\n", " ").replace("\t", " ")
    if plain.isascii():
        return plain
    return _STYLED.sub(_unstyle, plain)


def _unstyle(match: re.Match[str]) -> str:
    folded = unicodedata.normalize("NFKC", match.group())
    return folded if len(folded) == 1 else match.group()
