"""Retrieval: from a question to the passages that may answer it, and the evidence in them.

Plain async functions; the index, the embedder and the documents are passed in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from langchain_core.structured_query import Comparator, Comparison, FilterDirective, Operation, Operator

from knowledge.calibration import load_model, rank_evidence, sufficiency
from knowledge.condense import context_length
from knowledge.evidence import (
    Evidence,
    PassageView,
    QuestionView,
    passage_signals,
    view_passages,
    view_question,
    weigh_passage,
)
from knowledge.index.contract import ChunkIndex, SearchQuery
from knowledge.sentences import SentenceSpan
from knowledge.view import fold
from knowledge.vocabulary import Vocabulary
from knowledge.words import content_stems
from twin.models.embed import Embedder, embed_async
from twin.records import SearchHit, SearchScope

CANDIDATES = 60
"""Passages that each side of the hybrid contributes."""
COPY_SHARE = 0.85
"""Share of the smaller passage's content words from which two passages are one, published twice."""
COPY_WORDS = 15
"""Content words below which passages are compared whole."""
WEIGHED_PASSAGES = 6
"""Passages whose sentences are weighed; each costs one encoding of the passage (about 30 ms)."""


def scope_filter(scope: SearchScope) -> FilterDirective | None:
    """The scope as a filter for the index, None where it restricts nothing."""
    wanted: list[FilterDirective] = [
        Comparison(comparator=Comparator.EQ, attribute=name, value=value)
        for name, value in (("author", scope.author), ("platform", scope.platform))
        if value
    ]
    for comparator, moment in ((Comparator.GTE, scope.since), (Comparator.LT, scope.until)):
        if moment is not None:
            wanted.append(Comparison(comparator=comparator, attribute="published_at", value=moment))
    if not wanted:
        return None
    return wanted[0] if len(wanted) == 1 else Operation(operator=Operator.AND, arguments=wanted)


async def retrieve(
    question: str,
    index: ChunkIndex,
    embedder: Embedder,
    *,
    alpha: float,
    limit: int,
    scope: SearchScope | None = None,
) -> list[SearchHit]:
    """The best passages for `question`, best first, each text once.

    Raises StoreError or ModelError where index or embedder fail; an empty list means that nothing
    passed the scope.
    """
    folded = fold(question)
    vector = (await embed_async(embedder, [folded]))[0]
    query = SearchQuery(
        text=folded,
        vector=tuple(vector.tolist()),
        alpha=alpha,
        limit=limit * 2,
        candidates=max(CANDIDATES, limit * 2),
        filter=scope_filter(scope) if scope is not None else None,
    )
    return without_copies(await index.search(query))[:limit]


async def author_stems(index: ChunkIndex) -> frozenset[str]:
    """Stems of the names of all authors in the index."""
    return frozenset(stem for author in await index.facets("author") for stem in content_stems(author))


def without_copies(hits: Sequence[SearchHit]) -> list[SearchHit]:
    """Hits that say something new: of a passage published several times the earliest stands, in the
    place of the best."""
    kept: list[SearchHit] = []
    stems: list[set[str]] = []
    for hit in hits:
        own = set(content_stems(hit.chunk.text))
        copy = next((at for at, other in enumerate(stems) if _same_passage(own, other)), None)
        if copy is None:
            kept.append(hit)
            stems.append(own)
        elif _published(hit) < _published(kept[copy]):
            kept[copy] = hit.model_copy(update={"score": kept[copy].score})
    return kept


def _same_passage(one: set[str], other: set[str]) -> bool:
    smaller = min(len(one), len(other))
    return one == other or (smaller >= COPY_WORDS and len(one & other) >= COPY_SHARE * smaller)


def _published(hit: SearchHit) -> datetime:
    return hit.chunk.published_at or datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Weighed:
    """Evidence, best first, and the calibrated probability that it answers the question."""

    evidence: list[Evidence]
    confidence: float


SentencesOf = Callable[[Sequence[tuple[str, str]]], Awaitable[Mapping[str, list[SentenceSpan]]]]
"""(document id, version) pairs -> all sentences of each document, by document id."""


async def weigh(
    question: str,
    standalone: str,
    hits: Sequence[SearchHit],
    sentences_of: SentencesOf,
    embedder: Embedder,
    vocabulary: Vocabulary,
    ignored: frozenset[str] = frozenset(),
) -> Weighed:
    """Weigh the sentences of the best passages against the question; `standalone` is its searchable form,
    `ignored` the stems that say nothing about what is asked (`author_stems`)."""
    best = list(hits[:WEIGHED_PASSAGES])
    if not best:
        return Weighed([], 0.0)
    keys = list(dict.fromkeys((hit.chunk.document_id, hit.chunk.version) for hit in best))
    sentences = dict(await sentences_of(keys))
    gathered = await asyncio.to_thread(gather, question, standalone, best, sentences, embedder, vocabulary, ignored)
    return assess(gathered, vocabulary)


@dataclass(frozen=True)
class Gathered:
    """A question and the passages found for it, encoded, with their sentences measured."""

    question: QuestionView
    passages: list[PassageView]
    evidence: list[Evidence]


def gather(
    question: str,
    standalone: str,
    best: Sequence[SearchHit],
    sentences: dict[str, list[SentenceSpan]],
    embedder: Embedder,
    vocabulary: Vocabulary,
    ignored: frozenset[str] = frozenset(),
) -> Gathered:
    """Encode question and passages and measure every sentence. Blocking, CPU."""
    asked, whole = fold(question), fold(standalone)
    both = embedder.embed([asked, whole])
    vector = both[0] + both[1]
    vector /= np.linalg.norm(vector) or 1.0
    encoded = embedder.encode_tokens([whole])[0]
    view = view_question(whole, vector, encoded, vocabulary, context_length(standalone, question), ignored)
    if not len(view.words):  # nothing that the tokenizer knows: no evidence can be weighed
        return Gathered(view, [], [])
    passages = view_passages(best, sentences, embedder)
    return Gathered(view, passages, [one for passage in passages for one in weigh_passage(view, passage)])


def assess(gathered: Gathered, vocabulary: Vocabulary) -> Weighed:
    """Rank the evidence and say how sure it is that it answers."""
    evidence = rank_evidence(gathered.evidence, load_model("ranker"))
    if not evidence:
        return Weighed([], 0.0)
    signals = passage_signals(gathered.question, vocabulary, gathered.passages, evidence)
    return Weighed(evidence, sufficiency(signals, load_model("sufficiency")))
