"""JSON and JSON Lines dumps: one item per record, broken ones reported and passed over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from knowledge.sources.decode import without_lone_surrogates
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
from knowledge.sources.skipped import Skipped, UnreadableError
from twin.records import SourceItem

_TEXT_FIELDS = ("text", "content", "body", "markdown", "html", "content_html", "content_markdown")
_DATE_FIELDS = ("published_at", "published", "date", "created_at", "created", "publish_date", "post_date", "timestamp")
_MARKUP = re.compile(r"</(?:p|div|article|section|h[1-6]|ul|ol|blockquote|span|a)>|<br\s*/?>", re.IGNORECASE)
_MARKUP_TAGS = 3


def read_json(path: Path, text: str, tenant: str, platform: str) -> Iterator[SourceItem | Skipped]:
    """The records of a JSON file: a list of them, one alone, or an object that holds one list.

    Raises UnreadableError naming line and column if the file is not JSON, or holds no records.
    """
    try:
        loaded = json.loads(text)
    except json.JSONDecodeError as error:
        raise UnreadableError(f"is not valid JSON (line {error.lineno}, column {error.colno}: {error.msg})") from None
    except RecursionError:
        raise UnreadableError("is JSON nested too deeply to be read") from None
    except ValueError as error:
        raise UnreadableError(f"is not valid JSON ({error})") from None
    records = _record_list(loaded)
    if not records:
        raise UnreadableError("is JSON without records (a list of objects, or an object with a text)")
    for number, record in enumerate(records, 1):
        yield _read_record(record, path, f"{path}#{number}", number, tenant, platform)


def read_json_lines(path: Path, lines: Iterator[bytes], tenant: str, platform: str) -> Iterator[SourceItem | Skipped]:
    """The records of a JSON Lines file, read line by line; blank lines are no records."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        origin = f"{path}:{number}"
        try:
            record = json.loads(line.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8"))
        except UnicodeDecodeError as error:
            yield Skipped(origin=origin, reason=f"is not valid UTF-8 (byte {error.start + 1} of the line)")
        except json.JSONDecodeError as error:
            yield Skipped(origin=origin, reason=f"is not valid JSON (column {error.colno}: {error.msg})")
        except (ValueError, RecursionError) as error:
            yield Skipped(origin=origin, reason=f"is not JSON that can be read ({type(error).__name__})")
        else:
            yield _read_record(record, path, origin, number, tenant, platform)


def _record_list(loaded: Any) -> list[Any]:
    if isinstance(loaded, list):
        return loaded
    if not isinstance(loaded, Mapping):
        return []
    if any(str(key).lower() in _TEXT_FIELDS for key in loaded):
        return [loaded]
    lists = [
        value for value in loaded.values() if isinstance(value, list) and any(isinstance(r, Mapping) for r in value)
    ]
    return lists[0] if len(lists) == 1 else []


def _read_record(record: Any, path: Path, origin: str, number: int, tenant: str, platform: str) -> SourceItem | Skipped:
    if not isinstance(record, Mapping):
        return Skipped(origin=origin, reason="is not an object with a text")
    fields = _flatten(record)
    name, text = _text_of(fields)
    if not text.strip():
        return Skipped(origin=origin, reason="has no text")
    url = next(
        (u for key in ("url", "link", "canonical_url", "permalink") if canonical_url(u := as_text(fields.get(key)))), ""
    )
    identity = as_text(fields.get("id") or fields.get("_id")) or str(number)
    uri = canonical_url(url) or f"{path.resolve().as_posix()}#{identity}"
    author = _first(fields, "author", "author_full_name", "author_name", "authors", "by")
    return SourceItem(
        tenant=tenant,
        uri=uri,
        origin=origin,
        format="html" if _is_html(name, text) else "markdown",
        content=text,
        title=tidy_title(_first(fields, "title", "headline"), author),
        subtitle=_first(fields, "subtitle", "description", "summary"),
        author=author,
        platform=_first(fields, "platform") or platform or host_of(url) or "file",
        url=url,
        published_at=_published(fields) or (None if _is_html(name, text) else date_in_text(text)) or date_in_name(uri),
        language=_first(fields, "language", "lang"),
        tags=as_tags(fields.get("tags") or fields.get("keywords") or ()),
    )


def _flatten(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record's fields by lower-case name; those of a nested `content` object count as its own."""
    fields = {str(key).lower(): value for key, value in record.items()}
    inner = fields.get("content")
    if isinstance(inner, Mapping):
        del fields["content"]
        fields = {**fields, **{str(key).lower(): value for key, value in inner.items()}}
    return fields


def _text_of(fields: Mapping[str, Any]) -> tuple[str, str]:
    for name in _TEXT_FIELDS:
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            return name, without_lone_surrogates(value)
    return "", ""


def _is_html(name: str, text: str) -> bool:
    if "html" in name:
        return True
    return text.lstrip().startswith("<") and len(_MARKUP.findall(text[:20_000])) >= _MARKUP_TAGS


def _first(fields: Mapping[str, Any], *names: str) -> str:
    return next((text for name in names if (text := without_lone_surrogates(as_text(fields.get(name))))), "")


def _published(fields: Mapping[str, Any]) -> Any:
    return next((moment for name in _DATE_FIELDS if (moment := parse_date(fields.get(name)))), None)
