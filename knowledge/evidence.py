"""Evidence: the sentences of the passages found, weighed against the question.

A sentence is scored with its passage around it: its token vectors come from encoding the whole
passage, so that "it" and "the second one" carry what they refer to.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from knowledge.sentences import SentenceSpan
from knowledge.view import search_view
from knowledge.vocabulary import Vocabulary
from knowledge.words import content_stems, stem, words
from twin.models.embed import Embedder, TokenVectors
from twin.records import Record, SearchHit

Vector = NDArray[np.float32]


class Evidence(Record):
    """A candidate sentence: `document.text[start:end] == text`, with what speaks for it.

    `late` is the idf-weighted mean over the question's tokens of their best cosine within the
    sentence (late interaction), `weakest` the smallest of those maxima over content words, `cosine`
    that of the pooled vectors, `coverage` the idf share of the question's words it holds, `support`
    the fused score of its passage and `rank` the passage's place (0 is best). `score` orders the
    candidates: the writer's model of "this sentence answers".
    """

    chunk_id: str
    document_id: str
    version: str
    start: int
    end: int
    text: str
    block: str
    block_id: int
    ordinal: int
    rank: int
    late: float
    weakest: float
    cosine: float
    coverage: float
    support: float
    typed: float
    previous: float = 0.0
    neighbour: float = 0.0
    score: float = 0.0


class Signals(Record):
    """What the passages as a whole say about whether they can answer; inputs of `sufficiency`."""

    dense_top: float
    dense_gap: float
    lexical_top: float
    lexical_gap: float
    coverage: float
    unknown: float
    late: float
    weakest: float
    sentence_late: float
    sentence_weakest: float
    sentence_cosine: float
    sentence_coverage: float
    best_gap: float
    typed: float
    agree: float


_ASKS = (
    ("number", re.compile(r"\bhow (?:many|much|long|often|far|old|big|large|fast|tall|high|deep|heavy)\b")),
    ("date", re.compile(r"\b(?:when|(?:what|which) (?:year|date|month|day))\b")),
    ("name", re.compile(r"\b(?:who|whom|whose|where)\b")),
)
_HAS_NUMBER = re.compile(r"\d|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|half|dozen|hundred)\b", re.I)
_HAS_DATE = re.compile(
    r"\b(?:1[5-9]|20)\d\d\b|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\b|\b\d{1,2}:\d\d\b"
)
_HAS_NAME = re.compile(r"(?<=[a-z,;:] )[A-Z][a-z]+")


def expected_type(question: str) -> str:
    """What a short answer would be: "number", "date", "name" or "" (anything)."""
    lowered = " ".join(words(question))
    return next((kind for kind, pattern in _ASKS if pattern.search(lowered)), "")


def has_type(kind: str, text: str) -> float:
    """1 where `text` holds what the question expects, 0 where not, 0.5 where nothing is expected."""
    if not kind:
        return 0.5
    pattern = {"number": _HAS_NUMBER, "date": _HAS_DATE, "name": _HAS_NAME}[kind]
    return float(bool(pattern.search(text)))


@dataclass(frozen=True)
class QuestionView:
    """A question as evidence is weighed against it: token vectors (t, d) and their weights (t,)."""

    text: str
    vector: Vector
    tokens: Vector
    weights: Vector
    idf: dict[str, float]

    @cached_property
    def total_idf(self) -> float:
        return sum(self.idf.values()) or 1.0

    @cached_property
    def asks(self) -> str:
        return expected_type(self.text)

    def coverage(self, stems: set[str]) -> float:
        """Share of the question's idf mass that `stems` hold, 0..1."""
        return sum(weight for word, weight in self.idf.items() if word in stems) / self.total_idf


def view_question(text: str, vector: Vector, encoded: TokenVectors, vocabulary: Vocabulary) -> QuestionView:
    """Weigh the question's tokens: a word piece weighs what its word weighs, function words nothing."""
    idf = {word: vocabulary.idf(word) for word in set(content_stems(text))}
    weights = np.array([_token_weight(text, start, end, idf) for start, end in encoded.offsets], dtype=np.float32)
    if not weights.any():
        weights = np.ones_like(weights)
    return QuestionView(text, vector, encoded.vectors, weights, idf)


def _token_weight(text: str, start: int, end: int, idf: dict[str, float]) -> float:
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return idf.get(stem(text[start:end].lower()), 0.0)


@dataclass(frozen=True)
class PassageView:
    """A passage found, with its sentences (offsets into the document) and token vectors.

    `token_spans` are the tokens' places in the document.
    """

    hit: SearchHit
    rank: int
    sentences: tuple[tuple[int, SentenceSpan], ...]
    tokens: Vector
    token_spans: NDArray[np.int64]


def view_passages(
    hits: Sequence[SearchHit], sentences: dict[str, list[SentenceSpan]], embedder: Embedder
) -> list[PassageView]:
    """Encode the passages (blocking, CPU) and pair them with their documents' sentences.

    `sentences` maps a document id to all its sentences in order.
    """
    folded = [search_view(hit.chunk.text) for hit in hits]
    encoded = embedder.encode_tokens([view.text for view in folded])
    views = []
    for rank, (hit, view, tokens) in enumerate(zip(hits, folded, encoded, strict=True)):
        spans = np.array([view.to_source(start, end) for start, end in tokens.offsets], dtype=np.int64).reshape(-1, 2)
        inside = tuple(
            (ordinal, span)
            for ordinal, span in enumerate(sentences[hit.chunk.document_id])
            if span.start < hit.chunk.end and span.end > hit.chunk.start and span.start >= hit.chunk.start
        )
        views.append(PassageView(hit, rank, inside, tokens.vectors, spans + hit.chunk.start))
    return views


def weigh_passage(question: QuestionView, passage: PassageView) -> list[Evidence]:
    """Score every sentence of a passage; headings are no evidence."""
    chunk = passage.hit.chunk
    similarity = question.tokens @ passage.tokens.T
    found: list[Evidence] = []
    for ordinal, span in passage.sentences:
        inside = (passage.token_spans[:, 0] >= span.start) & (passage.token_spans[:, 1] <= span.end)
        if span.block == "heading" or inside.sum() < 3:
            continue
        text = chunk.text[span.start - chunk.start : span.end - chunk.start]
        if len(text) != span.end - span.start:
            continue
        late, weakest = _late_interaction(question, similarity[:, inside])
        pooled = passage.tokens[inside].mean(axis=0)
        cosine = float(pooled @ question.vector / (np.linalg.norm(pooled) or 1.0))
        found.append(
            Evidence(
                chunk_id=chunk.chunk_id,
                document_id=chunk.document_id,
                version=chunk.version,
                start=span.start,
                end=span.end,
                text=text,
                block=span.block,
                block_id=span.block_id,
                ordinal=ordinal,
                rank=passage.rank,
                late=late,
                weakest=weakest,
                cosine=cosine,
                coverage=question.coverage(set(content_stems(text))),
                support=passage.hit.score,
                typed=has_type(question.asks, text),
            )
        )
    return _with_neighbours(found)


def _late_interaction(question: QuestionView, similarity: Vector) -> tuple[float, float]:
    best = similarity.max(axis=1)
    weighted = best[question.weights > 0]
    return float(question.weights @ best / question.weights.sum()), float(weighted.min())


def _with_neighbours(found: list[Evidence]) -> list[Evidence]:
    late = [evidence.late for evidence in found]
    return [
        evidence.model_copy(
            update={
                "previous": late[at - 1] if at else 0.0,
                "neighbour": max(late[at - 1] if at else 0.0, late[at + 1] if at + 1 < len(late) else 0.0),
            }
        )
        for at, evidence in enumerate(found)
    ]


def passage_signals(
    question: QuestionView, vocabulary: Vocabulary, passages: Sequence[PassageView], evidence: Sequence[Evidence]
) -> Signals:
    """Sum up what was found. `passages` are the best few, best first; raises ValueError without any."""
    if not passages or not evidence:
        raise ValueError("signals need at least one passage and one sentence")
    hits = [passage.hit for passage in passages]
    dense = sorted((hit.dense for hit in hits), reverse=True)
    lexical = sorted((hit.lexical for hit in hits), reverse=True)
    overall = [_late_interaction(question, question.tokens @ passage.tokens.T) for passage in passages]
    best = max(evidence, key=lambda one: one.score)
    others = sorted((one.late for one in evidence), reverse=True)
    unknown = sum(weight for word, weight in question.idf.items() if word not in vocabulary)
    return Signals(
        dense_top=dense[0],
        dense_gap=dense[0] - sum(dense[-5:]) / len(dense[-5:]),
        lexical_top=lexical[0] / (2.2 * question.total_idf),
        lexical_gap=(lexical[0] - sum(lexical[1:5]) / max(1, len(lexical[1:5]))) / (2.2 * question.total_idf),
        coverage=max(question.coverage(set(content_stems(hit.chunk.text))) for hit in hits),
        unknown=unknown / question.total_idf,
        late=max(late for late, _ in overall),
        weakest=max(weakest for _, weakest in overall),
        sentence_late=max(one.late for one in evidence),
        sentence_weakest=max(one.weakest for one in evidence),
        sentence_cosine=max(one.cosine for one in evidence),
        sentence_coverage=max(one.coverage for one in evidence),
        best_gap=others[0] - others[len(others) // 2],
        typed=best.typed,
        agree=float(hits[0].dense == dense[0] and hits[0].lexical == lexical[0]),
    )
