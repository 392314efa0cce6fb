"""Render Markdown away for people's eyes: quotes are shown without their markup.

Only for showing. Offsets, hashes and matching always use the stored text.
"""

from __future__ import annotations

import re

_FENCED = re.compile(r"^ {0,3}(?:```|~~~)", re.MULTILINE)
_CODE_LINE = re.compile(r"^(?: {4}|\t)\s*\S", re.MULTILINE)
_CODE_SPAN = re.compile(r"(`{1,3})(?!`)(.{1,600}?)(?<!`)\1(?!`)", re.DOTALL)
_IMAGE = re.compile(r"!\[([^\]]*)\]\((?:[^()\s]|\([^()\s]*\))*(?:\s+\"[^\"]*\")?\)")
_LINK = re.compile(r"\[([^\[\]]*)\]\((?:[^()\s]|\([^()\s]*\))+(?:\s+\"[^\"]*\")?\)")
_AUTOLINK = re.compile(r"<((?:https?|mailto):[^\s<>]+)>")
_LINE_MARK = re.compile(r"^( {0,3}(?:#{1,6}\s+|(?:>\s?)+))", re.MULTILINE)
_HEADING_END = re.compile(r"^( {0,3}#{1,6}\s[^\n]*)\n(?=[^\n])", re.MULTILINE)
_ESCAPE = re.compile(r"\\([-\\`*_{}\[\]()#+.!|>~])")
_STRONG = re.compile(
    r"\*\*(?=\S)(.{1,600}?)(?<=\S)\*\*|(?<!\w)__(?=\S)(?![a-z]+__)(.{1,600}?)(?<=\S)__(?!\w)", re.DOTALL
)
_SLANTED = re.compile(
    r"(?<![\w*])\*(?=[^\s*])([^*]{1,600}?)(?<=[^\s*])\*(?![\w*])|(?<![\w_])_(?=[^\s_])(.{1,600}?)(?<=[^\s_])_(?![\w_])",
    re.DOTALL,
)
_EMPTY = re.compile(r"\*{4,}")
_STRAY = re.compile(r"\*{2,}|(?<!\w)_{2,}(?![a-z]+__)|(?<![a-z])_{2,}(?!\w)|^[*_](?=[^\W_])|(?<=[\w.!?,:;”\"'’)])[*_]$")
_SPACED_SIGN = re.compile(r"(?<=\x01)[ ](?=[,.:;!?])")
_SOFT_BREAK = re.compile(r"(?<=\S)[ ]?\n(?=[^\s])(?![-+*•>|#]\s|\d{1,3}[.)]\s|\|)")
_HYPHEN_BREAK = re.compile(r"(?<=\w)-\n(?=\w)")
_TORN = re.compile(
    r"(?<=[^\s.!?:…”\"])\n\s*\n(?=[a-z,;:.)])|(?:(?<=\bfrom)|(?<=\bwith)|(?<=\bthe)|(?<=\band)|(?<=\bfor)"
    r"|(?<=\bin)|(?<=\bon)|(?<=\bby)|(?<=\bof)|(?<=\bat)|(?<=\bto))\n\s*\n"
)


def display(text: str) -> str:
    """`text` as a reader should see it: without emphasis marks, link targets, escapes and wrapped lines.

    Works on a sentence or on a whole passage; white space at both ends stays, and so do paragraphs,
    list items and code.
    """
    core = text.strip()
    if not core:
        return text
    lead = text[: len(text) - len(text.lstrip())]
    tail = text[len(text.rstrip()) :]
    if _FENCED.search(core) or _CODE_LINE.search(text):
        return lead + core + tail
    return lead + _inline(core) + tail


def _inline(text: str) -> str:
    spans: list[str] = []

    def hold(literal: str) -> str:
        spans.append(literal)
        return f"\x02{len(spans) - 1}\x03"

    def keep_code(match: re.Match[str]) -> str:
        return hold(match.group(2).strip() or match.group(2))

    def keep_escaped(match: re.Match[str]) -> str:
        return hold(match.group(1))

    text = _HEADING_END.sub(r"\1\n\n", text)
    text = _LINE_MARK.sub("", text.replace("\x01", "").replace("\x02", "").replace("\x03", ""))
    text = _CODE_SPAN.sub(keep_code, text)
    text = _HYPHEN_BREAK.sub("-", _TORN.sub(" ", text))
    text = _SOFT_BREAK.sub(_soft_break, text)
    text = _IMAGE.sub(r"\1", text)
    text = _LINK.sub(r"\1", text)
    text = _AUTOLINK.sub(r"\1", text)
    text = _ESCAPE.sub(keep_escaped, text)
    text = _EMPTY.sub("", text)
    for _ in range(2):
        text = _STRONG.sub(_marked, text)
        text = _SLANTED.sub(_marked, text)
    text = _STRAY.sub("", text)
    text = _SPACED_SIGN.sub("", text).replace("\x01", "")
    return re.sub(r"\x02(\d+)\x03", lambda match: spans[int(match.group(1))], text)


def _marked(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None) + "\x01"


def _soft_break(match: re.Match[str]) -> str:
    """A line break within a sentence is a space; one after a sentence's end is the author's own."""
    before = match.string[match.start() - 1]
    after = match.string[match.end()]
    if match.group().startswith(" ") and before == " ":
        return "\n"
    return "\n" if before in ".!?:…" and (after.isupper() or after in '"“‘(*_') else " "
