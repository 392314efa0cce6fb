"""The assistant's nodes: async functions from state to partial state; they never mutate their input."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from langgraph.runtime import Runtime

from agent.services import Services
from agent.state import AssistantState, RunContext
from agent.writing import ModelCall, WriteRequest
from knowledge.condense import condense, subject_of
from knowledge.index.contract import ChunkIndex
from knowledge.library import Volume, citation_holds
from knowledge.retrieve import retrieve, scope_filter, weigh
from knowledge.view import fold
from twin.errors import InputError
from twin.records import Answer, RejectedSentence, SearchHit, SearchScope, Sentence, Turn

Emit = Callable[[Any], None]
NEAREST_TOPICS = 3
NEAR = 0.25
"""Least cosine between question and passage for its title to be named as near. With the bundled embedding model,
the nearest of 80 technical articles stays below 0.24 for questions on other subjects (sourdough, Brahms) and is
above 0.26 for questions on theirs."""
NAMES_LISTED = 8
"""Authors or platforms listed for whoever named one that is not there: what one line holds."""

_SUFFIX = re.compile(r"\s*[(\[][^()\[\]]*[)\]]\s*$")


def _status(emit: Emit, node: str, text: str) -> None:
    emit({"type": "status", "data": {"node": node, "text": text}})


class AssistantNodes:
    """The nodes over one set of services."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def condense(self, state: AssistantState, runtime: Runtime[RunContext]) -> AssistantState:
        """Make a follow-up stand alone, with what the conversation is about and the last answer's claims."""
        question, turns = state["question"], state.get("turns", [])
        before = state.get("subject") or subject_of(turns)
        return {
            "standalone": condense(question, turns, before, claims_of(state)),
            "subject": subject_of([Turn(role="user", text=question)], before),
            "hits": [],
            "evidence": [],
            "confidence": 0.0,
            "sentences": [],
            "rejected": [],
            "model_messages": [],
        }

    async def retrieve(self, state: AssistantState, runtime: Runtime[RunContext]) -> AssistantState:
        """Find passages: dense and lexical, within the run's scope.

        Raises InputError where no document is within it.
        """
        _status(runtime.stream_writer, "retrieve", "Searching the texts")
        settings, index, scope = self._services.settings, self._services.index, runtime.context.scope
        if scope is not None:
            scope = await resolve_scope(scope, index)
        hits = await retrieve(
            state["standalone"],
            index,
            self._services.embedder,
            alpha=settings.dense_weight,
            limit=settings.retrieve_limit,
            scope=scope,
        )
        if scope is not None and not hits and scope_filter(scope) is not None:
            raise await empty_scope(scope, index)
        return {"hits": hits}

    async def weigh(self, state: AssistantState, runtime: Runtime[RunContext]) -> AssistantState:
        """Score the passages' sentences and how sure it is that they answer."""
        _status(runtime.stream_writer, "weigh", f"Reading {len(state['hits'])} passages")
        weighed = await weigh(
            state["question"],
            state["standalone"],
            state["hits"],
            self._services.library.sentences,
            self._services.embedder,
            self._services.vocabulary,
            self._services.ignored,
        )
        return {"evidence": weighed.evidence, "confidence": weighed.confidence}

    async def write(self, state: AssistantState, runtime: Runtime[RunContext]) -> AssistantState:
        """Write, and release each sentence once its citations hold in the stored versions."""
        _status(runtime.stream_writer, "write", "Writing")
        settings, context = self._services.settings, runtime.context
        writer = self._services.writer_for(context.writer)
        volumes = await self._volumes(state["hits"])
        request = WriteRequest(
            question=state["question"],
            standalone=state["standalone"],
            turns=tuple(state.get("turns", [])),
            hits=tuple(state["hits"]),
            evidence=tuple(state["evidence"]),
            volumes=volumes,
            persona=self._services.persona,
            most=context.answer_sentences or settings.answer_sentences,
        )
        release = Release(runtime.stream_writer, volumes)
        messages: list[dict[str, Any]] = []
        async for written in writer.write(request):
            if isinstance(written, ModelCall):
                messages.extend(written.messages)
            else:
                release.add(written)
        return {"sentences": release.sentences, "rejected": release.rejected, "model_messages": messages}

    async def finish(self, state: AssistantState, runtime: Runtime[RunContext]) -> AssistantState:
        """Record the answer and the turn."""
        return self._answer(state, runtime.context, state["sentences"], abstained=False)

    async def abstain(self, state: AssistantState, runtime: Runtime[RunContext]) -> AssistantState:
        """Say honestly that there is no answer, and what comes nearest."""
        topics = nearest_topics(state["hits"])
        release = Release(runtime.stream_writer, {})
        for sentence in abstention(topics):
            release.add(sentence)
        release.flush()
        return self._answer(state, runtime.context, release.sentences, abstained=True, topics=topics)

    async def _volumes(self, hits: list[SearchHit]) -> dict[str, Volume]:
        keys = list(dict.fromkeys((hit.chunk.document_id, hit.chunk.version) for hit in hits))
        return await self._services.library.volumes(keys)

    def _answer(
        self,
        state: AssistantState,
        context: RunContext,
        sentences: list[Sentence],
        abstained: bool,
        topics: tuple[str, ...] = (),
    ) -> AssistantState:
        answer = Answer(
            run_id=context.run_id,
            thread_id=context.thread_id,
            question=state["question"],
            standalone_question=state["standalone"],
            sentences=tuple(sentences),
            abstained=abstained,
            confidence=state.get("confidence", 0.0),
            writer=context.writer or self._services.settings.chat_model,
            nearest_topics=topics,
            rejected=tuple(state.get("rejected", [])),
        )
        turns = [Turn(role="user", text=answer.question), Turn(role="assistant", text=answer.text)]
        return {"answer": answer, "turns": turns}


@dataclasses.dataclass
class Release:
    """Sends sentences to the stream once they are safe to show, and keeps what was sent.

    A frame is held back until a sentence with a citation follows it. A sentence whose citation does
    not hold in the stored version is never sent.
    """

    emit: Emit
    volumes: dict[str, Volume]
    sentences: list[Sentence] = dataclasses.field(default_factory=list)
    rejected: list[RejectedSentence] = dataclasses.field(default_factory=list)
    _held: list[Sentence] = dataclasses.field(default_factory=list)

    def add(self, written: Sentence | RejectedSentence) -> None:
        if isinstance(written, RejectedSentence):
            self.rejected.append(written)
        elif written.kind == "frame":
            self._held.append(written)
        elif all(self._holds(citation) for citation in written.citations):
            self.flush()
            self._send(written)
        else:
            self.rejected.append(RejectedSentence(text=written.text, reasons=("its citation does not hold",)))

    def flush(self) -> None:
        """Send the frames held back."""
        for frame in self._held:
            self._send(frame)
        self._held.clear()

    def _holds(self, citation: Any) -> bool:
        volume = self.volumes.get(citation.document_id)
        return volume is not None and citation_holds(citation, volume.document)

    def _send(self, sentence: Sentence) -> None:
        if not self.sentences and sentence.glue:
            sentence = sentence.model_copy(update={"glue": ""})
        number = len(self.sentences)
        self.sentences.append(sentence)
        token = {"text": sentence.glue + sentence.text, "sentence": number, "kind": sentence.kind}
        self.emit({"type": "token", "data": token})
        for citation in sentence.citations:
            self.emit({"type": "citation", "data": citation.model_dump(mode="json") | {"sentence": number}})


def claims_of(state: AssistantState) -> str | None:
    """What the last answer claimed, without the words that frame it: "" if it abstained, None if the state
    does not hold that answer (the caller brought the turns along)."""
    answer, turns = state.get("answer"), state.get("turns", [])
    if answer is None or not turns or turns[-1].text != answer.text:
        return None
    return " ".join(sentence.text for sentence in answer.sentences if sentence.kind != "frame")


async def resolve_scope(scope: SearchScope, index: ChunkIndex) -> SearchScope:
    """The scope with author and platform spelled as in the index, whatever their case; unknown ones stay."""
    updates = {}
    if scope.author:
        updates["author"] = _spelled(scope.author, await index.facets("author"))
    if scope.platform:
        updates["platform"] = _spelled(scope.platform, await index.facets("platform"))
    return scope.model_copy(update=updates)


def _spelled(name: str, known: dict[str, int]) -> str:
    """The spelling of most documents among those that fold alike; the name itself if it is known as it is."""
    if name in known:
        return name
    wanted = fold(name, casefold=True)
    return next((one for one in known if fold(one, casefold=True) == wanted), name)


async def empty_scope(scope: SearchScope, index: ChunkIndex) -> InputError:
    """The error for a scope that no document is within: what was asked for, and what there is."""
    asked = [f"{name}={value!r}" for name, value in (("author", scope.author), ("platform", scope.platform)) if value]
    asked += [
        f"{name} {moment.isoformat()}"
        for name, moment in (("since", scope.since), ("until", scope.until))
        if moment is not None
    ]
    authors, platforms = _listed(await index.facets("author")), _listed(await index.facets("platform"))
    return InputError(f"no document matches {', '.join(asked)}", f"Authors: {authors}; platforms: {platforms}")


def _listed(known: dict[str, int]) -> str:
    """The names of most documents, how many more there are."""
    names = [fold(name) for name in known if name]
    more = f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else ""
    return ", ".join(names[:NAMES_LISTED]) + more if names else "none named"


def nearest_topics(hits: list[SearchHit]) -> tuple[str, ...]:
    """Titles of the nearest documents, best first; of titles that differ by a closing remark in brackets
    ("(reposted)") the first."""
    topics: dict[str, str] = {}
    for hit in hits:
        title = fold(hit.chunk.title)
        if title and hit.dense >= NEAR:
            topics.setdefault((_SUFFIX.sub("", title) or title).casefold(), title)
    return tuple(topics.values())[:NEAREST_TOPICS]


def abstention(topics: tuple[str, ...]) -> list[Sentence]:
    """What is said instead of an answer."""
    said = [Sentence(text="I have not written about that, as far as my texts go.", kind="frame")]
    if topics:
        named = [f"“{topic}”" for topic in topics]
        listed = named[0] if len(named) == 1 else f"{', '.join(named[:-1])} and {named[-1]}"
        said.append(Sentence(text=f"The nearest I come is in {listed}.", kind="frame", glue=" "))
    return said
