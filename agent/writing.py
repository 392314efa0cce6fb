"""What every writer does: from weighed evidence to sentences with citations, one at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from knowledge.evidence import Evidence
from knowledge.library import Volume
from twin.records import Citation, Document, RejectedSentence, SearchHit, Sentence, Turn


@dataclass(frozen=True)
class WriteRequest:
    """Everything a writer may use. `volumes` holds the documents of `hits`, by document id."""

    question: str
    standalone: str
    turns: tuple[Turn, ...]
    hits: tuple[SearchHit, ...]
    evidence: tuple[Evidence, ...]
    volumes: Mapping[str, Volume]
    persona: str
    most: int


@dataclass(frozen=True)
class ModelCall:
    """What was sent to a model, exactly."""

    messages: tuple[dict[str, Any], ...]


Written = Sentence | RejectedSentence | ModelCall


class Writer(Protocol):
    """A writer yields sentences in order as they are ready; each but frames carries its citations.

    `name` is its alias, `model` the model behind it ("" for none), `prompt_version` the prompt's.
    Raises ModelError where its model fails.
    """

    name: str
    model: str
    prompt_version: str

    def write(self, request: WriteRequest) -> AsyncIterator[Written]:
        """Write the answer; nothing at all means that it cannot be answered."""


@dataclass
class Markers:
    """Numbers citations from 1 in order of appearance; one span, one number."""

    _numbers: dict[tuple[str, str, int, int], int] = field(default_factory=dict)

    def cite(self, document: Document, chunk_id: str, start: int, end: int, score: float) -> Citation:
        """The citation of `document.text[start:end]`."""
        key = (document.document_id, document.version, start, end)
        marker = self._numbers.setdefault(key, len(self._numbers) + 1)
        return Citation(
            marker=marker,
            document_id=document.document_id,
            document_version=document.version,
            chunk_id=chunk_id,
            start=start,
            end=end,
            quote=document.text[start:end],
            url=document.url,
            title=document.title,
            author=document.author,
            platform=document.platform,
            published_at=document.published_at,
            score=score,
        )


def day(moment: datetime) -> str:
    """A date as people write it: 3 May 2021."""
    return f"{moment.day} {moment:%B %Y}"
