"""What lets ingestion read, embed and write at the same time."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from twin.settings import Settings

if TYPE_CHECKING:
    from knowledge.index.contract import ChunkIndex
    from knowledge.index.lance import LanceIndex

T = TypeVar("T")

_PENDING_WRITES = 2
"""Groups that may wait to be written; more would only hold memory."""


@contextmanager
def prefetched(items: Iterator[T], depth: int) -> Iterator[Iterator[T]]:
    """`items`, produced by a thread that runs up to `depth` ahead.

    What it raises is raised here, after what it had produced. Leaving the block stops the thread
    before its next item and waits for it, so that nothing is written behind the caller's back.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(depth)
    stopped = threading.Event()

    def offer(entry: tuple[T | None, BaseException | None, bool]) -> None:
        while not stopped.is_set():
            try:
                ready.put(entry, timeout=0.1)
            except queue.Full:
                continue
            return

    def produce() -> None:
        try:
            for item in items:
                offer((item, None, False))
                if stopped.is_set():
                    return
            offer((None, None, True))
        except BaseException as error:  # noqa: BLE001 - handed to the consumer
            offer((None, error, True))

    def consume() -> Iterator[T]:
        while True:
            item, error, last = ready.get()
            if error is not None:
                raise error
            if last:
                return
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=produce, name="reader", daemon=True)
    thread.start()
    try:
        yield consume()
    finally:
        stopped.set()
        thread.join()


class IndexWriter:
    """A thread with an event loop, which writes the index, in order, while the caller computes."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="index writer")
        self._runner = asyncio.Runner()
        self._writes: deque[Future[None]] = deque()
        self._opened: list[ChunkIndex] = []

    def __enter__(self) -> IndexWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            while self._writes:
                failure = self._writes.popleft().exception()
                if failure is not None and error is None:
                    raise failure
            for index in self._opened:
                self.call(index.close())
        finally:
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()

    def open_or_create(self, settings: Settings, embedder: str, dimension: int) -> ChunkIndex:
        """See `knowledge.index.create_index`."""
        from knowledge.index import create_index

        index = self.call(create_index(settings, embedder, dimension))
        self._opened.append(index)
        return index

    def replacement(self, settings: Settings, embedder: str, dimension: int) -> LanceIndex:
        """See `knowledge.index.replacement_index`."""
        from knowledge.index import replacement_index

        index = self.call(replacement_index(settings, embedder, dimension))
        self._opened.append(index)
        return index

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` after all writes submitted, and return its result."""
        return self._thread.submit(self._runner.run, work).result()

    def submit(self, write: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do `write` beside the caller, after the writes before it. Raises what an earlier one raised."""
        while len(self._writes) >= _PENDING_WRITES:
            self._writes.popleft().result()
        self._writes.append(self._thread.submit(lambda: self._runner.run(write())))

    def drain(self) -> None:
        """Wait for all writes submitted. Raises what one of them raised."""
        while self._writes:
            self._writes.popleft().result()
