"""Every index backend keeps the contract; LanceDB's, which lives on disk, keeps more."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.structured_query import Comparator, Comparison, FilterDirective, Operation, Operator

from knowledge.index.contract import ChunkIndex, SearchQuery
from knowledge.index.filters import date_range, to_sql
from knowledge.index.fuse import fuse
from knowledge.index.lance import LanceIndex
from knowledge.words import content_stems
from tests.fakes import (
    HashEmbedder,
    MemoryIndex,
    day,
    identity,
    ids,
    index_document,
    make_document,
    matches,
    prose,
)
from twin.errors import IndexMismatchError, InputError, NotFoundError, StoreError
from twin.records import Document

C = Comparator
EMBEDDER = HashEmbedder()

PUMP = make_document(
    "pump", prose("bilge pump", 20), author="Ann", platform="blog", title="The pump", tags=("boats", "it's"),
    published_at=day("2020-05-31T23:30:00"), language="en",
)  # fmt: skip
LAMP = make_document(
    "lamp", prose("harbour lamp", 12), author="Ann", platform="newsletter", title="The lamp", tags=("boats",),
    published_at=day("2021-01-01"), language="en",
)  # fmt: skip
SOUP = make_document(
    "soup", prose("Gulaschsuppe für Zoë 🥣", 8), author="O'Brien", platform="blog", title="Suppe", language="de",
)  # fmt: skip
CORPUS = (PUMP, LAMP, SOUP)


async def filled(kind: str, folder: Path) -> ChunkIndex:
    index: ChunkIndex = MemoryIndex(identity(EMBEDDER))
    if kind == "lance":
        index = await LanceIndex.create(folder, identity(EMBEDDER))
    for document in CORPUS:
        await index.upsert(index_document(document, EMBEDDER))
    return index


@pytest.fixture(params=["lance", "memory"])
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ChunkIndex]:
    made = await filled(request.param, tmp_path / "index")
    yield made
    await made.close()


@pytest.fixture(scope="module", params=["lance", "memory"])
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ChunkIndex:
    """One for all the tests that only read."""
    return asyncio.run(filled(request.param, tmp_path_factory.mktemp("index")))


def query(text: str, **changes: object) -> SearchQuery:
    vector = tuple(EMBEDDER.embed([text])[0].tolist())
    return SearchQuery.model_validate({"text": text, "vector": vector, **changes})


async def test_search_finds_what_was_just_written_and_scores_it(shared: ChunkIndex) -> None:
    hits = await shared.search(query("bilge pump", limit=3))
    assert hits[0].chunk.document_id == PUMP.document_id
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    vector = EMBEDDER.embed(["bilge pump"])[0]
    for hit in hits:
        real = float(np.dot(EMBEDDER.embed([hit.chunk.search_text])[0], vector))
        assert hit.dense == pytest.approx(real, abs=1e-4)
    assert hits[0].lexical > 0


async def test_chunks_come_back_as_they_went_in(shared: ChunkIndex) -> None:
    sent = {one.chunk.chunk_id: one.chunk for document in CORPUS for one in index_document(document, EMBEDDER)}
    wanted = [*reversed(sent), "unknown", next(iter(sent))]
    assert await shared.fetch(wanted) == [sent[one] for one in wanted if one in sent]
    assert await shared.fetch([]) == []


async def test_upsert_twice_is_once(index: ChunkIndex) -> None:
    before = await index.stats()
    await index.upsert(index_document(PUMP, EMBEDDER))
    await index.upsert([])
    after = await index.stats()
    assert (after.chunks, after.documents) == (before.chunks, before.documents)
    assert before.documents == len(CORPUS)


async def test_a_new_version_leaves_nothing_of_the_old(index: ChunkIndex) -> None:
    shorter = make_document("pump", prose("diesel heater", 3), title="The heater")
    assert shorter.document_id == PUMP.document_id
    await index.upsert(index_document(shorter, EMBEDDER))
    held = (await index.versions())[PUMP.document_id]
    assert (held.version, held.complete) == (shorter.version, True)
    assert all("bilge" not in hit.chunk.text for hit in await index.search(query("bilge pump", limit=50)))


async def test_several_documents_are_replaced_in_one_call(index: ChunkIndex) -> None:
    new = [make_document(uri, prose("anchor", 5)) for uri in ("pump", "lamp", "anchor")]
    await index.upsert([one for document in new for one in index_document(document, EMBEDDER)])
    versions = {key: one.version for key, one in (await index.versions()).items()}
    assert versions == {document.document_id: document.version for document in (*new, SOUP)}


async def test_delete_removes_the_document_only(index: ChunkIndex) -> None:
    await index.delete([PUMP.document_id, "unknown", "x' OR '1'='1"])
    await index.delete([])
    assert set(await index.versions()) == {LAMP.document_id, SOUP.document_id}


async def test_versions_tell_half_documents(index: ChunkIndex) -> None:
    await index.upsert(index_document(PUMP, EMBEDDER)[:-1])
    versions = await index.versions()
    assert not versions[PUMP.document_id].complete
    assert versions[LAMP.document_id].complete


async def test_facets_count_documents_not_chunks(shared: ChunkIndex) -> None:
    assert (await shared.stats()).chunks > len(CORPUS)
    assert await shared.facets("author") == {"Ann": 2, "O'Brien": 1}
    assert await shared.facets("tags") == {"boats": 2, "it's": 1}
    assert list(await shared.facets("platform")) == ["blog", "newsletter"]


async def test_the_vocabulary_counts_passages_as_of_the_last_optimize(index: ChunkIndex) -> None:
    (stem,) = content_stems("pump")
    await index.optimize()
    counts = await index.vocabulary()
    having = [chunk for chunk in index_document(PUMP, EMBEDDER) if stem in content_stems(chunk.chunk.search_text)]
    assert counts.passages == (await index.stats()).chunks
    assert counts.frequencies[stem] == len(having) > 1
    await index.delete([PUMP.document_id])
    await index.optimize()
    assert stem not in await index.vocabulary()


def one(comparator: Comparator, field: str, value: object) -> Comparison:
    return Comparison(comparator, field, value)


P, L, S = PUMP.document_id, LAMP.document_id, SOUP.document_id
FILTERS: list[tuple[FilterDirective, set[str]]] = [
    (one(C.EQ, "author", "Ann"), {P, L}),
    (one(C.NE, "author", "Ann"), {S}),
    (one(C.EQ, "author", "O'Brien"), {S}),
    (one(C.IN, "platform", ["blog", "nowhere"]), {P, S}),
    (one(C.NIN, "platform", ["blog"]), {L}),
    (one(C.IN, "author", []), set()),
    (one(C.NIN, "author", []), {P, L, S}),
    (one(C.EQ, "document_id", P), {P}),
    (one(C.GTE, "title", "The"), {P, L}),
    (one(C.EQ, "language", "de"), {S}),
    (one(C.CONTAIN, "tags", "boats"), {P, L}),
    (one(C.CONTAIN, "tags", "it's"), {P}),
    (one(C.IN, "tags", ["it's", "none"]), {P}),
    (one(C.NIN, "tags", ["it's"]), {L, S}),
    (one(C.NE, "tags", "boats"), {S}),
    (one(C.GTE, "published_at", "2021-01-01"), {L}),
    (one(C.GT, "published_at", "2020-05-31"), {L}),
    (one(C.LTE, "published_at", "2020-05-31"), {P}),
    (one(C.LT, "published_at", "2020-05-31"), set()),
    (one(C.EQ, "published_at", {"date": "2020-05-31", "type": "date"}), {P}),
    (one(C.EQ, "published_at", date(2021, 1, 1)), {L}),
    (one(C.NE, "published_at", date(2021, 1, 1)), {P, S}),
    (one(C.LT, "published_at", "2020-06-01T01:30:00+02:00"), set()),
    (one(C.LTE, "published_at", "2020-06-01T01:30:00+02:00"), {P}),
    (one(C.IN, "published_at", ["2021-01-01", "2020-05-31"]), {P, L}),
    (Operation(Operator.NOT, [one(C.GTE, "published_at", "2021-01-01")]), {P, S}),
    (Operation(Operator.AND, [one(C.EQ, "author", "Ann"), one(C.EQ, "platform", "blog")]), {P}),
    (Operation(Operator.OR, [one(C.EQ, "platform", "newsletter"), one(C.EQ, "language", "de")]), {L, S}),
    (
        Operation(
            Operator.AND,
            [
                Operation(Operator.OR, [one(C.EQ, "language", "de"), one(C.EQ, "author", "Ann")]),
                Operation(Operator.NOT, [one(C.CONTAIN, "tags", "it's")]),
            ],
        ),
        {L, S},
    ),
    (one(C.EQ, "author", "Ann' OR '1'='1"), set()),
    (one(C.EQ, "author", "'; DROP TABLE chunks; --"), set()),
    (one(C.EQ, "author", "\\' OR 1=1 --"), set()),
    (one(C.CONTAIN, "tags", "x') OR array_has(tags, 'boats"), set()),
    (one(C.IN, "document_id", [P, "') OR ('1'='1"]), {P}),
    (one(C.NE, "title", "nul \x00 and \U0001f6a4 and \ud800"), {P, L, S}),
]  # fmt: skip


@pytest.mark.parametrize(("directive", "expected"), FILTERS)
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
async def test_filters_let_through_exactly_these(
    shared: ChunkIndex, directive: FilterDirective, expected: set[str], alpha: float
) -> None:
    hits = await shared.search(query("part number of the lamp", limit=100, alpha=alpha, filter=directive))
    assert set(ids(hits)) == expected
    if isinstance(shared, LanceIndex):
        assert {document.document_id for document in CORPUS if matches_document(directive, document)} == expected


def matches_document(directive: FilterDirective, document: Document) -> bool:
    return matches(directive, index_document(document, EMBEDDER)[0].chunk)


@pytest.mark.parametrize(
    "directive",
    [
        one(C.EQ, "password", "x"),
        one(C.EQ, "author = 'Ann' OR author", "x"),
        one(C.EQ, "author", 3),
        one(C.IN, "author", "Ann"),
        one(C.LIKE, "author", "A%"),
        one(C.CONTAIN, "author", "A"),
        one(C.GT, "tags", "a"),
        one(C.EQ, "published_at", "last week"),
        one(C.EQ, "published_at", "2024-13-01"),
        one(C.GT, "published_at", date.max),
        one(C.EQ, "published_at", 20240101),
        one(C.LIKE, "published_at", "2024"),
        Operation(Operator.AND, []),
        Operation(Operator.NOT, [one(C.EQ, "author", "a"), one(C.EQ, "author", "b")]),
    ],
)
async def test_filters_that_cannot_be_are_the_askers_mistake(shared: ChunkIndex, directive: FilterDirective) -> None:
    with pytest.raises(InputError):
        await shared.search(query("lamp", filter=directive))


@given(st.datetimes())
def test_a_date_filter_is_a_range_in_utc(moment: datetime) -> None:
    start, end = date_range(moment)
    assert start < end
    assert start.utcoffset() == end.utcoffset()
    assert f"{start:%H:%M:%S}" in to_sql(one(C.GTE, "published_at", moment))


ODD_TEXTS = [
    "", " \n\t ", "🥣🥣🥣", '"', "'", "\\", "(((", "a AND (b OR", "+pump -lamp ~2", "pump*", "title:pump^3", "\x00",
    "\ud800", "x" * 100_000, "pump " * 20_000, " ".join(str(n) for n in range(17_000)), "ﬀ ﷺ \u202e rtl", "' OR 1=1 --",
    "?", "[", "/.*/",
]  # fmt: skip


@pytest.mark.parametrize("text", ODD_TEXTS, ids=[repr(text[:12]) for text in ODD_TEXTS])
async def test_any_text_may_be_asked(shared: ChunkIndex, text: str) -> None:
    for alpha in (0.0, 0.6):
        assert len(await shared.search(query(text, alpha=alpha, limit=4))) == 4


async def test_the_extremes_of_alpha_rank_by_one_side(shared: ChunkIndex) -> None:
    text = "Gulaschsuppe"
    near = tuple(EMBEDDER.embed([prose("harbour lamp", 12)])[0].tolist())
    dense = await shared.search(query(text, vector=near, alpha=1.0, limit=40))
    lexical = await shared.search(query(text, vector=near, alpha=0.0, limit=40))
    assert dense[0].chunk.document_id == L
    assert lexical[0].chunk.document_id == S
    assert [hit.dense for hit in dense] == sorted((hit.dense for hit in dense), reverse=True)
    assert [hit.lexical for hit in lexical] == sorted((hit.lexical for hit in lexical), reverse=True)


async def test_what_only_words_find_has_its_real_cosine(shared: ChunkIndex) -> None:
    near = tuple(EMBEDDER.embed([prose("harbour lamp", 12)])[0].tolist())
    hits = await shared.search(query("Gulaschsuppe", vector=near, alpha=0.0, candidates=1, limit=1))
    (soup,) = hits
    expected = float(np.dot(EMBEDDER.embed([soup.chunk.search_text])[0], near))
    assert soup.chunk.document_id == S
    assert soup.dense == pytest.approx(expected, abs=1e-4)


async def test_words_are_found_whatever_their_form(shared: ChunkIndex) -> None:
    if isinstance(shared, MemoryIndex):
        pytest.skip("only a real index stems and folds")
    assert ids(await shared.search(query("PUMPS", alpha=0.0, limit=1))) == [P]
    assert ids(await shared.search(query("fur Zoe", alpha=0.0, limit=1))) == [S]


async def test_a_zero_vector_finds_by_words(shared: ChunkIndex) -> None:
    zero = tuple([0.0] * EMBEDDER.dimension)
    hits = await shared.search(query("Gulaschsuppe", vector=zero, limit=3))
    assert len(hits) == 3
    assert hits[0].chunk.document_id == S


async def test_wrong_dimension_or_tenant_is_refused(shared: ChunkIndex) -> None:
    with pytest.raises(IndexMismatchError, match="dimension 3"):
        await shared.search(query("lamp", vector=(0.1, 0.2, 0.3)))
    other = make_document("theirs", prose("secret", 3), tenant="other")
    with pytest.raises(StoreError, match="other"):
        await shared.upsert(index_document(other, EMBEDDER))
    with pytest.raises(IndexMismatchError, match="dimension 8"):
        await shared.upsert(index_document(PUMP, HashEmbedder(dimension=8)))
    assert len(await shared.versions()) == len(CORPUS)


async def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    for empty in (await LanceIndex.create(tmp_path, identity(EMBEDDER)), MemoryIndex(identity(EMBEDDER))):
        assert await empty.search(query("lamp")) == []
        assert await empty.facets("author") == {}
        assert await empty.versions() == {}
        await empty.optimize()
        assert (await empty.stats()).chunks == 0


async def test_optimizing_changes_nothing_that_is_found(index: ChunkIndex) -> None:
    before = [(hit.chunk.chunk_id, round(hit.dense, 4)) for hit in await index.search(query("harbour lamp part"))]
    await index.optimize()
    await index.optimize()
    after = [(hit.chunk.chunk_id, round(hit.dense, 4)) for hit in await index.search(query("harbour lamp part"))]
    assert sorted(before) == sorted(after)


COSINES = st.dictionaries(st.text(max_size=3), st.floats(-1, 1), max_size=8)


@given(COSINES, st.data(), st.floats(0, 1))
def test_fusing_keeps_all_and_orders_them(dense: dict[str, float], data: st.DataObject, alpha: float) -> None:
    found = data.draw(st.lists(st.sampled_from(sorted(dense)), unique=True)) if dense else []
    lexical = {key: data.draw(st.floats(0.01, 50)) for key in found}
    ranking = fuse(dense, lexical, alpha)
    assert sorted(key for key, _ in ranking) == sorted(dense)
    assert all(-1e-9 <= score <= 1 + 1e-9 for _, score in ranking)
    assert [score for _, score in ranking] == sorted((score for _, score in ranking), reverse=True)
    for better in dense:
        for worse in dense:
            if dense[better] > dense[worse] and lexical.get(better, 0) > lexical.get(worse, 0):
                scores = dict(ranking)
                assert scores[better] >= scores[worse]


# What only an index on disk can do.


async def test_readers_see_each_commit_and_only_whole_documents(tmp_path: Path) -> None:
    writer = await LanceIndex.create(tmp_path, identity(EMBEDDER))
    reader = await LanceIndex.open(tmp_path, identity(EMBEDDER))
    seen: set[tuple[str, int]] = set()
    texts = [make_document("pump", prose(topic, size)) for topic, size in (("pump", 30), ("lamp", 9), ("soup", 50)) * 3]
    done = asyncio.Event()

    async def write() -> None:
        for document in texts:
            await writer.upsert(index_document(document, EMBEDDER))
        done.set()

    async def read() -> None:
        while not done.is_set():
            for held in (await reader.versions()).values():
                assert held.complete
                seen.add((held.version, held.chunks))

    await asyncio.gather(write(), read())
    assert (await reader.versions())[PUMP.document_id].version == texts[-1].version
    assert seen <= {(document.version, len(index_document(document, EMBEDDER))) for document in texts}


async def test_tenants_side_by_side_share_nothing(tmp_path: Path) -> None:
    mine = await LanceIndex.create(tmp_path / "mine" / "index", identity(EMBEDDER, "mine"))
    theirs = await LanceIndex.create(tmp_path / "theirs" / "index", identity(EMBEDDER, "theirs"))
    await mine.upsert(index_document(make_document("a", prose("pump", 5), tenant="mine"), EMBEDDER))
    assert await theirs.search(query("pump")) == []
    assert len(await mine.search(query("pump"))) > 0
    with pytest.raises(IndexMismatchError, match="tenant mine, the settings say theirs"):
        await LanceIndex.open(tmp_path / "mine" / "index", identity(EMBEDDER, "theirs"))


@pytest.mark.parametrize(
    ("field", "value"),
    [("embedder", "other-model"), ("dimension", 384), ("chunker", "sentences-80"), ("schema_version", 0)],
)
async def test_opening_with_something_else_says_what_and_how_to_rebuild(
    tmp_path: Path, field: str, value: object
) -> None:
    await LanceIndex.create(tmp_path, identity(EMBEDDER))
    wanted = identity(EMBEDDER).model_copy(update={field: value})
    with pytest.raises(IndexMismatchError, match=rf"(?s){value}.*twin index rebuild"):
        await LanceIndex.open(tmp_path, wanted)


async def test_no_index_is_not_an_empty_index(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing is indexed yet.*twin ingest"):
        await LanceIndex.open(tmp_path / "none", identity(EMBEDDER))


def corrupt_data(folder: Path) -> None:
    for file in folder.rglob("*.lance"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2] + b"\xff" * 40)


def corrupt_manifests(folder: Path) -> None:
    for file in folder.rglob("*.manifest"):
        file.write_bytes(b"no manifest")


def lose_data(folder: Path) -> None:
    for file in folder.rglob("*.lance"):
        if file.is_file():
            file.unlink()


def lose_folder(folder: Path) -> None:
    for data in folder.glob("data-*"):
        shutil.rmtree(data)


def break_identity(folder: Path) -> None:
    (folder / "identity.json").write_text('{"identity": {"tenant": ')


async def open_and_search(folder: Path) -> None:
    await (await LanceIndex.open(folder, identity(EMBEDDER))).search(query("lamp"))


@pytest.mark.parametrize("damage", [corrupt_data, corrupt_manifests, lose_data, lose_folder, break_identity])
async def test_damaged_files_say_how_to_rebuild(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    index = await LanceIndex.create(tmp_path, identity(EMBEDDER))
    for document in CORPUS:
        await index.upsert(index_document(document, EMBEDDER))
    await index.close()
    damage(tmp_path)
    with pytest.raises(StoreError, match="twin index rebuild") as caught:
        await open_and_search(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_running_reader_follows_a_replacement(tmp_path: Path) -> None:
    old = await LanceIndex.create(tmp_path, identity(EMBEDDER))
    await old.upsert(index_document(PUMP, EMBEDDER))
    reader = await LanceIndex.open(tmp_path, identity(EMBEDDER))
    assert ids(await reader.search(query("part"))) == [P]
    new = await LanceIndex.replacement(tmp_path, identity(EMBEDDER))
    await new.upsert(index_document(LAMP, EMBEDDER))
    assert ids(await reader.search(query("part"))) == [P]
    await new.publish()
    assert ids(await reader.search(query("part"))) == [L]
    assert len(list(tmp_path.glob("data-*"))) == 1


async def test_a_running_reader_refuses_a_replacement_of_another_kind(tmp_path: Path) -> None:
    await LanceIndex.create(tmp_path, identity(EMBEDDER))
    reader = await LanceIndex.open(tmp_path, identity(EMBEDDER))
    other = HashEmbedder(identity="other-model")
    await (await LanceIndex.replacement(tmp_path, identity(other))).publish()
    with pytest.raises(IndexMismatchError, match="other-model"):
        await reader.search(query("part"))


async def test_unfinished_replacements_are_removed_by_the_next(tmp_path: Path) -> None:
    await LanceIndex.create(tmp_path, identity(EMBEDDER))
    await LanceIndex.replacement(tmp_path, identity(EMBEDDER))
    await LanceIndex.replacement(tmp_path, identity(EMBEDDER))
    assert len(list(tmp_path.glob("data-*"))) == 2
    used = json.loads((tmp_path / "identity.json").read_text())["folder"]
    assert (tmp_path / used).is_dir()
