"""The generative writer: a model writes, and every sentence is checked before it counts.

The model's stream is cut into sentences; a sentence that a span supports is cited with that span, one
that none supports is replaced by the closest quote or dropped, and the record keeps both.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from agent.writing import Markers, ModelCall, WriteRequest, Written
from knowledge.sentences import split_sentences
from knowledge.support import Support, Window, find_support, windows
from knowledge.view import fold
from knowledge.vocabulary import Vocabulary
from twin.models.chat import chat_model_name, model_errors, open_chat_model
from twin.models.embed import Embedder
from twin.prompts import load_prompt
from twin.records import Citation, RejectedSentence, Sentence
from twin.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage

PASSAGES = 5
"""Passages put before the model: about 1,500 tokens, which a small model's context holds."""
HISTORY_TURNS = 4
CLOSE_ENOUGH = 0.5
"""Least share of content words in common for a quote to stand in for an unsupported sentence."""
REFUSAL = "i have not written about that"

_MARKER = re.compile(r"\s*\[(\d{1,2}(?:\s*,\s*\d{1,2})*)\]")


class GenerativeWriter:
    """Any chat model behind LangChain's interface."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        embedder: Embedder,
        vocabulary: Vocabulary,
        model: BaseChatModel | None = None,
    ) -> None:
        """`name` is an alias of a chat model, opened on first use unless `model` is given.

        Raises ConfigError if there is no model of that name.
        """
        self.name = name
        self.model = chat_model_name(name, settings)
        self.prompt_version = load_prompt("answer").identity
        self._settings = settings
        self._embedder = embedder
        self._vocabulary = vocabulary
        self._opened = model
        self._opening = asyncio.Lock()

    async def write(self, request: WriteRequest) -> AsyncIterator[Written]:
        """Yield the call, then each sentence as soon as it is checked."""
        messages = build_messages(request)
        yield ModelCall(tuple({"role": message.type, "content": message.content} for message in messages))
        candidates = windows(request.hits[:PASSAGES], request.volumes)
        markers = Markers()
        quoted: set[tuple[str, int]] = set()
        released = 0
        async for text in self._sentences(messages):
            if released >= request.most:
                break
            claim, cited = split_markers(text)
            if not claim:
                continue
            if fold(claim, casefold=True).strip(" .!\"'").startswith(REFUSAL):
                break
            support = await find_support(claim, candidates, self._embedder, self._vocabulary, cited)
            for written in judge(claim, support, markers, quoted, first=released == 0):
                released += isinstance(written, Sentence)
                yield written

    async def _sentences(self, messages: Sequence[BaseMessage]) -> AsyncIterator[str]:
        """The model's sentences, each as soon as the next one has begun."""
        buffer = ""
        with model_errors(self.name, self._settings):
            model = await self._chat_model()
            async for piece in model.astream(list(messages)):
                buffer += piece.text
                *complete, buffer = complete_sentences(buffer)
                for sentence in complete:
                    yield sentence
        for span in split_sentences(buffer):
            yield buffer[span.start : span.end]

    async def _chat_model(self) -> BaseChatModel:
        """The model, opened on first use: a local one may have to be fetched and started."""
        async with self._opening:
            if self._opened is None:
                self._opened = await asyncio.to_thread(open_chat_model, self.name, self._settings)
            return self._opened


def build_messages(request: WriteRequest) -> list[BaseMessage]:
    """The prompt: rules and numbered passages, the last turns, the question."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    passages = "\n\n".join(
        f"[{number}] {fold(hit.chunk.title)}\n{hit.chunk.text.strip()}"
        for number, hit in enumerate(request.hits[:PASSAGES], start=1)
    )
    system = load_prompt("answer").render(
        persona=request.persona or "the author", sentences=str(request.most), passages=passages
    )
    history: list[BaseMessage] = [
        HumanMessage(turn.text) if turn.role == "user" else AIMessage(turn.text)
        for turn in request.turns[-HISTORY_TURNS:]
    ]
    return [SystemMessage(system), *history, HumanMessage(request.question)]


def complete_sentences(buffer: str) -> list[str]:
    """The sentences of `buffer`, the last one (perhaps unfinished, perhaps empty) as the last item.

    A citation marker that opens the next sentence still belongs to the one before.
    """
    spans = split_sentences(buffer)
    if len(spans) < 2:
        return [buffer]
    starts = [span.start for span in spans]
    pieces = [buffer[start:end] for start, end in zip(starts, [*starts[1:], len(buffer)], strict=True)]
    joined: list[str] = []
    for piece in pieces:
        marker = _MARKER.match(piece)
        if marker and joined:
            joined[-1] += marker.group()
            piece = piece[marker.end() :]
        if piece.strip():
            joined.append(piece)
    return joined if len(joined) > 1 else [buffer]


def split_markers(text: str) -> tuple[str, frozenset[int]]:
    """A sentence without its citation markers, and the passage numbers they name."""
    cited = frozenset(int(number) for found in _MARKER.findall(text) for number in found.split(","))
    return _MARKER.sub("", text).strip(), cited


def judge(
    claim: str, support: Support | None, markers: Markers, quoted: set[tuple[str, int]], first: bool
) -> list[Written]:
    """What becomes of a claim: itself with a citation, the closest quote in its place, or nothing."""
    glue = "" if first else " "
    if support is not None and support.verdict.supported:
        return [Sentence(text=claim, kind="generated", glue=glue, citations=(_cite(support, markers),))]
    reasons = support.verdict.reasons if support is not None else ("no passage to check it against",)
    if support is None or support.share < CLOSE_ENOUGH or not _new(support.window, quoted):
        return [RejectedSentence(text=claim, reasons=reasons)]
    citation = _cite(support, markers)
    return [
        RejectedSentence(text=claim, reasons=reasons, replaced_by=citation.quote),
        Sentence(text=citation.quote, kind="quote", glue=glue, citations=(citation,)),
    ]


def _new(window: Window, quoted: set[tuple[str, int]]) -> bool:
    key = (window.document.document_id, window.start)
    if key in quoted:
        return False
    quoted.add(key)
    return True


def _cite(support: Support, markers: Markers) -> Citation:
    window = support.window
    return markers.cite(window.document, window.chunk_id, window.start, window.end, support.verdict.similarity)
