"""A small twin for tests of the graph: real documents, sentences and nodes over an index in memory."""

from __future__ import annotations

from collections.abc import Sequence

from agent.generative import GenerativeWriter
from agent.services import Services
from knowledge.library import Library
from knowledge.warehouse import AsyncWarehouse, Warehouse
from tests.fakes import HashEmbedder, MemoryIndex, identity, index_document, make_document
from twin.errors import NotFoundError
from twin.models.fake import ScriptedChatModel
from twin.records import Document
from twin.settings import Settings

POSTS = {
    "https://a.example/battery": (
        "Eleven microamps",
        "The Kestrel-3 logger sleeps at 11 µA 🙂. The older board drew 40 µA and emptied its cells by Christmas. "
        "It was the voltage divider that leaked. I measured the current twice and then distrusted the meter.",
        "Tove",
    ),
    "https://a.example/gaps": (
        "Leave the hole open",
        "I leave gaps in the tide record open. A straight line through a storm is an invention. "
        "Interpolated values look like measurements to everyone downstream.",
        "Tove",
    ),
    "https://a.example/guest": (
        "Rating curves",
        "One might perhaps venture that rating curves deserve more patience. The river moves its own bed.",
        "Rasmus",
    ),
}


class Shelf(Warehouse):
    """A warehouse in memory, for reading."""

    def __init__(self, documents: Sequence[Document]) -> None:
        self.tenant = "default"
        self.documents = {(document.document_id, document.version): document for document in documents}

    def get_many(self, keys: Sequence[tuple[str, str]]) -> list[Document]:
        try:
            return [self.documents[key] for key in keys]
        except KeyError as error:
            raise NotFoundError(f"there is no document {error}") from None

    def get(self, document_id: str, version: str | None = None) -> Document:
        for (one, held), document in self.documents.items():
            if one == document_id and version in (None, held):
                return document
        raise NotFoundError(f"there is no document {document_id}")


async def small_services(
    replies: Sequence[str | Exception] | None = None, settings: Settings | None = None
) -> tuple[Services, ScriptedChatModel]:
    """The services over `POSTS`; the writer `fake` replies by `replies`. Nothing abstains by calibration: the
    hashed vectors mean nothing to it."""
    settings = settings or Settings(_env_file=None, abstain_below=0.0)
    embedder = HashEmbedder(dimension=512)
    index = MemoryIndex(identity(embedder))
    documents = [
        make_document(url, text, title=title, author=author, platform="blog", url=url)
        for url, (title, text, author) in POSTS.items()
    ]
    for document in documents:
        await index.upsert(index_document(document, embedder))
    shelf = Shelf(documents)
    vocabulary = await index.vocabulary()
    services = Services(
        settings=settings,
        index=index,
        warehouse=AsyncWarehouse(shelf),
        embedder=embedder,
        vocabulary=vocabulary,
        persona="Tove",
        library=Library(shelf),
    )
    model = ScriptedChatModel(script=list(replies)) if replies is not None else ScriptedChatModel()
    services._writers["fake"] = GenerativeWriter("fake", settings, embedder, vocabulary, model)
    return services, model
