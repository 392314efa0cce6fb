"""The records that travel between stages: immutable, validated, the same after a trip through JSON.

One record per arrow of the data flow (docs/architecture.md). Offsets are Python code points into
`Document.text`, half open. Times are timezone-aware UTC. Every stored record names its tenant.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def as_utc(moment: datetime) -> datetime:
    """The same moment in UTC; a moment without a zone is taken to be in UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


UtcDatetime = Annotated[datetime, AfterValidator(as_utc)]


class Record(BaseModel):
    """Base of all records: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def make_document_id(tenant: str, uri: str) -> str:
    """The identity of a document: 16 hexadecimal digits over tenant and canonical URL or path."""
    return hashlib.sha256(f"{tenant}\x00{uri}".encode()).hexdigest()[:16]


class SourceItem(Record):
    """One item as a source yields it, its metadata taken before any cleaning.

    `uri` identifies the item within its tenant: its canonical URL, else the absolute path of its
    file. `origin` says where it was read (`path` or `path#record`), for messages.
    """

    tenant: str
    uri: str
    origin: str
    format: Literal["markdown", "text", "html"]
    content: str
    title: str = ""
    subtitle: str = ""
    author: str = ""
    platform: str = ""
    url: str = ""
    published_at: UtcDatetime | None = None
    language: str = ""
    tags: tuple[str, ...] = ()

    @property
    def document_id(self) -> str:
        return make_document_id(self.tenant, self.uri)


class DocumentMeta(Record):
    """What is known of a document besides its text."""

    tenant: str
    document_id: str
    version: str
    uri: str
    title: str = ""
    subtitle: str = ""
    author: str = ""
    platform: str = ""
    url: str = ""
    published_at: UtcDatetime | None = None
    language: str = ""
    tags: tuple[str, ...] = ()
    origin: str = ""


class Document(DocumentMeta):
    """A cleaned document. `version` is a hash of text and metadata (see `document_version`)."""

    text: str

    @property
    def intact(self) -> bool:
        """Whether text and metadata are those that the version was made from."""
        return self.version == document_version(self.text, **{name: getattr(self, name) for name in VERSIONED})


VERSIONED = ("title", "subtitle", "author", "platform", "url", "published_at", "language", "tags")
"""Metadata that is indexed with the text: a change of it makes a new version."""


def document_version(text: str, **metadata: Any) -> str:
    """Content hash, 16 hexadecimal digits, over the text and the metadata that is indexed with it."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(metadata):
        digest.update(f"\x00{name}\x01{metadata[name]!r}".encode())
    return digest.hexdigest()[:16]


class Chunk(Record):
    """A passage: `text == document.text[start:end]` of that document version.

    `search_text` is what is searched and embedded: title and section in front, folded (see
    `knowledge.view`). `total` is the number of chunks of the document version, so that a reader
    can tell whether all of them are there.
    """

    tenant: str
    chunk_id: str
    document_id: str
    version: str
    ordinal: int
    total: int
    start: int
    end: int
    text: str
    search_text: str
    section: str = ""
    title: str = ""
    author: str = ""
    platform: str = ""
    url: str = ""
    published_at: UtcDatetime | None = None
    language: str = ""
    tags: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _offsets_fit(self) -> Chunk:
        if self.end - self.start != len(self.text):
            raise ValueError(f"chunk {self.chunk_id}: offsets {self.start}:{self.end} do not fit the text")
        return self


class IndexedChunk(Record):
    """A chunk with its embedding (unit length, one dimension for the whole index)."""

    chunk: Chunk
    vector: tuple[float, ...]


class SearchHit(Record):
    """A chunk found. `score` orders the list; `dense` is the cosine, `lexical` the raw BM25 score
    (0 where the chunk was not found that way)."""

    chunk: Chunk
    score: float
    dense: float = 0.0
    lexical: float = 0.0


class SearchScope(Record):
    """Which documents a question is asked of; empty fields do not restrict. From `since`, before `until`."""

    author: str = ""
    platform: str = ""
    since: UtcDatetime | None = None
    until: UtcDatetime | None = None


class Turn(Record):
    """One message of a conversation, as the assistant keeps it."""

    role: Literal["user", "assistant"]
    text: str


class Citation(Record):
    """Evidence that a program can check: `document.text[start:end] == quote` for that version."""

    marker: int
    document_id: str
    document_version: str
    chunk_id: str
    start: int
    end: int
    quote: str
    url: str = ""
    title: str = ""
    author: str = ""
    platform: str = ""
    published_at: UtcDatetime | None = None
    score: float = 0.0


class Sentence(Record):
    """A sentence of an answer.

    `quote`: the author's own words. `generated`: a model's words that its citations support.
    `frame`: words that connect and claim nothing (the only kind without citations).
    `text` is exactly what is shown, citation markers not included; `glue` is the white space that
    precedes it.
    """

    text: str
    kind: Literal["quote", "generated", "frame"]
    glue: str = ""
    citations: tuple[Citation, ...] = ()

    @model_validator(mode="after")
    def _claims_are_cited(self) -> Sentence:
        if self.kind != "frame" and not self.citations:
            raise ValueError(f"a {self.kind} sentence needs a citation: {self.text[:80]!r}")
        return self


class RejectedSentence(Record):
    """A sentence that a model wrote and no span supported; kept in the record, never shown."""

    text: str
    reasons: tuple[str, ...]
    replaced_by: str = ""


class Answer(Record):
    """The verified answer. `text` is what was streamed, sentence by sentence."""

    run_id: str
    thread_id: str
    question: str
    standalone_question: str
    sentences: tuple[Sentence, ...]
    abstained: bool
    confidence: float = Field(ge=0.0, le=1.0, description="calibrated probability that the passages answer")
    writer: str
    nearest_topics: tuple[str, ...] = ()
    rejected: tuple[RejectedSentence, ...] = ()

    @property
    def text(self) -> str:
        return "".join(sentence.glue + sentence.text for sentence in self.sentences)

    @property
    def citations(self) -> tuple[Citation, ...]:
        """All citations in order of their markers, each once."""
        by_marker = {c.marker: c for s in self.sentences for c in s.citations}
        return tuple(by_marker[marker] for marker in sorted(by_marker))


EventType = Literal["run", "status", "token", "citation", "answer", "error", "done"]


class Event(Record):
    """One event of a run's stream; `id` counts from 1 within the run."""

    id: int
    type: EventType
    data: dict[str, Any]


class RunRecord(Record):
    """What a run did: the question, what was retrieved, what was sent to a model, what came out."""

    tenant: str
    run_id: str
    thread_id: str
    started_at: UtcDatetime
    ended_at: UtcDatetime
    status: Literal["answered", "abstained", "cancelled", "failed"]
    question: str
    standalone_question: str = ""
    writer: str = ""
    model: str = ""
    prompt_version: str = ""
    messages: tuple[dict[str, Any], ...] = ()
    retrieved: tuple[str, ...] = ()
    answer: Answer | None = None
    error: str = ""
    timings: dict[str, float] = Field(default_factory=dict, description="seconds by node")
