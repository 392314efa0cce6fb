"""Conversations on disk: LangGraph's checkpoints (the turns a follow-up sees) and the runs' records, in
one SQLite file per tenant."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import aiosqlite
from langchain_core.runnables import RunnableConfig

from serving.records_store import RunStore, ThreadSummary
from serving.thread_lock import ThreadLocks
from twin.errors import NotFoundError, StoreError
from twin.records import Record, RunRecord, Turn
from twin.settings import Settings

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver


class Thread(Record):
    """A conversation: what the assistant remembers of it, and every run with its answer."""

    thread_id: str
    turns: tuple[Turn, ...]
    runs: tuple[RunRecord, ...]


def state_types() -> list[type]:
    """The classes that the assistant's state is made of: what checkpoints may hold besides LangGraph's own
    types. Nothing else is ever rebuilt from them."""
    from agent.state import AssistantState

    found: dict[type, None] = {}

    def collect(hint: Any) -> None:
        for part in get_args(hint):
            collect(part)
        if isinstance(hint, type) and hint.__module__ not in ("builtins", "typing") and hint not in found:
            found[hint] = None
            for inner in get_type_hints(hint).values():
                collect(inner)

    for hint in get_type_hints(AssistantState).values():
        collect(hint)
    return list(found)


class Conversations:
    """Reading, rewinding and forgetting conversations of one tenant."""

    def __init__(self, tenant: str, saver: AsyncSqliteSaver, store: RunStore, locks: ThreadLocks) -> None:
        self.tenant = tenant
        self.saver = saver
        self.store = store
        self.locks = locks

    def config(self, thread_id: str) -> RunnableConfig:
        """LangGraph's config of the thread; its key carries the tenant, whatever database is shared."""
        return {"configurable": {"thread_id": f"{self.tenant}:{thread_id}"}}

    async def turns(self, thread_id: str) -> list[Turn]:
        """What was said, oldest first; empty for an unknown thread."""
        checkpoint = await self.saver.aget_tuple(self.config(thread_id))
        return list(checkpoint.checkpoint["channel_values"].get("turns", [])) if checkpoint else []

    async def threads(self) -> list[ThreadSummary]:
        return await self.store.threads()

    async def thread(self, thread_id: str) -> Thread:
        """Raises NotFoundError for a thread that nothing was ever asked in."""
        runs = await self.store.of_thread(thread_id)
        turns = await self.turns(thread_id)
        if not runs and not turns:
            raise NotFoundError(f"there is no conversation {thread_id}", "GET /v1/threads lists them")
        return Thread(thread_id=thread_id, turns=tuple(turns), runs=tuple(runs))

    async def delete(self, thread_id: str) -> None:
        """Forget the conversation: checkpoints and records. Raises NotFoundError if there is none."""
        await self.thread(thread_id)
        await self.saver.adelete_thread(self.config(thread_id)["configurable"]["thread_id"])
        await self.store.delete_thread(thread_id)

    async def mark(self, thread_id: str) -> str:
        """Where the thread is now, for `rewind`; empty if it has not begun."""
        checkpoint = await self.saver.aget_tuple(self.config(thread_id))
        return str(checkpoint.checkpoint["id"]) if checkpoint else ""

    async def rewind(self, thread_id: str, mark: str) -> None:
        """Drop what was written since `mark`: checkpoint ids grow with time."""
        key = self.config(thread_id)["configurable"]["thread_id"]
        async with self.saver.lock:
            # What failed in the middle of a write left its transaction open.
            await self.saver.conn.rollback()
            for table in ("writes", "checkpoints"):
                await self.saver.conn.execute(
                    f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id > ?",
                    (key, mark),
                )
            await self.saver.conn.commit()


@asynccontextmanager
async def open_conversations(settings: Settings) -> AsyncIterator[Conversations]:
    """Open (and make, if new) the tenant's database.

    Raises StoreError if it cannot be opened, written, or is no database.
    """
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    file = settings.database_file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot make the folder {file.parent} ({error.strerror})", "Check TWIN_DATA_DIR and its permissions"
        ) from error
    locks = ThreadLocks(file.parent / "threads.lock")
    connections: list[aiosqlite.Connection] = []
    try:
        try:
            for _ in range(2):
                connections.append(await aiosqlite.connect(file, timeout=30))
            saver = AsyncSqliteSaver(connections[0], serde=JsonPlusSerializer(allowed_msgpack_modules=state_types()))
            await saver.setup()
            store = RunStore(connections[1], settings.tenant)
            await store.setup()
        except sqlite3.Error as error:
            raise StoreError(
                f"cannot use the conversations in {file} ({error})",
                "Check disk space and permissions; if the file is damaged, move it away and start again",
            ) from error
        yield Conversations(settings.tenant, saver, store, locks)
    finally:
        for connection in connections:
            await connection.close()
        locks.close()
