"""What flows through the assistant graph: state, per-run context, and what it streams."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

from knowledge.evidence import Evidence
from twin.records import Answer, RejectedSentence, SearchHit, SearchScope, Sentence, Turn


class AssistantInput(TypedDict):
    """What starts a run. The thread's earlier turns come from the checkpointer; a caller without one
    (evals, tests) passes them as `turns`."""

    question: str
    turns: Annotated[list[Turn], operator.add]


class AssistantState(TypedDict, total=False):
    """The graph's state. `turns` is the thread's memory; the rest belongs to the current run, and the next one
    reads `subject` (what the conversation is about, see `knowledge.condense.subject_of`) and `answer`."""

    question: str
    turns: Annotated[list[Turn], operator.add]
    standalone: str
    subject: str
    hits: list[SearchHit]
    evidence: list[Evidence]
    confidence: float
    sentences: list[Sentence]
    rejected: list[RejectedSentence]
    model_messages: list[dict[str, Any]]
    answer: Answer


@dataclass(frozen=True)
class RunContext:
    """Per-run configuration (LangGraph `context_schema`): ids and what a request may override."""

    run_id: str = "run"
    thread_id: str = "thread"
    writer: str | None = None
    answer_sentences: int | None = None
    abstain_below: float | None = None
    scope: SearchScope | None = None


class StreamPart(TypedDict):
    """What nodes write to LangGraph's custom stream; the run manager numbers it into `Event`s.

    status:   {"node": str, "text": str}
    token:    {"text": str, "sentence": int, "kind": "quote"|"generated"|"frame"}  (glue included)
    citation: a Citation as JSON, plus {"sentence": int}; follows the token of its sentence
    """

    type: Literal["status", "token", "citation"]
    data: dict[str, Any]
