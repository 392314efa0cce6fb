"""A stand-in for the assistant: the same interface as `graphs.assistant` and `agent.services`, answers made
from the question alone, so that tests of serving decide what happens and when.

Words in the question steer it: `slow` waits in the middle of the answer until it is cancelled (or
`RELEASE` is set), `broken` fails like a bug, `outage` fails like a store, `unknown` abstains. `tests.command`
is the command line with this assistant.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from agent.state import AssistantInput, AssistantState, RunContext
from twin.errors import ConfigError, NotFoundError, StoreError
from twin.records import Answer, Chunk, Citation, Document, SearchHit, Sentence, Turn
from twin.settings import Settings

SECRET = "secret-of-the-inside"
TEXT = "The pump failed 🙂 in March. We fixed it with tape.\n\nIt has held since."
DOCUMENT = Document(tenant="default", document_id="d1", version="v1", uri="/posts/pump.md", title="The pump", text=TEXT)
QUOTES = ("The pump failed 🙂 in March.", "We fixed it with tape.", "It has held since.")


class FakeWarehouse:
    async def get(self, document_id: str, version: str | None = None) -> Document:
        if document_id != "d1" or version not in (None, "v1"):
            raise NotFoundError(f"there is no document {document_id}", "`twin documents list` lists them")
        return DOCUMENT


class FakeIndex:
    async def stats(self) -> SimpleNamespace:
        return SimpleNamespace(chunks=3, documents=1, bytes_on_disk=0)


@dataclass
class FakeServices:
    settings: Settings
    warehouse: FakeWarehouse = field(default_factory=FakeWarehouse)
    index: FakeIndex = field(default_factory=FakeIndex)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    persona: str = "Ada"
    cancelled: int = 0

    def writer_for(self, alias: str | None) -> SimpleNamespace:
        name = alias or self.settings.chat_model
        if name not in ("extractive", "fake"):
            raise ConfigError(f"there is no writer {name!r}", "TWIN_CHAT_MODEL names one of: extractive, fake")
        return SimpleNamespace(name=name, model="", prompt_version="")

    async def close(self) -> None:
        pass


async def open_services(settings: Settings) -> FakeServices:
    return FakeServices(settings)


def citation(number: int) -> Citation:
    quote = QUOTES[number]
    start = TEXT.index(quote)
    return Citation(
        marker=number + 1,
        document_id="d1",
        document_version="v1",
        chunk_id="c1",
        start=start,
        end=start + len(quote),
        quote=quote,
        title="The pump",
        platform="blog",
        url="https://example.org/pump",
    )


def sentences(question: str, earlier: int) -> list[Sentence]:
    if "unknown" in question:
        return [Sentence(text="I have not written about that.", kind="frame")]
    quotes = [
        Sentence(text=quote, kind="quote", glue=" ", citations=(citation(number),))
        for number, quote in enumerate(QUOTES)
    ]
    return [Sentence(text=f"After {earlier} turns:", kind="frame"), *quotes]


def build_assistant(services: FakeServices) -> StateGraph[AssistantState, RunContext, AssistantInput, AssistantState]:
    async def retrieve(state: AssistantState, runtime: Runtime[RunContext]) -> dict[str, Any]:
        runtime.stream_writer({"type": "status", "data": {"node": "retrieve", "text": "Searching"}})
        if "outage" in state["question"]:
            raise StoreError("the index cannot be read", "Run `twin index rebuild`")
        chunk = Chunk(
            tenant="default",
            chunk_id="c1",
            document_id="d1",
            version="v1",
            ordinal=0,
            total=1,
            start=0,
            end=len(TEXT),
            text=TEXT,
            search_text=TEXT,
        )
        return {"standalone": state["question"], "hits": [SearchHit(chunk=chunk, score=1.0)], "confidence": 0.9}

    async def write(state: AssistantState, runtime: Runtime[RunContext]) -> dict[str, Any]:
        question, context = state["question"], runtime.context
        written = sentences(question, len(state["turns"]))
        for number, sentence in enumerate(written):
            if number == 2:
                await _steer(services, question)
            runtime.stream_writer(
                {
                    "type": "token",
                    "data": {"text": sentence.glue + sentence.text, "sentence": number, "kind": sentence.kind},
                }
            )
            for cited in sentence.citations:
                runtime.stream_writer(
                    {"type": "citation", "data": {**cited.model_dump(mode="json"), "sentence": number}}
                )
        answer = Answer(
            run_id=context.run_id,
            thread_id=context.thread_id,
            question=question,
            standalone_question=state["standalone"],
            sentences=tuple(written),
            abstained="unknown" in question,
            confidence=state["confidence"],
            writer=context.writer or "extractive",
        )
        return {"answer": answer, "model_messages": []}

    async def remember(state: AssistantState) -> dict[str, Any]:
        said = [Turn(role="user", text=state["question"]), Turn(role="assistant", text=state["answer"].text)]
        return {"turns": said}

    graph = StateGraph(AssistantState, context_schema=RunContext, input_schema=AssistantInput)
    graph.add_node("retrieve", retrieve).add_node("write", write).add_node("remember", remember)
    graph.add_edge(START, "retrieve").add_edge("retrieve", "write").add_edge("write", "remember")
    return graph.add_edge("remember", END)


async def _steer(services: FakeServices, question: str) -> None:
    if "broken" in question:
        raise RuntimeError(SECRET)
    if "slow" in question:
        services.entered.set()
        try:
            await services.release.wait()
        except asyncio.CancelledError:
            services.cancelled += 1
            raise
