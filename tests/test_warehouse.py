"""The warehouse keeps every version, one of them current, whatever happens between."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knowledge.warehouse import AsyncWarehouse, Warehouse, open_warehouse
from tests.fakes import day, make_document, prose
from twin.errors import NotFoundError, StoreError
from twin.records import Document
from twin.settings import Settings

UNICODE = "Zoë said: “no” — 𝗯𝗼𝗹𝗱 🥣\r\n\tline\u2028two\x00end"


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(tmp_path / "warehouse", "default")


def test_a_document_comes_back_as_it_went_in(warehouse: Warehouse) -> None:
    full = make_document(
        "a", UNICODE, title="T", subtitle="S", author="Ann", platform="blog", url="https://a.example", tags=("x", "y"),
        published_at=day("2020-05-31T01:02:03.000004"), language="en",
    )  # fmt: skip
    bare = make_document("b", "bare")
    assert warehouse.put([full, bare]) == {full.document_id: "new", bare.document_id: "new"}
    assert warehouse.get(full.document_id) == full
    assert warehouse.get_many([(bare.document_id, bare.version), (full.document_id, full.version)]) == [bare, full]
    assert asyncio.run(AsyncWarehouse(warehouse).get(bare.document_id)) == bare


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_is_kept_exactly(warehouse: Warehouse, text: str) -> None:
    document = make_document("any", text, title=text)
    warehouse.put([document])
    assert warehouse.get(document.document_id, document.version) == document


def test_old_versions_stay_readable_and_one_is_current(warehouse: Warehouse) -> None:
    first, second = make_document("a", "one"), make_document("a", "two")
    other = make_document("b", "other")
    warehouse.put([first, other])
    assert warehouse.put([second, other]) == {first.document_id: "changed", other.document_id: "unchanged"}
    assert warehouse.get(first.document_id) == second
    assert warehouse.get(first.document_id, first.version) == first
    assert warehouse.current_versions() == {second.document_id: second.version, other.document_id: other.version}
    assert [one.current for one in warehouse.versions_of(first.document_id)] == [True, False]
    assert warehouse.stats().versions == 3


def test_going_back_to_an_old_version_makes_it_current_again(warehouse: Warehouse) -> None:
    first, second = make_document("a", "one"), make_document("a", "two")
    for document in (first, second, first):
        warehouse.put([document])
    held = warehouse.versions_of(first.document_id)
    assert [(one.version, one.current) for one in held] == [(first.version, True), (second.version, False)]
    assert held[0].ingested_at > held[1].ingested_at


def test_putting_what_is_there_writes_nothing(warehouse: Warehouse) -> None:
    document = make_document("a", "one")
    warehouse.put([document])
    before = sorted(file.name for file in warehouse.path.rglob("*"))
    assert warehouse.put([document, document]) == {document.document_id: "unchanged"}
    assert warehouse.put([]) == {}
    assert sorted(file.name for file in warehouse.path.rglob("*")) == before


def test_of_one_document_twice_in_a_batch_the_last_counts(warehouse: Warehouse) -> None:
    first, last = make_document("a", "one"), make_document("a", "two")
    warehouse.put([first, last])
    assert warehouse.get(first.document_id) == last
    assert len(warehouse.versions_of(first.document_id)) == 1


def test_a_batch_is_one_commit(warehouse: Warehouse) -> None:
    warehouse.put([make_document(str(n), f"text {n}") for n in range(3)])
    log = warehouse.path / "documents" / "_delta_log"
    before = len(list(log.glob("*.json")))
    warehouse.put([make_document(str(n), f"changed {n}") for n in range(5)])
    assert len(list(log.glob("*.json"))) == before + 1


def test_lists_are_filtered_ordered_and_without_text(warehouse: Warehouse) -> None:
    warehouse.put(
        [
            make_document("a", "12345", author="Ann", platform="blog", published_at=day("2020-01-01")),
            make_document("b", "1", author="Ann", platform="letter", published_at=day("2022-01-01")),
            make_document("c", "1", author="Bob", platform="blog"),
        ]
    )
    assert [one.uri for one in warehouse.list_documents()] == ["b", "a", "c"]
    assert [one.uri for one in warehouse.list_documents(author="Ann", platform="blog")] == ["a"]
    assert [one.chars for one in warehouse.list_documents(limit=2)] == [1, 5]
    stats = warehouse.stats()
    assert (stats.documents, stats.chars, stats.platforms) == (3, 7, {"blog": 2, "letter": 1})
    assert (stats.first_published, stats.last_published) == (day("2020-01-01"), day("2022-01-01"))


def test_iterating_reads_the_current_documents_of_these_ids(warehouse: Warehouse) -> None:
    documents = {d.document_id: d for d in (make_document(str(n), f"text {n}") for n in range(300))}
    warehouse.put(list(documents.values()))
    warehouse.put([make_document("0", "changed")])
    assert {d.document_id for d in warehouse.iter_current()} == set(documents)
    some = sorted(documents)[:7]
    assert [d.document_id for d in warehouse.iter_current([*some, "unknown"])] == some


def test_an_empty_warehouse_is_no_error(warehouse: Warehouse) -> None:
    assert warehouse.current_versions() == {}
    assert warehouse.list_documents() == []
    assert list(warehouse.iter_current()) == []
    assert warehouse.stats().documents == 0
    warehouse.delete(["x"])
    warehouse.compact()
    assert not warehouse.path.exists()


@pytest.mark.parametrize("version", [None, "1234"])
def test_what_is_not_there_is_named(warehouse: Warehouse, version: str | None) -> None:
    with pytest.raises(NotFoundError, match="document nope"):
        warehouse.get("nope", version)
    document = make_document("a", "text")
    warehouse.put([document])
    with pytest.raises(NotFoundError, match="document nope"):
        warehouse.get("nope", version)
    with pytest.raises(NotFoundError, match=f"{document.document_id} in version 1234"):
        warehouse.get_many([(document.document_id, document.version), (document.document_id, "1234")])


def test_deleting_takes_all_versions(warehouse: Warehouse) -> None:
    documents = [make_document("a", "one"), make_document("a", "two"), make_document("b", "it's")]
    for document in documents:
        warehouse.put([document])
    warehouse.delete([documents[0].document_id, "x' OR '1'='1"])
    assert warehouse.current_versions() == {documents[2].document_id: documents[2].version}
    with pytest.raises(NotFoundError):
        warehouse.get(documents[0].document_id, documents[0].version)


def test_tenants_share_nothing(tmp_path: Path) -> None:
    mine = open_warehouse(Settings(data_dir=tmp_path, tenant="mine"))
    theirs = open_warehouse(Settings(data_dir=tmp_path, tenant="theirs"))
    document = make_document("a", "mine", tenant="mine")
    mine.put([document])
    assert theirs.current_versions() == {}
    with pytest.raises(StoreError, match="tenant 'mine'"):
        theirs.put([document])
    same_folder = Warehouse(mine.path, "theirs")
    assert same_folder.current_versions() == {}
    assert same_folder.list_documents() == []
    with pytest.raises(NotFoundError):
        same_folder.get(document.document_id, document.version)


def test_the_log_holds_no_words_of_the_author(warehouse: Warehouse) -> None:
    secret = make_document("a", "Xyzzy secret text", title="Plugh secret title", author="Quux", tags=("frotz",))
    warehouse.put([secret])
    warehouse.put([make_document("a", "Xyzzy changed", title="Plugh changed")])
    for entry in (warehouse.path / "documents" / "_delta_log").glob("*.json"):
        written = entry.read_text()
        assert not any(word in written for word in ("Xyzzy", "Plugh", "Quux", "frotz")), entry


def test_the_change_feed_tells_what_changed(warehouse: Warehouse) -> None:
    for text in ("one", "two"):
        warehouse.put([make_document("a", text)])
    feed = pl.DataFrame(DeltaTable(warehouse.path / "documents").load_cdf(starting_version=1).read_all())
    changes = feed.select("_commit_version", "_change_type", "text").sort("_commit_version", "_change_type").rows()
    assert changes == [
        (1, "insert", "one"),
        (2, "insert", "two"),
        (2, "update_postimage", "one"),
        (2, "update_preimage", "one"),
    ]


def test_compaction_keeps_everything(warehouse: Warehouse) -> None:
    documents = [make_document(str(n), f"text {n}") for n in range(40)]
    for document in documents:
        warehouse.put([document])
    warehouse.compact()
    assert len(DeltaTable(warehouse.path / "documents").file_uris()) == 1
    assert {d.document_id: d for d in warehouse.iter_current()} == {d.document_id: d for d in documents}


def cut_data(folder: Path) -> None:
    for file in folder.rglob("*.parquet"):
        file.write_bytes(file.read_bytes()[:100])


def lose_data(folder: Path) -> None:
    for file in folder.rglob("*.parquet"):
        file.unlink()


def garble_data(folder: Path) -> None:
    for file in folder.rglob("*.parquet"):
        content = bytearray(file.read_bytes())
        content[8 : len(content) // 2] = b"\xff" * (len(content) // 2 - 8)
        file.write_bytes(content)


def garble_log(folder: Path) -> None:
    for file in folder.rglob("_delta_log/*.json"):
        file.write_text("{ no json")


def lose_log(folder: Path) -> None:
    for file in folder.rglob("_delta_log/*.json"):
        file.unlink()


@pytest.mark.parametrize("damage", [cut_data, lose_data, garble_data, garble_log, lose_log])
def test_damaged_files_are_named_with_a_way_out(warehouse: Warehouse, damage: Callable[[Path], None]) -> None:
    document = make_document("a", prose("pump", 50))
    warehouse.put([document])
    damage(warehouse.path)
    attempts: list[Callable[[], object]] = [
        lambda: warehouse.get(document.document_id),
        lambda: warehouse.put([make_document("a", "new text")]),
    ]
    for attempt in attempts:
        with pytest.raises(StoreError, match=r"move this folder away") as caught:
            attempt()
        assert str(warehouse.path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_that_is_another_table_is_not_written(warehouse: Warehouse) -> None:
    write_deltalake(str(warehouse.path / "documents"), pl.DataFrame({"x": [1]}))
    with pytest.raises(StoreError, match="no column"):
        warehouse.put([make_document("a", "text")])


def test_readers_see_whole_commits(warehouse: Warehouse) -> None:
    """While batches are replaced, a reader finds all documents of one batch, never a mixture."""
    import threading

    def batch(number: int) -> list[Document]:
        return [make_document(str(n), f"batch {number}, text {n}") for n in range(10)]

    versions = {frozenset(d.version for d in batch(number)) for number in range(6)}
    warehouse.put(batch(0))
    done = threading.Event()

    def write() -> None:
        for number in range(1, 6):
            warehouse.put(batch(number))
        done.set()

    thread = threading.Thread(target=write)
    thread.start()
    while not done.is_set():
        assert frozenset(Warehouse(warehouse.path, "default").current_versions().values()) in versions
    thread.join()


def test_a_reader_follows_when_the_warehouse_is_made_anew(warehouse: Warehouse) -> None:
    documents = [make_document("a", text) for text in ("one", "two", "three")]
    for document in documents:
        warehouse.put([document])
    shutil.rmtree(warehouse.path)
    assert warehouse.current_versions() == {}
    Warehouse(warehouse.path, "default").put([documents[0]])
    assert warehouse.get(documents[0].document_id) == documents[0]
