"""From paths to items: which files are read, by what, and what is said about the others."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from knowledge.sources.decode import decode
from knowledge.sources.html import declared_charset, read_html
from knowledge.sources.markdown import read_markdown
from knowledge.sources.records import read_json, read_json_lines
from knowledge.sources.skipped import Skipped, UnreadableError
from twin.errors import InputError
from twin.records import SourceItem

_MARKDOWN = frozenset({".md", ".markdown", ".mdown", ".mkd"})
_PLAIN = frozenset({".txt", ".text"})
_HTML = frozenset({".html", ".htm", ".xhtml"})
_JSON = frozenset({".json"})
_JSON_LINES = frozenset({".jsonl", ".ndjson"})
READ_SUFFIXES = _MARKDOWN | _PLAIN | _HTML | _JSON | _JSON_LINES
"""Suffixes of the files that are read, in lower case."""

_MACHINE_FOLDERS = frozenset({"node_modules", "__pycache__", "__MACOSX"})
_PLATFORM_FOLDERS = {
    **{name: name for name in ("blog", "newsletter", "medium", "substack", "linkedin", "mastodon", "twitter")},
    "github": "github",
    "blogs": "blog", "newsletters": "newsletter", "repository": "repository", "repositories": "repository",
    "repos": "repository", "tweets": "twitter", "notes": "notes", "talks": "talk",
}  # fmt: skip
"""Folders whose name says where their files were published; for files that do not say it themselves."""


def read_sources(paths: Sequence[Path], tenant: str, max_bytes: int) -> Iterator[SourceItem | Skipped]:
    """Items of all files in `paths`, folders taken recursively in sorted order, one file at a time.

    A file that cannot be read, is empty, binary, broken, longer than `max_bytes` or no text format
    gives a `Skipped` with the reason, and so does a second item of the same identity; the rest goes
    on. Hidden files and folders are passed over, unless they are named in `paths`.
    Raises InputError at once, before anything is read, if one of `paths` does not exist.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise InputError(f"{path} does not exist", "Give folders or files of Markdown, text, HTML, JSON or JSONL")
    return _without_repeats(_read_all(list(paths), tenant, max_bytes))


def _read_all(paths: list[Path], tenant: str, max_bytes: int) -> Iterator[SourceItem | Skipped]:
    seen: set[tuple[int, int]] = set()
    for root in paths:
        for found in _files(root, seen):
            if isinstance(found, Skipped):
                yield found
            else:
                yield from _read_file(found, root, tenant, max_bytes)


def _without_repeats(items: Iterator[SourceItem | Skipped]) -> Iterator[SourceItem | Skipped]:
    origins: dict[str, str] = {}
    for item in items:
        if isinstance(item, SourceItem):
            first = origins.setdefault(item.document_id, item.origin)
            if first != item.origin:
                yield Skipped(origin=item.origin, reason=f"is the same document as {first} ({item.uri})")
                continue
        yield item


def _files(path: Path, seen: set[tuple[int, int]]) -> Iterator[Path | Skipped]:
    """Files at and below `path`; each file and folder once, however many links lead to it."""
    try:
        status = path.stat()
    except OSError as error:
        yield Skipped(origin=str(path), reason=f"cannot be read: {_why(error)}")
        return
    identity = (status.st_dev, status.st_ino)
    if stat.S_ISDIR(status.st_mode):
        if identity in seen:
            return
        seen.add(identity)
        yield from _folder(path, seen)
    elif not stat.S_ISREG(status.st_mode):
        yield Skipped(origin=str(path), reason="is not a regular file")
    elif identity not in seen:
        seen.add(identity)
        yield path


def _folder(path: Path, seen: set[tuple[int, int]]) -> Iterator[Path | Skipped]:
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        yield Skipped(origin=str(path), reason=f"cannot be read: {_why(error)}")
        return
    for entry in entries:
        if not entry.name.startswith(".") and entry.name not in _MACHINE_FOLDERS:
            yield from _files(entry, seen)


def _read_file(path: Path, root: Path, tenant: str, max_bytes: int) -> Iterator[SourceItem | Skipped]:
    suffix = path.suffix.lower()
    if suffix not in READ_SUFFIXES and not (suffix == "" and path == root):
        kind = f"*{suffix}" if suffix else "no suffix"
        yield Skipped(origin=str(path), reason=f"is not a format that is read ({kind})")
        return
    platform = _platform_of(path, root)
    try:
        if suffix in _JSON_LINES:
            yield from _read_lines(path, tenant, platform, max_bytes)
            return
        data = _read_bytes(path, max_bytes)
        if suffix in _HTML:
            yield read_html(path, decode(data, declared_charset(data)), tenant, platform)
        elif suffix in _JSON:
            yield from read_json(path, decode(data), tenant, platform)
        else:
            yield read_markdown(path, decode(data), tenant, platform, plain=suffix not in _MARKDOWN)
    except UnreadableError as error:
        yield Skipped(origin=str(path), reason=str(error))
    except OSError as error:
        yield Skipped(origin=str(path), reason=f"cannot be read: {_why(error)}")


def _read_bytes(path: Path, max_bytes: int) -> bytes:
    with path.open("rb") as file:
        _check_size(os.fstat(file.fileno()).st_size, max_bytes)
        data = file.read(max_bytes + 1)
    _check_size(len(data), max_bytes)
    return data


def _read_lines(path: Path, tenant: str, platform: str, max_bytes: int) -> Iterator[SourceItem | Skipped]:
    with path.open("rb") as file:
        _check_size(os.fstat(file.fileno()).st_size, max_bytes)
        start = file.read(4096)
        if not start.strip():
            raise UnreadableError("is empty")
        if b"\x00" in start:
            raise UnreadableError("is binary or UTF-16; JSON Lines must be UTF-8")
        file.seek(0)
        yield from read_json_lines(path, file, tenant, platform)


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise UnreadableError(
            f"is longer than {max_bytes / 1e6:g} MB ({size / 1e6:.1f} MB); split it, or raise TWIN_MAX_FILE_BYTES"
        )


def _platform_of(path: Path, root: Path) -> str:
    """The platform that a folder's name tells, the nearest folder first; "" if none does."""
    inside = path.parent.relative_to(root).parts if path != root and root in path.parents else ()
    for name in (*reversed(inside), root.resolve().name if path != root else path.resolve().parent.name):
        if platform := _PLATFORM_FOLDERS.get(name.lower()):
            return platform
    return ""


def _why(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
