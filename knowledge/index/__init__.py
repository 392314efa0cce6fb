"""The passage index: its contract, and how to open the backend that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from knowledge.index.contract import ChunkIndex, IndexIdentity
from twin.errors import NotFoundError
from twin.settings import Settings

if TYPE_CHECKING:
    from knowledge.index.lance import LanceIndex


def index_identity(settings: Settings, embedder: str, dimension: int) -> IndexIdentity:
    """What an index must have been built with to fit these settings and this embedding model."""
    from knowledge.chunk import chunker_identity
    from knowledge.index.identity import SCHEMA_VERSION

    return IndexIdentity(
        tenant=settings.tenant,
        embedder=embedder,
        dimension=dimension,
        chunker=chunker_identity(settings.chunk_words),
        schema_version=SCHEMA_VERSION,
    )


async def open_index(settings: Settings, embedder: str, dimension: int) -> ChunkIndex:
    """The twin's index, for reading; `embedder` is the embedding model's identity.

    Raises NotFoundError if nothing is indexed yet, IndexMismatchError if it was built with something
    else, StoreError if it cannot be read.
    """
    from knowledge.index.lance import LanceIndex

    return await LanceIndex.open(settings.index_dir, index_identity(settings, embedder, dimension))


async def create_index(settings: Settings, embedder: str, dimension: int) -> ChunkIndex:
    """The twin's index, for writing; an empty one is made if there is none. Raises like `open_index`.

    The caller holds the write lock.
    """
    from knowledge.index.lance import LanceIndex

    identity = index_identity(settings, embedder, dimension)
    try:
        return await LanceIndex.open(settings.index_dir, identity)
    except NotFoundError:
        return await LanceIndex.create(settings.index_dir, identity)


async def inspect_index(settings: Settings) -> ChunkIndex:
    """The twin's index, whatever it was built with, for showing what it is and holds. Raises like `open_index`."""
    from knowledge.index.identity import read_pointer
    from knowledge.index.lance import LanceIndex

    return await LanceIndex.open(settings.index_dir, read_pointer(settings.index_dir).identity)


async def replacement_index(settings: Settings, embedder: str, dimension: int) -> LanceIndex:
    """An empty index beside the one in use, to be filled and then published.

    The caller holds the write lock.
    """
    from knowledge.index.lance import LanceIndex

    return await LanceIndex.replacement(settings.index_dir, index_identity(settings, embedder, dimension))
