"""The generative writer: a model writes, and every sentence is checked before it counts.

The model's stream is cut into sentences; a sentence that a span supports is cited with that span, one
that none supports is replaced by the closest quote or dropped, and the record keeps both.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, cast

from agent.extractive import frame
from agent.writing import Markers, ModelCall, WriteRequest, Written, day
from knowledge.quote import LONGEST_QUOTE
from knowledge.sentences import split_sentences
from knowledge.support import Support, Window, find_support, windows
from knowledge.view import fold
from knowledge.vocabulary import Vocabulary
from twin.models.chat import chat_model_name, model_errors, open_chat_model
from twin.models.embed import Embedder
from twin.prompts import load_prompt
from twin.records import Chunk, Citation, Document, RejectedSentence, Sentence
from twin.settings import Settings

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage, BaseMessageChunk

PASSAGES = 5
"""Passages put before the model: about 1,500 tokens, which a small model's context holds."""
HISTORY_TURNS = 4
TURN_CHARACTERS = 600
"""Of each earlier turn: four of them take about 600 tokens, so that a local model's context (4,096 tokens)
holds them beside the passages, the question and the answer."""
QUESTION_CHARACTERS = 2000
"""Of the question put before the model, about 500 tokens; a longer one is cut in its middle."""
MOST_REPEATS = 2
"""A model that repeats itself this often has nothing more to say: small ones go round until they are stopped."""
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
        markers, frames, seen = Markers(), Frames(request.persona), Seen(2 * request.most)
        released = 0
        async with aclosing(self._sentences(messages)) as sentences:
            async for text in sentences:
                claim, cited = split_markers(text)
                if not claim or seen.again(claim):
                    if seen.enough:
                        break
                    continue
                if normal(claim).startswith(REFUSAL):
                    break
                support = await find_support(claim, candidates, self._embedder, self._vocabulary, cited)
                for written in judge(claim, support, markers, seen, first=released == 0):
                    if support is not None and isinstance(written, Sentence):
                        for one in frames.around(written, support.window.document):
                            yield one
                        released += 1
                    else:
                        yield written
                seen.add(claim)
                if released >= request.most or seen.enough:
                    break

    async def _sentences(self, messages: Sequence[BaseMessage]) -> AsyncGenerator[str, None]:
        """The model's sentences, each as soon as the next one has begun."""
        buffer = ""
        with model_errors(self.name, self._settings):
            model = await self._chat_model()
            # Closed at once when the reader leaves, so that the model stops writing.
            stream = cast("AsyncGenerator[BaseMessageChunk, None]", model.astream(list(messages)))
            async with aclosing(stream):
                async for piece in stream:
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


class Seen:
    """What was claimed and shown so far, and when to stop listening: after `MOST_REPEATS` repeats or `most` claims."""

    def __init__(self, most: int) -> None:
        self._texts: set[str] = set()
        self._most = most
        self._claims = 0
        self._repeats = 0

    def __contains__(self, text: str) -> bool:
        return normal(text) in self._texts

    def again(self, claim: str) -> bool:
        """Count a claim of the model; whether it, or the same as a quote, was there before."""
        self._claims += 1
        repeated = claim in self
        self._repeats += repeated
        return repeated

    def add(self, text: str) -> None:
        self._texts.add(normal(text))

    @property
    def enough(self) -> bool:
        return self._repeats >= MOST_REPEATS or self._claims >= self._most


class Frames:
    """Puts whose words they are before sentences that rest on another author's document, and before the
    persona's own when they follow those."""

    def __init__(self, persona: str) -> None:
        self._persona = persona
        self._document_id: str | None = None
        self._first = True

    def around(self, sentence: Sentence, document: Document) -> list[Sentence]:
        """The sentence, after a frame where one is needed."""
        other = document.document_id if not self._own(document) else None
        changed = other != self._document_id
        self._document_id = other
        first, self._first = self._first, False
        if not changed:
            return [sentence]
        return [frame(document, self._persona, first=first), sentence.model_copy(update={"glue": "\n"})]

    def _own(self, document: Document) -> bool:
        return not document.author or fold(document.author, casefold=True) == fold(self._persona, casefold=True)


def build_messages(request: WriteRequest) -> list[BaseMessage]:
    """The prompt: rules and numbered passages, the last turns, the question; long ones cut."""
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    passages = "\n\n".join(
        f"[{number}] {passage_header(hit.chunk)}\n{hit.chunk.text.strip()}"
        for number, hit in enumerate(request.hits[:PASSAGES], start=1)
    )
    system = load_prompt("answer").render(
        persona=request.persona or "the author", sentences=str(request.most), passages=passages
    )
    history: list[BaseMessage] = []
    for turn in request.turns[-HISTORY_TURNS:]:
        text = shorten(turn.text, TURN_CHARACTERS)
        history.append(HumanMessage(text) if turn.role == "user" else AIMessage(text))
    return [SystemMessage(system), *history, HumanMessage(shorten(request.question, QUESTION_CHARACTERS))]


def passage_header(chunk: Chunk) -> str:
    """Title, author and date of a passage, on one line: "Rating curves, by Rasmus, 3 May 2021"."""
    author = f"by {fold(chunk.author)}" if chunk.author else ""
    date = day(chunk.published_at) if chunk.published_at else ""
    return ", ".join(part for part in (fold(chunk.title) or "A short post", author, date) if part)


def shorten(text: str, most: int) -> str:
    """The text, its middle left out where it is longer than `most` characters: what is asked stands at an end."""
    if len(text) <= most:
        return text
    half = (most - 3) // 2
    return f"{text[:half].rstrip()} … {text[-half:].lstrip()}"


def normal(text: str) -> str:
    """A sentence for comparing: folded, in lower case, without what closes it."""
    return fold(text, casefold=True).strip(" .!?\"'“”‘’")


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


def judge(claim: str, support: Support | None, markers: Markers, seen: Seen, first: bool) -> list[Written]:
    """What becomes of a claim: itself with a citation, the closest quote in its place, or nothing.

    A quote that stands in is added to `seen`; one that was said before, or is no single readable
    sentence, does not stand in.
    """
    glue = "" if first else " "
    if support is not None and support.verdict.supported:
        return [Sentence(text=claim, kind="generated", glue=glue, citations=(_cite(support, markers),))]
    reasons = support.verdict.reasons if support is not None else ("no passage to check it against",)
    if support is None or support.share < CLOSE_ENOUGH or not readable(support.window) or support.window.text in seen:
        return [RejectedSentence(text=claim, reasons=reasons)]
    citation = _cite(support, markers)
    seen.add(citation.quote)
    return [
        RejectedSentence(text=claim, reasons=reasons, replaced_by=citation.quote),
        Sentence(text=citation.quote, kind="quote", glue=glue, citations=(citation,)),
    ]


def readable(window: Window) -> bool:
    """Whether the window can be shown as a sentence of an answer: one sentence, no code or table, not too long."""
    return window.sentences == 1 and window.block not in ("code", "table") and len(window.text) <= LONGEST_QUOTE


def _cite(support: Support, markers: Markers) -> Citation:
    window = support.window
    return markers.cite(window.document, window.chunk_id, window.start, window.end, support.verdict.similarity)
