"""What every passage index does, whatever stores it.

An index belongs to one tenant and one embedding model, both fixed when it is opened. Filters are
LangChain's `structured_query` types; each backend translates them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from langchain_core.structured_query import FilterDirective
from pydantic import ConfigDict

from knowledge.vocabulary import Vocabulary
from twin.records import Chunk, IndexedChunk, Record, SearchHit

FacetField = Literal["author", "platform", "language", "tags"]
"""Fields that `facets` counts. Filters may also name `published_at`, `document_id`, `title`."""


class IndexIdentity(Record):
    """What an index was built with; stored beside it and compared when it is opened."""

    tenant: str
    embedder: str
    dimension: int
    chunker: str
    schema_version: int


class IndexStats(Record):
    """Counts over the tenant's rows, and bytes on disk."""

    chunks: int
    documents: int
    bytes_on_disk: int


class IndexedVersion(Record):
    """A document version as the index holds it."""

    document_id: str
    version: str
    chunks: int
    total: int

    @property
    def complete(self) -> bool:
        return self.chunks == self.total


class SearchQuery(Record):
    """One search. `vector` is the question's embedding, unit length; `alpha` is the weight of the
    dense score (1: dense alone, 0: lexical alone); `candidates` is how many each side contributes."""

    text: str
    vector: tuple[float, ...]
    alpha: float = 0.6
    limit: int = 10
    candidates: int = 50
    filter: FilterDirective | None = None

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class ChunkIndex(Protocol):
    """The contract. All calls are idempotent; a partial write raises StoreError."""

    identity: IndexIdentity

    async def upsert(self, chunks: Sequence[IndexedChunk]) -> None:
        """Replace the documents that `chunks` belong to by exactly these chunks, in one commit.

        All chunks of a document must come in the same call: an older version's chunks go in the
        same commit, so that no reader sees half a document or two versions.
        """

    async def delete(self, document_ids: Sequence[str]) -> None:
        """Remove all chunks of these documents; unknown ids are ignored."""

    async def fetch(self, chunk_ids: Sequence[str]) -> list[Chunk]:
        """The chunks with these ids, in the order asked; missing ones are left out."""

    async def search(self, query: SearchQuery) -> list[SearchHit]:
        """The best `limit` chunks, best first; empty only if nothing passes the filter."""

    async def facets(self, field: FacetField) -> dict[str, int]:
        """Value -> number of documents, most frequent first."""

    async def versions(self) -> dict[str, IndexedVersion]:
        """Document id -> the version held, for reconciling with the warehouse."""

    async def stats(self) -> IndexStats:
        """Size of the index."""

    async def vocabulary(self) -> Vocabulary:
        """In how many chunks each word stem occurs, as of the last `optimize`."""

    async def optimize(self) -> None:
        """Compact files, bring search structures and word counts up to date after writes."""

    async def close(self) -> None:
        """Release files and threads."""
