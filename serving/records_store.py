"""What every run did, kept as its RunRecord in SQLite. Every query names its tenant."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Any

import aiosqlite

from twin.records import Record, RunRecord, UtcDatetime

_TABLE = """
CREATE TABLE IF NOT EXISTS runs (
    tenant TEXT NOT NULL,
    run_id TEXT NOT NULL,
    thread_id TEXT NOT NULL,
    started_at TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    status TEXT NOT NULL,
    question TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (tenant, run_id)
)
"""
_INDEX = "CREATE INDEX IF NOT EXISTS runs_by_thread ON runs (tenant, thread_id, started_at)"

_THREADS = """
SELECT thread_id,
       (SELECT question FROM runs AS first WHERE first.tenant = runs.tenant AND first.thread_id = runs.thread_id
        ORDER BY started_at, rowid LIMIT 1),
       MAX(ended_at), COUNT(*)
FROM runs WHERE tenant = ? GROUP BY thread_id ORDER BY MAX(ended_at) DESC LIMIT ?
"""


class ThreadSummary(Record):
    """A conversation in a list: its first question, when something last happened, how many runs."""

    thread_id: str
    question: str
    updated_at: UtcDatetime
    runs: int


class RunStore:
    """Runs of one tenant, over an open connection that others may use too."""

    def __init__(self, connection: aiosqlite.Connection, tenant: str) -> None:
        self._connection = connection
        self._tenant = tenant

    async def setup(self) -> None:
        await self._connection.execute(_TABLE)
        await self._connection.execute(_INDEX)
        await self._connection.commit()

    async def save(self, record: RunRecord) -> None:
        """Keep the record; the same run again replaces it."""
        if record.tenant != self._tenant:
            raise ValueError(f"record of tenant {record.tenant!r} in the store of {self._tenant!r}")
        await self._write(
            "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            self._tenant,
            record.run_id,
            record.thread_id,
            _sortable(record.started_at),
            _sortable(record.ended_at),
            record.status,
            record.question,
            record.model_dump_json(),
        )

    async def get(self, run_id: str) -> RunRecord | None:
        rows = await self._all("SELECT record FROM runs WHERE tenant = ? AND run_id = ?", self._tenant, run_id)
        return RunRecord.model_validate_json(rows[0][0]) if rows else None

    async def of_thread(self, thread_id: str) -> list[RunRecord]:
        """The thread's runs, oldest first."""
        rows = await self._all(
            "SELECT record FROM runs WHERE tenant = ? AND thread_id = ? ORDER BY started_at, rowid",
            self._tenant,
            thread_id,
        )
        return [RunRecord.model_validate_json(row[0]) for row in rows]

    async def threads(self, limit: int = 200) -> list[ThreadSummary]:
        """The conversations, the latest first."""
        rows = await self._all(_THREADS, self._tenant, limit)
        return [
            ThreadSummary(thread_id=thread, question=question, updated_at=datetime.fromisoformat(updated), runs=count)
            for thread, question, updated, count in rows
        ]

    async def delete_thread(self, thread_id: str) -> int:
        """Forget the thread's runs; returns how many there were."""
        return await self._write("DELETE FROM runs WHERE tenant = ? AND thread_id = ?", self._tenant, thread_id)

    async def _write(self, query: str, *values: Any) -> int:
        """Execute and commit; a failed write leaves no transaction behind, it would lock everybody out."""
        try:
            cursor = await self._connection.execute(query, values)
            await self._connection.commit()
        except sqlite3.Error:
            await self._connection.rollback()
            raise
        return cursor.rowcount

    async def _all(self, query: str, *values: Any) -> list[Any]:
        async with self._connection.execute(query, values) as cursor:
            return list(await cursor.fetchall())


def _sortable(moment: datetime) -> str:
    """Microseconds always written, so that text order is time order."""
    return moment.isoformat(timespec="microseconds")
