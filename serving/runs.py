"""A run lives in the server, not in the connection.

Each run is a task of its own that pumps the graph's stream into a list of numbered events. Any number
of readers follow that list from any point; that one of them goes away changes nothing. Only `cancel`,
the time limit and shutdown stop a run, and they reach the model call, because the task that holds it is
cancelled.

A run that is cancelled or fails leaves its conversation as it was before the question: the thread is
rewound. What happened stays in the run's record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, cast

from agent.state import AssistantState, RunContext
from serving.conversations import Conversations
from serving.problems import Problem, RunTimeoutError, ShuttingDownError, ThreadBusyError, problem_of
from serving.schemas import new_run_id, new_thread_id
from twin.errors import NotFoundError, StoreError, TwinError
from twin.records import Event, EventType, RunRecord, SearchScope

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

log = logging.getLogger(__name__)

KEEP_SECONDS = 900.0
"""How long a finished run can be followed again; its record stays in the store."""
KEEP_RUNS = 256
"""How many finished runs can be followed again at most."""
CANCEL_SECONDS = 10.0
"""How long `cancel` waits for the run's last events."""

Status = Literal["answered", "abstained", "cancelled", "failed"]


@dataclass(frozen=True)
class WriterInfo:
    """Who writes a run's answer, as its `run` event and its record say."""

    writer: str
    model: str = ""
    prompt_version: str = ""


@dataclass(frozen=True)
class Ask:
    """What a run is asked, validated."""

    question: str
    thread_id: str = field(default_factory=new_thread_id)
    writer: str | None = None
    answer_sentences: int | None = None
    abstain_below: float | None = None
    scope: SearchScope | None = None


class Run:
    """One run: its request and the events so far. Events are only ever appended; the last is `done`."""

    def __init__(self, request: Ask, info: WriterInfo) -> None:
        self.run_id = new_run_id()
        self.request = request
        self.info = info
        self.events: list[Event] = []
        self.started_at = datetime.now(UTC)
        self.started = time.monotonic()
        self.ended: float | None = None
        self.timings: dict[str, float] = {}
        self.state: AssistantState = {}
        self.mark = ""
        self._pump: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._cancelled = False

    @property
    def thread_id(self) -> str:
        return self.request.thread_id

    @property
    def done(self) -> bool:
        return bool(self.events) and self.events[-1].type == "done"

    @property
    def cancel_requested(self) -> bool:
        return self._cancelled

    def emit(self, kind: EventType, data: dict[str, Any]) -> None:
        """Append an event and wake who follows."""
        self.events.append(Event(id=len(self.events) + 1, type=kind, data=data))
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def follow(self, after: int = 0) -> AsyncIterator[Event]:
        """The events with an id above `after`, as they come, to the last."""
        position = max(after, 0)
        while True:
            while position < len(self.events):
                yield self.events[position]
                position += 1
            if self.done:
                return
            await self._changed.wait()

    def attach(self, pump: asyncio.Task[None]) -> None:
        self._pump = pump
        if self._cancelled:
            pump.cancel()

    def request_cancel(self) -> None:
        """Ask the run to stop; it ends on its own time. Without effect once the graph has finished."""
        if self._cancelled or self.done:
            return
        self._cancelled = True
        if self._pump is not None:
            self._pump.cancel()

    async def wait(self) -> None:
        """Until the run is over; cancelling the waiter does not touch the run."""
        async for _ in self.follow(len(self.events)):
            pass


class Runs:
    """The runs of one twin: starts, finds, stops them, and keeps finished ones for a while."""

    def __init__(
        self,
        graph: CompiledStateGraph[Any, RunContext, Any, Any],
        conversations: Conversations,
        describe: Callable[[str | None], WriterInfo],
        run_timeout: float,
    ) -> None:
        """`describe` names the writer that a request (None: the default) gets, and raises for one that does
        not exist; `run_timeout` is in seconds."""
        self._graph = graph
        self._conversations = conversations
        self._describe = describe
        self._timeout = run_timeout
        self._runs: dict[str, Run] = {}
        self._on_thread: dict[str, Run] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def start(self, request: Ask) -> Run:
        """Start a run; it goes on whoever listens.

        Raises ThreadBusyError if the conversation is being answered already, here or by another process.
        """
        if self._closing:
            raise ShuttingDownError("the server is shutting down", "Ask again when it is back")
        info = self._describe(request.writer)
        busy = self._on_thread.get(request.thread_id)
        if busy is not None:
            raise ThreadBusyError(
                f"conversation {request.thread_id} is being answered by run {busy.run_id}",
                "Wait until it has finished, or cancel it",
            )
        self._conversations.locks.acquire(request.thread_id)
        run = Run(request, info)
        self._forget_old()
        self._runs[run.run_id] = self._on_thread[run.thread_id] = run
        run.emit(
            "run",
            {
                "run_id": run.run_id,
                "thread_id": run.thread_id,
                "writer": info.writer,
                "model": info.model,
                "prompt_version": info.prompt_version,
            },
        )
        task = asyncio.create_task(self._supervise(run), name=run.run_id)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return run

    def get(self, run_id: str) -> Run:
        """Raises NotFoundError for a run that never was or is kept no longer."""
        self._forget_old()
        run = self._runs.get(run_id)
        if run is None:
            raise NotFoundError(
                f"there is no run {run_id} to follow",
                f"Finished runs are kept for {KEEP_SECONDS / 60:.0f} minutes; their answers stay in GET /v1/threads/ID",
            )
        return run

    def running_on(self, thread_id: str) -> Run | None:
        """The run that is answering on the thread now."""
        return self._on_thread.get(thread_id)

    async def cancel(self, run_id: str) -> Run:
        """Stop a run and wait until it has stopped, at most CANCEL_SECONDS; a finished one is left as it is.

        Raises NotFoundError. Cancelling the caller does not call the stop off.
        """
        run = self.get(run_id)
        run.request_cancel()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.wait(), CANCEL_SECONDS)
        return run

    async def close(self, grace: float = 10.0) -> None:
        """Stop all runs and wait up to `grace` seconds for their last events; no new ones from now on."""
        self._closing = True
        for run in list(self._on_thread.values()):
            run.request_cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace)

    def _forget_old(self) -> None:
        now = time.monotonic()
        finished = [run for run in self._runs.values() if run.ended is not None]
        surplus = max(len(finished) - KEEP_RUNS, 0)
        for position, run in enumerate(finished):
            if position < surplus or now - (run.ended or now) > KEEP_SECONDS:
                del self._runs[run.run_id]

    async def _supervise(self, run: Run) -> None:
        """From the first node to `done`, which comes whatever happens; frees the conversation."""
        status: Status = "failed"
        try:
            status, problem = await self._execute(run)
            problem = await self._settle(run, status, problem)
            if problem is not None:
                status = "failed"
                run.emit("error", problem.model_dump(exclude={"status"}))
            elif status != "cancelled":
                answer = run.state["answer"]
                run.emit("answer", {"answer": answer.model_dump(mode="json"), "text": answer.text})
        except Exception as error:
            log.exception("run %s could not be finished", run.run_id)
            status = "failed"
            run.emit("error", problem_of(error, run.run_id).model_dump(exclude={"status"}))
        finally:
            self._conversations.locks.release(run.thread_id)
            del self._on_thread[run.thread_id]
            run.ended = time.monotonic()
            run.emit("done", {"status": status, "timings": run.timings, "usage": _usage(run.state)})

    async def _execute(self, run: Run) -> tuple[Status, Problem | None]:
        """Run the graph within the time limit; a failed or cancelled run is undone."""
        try:
            run.mark = await self._conversations.mark(run.thread_id)
        except (sqlite3.Error, TwinError) as error:
            return "failed", self._report(run, error)
        pump = asyncio.create_task(self._pump(run), name=f"{run.run_id}-graph")
        run.attach(pump)
        done, _ = await asyncio.wait({pump}, timeout=self._timeout)
        if not done:
            pump.cancel()
            await asyncio.wait({pump})
        run.timings["total"] = round(time.monotonic() - run.started, 4)
        failure = asyncio.CancelledError() if pump.cancelled() else pump.exception()
        if failure is None:
            return ("abstained" if run.state["answer"].abstained else "answered"), None
        if not done:
            failure = RunTimeoutError(
                f"the answer took longer than {self._timeout:g} seconds", "Ask again, or raise TWIN_RUN_TIMEOUT"
            )
        try:
            await self._conversations.rewind(run.thread_id, run.mark)
        except sqlite3.Error as error:
            return "failed", self._report(run, error)
        if done and pump.cancelled() and run.cancel_requested:
            return "cancelled", None
        return "failed", self._report(run, failure)

    async def _pump(self, run: Run) -> None:
        """Turn the graph's stream into events; leaves the final state and the nodes' times in the run."""
        request = run.request
        context = RunContext(
            run_id=run.run_id,
            thread_id=run.thread_id,
            writer=request.writer,
            answer_sentences=request.answer_sentences,
            abstain_below=request.abstain_below,
            scope=request.scope,
        )
        stream: AsyncIterator[Any] = self._graph.astream(
            {"question": request.question, "turns": []},
            self._conversations.config(run.thread_id),
            context=context,
            stream_mode=["custom", "updates"],
            durability="exit",
        )
        before = time.monotonic()
        async for mode, part in stream:
            now = time.monotonic()
            if mode == "custom":
                if part["type"] == "token":
                    run.timings.setdefault("first_token", round(now - run.started, 4))
                run.emit(part["type"], part["data"])
            else:
                for node, update in part.items():
                    run.timings[node] = round(run.timings.get(node, 0.0) + now - before, 4)
                    run.state.update(cast(AssistantState, update or {}))
                before = now
        answer = run.state["answer"]
        streamed = "".join(event.data["text"] for event in run.events if event.type == "token")
        if streamed != answer.text:
            log.error("run %s: the answer differs from what was streamed", run.run_id)

    async def _settle(self, run: Run, status: Status, problem: Problem | None) -> Problem | None:
        """Keep the run's record; returns the problem that the run ends with, if any.

        An answer whose record cannot be kept is a failed run: the conversation forgets it.
        """
        state: AssistantState = run.state if status in ("answered", "abstained") else {}
        record = RunRecord(
            tenant=self._conversations.tenant,
            run_id=run.run_id,
            thread_id=run.thread_id,
            started_at=run.started_at,
            ended_at=datetime.now(UTC),
            status=status,
            question=run.request.question,
            standalone_question=run.state.get("standalone", ""),
            writer=run.info.writer,
            model=run.info.model,
            prompt_version=run.info.prompt_version,
            messages=tuple(run.state.get("model_messages", ())),
            retrieved=tuple(hit.chunk.chunk_id for hit in run.state.get("hits", ())),
            answer=state.get("answer"),
            error=problem.detail if problem is not None else "",
            timings=run.timings,
        )
        try:
            await self._conversations.store.save(record)
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                await self._conversations.rewind(run.thread_id, run.mark)
            return problem or self._report(run, error)
        return problem

    def _report(self, run: Run, error: BaseException) -> Problem:
        """The problem that a client sees; what it must not see goes to the log."""
        if isinstance(error, sqlite3.Error):
            log.error("run %s: the conversations' database failed", run.run_id, exc_info=error)
            error = StoreError(
                f"the conversation cannot be stored ({error})", "Check disk space and permissions, then ask again"
            )
        elif isinstance(error, TwinError):
            log.info("run %s: %s", run.run_id, error)
        else:
            log.error("run %s failed", run.run_id, exc_info=error)
        return problem_of(error, run.run_id)


def _usage(state: AssistantState) -> dict[str, int]:
    """Messages exchanged with a chat model in this run."""
    return {"model_messages": len(state.get("model_messages", ()))}
