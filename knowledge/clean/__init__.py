"""From an item as a source yields it to a document: its chrome goes, every word of its author stays."""

from __future__ import annotations

import re

from knowledge.clean.chrome import remove_chrome
from knowledge.clean.html import html_to_text
from knowledge.sources.skipped import Skipped, UnreadableError
from twin.records import VERSIONED, Document, SourceItem, document_version

__all__ = ["clean"]

_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufeff\ufffe\uffff]")


def clean(item: SourceItem) -> Document | Skipped:
    """The item as a document, or why there is none: nothing but chrome in it, or HTML that cannot be read.

    Lossless for what the author wrote: punctuation, quotes, dashes, line breaks and markup stay;
    whole lines and blocks of chrome go; line ends become `\\n`; control characters go.
    """
    content = item.content
    if item.format == "html":
        try:
            content = html_to_text(content, item.title)
        except UnreadableError as error:
            return Skipped(origin=item.origin, reason=str(error))
    text = _CONTROL.sub("", content.replace("\r\n", "\n").replace("\r", "\n"))
    if item.format != "text":
        text = remove_chrome(text, item)
    text = _without_outer_blank_lines(text)
    if not any(character.isalnum() for character in text):
        return Skipped(origin=item.origin, reason="has no text left without the page's chrome")
    metadata = {name: getattr(item, name) for name in VERSIONED}
    return Document(
        tenant=item.tenant,
        document_id=item.document_id,
        version=document_version(text, **metadata),
        uri=item.uri,
        origin=item.origin,
        text=text,
        **metadata,
    )


def _without_outer_blank_lines(text: str) -> str:
    text = text.rstrip()
    first = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, first) + 1 :]
