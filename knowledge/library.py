"""Documents at hand while answering: the stored versions, with their sentences, read once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from knowledge.sentences import SentenceSpan, split_sentences
from twin.errors import StoreError
from twin.records import Citation, Document


class DocumentReader(Protocol):
    """What the library needs of the warehouse."""

    def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Document]:
        """The documents with these (id, version); NotFoundError if one is missing."""


@dataclass(frozen=True)
class Volume:
    """A stored document version and all its sentences, in order."""

    document: Document
    sentences: list[SentenceSpan]

    def text_of(self, ordinal: int) -> str:
        """The sentence of that number, as it stands in the document."""
        span = self.sentences[ordinal]
        return self.document.text[span.start : span.end]


class Library:
    """Volumes by (document id, version), the most recently used kept in memory."""

    def __init__(self, reader: DocumentReader, capacity: int = 256) -> None:
        self._reader = reader
        self._capacity = capacity
        self._volumes: OrderedDict[tuple[str, str], Volume] = OrderedDict()

    async def volumes(self, keys: Sequence[tuple[str, str]]) -> dict[str, Volume]:
        """The volumes asked for, by document id. Raises NotFoundError or StoreError."""
        found = {key: self._volumes[key] for key in keys if key in self._volumes}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        if missing:
            found |= await asyncio.to_thread(self._read, missing)
        for key, volume in found.items():
            self._volumes[key] = volume
            self._volumes.move_to_end(key)
        while len(self._volumes) > self._capacity:
            self._volumes.popitem(last=False)
        return {document_id: volume for (document_id, _), volume in found.items()}

    def _read(self, keys: list[tuple[str, str]]) -> dict[tuple[str, str], Volume]:
        documents = self._reader.get_many(keys)
        for document in documents:
            if not document.intact:
                raise StoreError(
                    f"document {document.document_id} is not what its version {document.version} says: "
                    "the stored text was changed",
                    "Restore the warehouse from a backup, or ingest the document again",
                )
        return {
            (document.document_id, document.version): Volume(document, split_sentences(document.text))
            for document in documents
        }

    async def sentences(self, keys: Sequence[tuple[str, str]]) -> Mapping[str, list[SentenceSpan]]:
        """All sentences of each document, by document id."""
        return {document_id: volume.sentences for document_id, volume in (await self.volumes(keys)).items()}


def citation_holds(citation: Citation, document: Document) -> bool:
    """Whether the stored version says, at those offsets, exactly what the citation quotes."""
    return (
        citation.document_id == document.document_id
        and citation.document_version == document.version
        and 0 <= citation.start < citation.end <= len(document.text)
        and document.text[citation.start : citation.end] == citation.quote
    )
