"""The assistant's services: opened once, shared by all runs of a process."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from agent.extractive import ExtractiveWriter
from agent.writing import Writer
from knowledge.calibration import load_model
from knowledge.index import open_index
from knowledge.index.contract import ChunkIndex
from knowledge.library import Library
from knowledge.retrieve import author_stems
from knowledge.sync import consistency_warning
from knowledge.vocabulary import Vocabulary
from knowledge.warehouse import AsyncWarehouse, Warehouse
from twin.errors import ConfigError
from twin.models.chat import chat_aliases
from twin.models.embed import Embedder, open_embedder
from twin.settings import Settings

log = logging.getLogger(__name__)

EXTRACTIVE = "extractive"


@dataclass(frozen=True)
class Services:
    """What the nodes work with. `persona` is the author who is "I"; `ignored` see `retrieve.weigh`."""

    settings: Settings
    index: ChunkIndex
    warehouse: AsyncWarehouse
    embedder: Embedder
    vocabulary: Vocabulary
    persona: str
    library: Library
    ignored: frozenset[str] = frozenset()
    _writers: dict[str, Writer] = field(default_factory=dict)

    def writer_for(self, alias: str | None) -> Writer:
        """The writer of that alias (None: the settings'). Raises ConfigError for an unknown one."""
        name = alias or self.settings.chat_model
        if name not in self._writers:
            self._writers[name] = self._make_writer(name)
        return self._writers[name]

    def _make_writer(self, name: str) -> Writer:
        if name == EXTRACTIVE:
            return ExtractiveWriter()
        known = [EXTRACTIVE, *chat_aliases(self.settings)]
        if name not in known:
            raise ConfigError(
                f"there is no writer {name!r}",
                f"TWIN_CHAT_MODEL names one of: {', '.join(known)}; TWIN_ENDPOINTS defines more (docs/settings.md)",
            )
        from agent.generative import GenerativeWriter

        return GenerativeWriter(name, self.settings, self.embedder, self.vocabulary)

    def threshold(self, requested: float | None = None) -> float:
        """Confidence below which the assistant abstains: request, then settings, then calibration."""
        for value in (requested, self.settings.abstain_below):
            if value is not None:
                return value
        return load_model("sufficiency").threshold

    async def close(self) -> None:
        """Release the index."""
        await self.index.close()


async def open_services(settings: Settings) -> Services:
    """Open index, warehouse and embedding model.

    Raises NotFoundError if nothing is indexed yet, IndexMismatchError, StoreError, ModelFileError.
    """
    embedder = await asyncio.to_thread(open_embedder, settings)
    index = await open_index(settings, embedder.identity, embedder.dimension)
    warehouse = Warehouse(settings.warehouse_dir, settings.tenant)
    warning = await consistency_warning(settings, warehouse, index)
    if warning:
        log.warning(warning)
    return Services(
        settings=settings,
        index=index,
        warehouse=AsyncWarehouse(warehouse),
        embedder=embedder,
        vocabulary=await index.vocabulary(),
        persona=settings.persona or await most_frequent_author(index),
        library=Library(warehouse),
        ignored=await author_stems(index),
    )


async def most_frequent_author(index: ChunkIndex) -> str:
    """The author of most documents, "" where none is named."""
    authors = await index.facets("author")
    return next((author for author in authors if author), "")
