"""The article of a web page as text with light Markdown; every visible word of it kept as it is.

The page's main element is found by what it is called (`article`, `main`) or, failing that, by where
its running text stands; menus, dialogs, share bars and the like inside it are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from knowledge.sources.html import parse_html
from knowledge.view import fold

_SKIPPED_TAGS = frozenset(
    "script style noscript template nav aside form button input select textarea svg canvas iframe object embed "
    "audio video picture source img map dialog head footer link meta title option".split()
)  # fmt: skip
_SKIPPED_ROLES = frozenset("navigation banner contentinfo complementary search dialog alertdialog menu toolbar".split())
_CHROME_NAME = re.compile(
    r"(?:^|[\s_-])(?:share|sharing|social|subscribe|subscription|signup|sign-up|cookies?|consent|related|recommended|"
    r"comments?|respond|breadcrumbs?|pager|pagination|byline|kicker|post-meta|entry-meta|postmetadata|navbar|menu|"
    r"sidebar|advert|ads|promo|popup|modal|toolbar|likes?|clap|skip-link|sr-only|screen-reader-text|visually-hidden|"
    r"newsletter-form|reading-time|author-bio|author-card|jp-relatedposts|sharedaddy)(?:$|[\s_-])",
    re.IGNORECASE,
)
_CHROME_SHARE = 0.3
_BLOCKS = frozenset(
    "address article blockquote body center details dd div dl dt fieldset figcaption figure h1 h2 h3 h4 h5 h6 header "
    "hr html li main ol p pre section summary table tbody td tfoot th thead tr ul caption".split()
)  # fmt: skip
_PARAGRAPHS = ("p", "pre", "blockquote", "li", "h2", "h3")
_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*"}
_SPACE = re.compile(r"[ \t\r\n\f]+")


def html_to_text(page_text: str, title: str = "") -> str:
    """The text of the page's article: headings, lists, quotes, code and tables in Markdown.

    Links keep their words, images nothing. A top heading equal to `title` is left out. Raises
    UnreadableError if the page cannot be parsed.
    """
    page = parse_html(page_text)
    main = _main_element(page)
    writer = _Writer(len(_visible(main)))
    text = "\n\n".join(writer.blocks(main))
    first, _, rest = text.partition("\n\n")
    same = title and fold(first, casefold=True).strip("# ") == fold(title, casefold=True)
    return rest if first.startswith("#") and same else text


def _visible(element: Any) -> str:
    return "".join(_text_nodes(element))


def _text_nodes(element: Any) -> Iterator[str]:
    if not isinstance(element.tag, str) or element.tag in _SKIPPED_TAGS:
        return
    if element.text:
        yield element.text
    for child in element:
        yield from _text_nodes(child)
        if child.tail:
            yield child.tail


def _main_element(page: Any) -> Any:
    """The one `article`, else `main`, else the element with the most running text of its own."""
    body = page.find("body")
    whole = body if body is not None else page
    for path in (".//article", ".//*[@itemprop='articleBody']", ".//main", ".//*[@role='main']"):
        found = sorted(page.iterfind(path), key=lambda element: len(_visible(element)), reverse=True)
        if found and len(_visible(found[0]).strip()) >= 40:
            longest = found[0]
            others = sum(len(_visible(element)) for element in found[1:] if longest not in element.iterancestors())
            if len(found) == 1 or others < len(_visible(longest)):
                return longest
    scores: dict[Any, int] = {}
    for tag in _PARAGRAPHS:
        for element in whole.iter(tag):
            parent = element.getparent()
            if parent is not None and not _is_chrome(element):
                scores[parent] = scores.get(parent, 0) + len(_visible(element).strip())
    if not scores:
        return whole
    best = max(scores, key=lambda element: scores[element])
    return best if scores[best] >= 0.6 * max(1, sum(scores.values())) else whole


def _is_chrome(element: Any) -> bool:
    if element.get("hidden") is not None or element.get("aria-hidden") == "true":
        return True
    if (element.get("role") or "") in _SKIPPED_ROLES:
        return True
    if re.search(r"display:\s*none", element.get("style") or ""):
        return True
    return bool(_CHROME_NAME.search(f"{element.get('class') or ''} {element.get('id') or ''}"))


class _Writer:
    """Walks an element tree; `blocks` yields the text of each block, `inline` of a run of words."""

    def __init__(self, length: int) -> None:
        self.length = max(1, length)

    def skips(self, element: Any) -> bool:
        if not isinstance(element.tag, str) or element.tag in _SKIPPED_TAGS:
            return True
        return _is_chrome(element) and len(_visible(element)) < _CHROME_SHARE * self.length

    def blocks(self, element: Any) -> Iterator[str]:
        """Blocks inside `element`: its block children, and runs of inline content between them."""
        run: list[str] = [element.text or ""]
        for child in element:
            if not self.skips(child):
                if child.tag in _BLOCKS or self._holds_blocks(child):
                    yield from self._flush(run)
                    yield from self._block(child)
                else:
                    run.append(self._inline_element(child))
            run.append(child.tail or "")
        yield from self._flush(run)

    def _holds_blocks(self, element: Any) -> bool:
        return any(isinstance(child.tag, str) and child.tag in _BLOCKS for child in element.iterdescendants())

    def _flush(self, run: list[str]) -> Iterator[str]:
        text = _tidy("".join(run))
        run.clear()
        if text:
            yield text

    def _block(self, element: Any) -> Iterator[str]:
        tag = element.tag
        if re.fullmatch(r"h[1-6]", tag):
            if text := _tidy(self.inline(element)).replace("\n", " "):
                yield f"{'#' * int(tag[1])} {text}"
        elif tag == "pre":
            yield from self._code(element)
        elif tag == "blockquote":
            lines = "\n\n".join(self.blocks(element)).split("\n")
            if any(lines):
                yield "\n".join(f"> {line}".rstrip() for line in lines)
        elif tag in ("ul", "ol"):
            if items := list(self._items(element)):
                yield "\n".join(items)
        elif tag == "table":
            yield from self._table(element)
        elif tag == "hr":
            yield "* * *"
        else:
            yield from self.blocks(element)

    def _code(self, element: Any) -> Iterator[str]:
        code = "".join(part if isinstance(part, str) else "" for part in element.itertext()).strip("\n")
        if code.strip():
            language = re.search(r"language-([\w+#-]+)", " ".join(e.get("class") or "" for e in element.iter()))
            fence = "```" if "```" not in code else "~~~~"
            yield f"{fence}{language.group(1) if language else ''}\n{code}\n{fence}"

    def _items(self, element: Any) -> Iterator[str]:
        number = int(element.get("start") or 1) if (element.get("start") or "1").isdigit() else 1
        for child in element:
            if self.skips(child):
                continue
            marker = f"{number}. " if element.tag == "ol" else "- "
            content = list(self.blocks(child)) if child.tag in _BLOCKS else [_tidy(self._inline_element(child))]
            joined = "\n".join(content)
            if joined.strip():
                yield marker + joined.replace("\n", "\n" + " " * len(marker))
                number += 1

    def _table(self, element: Any) -> Iterator[str]:
        rows = [
            [
                _tidy(" ".join(self.blocks(cell))).replace("\n", " ").replace("|", "\\|")
                for cell in row
                if cell.tag in ("td", "th")
            ]
            for row in element.iter("tr")
        ]
        rows = [row for row in rows if any(row)]
        if not rows:
            return
        if max(len(row) for row in rows) == 1:
            yield from (row[0] for row in rows)
            return
        width = max(len(row) for row in rows)
        lines = ["| " + " | ".join(row + [""] * (width - len(row))) + " |" for row in rows]
        yield "\n".join([lines[0], "| " + " | ".join(["---"] * width) + " |", *lines[1:]])

    def inline(self, element: Any) -> str:
        parts = [element.text or ""]
        for child in element:
            if not self.skips(child):
                parts.append(self._inline_element(child))
            parts.append(child.tail or "")
        return "".join(parts)

    def _inline_element(self, element: Any) -> str:
        if element.tag == "br":
            return "\x1e"
        text = self.inline(element)
        if element.tag in ("code", "kbd", "samp", "tt") and text.strip():
            fence = "``" if "`" in text else "`"
            return f"{fence}{text}{fence}"
        mark = _MARKS.get(element.tag)
        if mark is None or not text.strip():
            return text
        inner = text.strip(" \t\r\n")
        lead = text[: len(text) - len(text.lstrip(" \t\r\n"))]
        tail = text[len(lead) + len(inner) :]
        return f"{lead}{mark}{inner}{mark}{tail}"


def _tidy(text: str) -> str:
    """White space as a browser shows it; a line break element (`\\x1e` here) is a hard break."""
    lines = [_SPACE.sub(" ", line).strip(" ") for line in text.split("\x1e")]
    return "  \n".join(lines).strip(" \n")
