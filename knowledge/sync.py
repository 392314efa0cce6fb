"""From files to a searchable index, in steps that can stop anywhere and be run again.

Documents go into the warehouse first, a batch per commit; the index is then brought to what the
warehouse holds, whole documents per commit. Whatever a crash leaves undone is a difference between
the two, which the next run finds and mends, whatever paths it is given. Reading, cleaning and
writing run beside the embedding model, which is what takes the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from knowledge.chunk import chunk_document
from knowledge.index.contract import ChunkIndex
from knowledge.lock import lock_holder, write_lock
from knowledge.pipeline import IndexWriter, prefetched
from knowledge.sources.skipped import Skipped
from knowledge.warehouse import Warehouse, open_warehouse
from twin.errors import NotFoundError
from twin.records import Chunk, Document, IndexedChunk, Record, SourceItem
from twin.settings import Settings

if TYPE_CHECKING:
    from twin.models.embed import Embedder

GROUP_CHUNKS = 96
"""Passages per index commit, about: documents are never split, small ones are put together."""
COMPLETE_HINT = "Run the last `twin ingest PATH...` again to complete it, or: twin index rebuild"
EMBED_CHUNKS = 32
"""Passages per call of the embedding model: how often progress is told and Ctrl-C is heard."""

_FIRST_BATCH, _BATCH = 8, 128
"""Documents per warehouse commit; the first is small so that the embedding model starts early."""
_BATCH_CHARS = 8_000_000


@dataclass(frozen=True)
class Progress:
    """How far an ingestion is; `chunks` grows while files are being read."""

    read: int
    chunks: int
    embedded: int
    message: str = ""


OnProgress = Callable[[Progress], None]


class IngestReport(Record):
    """What an ingestion did. `read` = `new` + `changed` + `unchanged`; `completed` documents were read by an
    earlier run that did not get to index them."""

    read: int
    new: int
    changed: int
    unchanged: int
    completed: int
    removed: int
    skipped: tuple[Skipped, ...]
    chunks_embedded: int
    seconds: float
    embed_seconds: float

    @property
    def chunks_per_second(self) -> float:
        return self.chunks_embedded / self.seconds if self.seconds > 0 else 0.0


class Consistency(Record):
    """Where the index differs from the warehouse, as document ids."""

    missing: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """What differs, empty if nothing does; `COMPLETE_HINT` is the fix."""
        parts = [
            f"{len(ids)} {text}"
            for ids, text in (
                (self.missing, "not indexed"),
                (self.stale, "indexed in another version or in part"),
                (self.extra, "indexed but not stored"),
            )
            if ids
        ]
        return f"the index does not match the stored documents: {', '.join(parts)}" if parts else ""


@dataclass
class _Tally:
    read: int = 0
    new: int = 0
    changed: int = 0
    unchanged: int = 0
    completed: int = 0
    chunks: int = 0
    embedded: int = 0
    embed_seconds: float = 0.0
    skipped: list[Skipped] = field(default_factory=list)


def ingest(
    paths: Sequence[Path], settings: Settings, embedder: Embedder, on_progress: OnProgress = lambda progress: None
) -> IngestReport:
    """Read `paths` into the warehouse and bring the index up to date. Blocking; CPU and disk.

    What cannot be read is skipped and reported. Raises InputError if one of `paths` does not exist,
    LockedError if another process writes, IndexMismatchError if the index was built with something
    else, StoreError if a store fails (what is done is kept; the next run completes it).
    """
    from knowledge.sources import read_sources

    began = time.perf_counter()
    tally = _Tally()
    documents = _documents(read_sources(paths, settings.tenant, settings.max_file_bytes), tally)
    with write_lock(settings, "twin ingest", lambda message: on_progress(Progress(0, 0, 0, message))):
        warehouse = open_warehouse(settings)
        with IndexWriter() as writer:
            index = writer.open_or_create(settings, embedder.identity, embedder.dimension)
            before = writer.call(index.versions())
            have = {one.document_id: one.version for one in before.values() if one.complete}
            work = _ingestion(documents, settings, warehouse, have, tally)
            _embed_all(work, writer, index, embedder, tally, on_progress)
            removed = sorted(set(before) - set(warehouse.current_versions()))
            writer.call(index.delete(removed))
            writer.call(index.optimize())
        warehouse.compact()
    return _report(tally, len(removed), began)


def rebuild_index(
    settings: Settings, embedder: Embedder, on_progress: OnProgress = lambda progress: None
) -> IngestReport:
    """Build the index anew from the warehouse and put it in place of the old one, in one step.

    Until then the old one serves; readers that run follow. Raises NotFoundError if the warehouse is
    empty, LockedError, StoreError.
    """
    began = time.perf_counter()
    tally = _Tally()
    with write_lock(settings, "twin index rebuild", lambda message: on_progress(Progress(0, 0, 0, message))):
        warehouse = open_warehouse(settings)
        if not warehouse.current_versions():
            raise NotFoundError(f"there are no documents at {settings.warehouse_dir}", "Run: twin ingest PATH...")
        with IndexWriter() as writer:
            index = writer.replacement(settings, embedder.identity, embedder.dimension)
            work = _chunked(warehouse.iter_current(), settings.chunk_words, tally)
            _embed_all(work, writer, index, embedder, tally, on_progress)
            writer.call(index.optimize())
            writer.call(index.publish())
    return _report(tally, 0, began)


async def check_consistency(warehouse: Warehouse, index: ChunkIndex) -> Consistency:
    """Compare the index with the warehouse. Raises StoreError where one cannot be read."""
    current, indexed = await asyncio.gather(asyncio.to_thread(warehouse.current_versions), index.versions())
    return Consistency(
        missing=tuple(sorted(set(current) - set(indexed))),
        stale=tuple(
            sorted(
                one.document_id
                for one in indexed.values()
                if one.document_id in current and (one.version != current[one.document_id] or not one.complete)
            )
        ),
        extra=tuple(sorted(set(indexed) - set(current))),
    )


async def consistency_warning(settings: Settings, warehouse: Warehouse, index: ChunkIndex) -> str:
    """What a reader should tell its user about the index, with the fix; empty if all is well."""
    message = (await check_consistency(warehouse, index)).message
    holder = await asyncio.to_thread(lock_holder, settings) if message else None
    if holder is not None:
        return f"{message}. {holder} is at work on it"
    return f"{message}. {COMPLETE_HINT}" if message else ""


def _ingestion(
    documents: Iterator[Document], settings: Settings, warehouse: Warehouse, have: dict[str, str], tally: _Tally
) -> Iterator[list[Chunk]]:
    """Chunks of documents that the index lacks: first what is read now, then what earlier runs left."""
    handled: set[str] = set()
    for batch in _batches(documents):
        outcomes = warehouse.put(batch)
        for outcome in outcomes.values():
            setattr(tally, outcome, getattr(tally, outcome) + 1)
        handled.update(outcomes)
        wanted = [document for document in batch if have.get(document.document_id) != document.version]
        tally.completed += sum(outcomes[document.document_id] == "unchanged" for document in wanted)
        yield from _chunked(wanted, settings.chunk_words, tally)
    current = warehouse.current_versions()
    left = [one for one, version in current.items() if one not in handled and have.get(one) != version]
    tally.completed += len(left)
    yield from _chunked(warehouse.iter_current(left), settings.chunk_words, tally)


def _documents(items: Iterable[SourceItem | Skipped], tally: _Tally) -> Iterator[Document]:
    """The documents that the items become."""
    from knowledge.clean import clean

    for item in items:
        document = item if isinstance(item, Skipped) else clean(item)
        if isinstance(document, Skipped):
            tally.skipped.append(document)
        else:
            tally.read += 1
            yield document


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    batch: list[Document] = []
    chars, wanted = 0, _FIRST_BATCH
    for document in documents:
        batch.append(document)
        chars += len(document.text)
        if len(batch) >= wanted or chars >= _BATCH_CHARS:
            yield batch
            batch, chars, wanted = [], 0, _BATCH
    if batch:
        yield batch


def _chunked(documents: Iterable[Document], words: int, tally: _Tally) -> Iterator[list[Chunk]]:
    """Groups of about GROUP_CHUNKS chunks, documents whole."""
    group: list[Chunk] = []
    for document in documents:
        chunks = chunk_document(document, words)
        tally.chunks += len(chunks)
        group.extend(chunks)
        if len(group) >= GROUP_CHUNKS:
            yield group
            group = []
    if group:
        yield group


def _embed_all(
    work: Iterator[list[Chunk]],
    writer: IndexWriter,
    index: ChunkIndex,
    embedder: Embedder,
    tally: _Tally,
    on_progress: OnProgress,
) -> None:
    with prefetched(work, depth=2) as groups:
        for group in groups:
            indexed: list[IndexedChunk] = []
            for start in range(0, len(group), EMBED_CHUNKS):
                part = group[start : start + EMBED_CHUNKS]
                began = time.perf_counter()
                vectors = embedder.embed([chunk.search_text for chunk in part])
                tally.embed_seconds += time.perf_counter() - began
                indexed += [
                    IndexedChunk(chunk=chunk, vector=tuple(vector.tolist()))
                    for chunk, vector in zip(part, vectors, strict=True)
                ]
                tally.embedded += len(part)
                on_progress(Progress(tally.read, tally.chunks, tally.embedded))
            writer.submit(partial(index.upsert, indexed))
    writer.drain()
    on_progress(Progress(tally.read, tally.chunks, tally.embedded))


def _report(tally: _Tally, removed: int, began: float) -> IngestReport:
    return IngestReport(
        read=tally.read,
        new=tally.new,
        changed=tally.changed,
        unchanged=tally.unchanged,
        completed=tally.completed,
        removed=removed,
        skipped=tuple(tally.skipped),
        chunks_embedded=tally.embedded,
        seconds=time.perf_counter() - began,
        embed_seconds=tally.embed_seconds,
    )
