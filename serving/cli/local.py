"""The twin opened in this process as a session: its event loop runs in a thread, so that the main thread
is free to read a line or to be interrupted."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar

from serving.cli.session import Streamed
from twin.errors import NotFoundError
from twin.records import SearchScope
from twin.settings import Settings

if TYPE_CHECKING:
    from serving.runs import Ask, Run
    from serving.runtime import Twin

T = TypeVar("T")


class LocalSession:
    """See `Session`."""

    where = "this process"

    def __init__(self, settings: Settings) -> None:
        self._stack = AsyncExitStack()
        self._thread_id = ""
        ready: queue.SimpleQueue[asyncio.AbstractEventLoop] = queue.SimpleQueue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live(ready)), name="twin", daemon=True)
        self._thread.start()
        self._loop = ready.get()
        try:
            self._twin = self._call(self._open(settings))
        except BaseException:
            self._stop()
            raise

    def ask(
        self, question: str, thread_id: str | None, writer: str | None, scope: SearchScope | None = None
    ) -> Iterator[Streamed]:
        from serving.runs import Ask
        from serving.schemas import new_thread_id

        events: queue.SimpleQueue[Streamed] = queue.SimpleQueue()
        self._thread_id = thread_id or new_thread_id()
        self._call(self._start(Ask(question, self._thread_id, writer, scope=scope), events))
        while True:
            event = events.get()
            yield event
            if event.type == "done":
                return

    def cancel(self) -> None:
        self._call(self._cancel(self._thread_id))

    def thread(self, thread_id: str) -> dict[str, Any] | None:
        try:
            return self._call(self._twin.thread(thread_id)).model_dump(mode="json")
        except NotFoundError:
            return None

    def close(self) -> None:
        try:
            self._call(self._stack.aclose())
        finally:
            self._stop()

    async def _live(self, ready: queue.SimpleQueue[asyncio.AbstractEventLoop]) -> None:
        self._end = asyncio.Event()
        ready.put(asyncio.get_running_loop())
        await self._end.wait()

    async def _open(self, settings: Settings) -> Twin:
        from serving.runtime import open_twin

        return await self._stack.enter_async_context(open_twin(settings))

    async def _start(self, request: Ask, events: queue.SimpleQueue[Streamed]) -> None:
        run = self._twin.ask(request)
        self._relay = asyncio.create_task(_relay(run, events))

    async def _cancel(self, thread_id: str) -> None:
        run = self._twin.runs.running_on(thread_id)
        if run is not None:
            await self._twin.runs.cancel(run.run_id)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()


async def _relay(run: Run, events: queue.SimpleQueue[Streamed]) -> None:
    async for event in run.follow():
        events.put(Streamed(event.type, event.data))
