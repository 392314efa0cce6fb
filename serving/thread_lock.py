"""One run per conversation, also between processes: byte locks on one file, which the system frees
when a process dies, however it dies."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import ModuleType

from serving.problems import ThreadBusyError
from twin.errors import StoreError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows has no byte locks of this kind; one process per twin is the rule there
    fcntl = None


def _offset(thread_id: str) -> int:
    return int.from_bytes(hashlib.sha256(thread_id.encode()).digest()[:7], "big")


class ThreadLocks:
    """Locks by thread id on `file`. Within one process the caller must already know who holds what:
    the system grants a process its own lock twice. Open one per process and file."""

    def __init__(self, file: Path) -> None:
        try:
            self._fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"cannot open {file} ({error.strerror})", "Check the folder's permissions") from error

    def acquire(self, thread_id: str) -> None:
        """Take the lock. Raises ThreadBusyError if another process has it."""
        if fcntl is None:
            return
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(thread_id))
        except OSError:
            raise ThreadBusyError(
                f"conversation {thread_id} is being answered by another process", "Wait until it has finished"
            ) from None

    def release(self, thread_id: str) -> None:
        if fcntl is not None:
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, _offset(thread_id))

    def close(self) -> None:
        os.close(self._fd)
