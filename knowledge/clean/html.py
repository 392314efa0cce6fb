"""The article of a web page as text with light Markdown; every visible word of it kept as it is.

The page's main element is found by what it is called (`article`, `main`) or, failing that, by where
its running text stands; menus, dialogs, share bars and the like inside it are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from knowledge.sources.html import parse_html
from knowledge.sources.skipped import UnreadableError
from knowledge.view import fold

_SKIPPED_TAGS = frozenset(
    """
    script style noscript template nav button input select textarea svg canvas iframe object embed audio
    video picture source img map dialog head link meta title option
    """.split()  # noqa: SIM905
)
_SKIPPED_ROLES = frozenset(
    "navigation banner contentinfo complementary search dialog alertdialog menu toolbar".split()  # noqa: SIM905
)  # fmt: skip
_CHROME_NAME = re.compile(
    r"(?:^|[\s_-])(?:share|sharing|social|subscribe|subscription|signup|sign-up|recommended|byline|kicker|post-meta|"
    r"entry-meta|postmetadata|menu|advert|ads|promo|toolbar|likes?|clap|newsletter-form|reading-time|author-bio|"
    r"author-card)(?:$|[\s_-])",
    re.IGNORECASE,
)
_SURE_CHROME_NAME = re.compile(
    r"(?:^|[\s_-])(?:comments?|respond|related|cookies?|consent|breadcrumbs?|pager|pagination|navbar|sidebar|popup|modal|"
    r"skip-link|sr-only|screen-reader-text|visually-hidden|jp-relatedposts|sharedaddy)(?:$|[\s_-])",
    re.IGNORECASE,
)
_CHROME_TAGS = frozenset({"aside", "footer", "form"})
_NOTE_NAME = re.compile(r"note|callout|admonition|tip|warning|reference|bibliography", re.IGNORECASE)
_CHROME_SHARE = 0.3
_SURE_CHROME_SHARE = 0.6
"""What is named like chrome and holds more of the page than this is the page's text all the same."""
_BLOCKS = frozenset(
    """
    address article blockquote body center details dd div dl dt fieldset figcaption figure h1 h2 h3 h4 h5 h6 header
    hr html li main ol p pre section summary table tbody td tfoot th thead tr ul caption
    """.split()  # noqa: SIM905
)
_PARAGRAPHS = ("p", "pre", "blockquote")
_RUNNING_SHARE = 0.3
_MOST = 0.8
_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*"}
_SPACE = re.compile(r"[ \t\r\n\f]+")
_BLANK_LINES = re.compile(r"(?:  \n){2,}")


def html_to_text(page_text: str, title: str = "") -> str:
    """The text of the page's article: headings, lists, quotes, code and tables in Markdown.

    Links keep their words, images nothing. A top heading equal to `title` is left out. Raises
    UnreadableError if the page cannot be parsed.
    """
    page = parse_html(page_text)
    try:
        main = _main_element(page)
        text = "\n\n".join(_Writer(len(_visible(main))).blocks(main))
    except RecursionError:
        raise UnreadableError("is HTML nested too deeply to be read") from None
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
    return _by_running_text(whole)


def _by_running_text(whole: Any) -> Any:
    """The smallest element that holds most of the paragraphs; `whole` where there are hardly any."""
    writer = _Writer(len(_visible(whole)))
    scores: dict[Any, int] = {}
    for element in writer.kept(whole):
        if element.tag in _PARAGRAPHS:
            parent = element.getparent()
            scores[parent] = scores.get(parent, 0) + len(_visible(element).strip())
    total = sum(scores.values())
    if not scores or total < _RUNNING_SHARE * writer.length:
        return whole
    best = max(scores, key=lambda element: scores[element])
    while best is not whole and sum(scores.get(element, 0) for element in best.iter()) < _MOST * total:
        best = best.getparent()
    return best


def _chrome_share(element: Any) -> float:
    """How much of a page `element` may hold and still be chrome, by its tag and its names; 0 if it is none."""
    if element.tag in _CHROME_TAGS:
        return 0.0 if _NOTE_NAME.search(element.get("class") or "") else _CHROME_SHARE
    if element.tag == "header":
        return 0.0 if any(True for _ in element.iter("h1", "p")) else _CHROME_SHARE
    if not element.attrib:
        return 0.0
    if element.get("hidden") is not None or element.get("aria-hidden") == "true":
        return 1.0
    if (element.get("role") or "") in _SKIPPED_ROLES or re.search(r"display:\s*none", element.get("style") or ""):
        return _SURE_CHROME_SHARE
    names = f"{element.get('class') or ''} {element.get('id') or ''}"
    if _SURE_CHROME_NAME.search(names):
        return _SURE_CHROME_SHARE
    return _CHROME_SHARE if _CHROME_NAME.search(names) else 0.0


class _Writer:
    """Walks an element tree; `blocks` yields the text of each block, `inline` of a run of words."""

    def __init__(self, length: int) -> None:
        self.length = max(1, length)

    def skips(self, element: Any) -> bool:
        if not isinstance(element.tag, str) or element.tag in _SKIPPED_TAGS:
            return True
        share = _chrome_share(element)
        return share > 0 and (share >= 1 or len(_visible(element)) < share * self.length)

    def kept(self, element: Any) -> Iterator[Any]:
        """The elements inside `element` that are written, in document order."""
        for child in element:
            if not self.skips(child):
                yield child
                yield from self.kept(child)

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
    return _BLANK_LINES.sub("\n\n", "  \n".join(lines)).strip(" \n")
