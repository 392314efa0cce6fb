"""Documents as they were read, every version of them: a Delta Lake table in a folder.

One row per tenant, document and version. The newest version of a document is `current`; older ones
stay, because answers cite them. A batch of documents is one commit: a crash leaves all of it or
nothing.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from knowledge.faults import require_space, store_faults
from twin.errors import NotFoundError, StoreError
from twin.records import Document, DocumentMeta, Record, UtcDatetime
from twin.settings import Settings

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

Outcome = Literal["new", "changed", "unchanged"]

META_COLUMNS = tuple(DocumentMeta.model_fields)
LISTED_COLUMNS = (*META_COLUMNS, "chars", "current", "ingested_at")
STATISTICS_COLUMNS = ("tenant", "document_id", "version", "current", "published_at", "ingested_at")
"""The log keeps the least and greatest value of these columns per file. The others hold the author's
words, which must not outlive their row in a log."""

_SMALL_FILES = 32
_FILE_BYTES = 4_000_000
_ROW_GROUP = 64
_SLICE = 256
_COMMIT_BYTES = 200_000
_DAMAGE_HINT = (
    "Its files are damaged or not a warehouse: restore them from a backup, or move this folder away and "
    "run `twin ingest PATH...` again"
)


class StoredDocument(DocumentMeta):
    """A document in a list: everything but its text."""

    current: bool
    ingested_at: UtcDatetime
    chars: int


class WarehouseStats(Record):
    """Counts over the current documents; `versions` counts all that are kept."""

    documents: int
    versions: int
    chars: int
    platforms: dict[str, int]
    authors: dict[str, int]
    first_published: UtcDatetime | None
    last_published: UtcDatetime | None
    last_ingested: UtcDatetime | None
    bytes_on_disk: int


class Warehouse:
    """The documents of one tenant. Opening reads nothing; reading sees the newest commit.

    Reads may run in several threads at once; writes need the caller to hold `knowledge.lock`.
    All methods raise StoreError where the files cannot be read or written.
    """

    def __init__(self, path: Path, tenant: str) -> None:
        self.path = path
        self.tenant = tenant
        self._opened: DeltaTable | None = None
        self._opening = threading.Lock()

    @property
    def _folder(self) -> Path:
        return self.path / "documents"

    def put(self, documents: Sequence[Document]) -> dict[str, Outcome]:
        """Make these versions current, in one commit; what is current already is not written.

        Returns what became of each document, by id; of several versions of one document the last
        counts. Raises StoreError if a document belongs to another tenant.
        """
        batch = {document.document_id: document for document in documents}
        for document in batch.values():
            if document.tenant != self.tenant:
                raise StoreError(
                    f"document {document.document_id} belongs to tenant {document.tenant!r}, "
                    f"the warehouse at {self.path} to {self.tenant!r}"
                )
        if not batch:
            return {}
        before = self.current_versions(batch)
        outcomes = {one: _outcome(before.get(one), document) for one, document in batch.items()}
        written = [document for one, document in batch.items() if outcomes[one] != "unchanged"]
        if written:
            retired = [(d.document_id, before[d.document_id]) for d in written if d.document_id in before]
            self._merge(written, retired)
        return outcomes

    def delete(self, document_ids: Sequence[str]) -> None:
        """Remove these documents, all versions; unknown ids are ignored."""
        table = self._table()
        if table is None or not document_ids:
            return
        with self._faults("deleting documents"):
            table.delete(
                f"tenant = {_quoted(self.tenant)} AND document_id IN ({', '.join(map(_quoted, document_ids))})"
            )

    def current_versions(self, document_ids: Iterable[str] | None = None) -> dict[str, str]:
        """Document id -> current version; of `document_ids` only, if given."""
        import polars as pl

        chosen = pl.col("current")
        if document_ids is not None:
            chosen &= pl.col("document_id").is_in(list(document_ids))
        rows = self._read("reading versions", lambda rows: rows.filter(chosen).select("document_id", "version"))
        return {row["document_id"]: row["version"] for row in rows}

    def get(self, document_id: str, version: str | None = None) -> Document:
        """The document in that version, current or not; in its current one by default.

        Raises NotFoundError.
        """
        import polars as pl

        wanted = pl.col("current") if version is None else pl.col("version") == version
        found = self._read_documents((pl.col("document_id") == document_id) & wanted)
        if not found:
            raise _missing(document_id, version)
        return found[0]

    def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Document]:
        """The documents with these (id, version), in the order asked. Raises NotFoundError if one is missing."""
        import polars as pl

        ids = list({document_id for document_id, _ in keys})
        versions = list({version for _, version in keys})
        found = self._read_documents(pl.col("document_id").is_in(ids) & pl.col("version").is_in(versions))
        by_key = {(document.document_id, document.version): document for document in found}
        for key in keys:
            if key not in by_key:
                raise _missing(*key)
        return [by_key[key] for key in keys]

    def iter_current(self, document_ids: Sequence[str] | None = None) -> Iterator[Document]:
        """The current documents (of these ids only, if given), read a few hundred at a time."""
        import polars as pl

        ids = sorted(self.current_versions() if document_ids is None else set(document_ids))
        for start in range(0, len(ids), _SLICE):
            part = ids[start : start + _SLICE]
            chosen = pl.col("current") & pl.col("document_id").is_in(part)
            yield from self._read_documents(chosen)

    def list_documents(
        self, *, platform: str | None = None, author: str | None = None, limit: int | None = None
    ) -> list[StoredDocument]:
        """The current documents, newest first, undated last."""
        import polars as pl

        chosen = pl.col("current")
        for column, value in (("platform", platform), ("author", author)):
            if value is not None:
                chosen &= pl.col(column) == value

        def choose(rows: pl.LazyFrame) -> pl.LazyFrame:
            rows = rows.filter(chosen).select(LISTED_COLUMNS)
            rows = rows.sort(["published_at", "uri"], descending=[True, False], nulls_last=True)
            return rows if limit is None else rows.head(limit)

        return [StoredDocument.model_validate(row) for row in self._read("listing documents", choose)]

    def versions_of(self, document_id: str) -> list[StoredDocument]:
        """All versions of one document that are kept, the newest first. Raises NotFoundError if there is none."""
        import polars as pl

        def choose(rows: pl.LazyFrame) -> pl.LazyFrame:
            rows = rows.filter(pl.col("document_id") == document_id).select(LISTED_COLUMNS)
            return rows.sort(["current", "ingested_at"], descending=True)

        found = self._read("reading versions", choose)
        if not found:
            raise _missing(document_id, None)
        return [StoredDocument.model_validate(row) for row in found]

    def stats(self) -> WarehouseStats:
        """Counts and dates."""
        documents = self.list_documents()
        dates = [document.published_at for document in documents if document.published_at is not None]
        versions = len(self._read("counting", lambda rows: rows.select("version")))
        with self._faults("counting"):
            size = sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())
        return WarehouseStats(
            documents=len(documents),
            versions=versions,
            chars=sum(document.chars for document in documents),
            platforms=_counted(document.platform for document in documents),
            authors=_counted(document.author for document in documents),
            first_published=min(dates, default=None),
            last_published=max(dates, default=None),
            last_ingested=max((document.ingested_at for document in documents), default=None),
            bytes_on_disk=size,
        )

    def compact(self) -> None:
        """Where there are many small files, join them; drop files that no version of the last week needs.

        Documents are laid out by id in files of a few megabytes: finding one reads little, changing
        one rewrites little.
        """
        table = self._table()
        if table is None:
            return
        with self._faults("compacting"):
            size = sum(table.get_add_actions()["size_bytes"].to_pylist())
            if len(table.file_uris()) > _SMALL_FILES + 2 * size // _FILE_BYTES:
                table.optimize.z_order(["document_id"], target_size=_FILE_BYTES, writer_properties=_writer_properties())
                table.vacuum(dry_run=False)

    def _table(self) -> DeltaTable | None:
        """The table at its newest commit, None before the first."""
        if not self._begun():
            return None
        with self._opening, self._faults("opening"):
            if self._opened is None:
                self._opened = self._open()
            else:
                self._opened.update_incremental()
            return self._opened

    def _begun(self) -> bool:
        """Whether there is a table; a crash in the middle of making it leaves a log without entries."""
        log = self._folder / "_delta_log"
        return log.is_dir() and (any(log.glob("*.json")) or any(self._folder.glob("*.parquet")))

    def _open(self) -> DeltaTable:
        from deltalake import DeltaTable

        table = DeltaTable(self._folder)
        missing = {*LISTED_COLUMNS, "text"} - {field.name for field in table.schema().fields}
        if missing:
            raise StoreError(
                f"the warehouse at {self.path} has no column {', '.join(sorted(missing))}",
                "Another version of llm-twin made it: move this folder away and run `twin ingest PATH...` again",
            )
        return table

    def _read(self, doing: str, choose: Callable[[pl.LazyFrame], pl.LazyFrame]) -> list[dict[str, Any]]:
        """What `choose` makes of the tenant's rows."""
        fresh = self._opened is None
        try:
            return self._collect(doing, choose)
        except StoreError:
            if fresh:
                raise
        # The table may have been made anew in its folder; the one held knows only the files of old.
        self._opened = None
        return self._collect(doing, choose)

    def _collect(self, doing: str, choose: Callable[[pl.LazyFrame], pl.LazyFrame]) -> list[dict[str, Any]]:
        import polars as pl

        table = self._table()
        with self._faults(doing):
            files = table.file_uris() if table is not None else []
            if not files:
                return []
            return choose(pl.scan_parquet(files).filter(pl.col("tenant") == self.tenant)).collect().to_dicts()

    def _read_documents(self, chosen: pl.Expr) -> list[Document]:
        rows = self._read("reading documents", lambda rows: rows.filter(chosen).select(*META_COLUMNS, "text"))
        with self._faults("reading documents"):
            return [Document.model_validate(row) for row in rows]

    def _merge(self, documents: Sequence[Document], retired: Sequence[tuple[str, str]]) -> None:
        # Twice: in the table and in its change feed.
        require_space(self.path, _COMMIT_BYTES + 2 * sum(len(document.text.encode()) for document in documents))
        with self._faults("writing documents"):
            (
                self._create_or_open()
                .merge(
                    _rows_to_merge(documents, retired, self.tenant),
                    "t.tenant = s.tenant AND t.document_id = s.document_id AND t.version = s.version",
                    source_alias="s",
                    target_alias="t",
                    writer_properties=_writer_properties(),
                )
                .when_matched_update({"current": "s.current", "ingested_at": "s.ingested_at"}, predicate="s.current")
                .when_matched_update({"current": "s.current"})
                .when_not_matched_insert_all()
                .execute()
            )

    def _create_or_open(self) -> DeltaTable:
        table = self._table()
        if table is not None:
            return table
        from deltalake import DeltaTable, Schema

        self._folder.mkdir(parents=True, exist_ok=True)
        return DeltaTable.create(
            self._folder,
            schema=Schema.from_arrow(_rows_to_merge([], [], self.tenant).schema),
            mode="ignore",
            configuration={
                "delta.enableChangeDataFeed": "true",
                "delta.dataSkippingStatsColumns": ",".join(STATISTICS_COLUMNS),
            },
        )

    def _faults(self, doing: str) -> AbstractContextManager[None]:
        return store_faults(self.path, doing, _DAMAGE_HINT)


class AsyncWarehouse:
    """The reads of a warehouse for an event loop: each runs in a thread."""

    def __init__(self, warehouse: Warehouse) -> None:
        self.blocking = warehouse

    async def get(self, document_id: str, version: str | None = None) -> Document:
        """See `Warehouse.get`."""
        return await asyncio.to_thread(self.blocking.get, document_id, version)

    async def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Document]:
        """See `Warehouse.get_many`."""
        return await asyncio.to_thread(self.blocking.get_many, keys)

    async def list_documents(
        self, *, platform: str | None = None, author: str | None = None, limit: int | None = None
    ) -> list[StoredDocument]:
        """See `Warehouse.list_documents`."""
        return await asyncio.to_thread(self.blocking.list_documents, platform=platform, author=author, limit=limit)

    async def stats(self) -> WarehouseStats:
        """See `Warehouse.stats`."""
        return await asyncio.to_thread(self.blocking.stats)


def open_warehouse(settings: Settings) -> Warehouse:
    """The warehouse of `settings.tenant`; nothing is read or made yet."""
    return Warehouse(settings.warehouse_dir, settings.tenant)


def _outcome(before: str | None, document: Document) -> Outcome:
    if before is None:
        return "new"
    return "unchanged" if before == document.version else "changed"


def _missing(document_id: str, version: str | None) -> NotFoundError:
    what = f"document {document_id}" + (f" in version {version}" if version is not None else "")
    return NotFoundError(f"{what} is not in the warehouse", "`twin documents list` lists what is")


def _rows_to_merge(documents: Sequence[Document], retired: Sequence[tuple[str, str]], tenant: str) -> Any:
    """New rows, and for each retired version a row that only says it is not current any more."""
    import pyarrow as pa

    text, moment = pa.string(), pa.timestamp("us", tz="UTC")
    types = dict.fromkeys(META_COLUMNS, text) | {"tags": pa.list_(text), "published_at": moment}
    schema = pa.schema(
        [*types.items(), ("text", text), ("chars", pa.int64()), ("current", pa.bool_()), ("ingested_at", moment)]
    )
    now = datetime.now(UTC)
    rows: list[dict[str, Any]] = [
        {**document.model_dump(), "chars": len(document.text), "current": True, "ingested_at": now}
        for document in sorted(documents, key=lambda document: document.document_id)
    ]
    rows += [{"tenant": tenant, "document_id": one, "version": version, "current": False} for one, version in retired]
    return pa.Table.from_pylist(rows, schema=schema)


def _writer_properties() -> Any:
    """Small row groups, so that reading one document decodes few others."""
    from deltalake import ColumnProperties, WriterProperties

    return WriterProperties(
        compression="ZSTD",
        max_row_group_size=_ROW_GROUP,
        column_properties={"text": ColumnProperties(statistics_enabled="NONE", dictionary_enabled=False)},
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _counted(values: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
