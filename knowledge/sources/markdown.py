"""Markdown and plain text files, with or without YAML front matter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knowledge.blocks import split_blocks
from knowledge.display import display
from knowledge.sources.fields import as_tags, as_text, canonical_url, date_in_name, date_in_text, host_of, parse_date
from knowledge.sources.skipped import UnreadableError
from twin.records import SourceItem

_FRONT = re.compile(r"\A---[ \t]*\n(.*?)(?:^|(?<=\n))(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_FIRST_KEY = re.compile(r"\A---[ \t]*\n(?:[ \t]*(?:#.*)?\n)*[A-Za-z_][\w -]*:(?:\s|$)")


def read_markdown(path: Path, text: str, tenant: str, platform: str, plain: bool) -> SourceItem:
    """The file as one item; `plain` files have neither front matter nor headings.

    The title is the front matter's, else the first top heading, else the file's name.
    Raises UnreadableError if the front matter is not valid YAML or there is nothing below it.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    front, body = ({}, text) if plain else split_front_matter(text)
    if not body.strip():
        raise UnreadableError("holds front matter and no text")
    url = _first(front, "url", "canonical_url", "link", "permalink")
    uri = canonical_url(url) or path.resolve().as_posix()
    return SourceItem(
        tenant=tenant,
        uri=uri,
        origin=str(path),
        format="text" if plain else "markdown",
        content=body,
        title=_first(front, "title") or ("" if plain else _heading(body)) or path.stem.replace("_", " "),
        subtitle=_first(front, "subtitle", "description", "summary"),
        author=_first(front, "author", "authors", "by"),
        platform=_first(front, "platform") or platform or host_of(url) or "file",
        url=url if canonical_url(url) else "",
        published_at=_published(front) or date_in_name(path.stem) or date_in_name(uri) or date_in_text(body),
        language=_first(front, "language", "lang"),
        tags=as_tags(front.get("tags") or front.get("keywords") or ()),
    )


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The front matter as a mapping with keys in lower case, and the text below it.

    A text that merely begins with a rule (`---`) has none. Raises UnreadableError naming the line
    where front matter is not closed, not valid YAML, or no mapping.
    """
    if not _FIRST_KEY.match(text):
        return {}, text
    found = _FRONT.match(text)
    if found is None:
        raise UnreadableError("front matter begins on line 1 and is never closed with ---")
    import yaml

    try:
        loaded = yaml.safe_load(found.group(1))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 2}" if mark else "front matter"
        problem = " ".join(str(getattr(error, "problem", None) or "").split())
        raise UnreadableError(f"front matter is not valid YAML ({where}{': ' + problem if problem else ''})") from None
    except ValueError as error:
        raise UnreadableError(f"front matter is not valid YAML ({error})") from None
    if not isinstance(loaded, Mapping):
        raise UnreadableError("front matter is not a list of `name: value` lines")
    return {str(key).lower(): value for key, value in loaded.items()}, text[found.end() :]


def _first(front: Mapping[str, Any], *names: str) -> str:
    return next((text for name in names if (text := as_text(front.get(name)))), "")


def _published(front: Mapping[str, Any]) -> Any:
    for name in ("published_at", "published", "date", "created_at", "created", "pubdate"):
        if moment := parse_date(front.get(name)):
            return moment
    return None


def _heading(body: str) -> str:
    for block in split_blocks(body[:20_000]):
        if block.kind == "heading" and block.level == 1:
            return as_text(display(block.masked))
    return ""
