"""What went wrong in a store, said so that the user can act: disk full, no permission, damaged files."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twin.errors import StoreError, TwinError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
ENGINES = ("deltalake", "_internal", "polars", "pyarrow")
"""Modules whose exceptions are an engine's; deltalake's native ones say `_internal`."""
_OS_ERROR = re.compile(r"\(os error (\d+)\)")


def store_fault(error: BaseException, path: Path, doing: str, damaged_hint: str) -> StoreError:
    """The StoreError for `error`, which happened while `doing` something at `path`.

    Storage engines hand on the system's errors as text, so that text is searched too. What is
    neither a full disk nor a missing right is taken for damage, for which `damaged_hint` is the fix.
    """
    code = _errno(error)
    if code in _FULL:
        return StoreError(
            f"the disk is full at {path} ({doing})",
            "Free some space and run the same command again: what is done is kept",
        )
    if code in _DENIED:
        return StoreError(f"no permission at {path} ({doing})", "Check who owns this folder and that it is writable")
    return StoreError(f"{path} cannot be used ({doing}): {_first_line(error)}", damaged_hint)


@contextmanager
def store_faults(path: Path, doing: str, damaged_hint: str) -> Iterator[None]:
    """Turn what storage engines raise, panics of their native code included, into StoreError.

    Errors of ours pass, and so do mistakes of ours (TypeError, KeyError and their like).
    """
    try:
        yield
    except TwinError:
        raise
    except BaseException as error:
        if not _from_engine(error):
            raise
        raise store_fault(error, path, doing, damaged_hint) from error


def _from_engine(error: BaseException) -> bool:
    kind = type(error)
    return (
        isinstance(error, OSError | RuntimeError | ValueError)
        or kind.__name__ == "PanicException"
        or kind.__module__.split(".")[0] in ENGINES
    )


def _errno(error: BaseException) -> int | None:
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno is not None:
            return seen.errno
        if found := _OS_ERROR.search(str(seen)):
            return int(found.group(1))
        seen = seen.__cause__ or seen.__context__
    return None


def _first_line(error: BaseException, limit: int = 200) -> str:
    line = " ".join((str(error).splitlines() or [""])[0].split()).rstrip(". ") or type(error).__name__
    return line if len(line) <= limit else line[:limit] + "…"


def require_space(folder: Path, size: int) -> None:
    """Raise StoreError unless about `size` bytes fit below `folder`.

    A write that runs into a full disk is recovered from, but leaves files that nobody needs.
    """
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if shutil.disk_usage(folder).free < size:
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        raise store_fault(full, folder, f"{size / 1e6:.1f} MB are needed now", "")


def write_atomically(path: Path, content: str) -> None:
    """Replace the file at once: a reader, or a crash, finds the old content or the new.

    Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
