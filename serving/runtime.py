"""A twin, opened: its services, its conversations on disk, its compiled graph and its runs.

The server and the command line hold one of these; it is the only place that compiles the graph.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.state import RunContext
from serving.conversations import Conversations, Thread, open_conversations
from serving.identity import data_fingerprint
from serving.problems import ThreadBusyError
from serving.records_store import ThreadSummary
from serving.runs import Ask, Run, Runs, WriterInfo
from serving.schemas import check_question, check_thread_id
from twin import __version__
from twin.errors import ConfigError, InputError
from twin.records import Document, Turn
from twin.settings import Settings

if TYPE_CHECKING:
    from langgraph.graph import StateGraph

    from agent.services import Services

Builder = Callable[["Services"], "StateGraph[Any, RunContext, Any, Any]"]


class Twin:
    """What clients of a twin can do. Made by `open_twin`."""

    def __init__(self, settings: Settings, services: Services, conversations: Conversations, runs: Runs) -> None:
        self.settings = settings
        self.services = services
        self.conversations = conversations
        self.runs = runs

    def ask(self, request: Ask) -> Run:
        """Start a run. Raises InputError for what is no question, ThreadBusyError (see `Runs.start`)."""
        question = check_question(request.question, self.settings.max_question_chars)
        check_thread_id(request.thread_id)
        return self.runs.start(replace(request, question=question))

    async def turns(self, thread_id: str) -> list[Turn]:
        """What the assistant remembers of the conversation, oldest first."""
        return await self.conversations.turns(check_thread_id(thread_id))

    async def threads(self) -> list[ThreadSummary]:
        """The conversations, the latest first."""
        return await self.conversations.threads()

    async def thread(self, thread_id: str) -> Thread:
        """A conversation with the answers given in it. Raises NotFoundError."""
        return await self.conversations.thread(check_thread_id(thread_id))

    async def delete_thread(self, thread_id: str) -> None:
        """Forget a conversation. Raises NotFoundError; ThreadBusyError while it is being answered."""
        running = self.runs.running_on(check_thread_id(thread_id))
        if running is not None:
            raise ThreadBusyError(
                f"conversation {thread_id} is being answered by run {running.run_id}", "Cancel the run first"
            )
        await self.conversations.delete(thread_id)

    async def document(self, document_id: str, version: str | None = None) -> Document:
        """The document with its text, in the version that a citation names. Raises NotFoundError."""
        document: Document = await self.services.warehouse.get(document_id, version)
        return document

    async def health(self) -> dict[str, Any]:
        """What the twin is and holds. Raises StoreError if its index cannot be read."""
        stats = await self.services.index.stats()
        return {
            "status": "ok",
            "version": __version__,
            "tenant": self.settings.tenant,
            "data": data_fingerprint(self.settings),
            "persona": self.services.persona,
            "writer": self.settings.chat_model,
            "documents": stats.documents,
            "passages": stats.chunks,
        }


@asynccontextmanager
async def open_twin(
    settings: Settings, *, services: Services | None = None, build: Builder | None = None
) -> AsyncIterator[Twin]:
    """Open the twin; on leaving, running runs are cancelled and everything is closed.

    `services` and `build` replace the default parts; services given are left open.
    Raises StoreError, ConfigError, ModelFileError from the parts that open.
    """
    async with AsyncExitStack() as stack:
        if services is None:
            from agent.services import open_services

            services = await open_services(settings)
            stack.push_async_callback(services.close)
        conversations = await stack.enter_async_context(open_conversations(settings))
        if build is None:
            from graphs.assistant import build_assistant

            build = build_assistant
        graph = build(services).compile(checkpointer=conversations.saver)
        runs = Runs(graph, conversations, lambda writer: describe_writer(services, writer), settings.run_timeout)
        stack.push_async_callback(runs.close)
        yield Twin(settings, services, conversations, runs)


def describe_writer(services: Services, alias: str | None) -> WriterInfo:
    """Who writes for a request that asks for `alias` (None: the default).

    Raises InputError if the request names a writer that does not exist, ConfigError if the settings do.
    """
    try:
        writer = services.writer_for(alias)
    except ConfigError as error:
        if alias is None:
            raise
        raise InputError(error.message, error.hint) from None
    return WriterInfo(writer=writer.name, model=writer.model, prompt_version=writer.prompt_version)
