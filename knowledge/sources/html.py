"""Saved web pages: their metadata, read before the page's chrome goes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from knowledge.sources.fields import (
    as_tags,
    as_text,
    canonical_url,
    date_in_name,
    date_in_text,
    host_of,
    parse_date,
    tidy_title,
)
from knowledge.sources.skipped import UnreadableError
from twin.records import SourceItem

_SAVED_FROM = re.compile(r"<!--\s*saved from url=\(\d+\)(\S+)\s*-->", re.IGNORECASE)
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w-]+)", re.IGNORECASE)
_ARTICLE_TYPES = ("Article", "BlogPosting", "NewsArticle", "TechArticle", "WebPage")


def declared_charset(data: bytes) -> str:
    """The encoding that the page names in its first bytes; "" if none."""
    found = _CHARSET.search(data[:4096])
    return found.group(1).decode("ascii", "ignore") if found else ""


def parse_html(text: str) -> Any:
    """The page as an lxml tree. Raises UnreadableError if there is nothing in it."""
    from lxml import etree, html

    parser = html.HTMLParser(encoding="utf-8", huge_tree=True, remove_pis=True)
    try:
        return html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (etree.ParserError, etree.XMLSyntaxError, ValueError):
        raise UnreadableError("is not HTML that can be read") from None


def read_html(path: Path, text: str, tenant: str, platform: str) -> SourceItem:
    """The page as one item; `content` is the page as it is, the metadata comes from its head."""
    page = parse_html(text)
    meta = _Meta(page)
    saved = _SAVED_FROM.search(text[:2000])
    url = next((u for u in (meta.link(), saved.group(1) if saved else "") if canonical_url(u)), "")
    uri = canonical_url(url) or path.resolve().as_posix()
    author = meta.author()
    site = meta.first("og:site_name", "application-name")
    return SourceItem(
        tenant=tenant,
        uri=uri,
        origin=str(path),
        format="html",
        content=text,
        title=meta.title(author, site) or path.stem.replace("_", " "),
        subtitle=meta.first("description", "og:description", "twitter:description"),
        author=author,
        platform=platform or site or host_of(url) or "file",
        url=url,
        published_at=meta.published() or date_in_name(uri) or date_in_name(path.stem) or date_in_text(_lines(page)),
        language=as_text(page.get("lang")) or meta.first("og:locale").replace("_", "-"),
        tags=meta.tags(),
    )


def _lines(page: Any) -> str:
    body = page.find("body")
    return "\n".join(" ".join(part.split()) for part in (body if body is not None else page).itertext())[:8000]


class _Meta:
    """What a page says about itself: `meta` elements, linked data, and a few visible marks."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.named: dict[str, list[str]] = {}
        for element in page.iter("meta"):
            name = element.get("property") or element.get("name") or element.get("itemprop")
            if name and (value := as_text(element.get("content"))):
                self.named.setdefault(name.lower(), []).append(value)
        self.linked = next(_linked_data(page), {})

    def first(self, *names: str) -> str:
        return next((self.named[name][0] for name in names if name in self.named), "")

    def title(self, author: str, site: str) -> str:
        given = self.first("og:title", "twitter:title") or as_text(self.linked.get("headline"))
        if given:
            return tidy_title(given, author, site)
        headings = [text for h1 in self.page.iter("h1") if (text := as_text(h1.text_content()))]
        if len(headings) == 1:
            return headings[0]
        named = next((as_text(element.text_content()) for element in self.page.iter("title")), "")
        return tidy_title(named, author, site)

    def author(self) -> str:
        named = self.first("author", "article:author", "dc.creator", "parsely-author", "twitter:creator")
        if named and not named.startswith(("http:", "https:")):
            return named
        if linked := as_text(self.linked.get("author")):
            return linked
        marked = self.page.xpath("//*[@rel='author' or @itemprop='author' or contains(@class, 'p-author')]")
        return next((text for element in marked if (text := as_text(element.text_content())) and len(text) < 80), "")

    def published(self) -> datetime | None:
        named = (
            "article:published_time",
            "datepublished",
            "date",
            "dc.date",
            "dc.date.issued",
            "publish-date",
            "pubdate",
        )
        candidates = [*(self.first(name) for name in named), self.linked.get("datePublished")]
        times = [*self.page.xpath("//article//time"), *self.page.xpath("//main//time"), *self.page.iter("time")]
        candidates += [element.get("datetime") or element.text_content() for element in times]
        return next((moment for candidate in candidates if (moment := parse_date(candidate))), None)

    def link(self) -> str:
        links = [element.get("href") for element in self.page.iter("link") if element.get("rel") == "canonical"]
        return next((as_text(url) for url in (*links, self.first("og:url"), self.linked.get("url")) if url), "")

    def tags(self) -> tuple[str, ...]:
        return as_tags(self.named.get("article:tag") or self.first("keywords", "news_keywords"))


def _linked_data(page: Any) -> Iterator[Mapping[str, Any]]:
    """JSON-LD objects that describe an article; broken ones are passed over."""
    for element in page.iter("script"):
        if element.get("type") != "application/ld+json":
            continue
        try:
            loaded = json.loads(element.text or "")
        except (ValueError, RecursionError):
            continue
        graph = loaded.get("@graph", [loaded]) if isinstance(loaded, Mapping) else loaded
        for entry in graph if isinstance(graph, list) else ():
            if isinstance(entry, Mapping) and any(kind in as_text(entry.get("@type")) for kind in _ARTICLE_TYPES):
                yield entry
