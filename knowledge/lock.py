"""One writer per twin: warehouse and index change only under this lock. Readers never wait."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from knowledge.faults import store_fault, write_atomically
from twin.errors import LockedError
from twin.records import Record, UtcDatetime
from twin.settings import Settings


class LockHolder(Record):
    """Who holds the write lock."""

    pid: int
    purpose: str
    since: UtcDatetime

    def __str__(self) -> str:
        return f"{self.purpose} (process {self.pid}, since {self.since.astimezone():%Y-%m-%d %H:%M:%S})"


@contextmanager
def write_lock(
    settings: Settings, purpose: str, on_wait: Callable[[str], None] = lambda message: None
) -> Iterator[None]:
    """Hold the twin's write lock while the block runs.

    The lock is the operating system's: it goes with the process that holds it, however that ends.
    Where another process has it, `on_wait` is told once who, and the lock is waited for
    `settings.lock_timeout` seconds. Raises LockedError after that; StoreError where the lock file
    cannot be written.
    """
    from filelock import FileLock, Timeout

    path = _lock_file(settings)
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait(f"waiting for {_holder_text(settings)}")
            lock.acquire(timeout=settings.lock_timeout)
    except Timeout:
        raise LockedError(
            f"the twin {settings.tenant!r} is being written by {_holder_text(settings)}; "
            f"waited {settings.lock_timeout:g} s",
            "Wait until it is done, or set TWIN_LOCK_TIMEOUT to wait longer",
        ) from None
    except OSError as error:
        raise store_fault(error, path, "taking the write lock", "Check this folder") from error
    try:
        _write_holder(settings, purpose)
        yield
    finally:
        _holder_file(settings).unlink(missing_ok=True)
        lock.release()


def lock_holder(settings: Settings) -> LockHolder | None:
    """Who writes now, None if nobody does. For messages: it may have changed when you read it."""
    try:
        holder = LockHolder.model_validate_json(_holder_file(settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return holder if _is_alive(holder.pid) else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _write_holder(settings: Settings, purpose: str) -> None:
    holder = LockHolder(pid=os.getpid(), purpose=purpose, since=datetime.now(UTC))
    path = _holder_file(settings)
    try:
        write_atomically(path, json.dumps(holder.model_dump(mode="json")))
    except OSError as error:
        raise store_fault(error, path, "taking the write lock", "Check this folder") from error


def _holder_text(settings: Settings) -> str:
    holder = lock_holder(settings)
    return str(holder) if holder is not None else "another process"


def _lock_file(settings: Settings) -> Path:
    return settings.tenant_dir / "write.lock"


def _holder_file(settings: Settings) -> Path:
    return settings.tenant_dir / "write.lock.json"
