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
from knowledge.words import content_stems, words
from twin.models.embed import Embedder, TokenVectors
from twin.records import Record, SearchHit

Vector = NDArray[np.float32]


CONTEXT_WEIGHT = 0.3
"""Weight of a word of the conversation against one of the question itself."""
LONGEST_STRETCH = 3
"""Sentences that may answer together."""


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
    """What was found as a whole, for telling whether it can answer; inputs of `sufficiency`.

    `dense_*`, `lexical_*`: scores of the passages (lexical as a share of what a passage holding every
    word of the question once could reach). `coverage`, `unknown`: idf share of the question's words
    in the best passage, and of those the corpus never uses. `late`, `weakest`: best passage by mean
    and by its worst-matched question word. `window_*`: the same and the pooled cosine over stretches
    of up to three sentences; `joint` is the best sum of cosine and worst-matched word of one stretch.
    """

    dense_top: float
    dense_mean: float
    dense_gap: float
    lexical_top: float
    lexical_gap: float
    coverage: float
    unknown: float
    late: float
    weakest: float
    sentence_cosine: float
    window_cosine: float
    window_weakest: float
    joint: float
    typed: float
    best: float


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
    """A question as evidence is weighed against it.

    `words` (w, d) holds a vector per content word, the mean of its pieces' token vectors; `weights`
    (w,) their idf; `asked` (w,) whether they are asked now, not earlier in the conversation; `idf` the
    weights by stem.
    """

    text: str
    vector: Vector
    words: Vector
    weights: Vector
    asked: NDArray[np.bool_]
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


def view_question(
    text: str,
    vector: Vector,
    encoded: TokenVectors,
    vocabulary: Vocabulary,
    context: int = 0,
    ignored: frozenset[str] = frozenset(),
) -> QuestionView:
    """Gather the question's content words; where it has none, every token counts alike.

    The first `context` characters of `text` are what the question follows up on: their words weigh
    `CONTEXT_WEIGHT` as much. Stems in `ignored` count for nothing: the authors' names, which their
    texts do not repeat.
    """
    asked = {word: vocabulary.idf(word) for word in content_stems(text[context:])}
    idf = {word: CONTEXT_WEIGHT * vocabulary.idf(word) for word in content_stems(text[:context])} | asked
    idf = {word: weight for word, weight in idf.items() if word not in ignored}
    pieces: dict[tuple[int, int], list[int]] = {}
    for position, (start, end) in enumerate(encoded.offsets):
        pieces.setdefault(_word_around(text, start, end), []).append(position)
    weighted = [
        (max((idf.get(one, 0.0) for one in content_stems(text[start:end])), default=0.0), start >= context, positions)
        for (start, end), positions in pieces.items()
    ]
    kept = [one for one in weighted if one[0] > 0]
    if not kept:
        kept = [(1.0, True, [position]) for position in range(len(encoded.offsets))]
    vectors = np.array([encoded.vectors[positions].mean(axis=0) for _, _, positions in kept], dtype=np.float32)
    return QuestionView(
        text=text,
        vector=vector,
        words=vectors.reshape(len(kept), len(vector)),
        weights=np.array([weight for weight, _, _ in kept], dtype=np.float32),
        asked=np.array([now for _, now, _ in kept]),
        idf=idf,
    )


def _word_around(text: str, start: int, end: int) -> tuple[int, int]:
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return start, end


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
    similarity = question.words @ passage.tokens.T
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
    """Over the words' best cosines: the mean, weighted by idf, and the smallest."""
    best = similarity.max(axis=1)
    return float(question.weights @ best / question.weights.sum()), _weakest(question, best)


def _weakest(question: QuestionView, best: Vector) -> float:
    """The smallest of the words' best cosines, over the words asked now if there are any."""
    return float((best[question.asked] if question.asked.any() else best).min())


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
    """Sum up what was found; `evidence` is ranked. Raises ValueError without passages or evidence."""
    if not passages or not evidence:
        raise ValueError("signals need at least one passage and one sentence")
    hits = [passage.hit for passage in passages]
    dense = sorted((hit.dense for hit in hits), reverse=True)
    lexical = sorted((hit.lexical for hit in hits), reverse=True)
    reach = 2.2 * question.total_idf
    overall = [_late_interaction(question, question.words @ passage.tokens.T) for passage in passages]
    stretches = [stretch for passage in passages for stretch in _stretches(question, passage)]
    unknown = sum(weight for word, weight in question.idf.items() if word not in vocabulary)
    return Signals(
        dense_top=dense[0],
        dense_mean=float(np.mean(dense[:3])),
        dense_gap=dense[0] - dense[-1],
        lexical_top=lexical[0] / reach,
        lexical_gap=(lexical[0] - lexical[-1]) / reach,
        coverage=max(question.coverage(set(content_stems(hit.chunk.search_text))) for hit in hits),
        unknown=unknown / question.total_idf,
        late=max(late for late, _ in overall),
        weakest=max(weakest for _, weakest in overall),
        sentence_cosine=max(one.cosine for one in evidence),
        window_cosine=max((cosine for cosine, _ in stretches), default=0.0),
        window_weakest=max((weakest for _, weakest in stretches), default=0.0),
        joint=max((cosine + weakest for cosine, weakest in stretches), default=0.0),
        typed=max(one.typed for one in evidence[:3]),
        best=evidence[0].score,
    )


def _stretches(question: QuestionView, passage: PassageView) -> list[tuple[float, float]]:
    """(pooled cosine, worst-matched word) of each stretch of up to three sentences."""
    similarity = question.words @ passage.tokens.T
    spans = [span for _, span in passage.sentences if span.block != "heading"]
    found = []
    for first in range(len(spans)):
        for last in range(first, min(first + LONGEST_STRETCH, len(spans))):
            start, end = spans[first].start, spans[last].end
            inside = (passage.token_spans[:, 0] >= start) & (passage.token_spans[:, 1] <= end)
            if inside.sum() < 3:
                continue
            pooled = passage.tokens[inside].mean(axis=0)
            cosine = float(pooled @ question.vector / (np.linalg.norm(pooled) or 1.0))
            found.append((cosine, _weakest(question, similarity[:, inside].max(axis=1))))
    return found
