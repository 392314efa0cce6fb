"""Stand-ins that implement the real interfaces: an embedding model without weights, an index without files."""

from __future__ import annotations

import asyncio
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
from langchain_core.structured_query import Comparator, Comparison, FilterDirective, Operation, Operator

from knowledge.chunk import chunk_document
from knowledge.index.contract import (
    FacetField,
    IndexedVersion,
    IndexIdentity,
    IndexStats,
    SearchQuery,
)
from knowledge.index.filters import DATE_FIELD, TAGS_FIELD, date_range, to_sql
from knowledge.index.fuse import fuse
from knowledge.vocabulary import Vocabulary, count_vocabulary
from twin.errors import IndexMismatchError, StoreError
from twin.models.embed import TokenVectors
from twin.records import VERSIONED, Chunk, Document, IndexedChunk, SearchHit, document_version, make_document_id

WORD = re.compile(r"\w+")


class HashEmbedder:
    """Vectors of hashed words: texts that share words are near each other. Deterministic, instant."""

    def __init__(self, dimension: int = 64, identity: str = "hash-v1") -> None:
        self.dimension = dimension
        self.identity = identity
        self.texts = 0

    max_tokens = 256

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        self.texts += len(texts)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in WORD.findall(text.casefold()):
                vectors[row, zlib.crc32(word.encode()) % self.dimension] += 1
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.where(lengths == 0, 1, lengths)

    def encode_tokens(self, texts: Sequence[str]) -> list[TokenVectors]:
        return [self._tokens(text) for text in texts]

    def count_tokens(self, text: str) -> int:
        return len(WORD.findall(text))

    def _tokens(self, text: str) -> TokenVectors:
        words = list(WORD.finditer(text))[: self.max_tokens]
        vectors = np.zeros((len(words), self.dimension), dtype=np.float32)
        for row, word in enumerate(words):
            vectors[row, zlib.crc32(word.group().casefold().encode()) % self.dimension] = 1
        return TokenVectors(
            tokens=tuple(word.group().casefold() for word in words),
            offsets=tuple(word.span() for word in words),
            vectors=vectors,
        )


class MemoryIndex:
    """An exact index in memory, for tests and as the measure of others."""

    def __init__(self, identity: IndexIdentity) -> None:
        self.identity = identity
        self.rows: dict[str, IndexedChunk] = {}

    async def upsert(self, chunks: Sequence[IndexedChunk]) -> None:
        for one in chunks:
            if one.chunk.tenant != self.identity.tenant:
                raise StoreError(f"passage {one.chunk.chunk_id} belongs to tenant {one.chunk.tenant!r}")
            if len(one.vector) != self.identity.dimension:
                raise IndexMismatchError(f"passage {one.chunk.chunk_id} has a vector of dimension {len(one.vector)}")
        await self.delete([one.chunk.document_id for one in chunks])
        self.rows |= {one.chunk.chunk_id: one for one in chunks}

    async def delete(self, document_ids: Sequence[str]) -> None:
        self.rows = {key: one for key, one in self.rows.items() if one.chunk.document_id not in document_ids}

    async def fetch(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        return [self.rows[one].chunk for one in chunk_ids if one in self.rows]

    async def search(self, query: SearchQuery) -> list[SearchHit]:
        if len(query.vector) != self.identity.dimension:
            raise IndexMismatchError(f"the question's vector has dimension {len(query.vector)}")
        if query.filter is not None:
            to_sql(query.filter)  # raises InputError for what no index can express
        rows = {key: one for key, one in self.rows.items() if query.filter is None or matches(query.filter, one.chunk)}
        cosines = {key: float(np.dot(one.vector, query.vector)) for key, one in rows.items()}
        words = bm25(query.text, {key: one.chunk.search_text for key, one in rows.items()})
        keep = max(query.candidates, query.limit)
        lexical = dict(sorted(words.items(), key=lambda pair: (-pair[1], pair[0]))[:keep])
        nearest = sorted(cosines, key=lambda key: (-cosines[key], key))[:keep]
        dense = {key: cosines[key] for key in {*nearest, *lexical}}
        return [
            SearchHit(chunk=rows[key].chunk, score=score, dense=dense[key], lexical=lexical.get(key, 0.0))
            for key, score in fuse(dense, lexical, query.alpha)[: query.limit]
        ]

    async def facets(self, field: FacetField) -> dict[str, int]:
        pairs = {
            (one.chunk.document_id, value)
            for one in self.rows.values()
            for value in (one.chunk.tags if field == "tags" else (getattr(one.chunk, field),))
        }
        counts = Counter(value for _, value in pairs)
        return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))

    async def versions(self) -> dict[str, IndexedVersion]:
        counts = Counter(one.chunk.document_id for one in self.rows.values())
        return {
            one.chunk.document_id: IndexedVersion(
                document_id=one.chunk.document_id,
                version=one.chunk.version,
                chunks=counts[one.chunk.document_id],
                total=one.chunk.total,
            )
            for one in self.rows.values()
        }

    async def stats(self) -> IndexStats:
        documents = {one.chunk.document_id for one in self.rows.values()}
        return IndexStats(chunks=len(self.rows), documents=len(documents), bytes_on_disk=0)

    async def vocabulary(self) -> Vocabulary:
        return count_vocabulary(one.chunk.search_text for one in self.rows.values())

    async def optimize(self) -> None:
        await asyncio.sleep(0)

    async def close(self) -> None:
        await asyncio.sleep(0)


def bm25(query: str, texts: dict[str, str], k1: float = 1.2, b: float = 0.75) -> dict[str, float]:
    """Scores of the texts that share a word with the query."""
    bags = {key: Counter(WORD.findall(text.casefold())) for key, text in texts.items()}
    mean = sum(bag.total() for bag in bags.values()) / len(bags) if bags else 0.0
    scores: dict[str, float] = {}
    for word in set(WORD.findall(query.casefold())):
        having = [key for key, bag in bags.items() if word in bag]
        idf = math.log(1 + (len(bags) - len(having) + 0.5) / (len(having) + 0.5))
        for key in having:
            count, length = bags[key][word], bags[key].total()
            scores[key] = scores.get(key, 0.0) + idf * count * (k1 + 1) / (count + k1 * (1 - b + b * length / mean))
    return scores


def matches(directive: FilterDirective, chunk: Chunk) -> bool:
    """Whether the chunk passes the filter, by the rules of `knowledge.index.filters`."""
    if isinstance(directive, Operation):
        results = [matches(argument, chunk) for argument in directive.arguments]
        if directive.operator is Operator.NOT:
            return not results[0]
        return all(results) if directive.operator is Operator.AND else any(results)
    assert isinstance(directive, Comparison)
    comparator, wanted = directive.comparator, directive.value
    if comparator in (Comparator.NE, Comparator.NIN):
        positive = Comparator.EQ if comparator is Comparator.NE else Comparator.IN
        return not matches(Comparison(positive, directive.attribute, wanted), chunk)
    if comparator is Comparator.IN:
        return any(matches(Comparison(Comparator.EQ, directive.attribute, one), chunk) for one in wanted)
    if directive.attribute == TAGS_FIELD:
        return wanted in chunk.tags
    if directive.attribute == DATE_FIELD:
        return _date_matches(comparator, wanted, chunk.published_at)
    value = getattr(chunk, directive.attribute)
    return bool(
        {
            Comparator.EQ: value == wanted,
            Comparator.GT: value > wanted,
            Comparator.GTE: value >= wanted,
            Comparator.LT: value < wanted,
            Comparator.LTE: value <= wanted,
        }[comparator]
    )


def _date_matches(comparator: Comparator, wanted: object, moment: datetime | None) -> bool:
    if moment is None:
        return False
    start, end = date_range(wanted)
    return {
        Comparator.EQ: start <= moment < end,
        Comparator.GT: moment >= end,
        Comparator.GTE: moment >= start,
        Comparator.LT: moment < start,
        Comparator.LTE: moment < end,
    }[comparator]


def make_document(uri: str, text: str, tenant: str = "default", **metadata: object) -> Document:
    """A document as `clean` would make it."""
    draft = Document.model_validate(
        {
            "tenant": tenant,
            "document_id": make_document_id(tenant, uri),
            "version": "",
            "uri": uri,
            "origin": uri,
            "text": text,
            **metadata,
        }
    )
    version = document_version(text, **{name: getattr(draft, name) for name in VERSIONED})
    return draft.model_copy(update={"version": version})


def index_document(document: Document, embedder: HashEmbedder, words: int = 40) -> list[IndexedChunk]:
    """All chunks of the document with their vectors."""
    chunks = chunk_document(document, words)
    vectors = embedder.embed([chunk.search_text for chunk in chunks])
    return [
        IndexedChunk(chunk=chunk, vector=tuple(vector.tolist())) for chunk, vector in zip(chunks, vectors, strict=True)
    ]


def prose(topic: str, sentences: int) -> str:
    """Text about `topic`, as long as wanted, no two sentences alike."""
    return " ".join(f"Sentence {n} says that the {topic} has part number {n * 7}." for n in range(sentences))


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def identity(embedder: HashEmbedder, tenant: str = "default") -> IndexIdentity:
    return IndexIdentity(
        tenant=tenant, embedder=embedder.identity, dimension=embedder.dimension, chunker="test", schema_version=1
    )


def ids(hits: Iterable[SearchHit]) -> list[str]:
    """Document ids in order of first appearance."""
    return list(dict.fromkeys(hit.chunk.document_id for hit in hits))
