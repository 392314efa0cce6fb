"""Finding the span that supports a sentence: candidates by shared words, decided by `claims`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knowledge.blocks import BlockKind
from knowledge.claims import Verdict, check_claim, content_share
from knowledge.library import Volume
from knowledge.quote import LONGEST_QUOTE
from knowledge.sentences import SentenceSpan
from knowledge.view import fold
from knowledge.vocabulary import Vocabulary
from twin.models.embed import Embedder, embed_async
from twin.records import Document, SearchHit

LONGEST_WINDOW = 3
"""Consecutive sentences that may support one sentence together."""
CANDIDATES = 6
"""Windows that are embedded and checked per sentence."""


@dataclass(frozen=True)
class Window:
    """Consecutive sentences of a document that may serve as evidence: `document.text[start:end]`."""

    document: Document
    chunk_id: str
    passage: int
    start: int
    end: int
    sentences: int
    block: BlockKind = "prose"
    """Kind of block of its first sentence; code and a table's rows are evidence, but no sentence to read."""

    @property
    def text(self) -> str:
        return self.document.text[self.start : self.end]


@dataclass(frozen=True)
class Support:
    """The best window for a sentence and the verdict on it; `closest` if nothing supports it."""

    window: Window
    verdict: Verdict
    share: float


def windows(hits: Sequence[SearchHit], volumes: Mapping[str, Volume]) -> list[Window]:
    """All windows of up to LONGEST_WINDOW sentences and LONGEST_QUOTE characters within each passage.

    Headings end a window; code and a table's row stand alone. `passage` counts from 1 as in the prompt.
    """
    found: list[Window] = []
    for number, hit in enumerate(hits, start=1):
        volume = volumes[hit.chunk.document_id]
        inside = [span for span in volume.sentences if hit.chunk.start <= span.start and span.end <= hit.chunk.end]
        for first in range(len(inside)):
            for count in range(1, LONGEST_WINDOW + 1):
                group = inside[first : first + count]
                if len(group) < count or not _belong_together(group):
                    break
                start, end = group[0].start, group[-1].end
                found.append(
                    Window(volume.document, hit.chunk.chunk_id, number, start, end, count, block=group[0].block)
                )
    return found


def _belong_together(group: Sequence[SentenceSpan]) -> bool:
    alone = ("heading",) if len(group) == 1 else ("heading", "code", "table")
    return group[-1].end - group[0].start <= LONGEST_QUOTE and not any(span.block in alone for span in group)


async def find_support(
    sentence: str,
    candidates: Sequence[Window],
    embedder: Embedder,
    vocabulary: Vocabulary,
    preferred: frozenset[int] = frozenset(),
) -> Support | None:
    """The window that supports `sentence`, else the closest one with its reasons; None without windows.

    At least one window of the passages in `preferred` (those the sentence cites) is among the
    CANDIDATES that are tried; of the supporting ones a preferred passage's wins, then the shortest,
    then the most similar.
    """
    if not candidates:
        return None
    shared = [(content_share(sentence, window.text, vocabulary), window) for window in candidates]
    shared.sort(key=lambda pair: (-pair[0], pair[1].passage not in preferred, pair[1].sentences))
    best = shared[:CANDIDATES]
    cited = next((pair for pair in shared if pair[1].passage in preferred), None)
    if cited is not None and cited not in best:
        best[-1] = cited
    vectors = await embed_async(embedder, [fold(sentence), *(fold(window.text) for _, window in best)])
    supports = []
    for (share, window), vector in zip(best, vectors[1:], strict=True):
        known = f"{window.document.title} {window.document.author}"
        verdict = check_claim(sentence, window.text, float(vectors[0] @ vector), vocabulary, known)
        supports.append(Support(window, verdict, share))
    held = [support for support in supports if support.verdict.supported]
    if held:
        return min(
            held,
            key=lambda one: (one.window.passage not in preferred, one.window.sentences, -one.verdict.similarity),
        )
    return max(supports, key=lambda one: (one.share, one.verdict.similarity))
