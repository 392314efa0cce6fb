"""The real server with a scripted assistant, for tests of the page: what is said, when, and when the line drops.

Every question has a script: sentences, gates that hold the answer until a test opens them, and errors.
Run as a module it serves the same scripts for a look at the page: `python -m tests.page_server [PORT]`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.state import AssistantInput, AssistantState, RunContext
from serving.app import create_app
from serving.runtime import Twin, open_twin
from twin.errors import NotFoundError
from twin.records import Answer, Citation, Document, Sentence, Turn
from twin.settings import Settings

START_SECONDS = 20


@dataclass(frozen=True)
class Gate:
    """Holds the answer until `PageServer.open(name)`."""

    name: str


@dataclass(frozen=True)
class Once:
    """An error that the script meets the first time only."""

    error: Exception


Step = Sentence | Gate | Once | Exception


@dataclass
class Script:
    """What the assistant does with a question."""

    steps: Sequence[Step]
    topics: tuple[str, ...] = ()
    abstained: bool = False
    met: set[int] = field(default_factory=set)


def make_document(document_id: str, text: str, **metadata: Any) -> Document:
    return Document(tenant="default", document_id=document_id, version="v1", uri=document_id, text=text, **metadata)


def said(quote: str, source: Document, marker: int, glue: str = " ") -> Sentence:
    """The author's words as a cited sentence; `quote` stands in `source`."""
    start = source.text.index(quote)
    shown = source.model_dump(include={"url", "title", "author", "platform", "published_at"})
    citation = Citation(
        marker=marker,
        document_id=source.document_id,
        document_version=source.version,
        chunk_id=f"{source.document_id}-0",
        start=start,
        end=start + len(quote),
        quote=quote,
        **shown,
    )
    return Sentence(text=quote, kind="quote", glue=glue, citations=(citation,))


def frame(text: str, glue: str = "") -> Sentence:
    return Sentence(text=text, kind="frame", glue=glue)


class Stage:
    """The twin's services, as far as the server uses them, over documents and scripts in memory."""

    def __init__(self, documents: Sequence[Document], scripts: dict[str, Script]) -> None:
        self.documents = {document.document_id: document for document in documents}
        self.scripts = scripts
        self.gates: dict[str, asyncio.Event] = {}
        self.warehouse = self.index = self
        self.persona = "Tove Marklund"

    async def get(self, document_id: str, version: str | None = None) -> Document:
        found = self.documents.get(document_id)
        if found is None or version not in (None, found.version):
            raise NotFoundError(f"document {document_id} is not in the warehouse", "`twin documents list` lists them")
        return found

    async def stats(self) -> SimpleNamespace:
        return SimpleNamespace(documents=len(self.documents), chunks=3 * len(self.documents), bytes_on_disk=0)

    async def close(self) -> None:
        pass

    def writer_for(self, alias: str | None) -> SimpleNamespace:
        return SimpleNamespace(name=alias or "extractive", model="", prompt_version="")

    def gate(self, name: str) -> asyncio.Event:
        return self.gates.setdefault(name, asyncio.Event())

    def build(self, _: Any) -> StateGraph[AssistantState, RunContext, AssistantInput, AssistantState]:
        """The graph: one node that plays the question's script."""

        async def play(state: AssistantState, runtime: Runtime[RunContext]) -> dict[str, Any]:
            question = state["question"]
            answer = await self._play(question, runtime)
            turns = [Turn(role="user", text=question), Turn(role="assistant", text=answer.text)]
            return {"answer": answer, "turns": turns, "standalone": question}

        graph = StateGraph(AssistantState, context_schema=RunContext, input_schema=AssistantInput)
        graph.add_node("play", play)
        graph.add_edge(START, "play")
        return graph.add_edge("play", END)

    async def _play(self, question: str, runtime: Runtime[RunContext]) -> Answer:
        script = self.scripts.get(question) or Script([frame("I have not written about that.")], abstained=True)
        write = runtime.stream_writer
        write({"type": "status", "data": {"node": "retrieve", "text": "Searching 12 documents"}})
        sentences: list[Sentence] = []
        for number, step in enumerate(script.steps):
            if isinstance(step, Gate):
                await self.gate(step.name).wait()
            elif isinstance(step, Exception):
                raise step
            elif isinstance(step, Once):
                if number not in script.met:
                    script.met.add(number)
                    raise step.error
            else:
                at = {"sentence": len(sentences)}
                write({"type": "token", "data": {"text": step.glue + step.text, "kind": step.kind, **at}})
                for citation in step.citations:
                    write({"type": "citation", "data": {**citation.model_dump(mode="json"), **at}})
                sentences.append(step)
        return Answer(
            run_id=runtime.context.run_id,
            thread_id=runtime.context.thread_id,
            question=question,
            standalone_question=question,
            sentences=tuple(sentences),
            abstained=script.abstained,
            confidence=0.1 if script.abstained else 0.9,
            writer="extractive",
            nearest_topics=script.topics,
        )


class Line:
    """The connection in front of the application: streams can be cut, and everything can be down."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.cuts: list[int] = []
        """Each coming stream is cut before the piece with this number."""
        self.forgetful = False
        """Whether every stream begins at its first event, whatever the client has seen."""
        self.requests: list[tuple[str, str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.requests.append((scope["method"], scope["path"]))
            if scope["path"] == "/v1/chat" or scope["path"].endswith("/events"):
                send = self._cutting(send)
                if self.forgetful:
                    scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"last-event-id"]
        await self.app(scope, receive, send)

    def _cutting(self, send: Send) -> Send:
        left = self.cuts.pop(0) if self.cuts else None

        async def cut(message: Message) -> None:
            nonlocal left
            if left is not None and message["type"] == "http.response.body":
                if left == 0:
                    raise ConnectionResetError("cut by the test")
                left -= 1
            await send(message)

        return cut


class PageServer:
    """The server in a thread of its own, on a free port of the loopback interface.

    Without a stage it is the twin of `settings`, nothing replaced.
    """

    def __init__(self, stage: Stage | None, settings: Settings, port: int = 0) -> None:
        self.stage = stage
        self.settings = settings
        self.port = port
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start, or start again on the same port. Raises RuntimeError if it does not come up."""
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        self._loop: asyncio.AbstractEventLoop | None = None
        started = threading.Event()

        @asynccontextmanager
        async def opener(settings: Settings) -> AsyncIterator[Twin]:
            self._loop = asyncio.get_running_loop()
            async with self._twin(settings) as twin:
                started.set()
                yield twin

        self.line = Line(create_app(self.settings, opener=opener))
        config = uvicorn.Config(self.line, log_level="critical", lifespan="on", timeout_graceful_shutdown=2)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],), daemon=True)
        self._thread.start()
        if not started.wait(START_SECONDS):
            raise RuntimeError("the page's server did not start")

    def _twin(self, settings: Settings) -> AbstractAsyncContextManager[Twin]:
        if self.stage is None:
            return open_twin(settings)
        self.stage.gates.clear()
        return open_twin(settings, services=self.stage, build=self.stage.build)  # type: ignore[arg-type]

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(START_SECONDS)
        self._listener.close()

    def open(self, gate: str) -> None:
        """Let every answer that waits, or will wait, at the gate go on."""
        loop, stage = self._loop, self.stage
        assert loop is not None
        assert stage is not None
        loop.call_soon_threadsafe(lambda: stage.gate(gate).set())


def main() -> None:
    """Serve the tests' scripts until interrupted."""
    from tests.page_scripts import DOCUMENTS, SCRIPTS

    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), _env_file=None)
        server = PageServer(Stage(DOCUMENTS, SCRIPTS), settings, port=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            server.stop()


if __name__ == "__main__":
    main()
