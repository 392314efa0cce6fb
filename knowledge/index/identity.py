"""Which index is in use and what it was built with: a small file beside the data.

The file names the folder that holds the data, so that a rebuilt index takes over in one step.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from knowledge.faults import store_fault, write_atomically
from knowledge.index.contract import IndexIdentity
from twin.errors import IndexMismatchError, NotFoundError, StoreError
from twin.records import Record

SCHEMA_VERSION = 1
REBUILD = "Build it anew from the stored documents with: twin index rebuild"

_FILE = "identity.json"
_SUBJECTS = {
    "tenant": "belongs to tenant",
    "embedder": "was built with embedding model",
    "dimension": "holds vectors of dimension",
    "chunker": "was built with passages cut by",
    "schema_version": "has schema version",
}


class IndexPointer(Record):
    """The identity of the index in use and the folder, below the index's own, that holds its data."""

    identity: IndexIdentity
    folder: str


def read_pointer(index_dir: Path) -> IndexPointer:
    """The index in use at `index_dir`.

    Raises NotFoundError if there is none yet, StoreError if the file cannot be read.
    """
    path = index_dir / _FILE
    try:
        return IndexPointer.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise NotFoundError(f"nothing is indexed yet at {index_dir}", "Run: twin ingest PATH...") from None
    except ValidationError as error:
        raise StoreError(f"{path} is damaged ({error.error_count()} problems)", REBUILD) from error
    except OSError as error:
        raise store_fault(error, path, "reading the index's identity", REBUILD) from error


def write_pointer(index_dir: Path, pointer: IndexPointer) -> None:
    """Make `pointer` the index in use, at once. Raises StoreError."""
    path = index_dir / _FILE
    try:
        write_atomically(path, pointer.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise store_fault(error, path, "writing the index's identity", REBUILD) from error


def pointer_stamp(index_dir: Path) -> tuple[int, int]:
    """Changes whenever another index is put in use; (0, 0) if there is none."""
    try:
        status = (index_dir / _FILE).stat()
    except OSError:
        return 0, 0
    return status.st_ino, status.st_mtime_ns


def check_identity(found: IndexIdentity, wanted: IndexIdentity, index_dir: Path) -> None:
    """Raise IndexMismatchError, saying what differs, unless both are the same."""
    differences = [
        f"{subject} {getattr(found, field)}, the settings say {getattr(wanted, field)}"
        for field, subject in _SUBJECTS.items()
        if getattr(found, field) != getattr(wanted, field)
    ]
    if differences:
        raise IndexMismatchError(
            f"the index at {index_dir} {'; it '.join(differences)}", f"{REBUILD} (or restore the setting)"
        )
