"""Where the blocks of a text are: paragraphs, headings, lists, quotes, code, tables.

A light, line-based reading of Markdown as people and converters really write it: hard-wrapped
lines, escaped list markers, headings faked in bold. Blocks come in order, do not overlap, and their
`start:end` is exact; `masked` is the block with its markup blanked out, character for character.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

BlockKind = Literal["prose", "heading", "list", "quote", "code", "table"]

WRAP_WIDTH = 79
"""Converters wrap at this width: a line is hard-wrapped if the next word would not have fitted."""

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"^ {0,3}(#{1,6})(?:\s+|$)")
_RULE = re.compile(r"^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$")
_SETEXT = re.compile(r"^ {0,3}(?:={3,}|-{3,})\s*$")
_BULLET = re.compile(r"^(\s*)((?:\\?[-+*]|[•‣▪◦·])|\d{1,3}\\?[.)])(\s+)(?=\S)")
_QUOTE = re.compile(r"^ {0,3}(?:>\s?)+")
_TABLE_RULE = re.compile(r"^\s*\|?\s*:?-{3,}:?\s*(?:\|\s*:?-{3,}:?\s*)*\|?\s*$")
_CODE_INDENT = re.compile(r"^(?: {4}|\t)")
_BOLD_LINE = re.compile(r"^\s*(?:\*\*|__)(?:(?!\*\*|__).)+(?:\*\*|__)\s*:?\s*$")
_HARD_BREAK = re.compile(r"(?:  |\\)$")
_HEADING_WORDS = 14
_UNFINISHED = re.compile(r"(?:^|\s)(?:from|in|on|by|with|of|and|the|an?|to|at|for|or|our|my|their|his|her)\s*$")
_NAME = re.compile(r"[A-Z][\w.&'’-]*(?: [A-Z&][\w.&'’-]*){0,5}")
_NAME_CHARS = 60
_LAST_SENTENCE = re.compile(r"[.!?:]\s|\n\s*\n")


@dataclass(frozen=True)
class Block:
    """`text[start:end]` is the block without its outer white space.

    `level` is 1-6 for headings (6 for a line that only looks like one), else 0. `masked` has the
    length of the block; list and quote markers, fences and hash signs in it are spaces.
    """

    start: int
    end: int
    kind: BlockKind
    level: int
    masked: str


@dataclass(frozen=True)
class _Line:
    start: int
    text: str

    @property
    def blank(self) -> bool:
        return not self.text or self.text.isspace()

    @property
    def indent(self) -> int:
        expanded = self.text.expandtabs(4)
        return len(expanded) - len(expanded.lstrip())


def split_blocks(text: str) -> list[Block]:
    """The blocks of `text`, in order; white space and horizontal rules belong to none."""
    lines: list[_Line] = []
    at = 0
    for raw in text.split("\n"):
        lines.append(_Line(at, raw))
        at += len(raw) + 1
    blocks: list[Block] = []
    index = 0
    while index < len(lines):
        if lines[index].blank:
            index += 1
            continue
        index = _read_block(lines, index, blocks)
    return _join_torn(blocks, text)


def _read_block(lines: list[_Line], index: int, blocks: list[Block]) -> int:
    """Append the block that begins at `index`, if any, and return the index of the line after it."""
    line = lines[index]
    previous = blocks[-1] if blocks else None
    if _FENCE.match(line.text):
        return _read_fence(lines, index, blocks)
    if _RULE.match(line.text):
        return index + 1
    if _HEADING.match(line.text):
        return _read_heading(lines, index, blocks)
    if _is_indented_code(lines, index, previous):
        return _read_indented(lines, index, blocks)
    if _starts_table(lines, index):
        return _read_table(lines, index, blocks)
    if _QUOTE.match(line.text):
        return _read_lines(lines, index, blocks, "quote")
    if _BULLET.match(line.text) or (previous and previous.kind == "list" and line.indent >= 2):
        return _read_lines(lines, index, blocks, "list")
    return _read_lines(lines, index, blocks, "prose")


def _read_fence(lines: list[_Line], index: int, blocks: list[Block]) -> int:
    opening = _FENCE.match(lines[index].text)
    assert opening is not None
    fence = opening.group(1)
    end = index + 1
    while end < len(lines) and not lines[end].text.strip().startswith(fence):
        end += 1
    after = min(end + 1, len(lines))
    masked = [" " * len(lines[index].text), *(line.text for line in lines[index + 1 : end])]
    if end < len(lines):
        masked.append(" " * len(lines[end].text))
    _append(blocks, lines[index].start, "\n".join(masked), "code")
    return after


def _read_heading(lines: list[_Line], index: int, blocks: list[Block]) -> int:
    marker = _HEADING.match(lines[index].text)
    assert marker is not None
    end = index + 1
    while end < len(lines) and _wrapped(lines[end - 1], lines[end]) and not _interrupts(lines, end, "heading"):
        end += 1
    if end < len(lines) and not lines[end].blank and end > index + 1:
        end = index + 1
    masked = [line.text for line in lines[index:end]]
    masked[0] = " " * marker.end() + re.sub(r"\s#+\s*$", lambda m: " " * len(m.group()), masked[0][marker.end() :])
    _append(blocks, lines[index].start, "\n".join(masked), "heading", len(marker.group(1)))
    return end


def _wrapped(line: _Line, following: _Line) -> bool:
    """Whether `following` continues `line` because a converter broke it at its width."""
    if following.blank or line.text.endswith("  "):
        return False
    return len(line.text) + 1 + len(following.text.split(maxsplit=1)[0]) >= WRAP_WIDTH


def _is_indented_code(lines: list[_Line], index: int, previous: Block | None) -> bool:
    """Indented by four, after a blank line; inside a list only where it cannot be the item's text."""
    if not _CODE_INDENT.match(lines[index].text):
        return False
    if index and not lines[index - 1].blank:
        return False
    if previous is None or previous.kind != "list":
        return True
    if index and lines[index - 1].indent >= 4:
        return True
    return not _BULLET.match(lines[index].text) and lines[index].indent >= 8


def _read_indented(lines: list[_Line], index: int, blocks: list[Block]) -> int:
    end = last = index
    while end < len(lines) and (lines[end].blank or _CODE_INDENT.match(lines[end].text)):
        if not lines[end].blank:
            last = end
        end += 1
    masked = "\n".join(line.text for line in lines[index : last + 1])
    _append(blocks, lines[index].start, masked, "code", keep_indent=True)
    return last + 1


def _starts_table(lines: list[_Line], index: int) -> bool:
    if "|" not in lines[index].text:
        return False
    if _QUOTE.match(lines[index].text) or _BULLET.match(lines[index].text):
        return False
    following = lines[index + 1].text if index + 1 < len(lines) else ""
    if "|" in following and _TABLE_RULE.match(following):
        return True
    stripped = lines[index].text.strip()
    return stripped.startswith("|") and stripped.endswith("|") and len(stripped) > 2


def _read_table(lines: list[_Line], index: int, blocks: list[Block]) -> int:
    end = index
    masked = []
    while end < len(lines) and not lines[end].blank and "|" in lines[end].text:
        line = lines[end].text
        masked.append(" " * len(line) if _TABLE_RULE.match(line) else line)
        end += 1
    _append(blocks, lines[index].start, "\n".join(masked), "table")
    return end


def _read_lines(lines: list[_Line], index: int, blocks: list[Block], kind: BlockKind) -> int:
    """A paragraph, list item or quote: lines up to a blank one or one that begins something else."""
    end = index + 1
    while end < len(lines) and not lines[end].blank and not _interrupts(lines, end, kind):
        end += 1
    if kind == "prose" and end == index + 1 and end < len(lines) and _SETEXT.match(lines[end].text):
        level = 1 if "=" in lines[end].text else 2
        _append(blocks, lines[index].start, lines[index].text, "heading", level)
        return end + 1
    masked = []
    for at, line in enumerate(lines[index:end]):
        marker = _QUOTE.match(line.text) if kind == "quote" else _BULLET.match(line.text) if at == 0 else None
        width = marker.end() if marker and kind != "prose" else 0
        masked.append(" " * width + line.text[width:])
    if kind == "prose" and end == index + 1 and _looks_like_heading(lines[index].text):
        _append(blocks, lines[index].start, masked[0], "heading", 6)
    else:
        _append(blocks, lines[index].start, "\n".join(masked), kind)
    return end


def _interrupts(lines: list[_Line], index: int, kind: BlockKind) -> bool:
    """Whether the line at `index`, which follows a non-blank line, begins a block of its own."""
    line = lines[index].text
    if _FENCE.match(line) or _HEADING.match(line) or _starts_table(lines, index):
        return True
    if _RULE.match(line) or _SETEXT.match(line):
        return True
    if kind == "quote":
        return False
    if (quote := _QUOTE.match(line)) and line[quote.start() :].lstrip().startswith("> "):
        return True
    bullet = _BULLET.match(line)
    if bullet is None:
        return False
    if bullet.group(2)[0].isdigit():
        return kind == "list" or bool(_HARD_BREAK.search(lines[index - 1].text)) or bullet.group(2)[:-1] == "1"
    return True


def _looks_like_heading(line: str) -> bool:
    """A short line set in bold, by markup or by letters of the mathematical alphabets."""
    stripped = line.strip()
    if not stripped or len(stripped.split()) > _HEADING_WORDS or stripped[-1] in ".,;":
        return False
    if _BOLD_LINE.match(stripped):
        return True
    letters = [character for character in stripped if character.isalpha()]
    styled = [c for c in letters if 0x1D400 <= ord(c) <= 0x1D7FF and "BOLD" in unicodedata.name(c, "")]
    return bool(letters) and len(styled) >= 0.9 * len(letters)


def _join_torn(blocks: list[Block], text: str) -> list[Block]:
    """Undo what converters do to a mention: a name within a sentence set apart as a paragraph.

    "thanks to", "Ann Smith" and "who wrote it." are one paragraph where the first ends in a word that
    cannot end a sentence, or the last goes on in lower case after a bare name.
    """
    joined: list[Block] = []
    for block in blocks:
        previous = joined[-1] if joined else None
        if previous and previous.kind in ("prose", "list") and block.kind == "prose" and _is_torn(previous, block):
            between = re.sub(r"\S", " ", text[previous.end : block.start])
            joined[-1] = Block(previous.start, block.end, previous.kind, 0, previous.masked + between + block.masked)
        else:
            joined.append(block)
    return joined


def _is_torn(before: Block, after: Block) -> bool:
    if _UNFINISHED.search(before.masked[-40:]):
        return len(after.masked) <= _NAME_CHARS or after.masked[0].islower()
    last = _LAST_SENTENCE.split(before.masked[-2 * _NAME_CHARS :])[-1].strip()
    name = len(last) <= _NAME_CHARS and bool(_NAME.fullmatch(last))
    return name and (after.masked[0].islower() or after.masked[0] in ",.;:)")


def _append(
    blocks: list[Block], start: int, masked: str, kind: BlockKind, level: int = 0, keep_indent: bool = False
) -> None:
    """Add the block without the blank at its edges; nothing if all of it is blank."""
    if not masked.strip():
        return
    lead = 0 if keep_indent else len(masked) - len(masked.lstrip())
    masked = masked[lead:].rstrip()
    blocks.append(Block(start + lead, start + lead + len(masked), kind, level, masked))
