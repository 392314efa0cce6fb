"""Runs: they outlive their readers, stop when told to, and never leave a conversation half changed."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, cast

import aiosqlite
import pytest

from serving import runs as runs_module
from serving.problems import QuestionTooLongError, ShuttingDownError, ThreadBusyError
from serving.records_store import RunStore
from serving.runs import Ask, Run
from serving.runtime import Twin, open_twin
from tests.fakes_graph import QUOTES, SECRET, FakeServices, build_assistant
from twin.errors import InputError, NotFoundError, StoreError, TwinError
from twin.records import Answer, Citation, Event
from twin.settings import Settings

WAIT = 20.0


def make_settings(folder: Path, **values: Any) -> Settings:
    return Settings(_env_file=None, data_dir=folder, **values)


def opened(services: FakeServices) -> AbstractAsyncContextManager[Twin]:
    return open_twin(services.settings, services=cast(Any, services), build=cast(Any, build_assistant))


@pytest.fixture
def services(tmp_path: Path) -> FakeServices:
    return FakeServices(make_settings(tmp_path))


@pytest.fixture
async def twin(services: FakeServices) -> AsyncIterator[Twin]:
    async with opened(services) as twin:
        yield twin


async def finish(run: Run) -> list[Event]:
    async with asyncio.timeout(WAIT):
        return [event async for event in run.follow()]


async def ask(twin: Twin, question: str, thread: str = "t") -> list[Event]:
    return await finish(twin.ask(Ask(question, thread)))


async def slow_run(twin: Twin, services: FakeServices, thread: str = "t") -> Run:
    services.entered.clear()
    run = twin.ask(Ask("slow question", thread))
    async with asyncio.timeout(WAIT):
        await services.entered.wait()
    return run


def kinds(events: list[Event]) -> list[str]:
    return [event.type for event in events]


async def test_a_run_streams_its_checked_answer_and_keeps_it(twin: Twin) -> None:
    events = await ask(twin, "what happened?")
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    assert kinds(events) == ["run", "status", "token", *["token", "citation"] * 3, "answer", "done"]
    answer = Answer.model_validate(events[-2].data["answer"])
    assert answer.text == events[-2].data["text"] == "".join(e.data["text"] for e in events if e.type == "token")
    cited = [{**event.data} for event in events if event.type == "citation"]
    assert [answer.sentences[data.pop("sentence")].citations for data in cited] == [
        (Citation.model_validate(data),) for data in cited
    ]
    assert events[-1].data["status"] == "answered"
    assert {"retrieve", "write", "first_token", "total"} <= set(events[-1].data["timings"])

    (record,) = (await twin.thread("t")).runs
    assert (record.run_id, record.status, record.tenant) == (events[0].data["run_id"], "answered", "default")
    assert (record.answer, record.retrieved, record.question) == (answer, ("c1",), "what happened?")
    assert [turn.role for turn in await twin.turns("t")] == ["user", "assistant"]


async def test_every_reader_gets_everything_from_wherever_it_begins(twin: Twin, services: FakeServices) -> None:
    run = await slow_run(twin, services)
    early = [asyncio.create_task(_read(run, after)) for after in range(12)]
    leaver = asyncio.create_task(_read(run, 0))
    await asyncio.sleep(0)
    leaver.cancel()
    services.release.set()
    events = await finish(run)
    assert kinds(events)[-2:] == ["answer", "done"]
    assert services.cancelled == 0
    for after, task in enumerate(early):
        assert await task == events[after:]
        assert await _read(run, after) == events[after:]
    assert await _read(run, 10_000) == []


async def _read(run: Run, after: int) -> list[Event]:
    return [event async for event in run.follow(after)]


async def test_cancel_reaches_the_writer_and_drops_the_question(twin: Twin, services: FakeServices) -> None:
    await ask(twin, "first")
    before = await twin.turns("t")
    run = await slow_run(twin, services)
    reader = asyncio.create_task(finish(run))
    await twin.runs.cancel(run.run_id)
    assert services.cancelled == 1
    events = await reader
    assert "answer" not in kinds(events)
    assert "error" not in kinds(events)
    assert events[-1].data["status"] == "cancelled"
    assert await twin.turns("t") == before
    assert (await ask(twin, "next"))[2].data["text"] == "After 2 turns:"
    assert [record.status for record in (await twin.thread("t")).runs] == ["answered", "cancelled", "answered"]

    again = await twin.runs.cancel(run.run_id)
    assert again.events == run.events


async def test_cancel_before_the_graph_has_begun(twin: Twin) -> None:
    run = twin.ask(Ask("anything", "t"))
    await twin.runs.cancel(run.run_id)
    assert run.events[-1].data["status"] == "cancelled"
    assert await twin.turns("t") == []


async def test_the_caller_of_cancel_may_leave(twin: Twin, services: FakeServices) -> None:
    run = await slow_run(twin, services)
    caller = asyncio.create_task(twin.runs.cancel(run.run_id))
    await asyncio.sleep(0)
    caller.cancel()
    assert (await finish(run))[-1].data["status"] == "cancelled"


@pytest.mark.parametrize(
    ("question", "kind", "told"),
    [
        ("broken", "internal", "The log has the details"),
        ("outage", "store", "the index cannot be read. Run `twin index rebuild`"),
    ],
)
async def test_a_failure_is_one_error_and_the_thread_goes_on(
    twin: Twin, caplog: pytest.LogCaptureFixture, question: str, kind: str, told: str
) -> None:
    await ask(twin, "first")
    events = await ask(twin, question)
    (error,) = [event.data for event in events if event.type == "error"]
    assert set(error) == {"type", "title", "detail", "retryable"}
    assert (error["type"], error["detail"][: len(told)]) == (kind, told)
    assert kinds(events)[-2:] == ["error", "done"]
    assert events[-1].data["status"] == "failed"
    assert "answer" not in kinds(events)
    assert (await ask(twin, "next"))[2].data["text"] == "After 2 turns:"
    record = (await twin.thread("t")).runs[1]
    assert (record.status, record.answer, record.error) == ("failed", None, error["detail"])
    # What went wrong inside is for the log alone.
    stored = record.model_dump_json() + "".join(event.model_dump_json() for event in events)
    assert SECRET not in stored
    assert "Traceback" not in stored
    assert (SECRET in caplog.text) == (question == "broken")


async def test_a_failed_run_does_not_inherit_what_the_one_before_found(twin: Twin) -> None:
    await ask(twin, "first")
    await ask(twin, "outage")
    assert (await twin.thread("t")).runs[1].retrieved == ()


async def test_the_time_limit_stops_a_run(tmp_path: Path) -> None:
    services = FakeServices(make_settings(tmp_path, run_timeout=0.2))
    async with opened(services) as twin:
        events = await ask(twin, "slow")
        (error,) = [event.data for event in events if event.type == "error"]
        assert (error["type"], error["retryable"]) == ("run-timeout", True)
        assert "TWIN_RUN_TIMEOUT" in error["detail"]
        assert services.cancelled == 1
        assert await twin.turns("t") == []
        assert (await ask(twin, "next"))[-1].data["status"] == "answered"


async def test_one_run_at_a_time_per_thread(twin: Twin, services: FakeServices) -> None:
    run = await slow_run(twin, services)
    with pytest.raises(ThreadBusyError, match=run.run_id):
        twin.ask(Ask("me too", "t"))
    with pytest.raises(ThreadBusyError, match=run.run_id):
        await twin.delete_thread("t")
    assert (await ask(twin, "elsewhere", "other"))[-1].data["status"] == "answered"
    services.release.set()
    await finish(run)
    assert (await ask(twin, "now"))[2].data["text"] == "After 2 turns:"


async def test_one_run_at_a_time_per_thread_between_processes(twin: Twin, services: FakeServices) -> None:
    file = services.settings.tenant_dir / "threads.lock"
    code = f"""
from pathlib import Path
from typing import Any, cast
from serving.thread_lock import ThreadLocks
locks = ThreadLocks(Path({str(file)!r}))
locks.acquire("t")
print("held", flush=True)
input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(ThreadBusyError, match="another process"):
            twin.ask(Ask("me too", "t"))
        assert (await ask(twin, "elsewhere", "other"))[-1].data["status"] == "answered"
        other.kill()
        other.wait()
    assert (await ask(twin, "now"))[-1].data["status"] == "answered"


@pytest.mark.parametrize(
    ("question", "error", "told"),
    [
        ("", InputError, "empty"),
        (" \n\t\u200b\ufeff ", InputError, "empty"),
        ("a\x00b", InputError, r"character 2 is U\+0000"),
        ("\x1b[2J", InputError, r"U\+001B"),
        ("caf\udce9", InputError, r"U\+DCE9"),
        ("x" * 100_000, QuestionTooLongError, "100,000 characters, the limit is 8,000"),
    ],
)
async def test_what_is_no_question_starts_no_run(twin: Twin, question: str, error: type[TwinError], told: str) -> None:
    with pytest.raises(error, match=told) as caught:
        twin.ask(Ask(question, "t"))
    assert "\n" not in str(caught.value)
    assert await twin.threads() == []


@pytest.mark.parametrize("thread", ["", "../etc", "a b", "x" * 65, "é", "t\n"])
async def test_a_thread_needs_a_proper_id(twin: Twin, thread: str) -> None:
    with pytest.raises(InputError, match="conversation's id"):
        twin.ask(Ask("hello", thread))


async def test_finished_runs_are_kept_for_a_while_only(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_module, "KEEP_RUNS", 2)
    ids = [(await ask(twin, f"question {number}"))[0].data["run_id"] for number in range(4)]
    with pytest.raises(NotFoundError, match=ids[0]):
        twin.runs.get(ids[0])
    assert [twin.runs.get(run_id).run_id for run_id in ids[2:]] == ids[2:]
    assert len((await twin.thread("t")).runs) == 4


async def test_closing_the_twin_cancels_what_runs(services: FakeServices) -> None:
    async with opened(services) as twin:
        run = await slow_run(twin, services)
        reader = asyncio.create_task(finish(run))
    assert (await reader)[-1].data["status"] == "cancelled"
    with pytest.raises(ShuttingDownError):
        twin.runs.start(Ask("late", "t"))
    async with opened(services) as twin:
        assert [record.status for record in (await twin.thread("t")).runs] == ["cancelled"]
        assert await twin.turns("t") == []


async def test_threads_are_listed_restored_and_forgotten(
    services: FakeServices, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(services) as twin:
        await ask(twin, "first", "a")
        await ask(twin, "unknown", "b")
        await ask(twin, "second", "a")
    with caplog.at_level(logging.WARNING):
        async with opened(services) as twin:
            assert [(t.thread_id, t.question, t.runs) for t in await twin.threads()] == [
                ("a", "first", 2),
                ("b", "unknown", 1),
            ]
            stored = await twin.thread("a")
            assert [turn.text for turn in stored.turns if turn.role == "user"] == ["first", "second"]
            assert [c.quote for run in stored.runs if run.answer for c in run.answer.citations] == [*QUOTES, *QUOTES]
            assert (await twin.thread("b")).runs[0].status == "abstained"
            await twin.delete_thread("a")
            with pytest.raises(NotFoundError):
                await twin.thread("a")
            assert await twin.turns("a") == []
            with pytest.raises(NotFoundError):
                await twin.delete_thread("a")
    assert caplog.text == ""  # LangGraph warns of every type in a checkpoint that it was not told of


async def test_a_tenant_sees_only_its_own_runs(twin: Twin) -> None:
    events = await ask(twin, "mine")
    store = RunStore(twin.conversations.store._connection, "other")
    assert await store.threads() == []
    assert await store.of_thread("t") == []
    assert await store.get(events[0].data["run_id"]) is None
    assert await store.delete_thread("t") == 0
    assert len(await twin.threads()) == 1


async def limit_pages(connection: aiosqlite.Connection, pages: int) -> None:
    async with connection.execute(f"PRAGMA max_page_count = {pages}") as cursor:
        await cursor.fetchall()


@pytest.mark.parametrize("full", ["checkpoints", "records"])
async def test_a_full_disk_fails_the_run_and_nothing_else(twin: Twin, full: str) -> None:
    await ask(twin, "first")
    stores = {"checkpoints": twin.conversations.saver.conn, "records": twin.conversations.store._connection}
    await limit_pages(stores[full], 1)  # SQLite keeps the pages it has and takes no more
    answered = 1
    for number in range(40):
        events = await ask(twin, f"question {number}, {'long ' * 500}")
        if events[-1].data["status"] == "failed":
            break
        answered += 1
    (error,) = [event.data for event in events if event.type == "error"]
    assert "full" in error["detail"]
    assert "disk space" in error["detail"]
    assert "answer" not in kinds(events)
    assert len(await twin.turns("t")) == 2 * answered
    await limit_pages(stores[full], 1_000_000)
    assert (await ask(twin, "next"))[2].data["text"] == f"After {2 * answered} turns:"


async def test_a_damaged_database_is_named(services: FakeServices) -> None:
    file = services.settings.database_file
    file.parent.mkdir(parents=True)
    file.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match=str(file)) as caught:
        async with opened(services):
            pass
    assert "\n" not in str(caught.value)
    file.unlink()
    with sqlite3.connect(file):
        async with opened(services) as twin:
            assert (await ask(twin, "hello"))[-1].data["status"] == "answered"
