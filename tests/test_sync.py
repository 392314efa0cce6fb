"""Ingestion: what changed and nothing else, and whole again after any interruption."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from knowledge.chunk import chunk_document
from knowledge.index import inspect_index, open_index
from knowledge.index.contract import SearchQuery
from knowledge.lock import lock_holder, write_lock
from knowledge.sync import Consistency, Progress, check_consistency, consistency_warning, ingest, rebuild_index
from knowledge.warehouse import open_warehouse
from tests.fakes import HashEmbedder, prose
from twin.errors import IndexMismatchError, InputError, LockedError, NotFoundError, StoreError
from twin.settings import Settings

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", lock_timeout=0, chunk_words=40)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Documents of different lengths, hundreds of passages together."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(40):
        write(folder, number, prose(f"engine {number}", 10 + 12 * (number % 9)))
    return folder


def write(folder: Path, number: int, text: str) -> None:
    (folder / f"post-{number:02d}.md").write_text(f"---\ntitle: Post {number}\n---\n\n{text}\n", encoding="utf-8")


async def assert_whole(settings: Settings, documents: int) -> None:
    """Every stored document is indexed, once, complete, with exactly the chunks that it has."""
    warehouse, index = open_warehouse(settings), await inspect_index(settings)
    assert await check_consistency(warehouse, index) == Consistency()
    expected = {
        chunk.chunk_id: chunk
        for document in warehouse.iter_current()
        for chunk in chunk_document(document, settings.chunk_words)
    }
    assert len(warehouse.current_versions()) == documents
    assert (await index.stats()).chunks == len(expected)
    assert {chunk.chunk_id: chunk for chunk in await index.fetch(list(expected))} == expected
    await index.close()


async def test_what_has_not_changed_is_not_embedded(settings: Settings, corpus: Path) -> None:
    embedder = HashEmbedder()
    first = ingest([corpus], settings, embedder)
    assert (first.read, first.new, first.chunks_embedded) == (40, 40, embedder.texts)
    again = ingest([corpus], settings, embedder)
    assert (again.read, again.unchanged, again.new, again.changed, again.chunks_embedded) == (40, 40, 0, 0, 0)
    write(corpus, 3, prose("new words", 20))
    write(corpus, 99, prose("new post", 3))
    before = embedder.texts
    third = ingest([corpus], settings, embedder)
    assert (third.new, third.changed, third.unchanged) == (1, 1, 39)
    assert 0 < embedder.texts - before == third.chunks_embedded < 20
    await assert_whole(settings, 41)


async def test_files_that_are_gone_stay_known(settings: Settings, corpus: Path) -> None:
    ingest([corpus], settings, HashEmbedder())
    (corpus / "post-05.md").unlink()
    assert ingest([corpus], settings, HashEmbedder()).read == 39
    await assert_whole(settings, 40)


async def test_the_index_forgets_what_the_warehouse_no_longer_has(settings: Settings, corpus: Path) -> None:
    ingest([corpus], settings, HashEmbedder())
    warehouse = open_warehouse(settings)
    gone = next(iter(warehouse.current_versions()))
    warehouse.delete([gone])
    (corpus / "post-05.md").write_text("---\ntitle: x\n---\nother", encoding="utf-8")
    warning = await consistency_warning(settings, warehouse, await inspect_index(settings))
    assert "1 indexed but not stored" in warning
    assert "twin index rebuild" in warning
    lonely = corpus.parent / "lonely.md"
    lonely.write_text("Only this.", encoding="utf-8")
    assert ingest([lonely], settings, HashEmbedder()).removed == 1
    await assert_whole(settings, 40)


async def test_progress_grows_to_the_end(settings: Settings, corpus: Path) -> None:
    told: list[Progress] = []
    report = ingest([corpus], settings, HashEmbedder(), told.append)
    assert [one.embedded for one in told] == sorted(one.embedded for one in told)
    assert all(one.embedded <= one.chunks for one in told)
    assert (told[-1].read, told[-1].embedded, told[-1].chunks) == (40, report.chunks_embedded, report.chunks_embedded)


def test_a_path_that_is_not_there_changes_nothing(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere does not exist"):
        ingest([tmp_path / "nowhere"], settings, HashEmbedder())
    assert not settings.tenant_dir.exists()


@pytest.mark.parametrize("change", ["embedder", "dimension", "passages"])
async def test_another_model_or_passage_length_needs_a_rebuild(settings: Settings, corpus: Path, change: str) -> None:
    ingest([corpus], settings, HashEmbedder())
    other = HashEmbedder(
        identity="other-v2" if change == "embedder" else "hash-v1", dimension=32 if change == "dimension" else 64
    )
    changed = settings.model_copy(update={"chunk_words": 90 if change == "passages" else settings.chunk_words})
    with pytest.raises(IndexMismatchError, match=r"twin index rebuild"):
        ingest([corpus], changed, other)
    assert rebuild_index(changed, other).chunks_embedded == other.texts > 0
    assert ingest([corpus], changed, other).chunks_embedded == 0
    await assert_whole(changed, 40)


async def test_a_reader_keeps_finding_while_the_index_is_rebuilt(settings: Settings, corpus: Path) -> None:
    embedder = HashEmbedder()
    ingest([corpus], settings, embedder)
    reader = await open_index(settings, embedder.identity, embedder.dimension)
    query = SearchQuery(text="engine 7", vector=tuple(embedder.embed(["engine 7"])[0].tolist()), limit=5)
    before = [hit.chunk for hit in await reader.search(query)]
    found: list[int] = []

    class Watching(HashEmbedder):
        def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            found.append(len(asyncio.run(reader.search(query))))
            return super().embed(texts)

    await asyncio.to_thread(rebuild_index, settings, Watching())
    assert found
    assert set(found) == {5}
    assert [hit.chunk for hit in await reader.search(query)] == before


def test_there_is_nothing_to_rebuild_from_an_empty_warehouse(settings: Settings) -> None:
    with pytest.raises(NotFoundError, match="twin ingest"):
        rebuild_index(settings, HashEmbedder())


async def test_a_lost_index_is_made_again_by_the_next_run(settings: Settings, corpus: Path) -> None:
    ingest([corpus], settings, HashEmbedder())
    shutil.rmtree(settings.index_dir)
    report = ingest([corpus / "post-00.md"], settings, HashEmbedder())
    assert (report.unchanged, report.completed) == (1, 40)
    await assert_whole(settings, 40)


def test_an_error_of_the_model_ends_the_run_and_frees_the_lock(settings: Settings, corpus: Path) -> None:
    class Failing(HashEmbedder):
        def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            raise StoreError("the model is gone")

    with pytest.raises(StoreError, match="the model is gone"):
        ingest([corpus], settings, Failing())
    assert lock_holder(settings) is None
    assert threading.active_count() == 1 or all("reader" not in thread.name for thread in threading.enumerate())
    assert ingest([corpus], settings, HashEmbedder()).completed > 0


# Interruptions, in processes of their own.


def start(settings: Settings, corpus: Path, *options: str) -> subprocess.Popen[str]:
    assert settings.data_dir is not None
    command = [sys.executable, "-m", "tests.ingesting", str(settings.data_dir), str(corpus), *options]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill_when_stopped(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "stopped\n"
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
    process.communicate()


@pytest.mark.parametrize("stop_after", [0, 1, 120, 400])
async def test_after_kill_9_the_next_run_completes_the_rest(settings: Settings, corpus: Path, stop_after: int) -> None:
    kill_when_stopped(start(settings, corpus, "--stop-after", str(stop_after)))
    index = await inspect_index(settings)
    done = await index.versions()
    assert all(one.complete for one in done.values())
    await index.close()
    embedder = HashEmbedder()
    report = ingest([corpus], settings, embedder)
    assert report.chunks_embedded == embedder.texts
    assert report.new + report.unchanged == 40
    assert report.new + report.completed == 40 - len(done)
    await assert_whole(settings, 40)
    assert ingest([corpus], settings, HashEmbedder()).chunks_embedded == 0


async def test_after_kill_9_any_run_completes_the_rest(settings: Settings, corpus: Path) -> None:
    kill_when_stopped(start(settings, corpus, "--stop-after", "120"))
    stored = len(open_warehouse(settings).current_versions())
    assert stored > 0
    ingest([corpus / "post-00.md"], settings, HashEmbedder())
    await assert_whole(settings, stored)


async def test_kill_9_while_documents_are_replaced(settings: Settings, corpus: Path) -> None:
    ingest([corpus], settings, HashEmbedder())
    for number in range(0, 40, 2):
        write(corpus, number, prose(f"rewritten {number}", 5 + number))
    kill_when_stopped(start(settings, corpus, "--stop-after", "60"))
    index = await inspect_index(settings)
    assert all(one.complete for one in (await index.versions()).values())
    await index.close()
    ingest([corpus], settings, HashEmbedder())
    await assert_whole(settings, 40)


async def test_kill_9_while_rebuilding_leaves_the_old_index_in_use(settings: Settings, corpus: Path) -> None:
    ingest([corpus], settings, HashEmbedder())
    kill_when_stopped(start(settings, corpus, "--rebuild", "--stop-after", "120"))
    await assert_whole(settings, 40)
    assert len(list(settings.index_dir.glob("data-*"))) == 2
    rebuild_index(settings, HashEmbedder())
    await assert_whole(settings, 40)
    assert len(list(settings.index_dir.glob("data-*"))) == 1


@pytest.mark.parametrize("limit", [100, 3_000, 30_000, 60_000])
async def test_a_full_disk_keeps_what_is_done(settings: Settings, corpus: Path, limit: int) -> None:
    """The system's limit on the length of a file fails writes as a full disk does, wherever they come."""
    process = start(settings, corpus, "--file-limit", str(limit))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == StoreError.exit_code, errors
    assert "disk is full" in errors
    assert "run the same command again" in errors
    assert len(errors.strip().splitlines()) == 1
    ingest([corpus], settings, HashEmbedder())
    await assert_whole(settings, 40)


# Two writers at once.


def test_a_second_writer_is_told_who_writes(settings: Settings, corpus: Path) -> None:
    process = start(settings, corpus, "--stop-after", "0")
    assert process.stdout is not None
    assert process.stdout.readline() == "stopped\n"
    told: list[str] = []
    with pytest.raises(LockedError, match=rf"twin ingest \(process {process.pid}, since \d{{4}}-"):
        ingest([corpus], settings, HashEmbedder(), lambda progress: told.append(progress.message))
    assert told == [f"waiting for {lock_holder(settings)}"]
    process.kill()
    process.communicate()
    assert lock_holder(settings) is None
    assert ingest([corpus], settings, HashEmbedder()).read == 40


def test_a_second_writer_waits_for_the_first(settings: Settings) -> None:
    patient = settings.model_copy(update={"lock_timeout": 60.0})
    order: list[str] = []
    first_may_end, first_has_it = threading.Event(), threading.Event()

    def first() -> None:
        with write_lock(settings, "first"):
            first_has_it.set()
            first_may_end.wait(timeout=60)
            order.append("first")

    def on_wait(message: str) -> None:
        order.append(message)
        first_may_end.set()

    thread = threading.Thread(target=first)
    thread.start()
    first_has_it.wait(timeout=60)
    with write_lock(patient, "second", on_wait):
        order.append("second")
    thread.join()
    assert len(order) == 3
    assert order[0].startswith(f"waiting for first (process {os.getpid()}, since ")
    assert order[1:] == ["first", "second"]


def test_tenants_write_at_the_same_time(settings: Settings) -> None:
    other = settings.model_copy(update={"tenant": "other"})
    with write_lock(settings, "one"), write_lock(other, "two"):
        assert str(lock_holder(settings)).startswith("one")
        assert str(lock_holder(other)).startswith("two")


def test_the_holder_file_of_a_dead_process_means_nothing(settings: Settings) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    settings.tenant_dir.mkdir(parents=True)
    holder = {"pid": ended.pid, "purpose": "twin ingest", "since": "2024-01-01T00:00:00Z"}
    (settings.tenant_dir / "write.lock.json").write_text(json.dumps(holder))
    assert lock_holder(settings) is None
    with write_lock(settings, "next"):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(settings: Settings, corpus: Path) -> None:
    assert settings.data_dir is not None
    settings.data_dir.mkdir(mode=0o500)
    with pytest.raises(StoreError, match="no permission"):
        ingest([corpus], settings, HashEmbedder())


async def test_missing_and_stale_documents_are_told(settings: Settings, corpus: Path) -> None:
    ingest([corpus], settings, HashEmbedder())
    warehouse, index = open_warehouse(settings), await inspect_index(settings)
    assert await consistency_warning(settings, warehouse, index) == ""
    first, second = sorted(warehouse.current_versions())[:2]
    await index.delete([first])
    changed = warehouse.get(second).model_copy(update={"version": "0" * 16})
    warehouse.put([changed])
    found = await check_consistency(warehouse, index)
    assert found == Consistency(missing=(first,), stale=(second,))
    assert "1 not indexed, 1 indexed in another version" in found.message
