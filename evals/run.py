"""Running the evals over an opened assistant. The only module here that knows the graph."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

from agent.services import Services
from agent.state import AssistantInput, AssistantState, RunContext
from evals.report import AnswerResult, RetrievalResult
from evals.scorers import claims_text, hit_at, includes_all, ranked_links, reciprocal_rank
from evals.tasks import Question
from graphs.assistant import build_assistant
from knowledge.condense import condense
from knowledge.library import citation_holds
from knowledge.retrieve import retrieve
from twin.records import Answer, Citation

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

OnResult = Callable[[int], None]
RETRIEVED = 20


async def run_retrieval(
    services: Services, questions: Sequence[Question], on_result: OnResult = lambda done: None
) -> list[RetrievalResult]:
    """Retrieve for every answerable question, as the assistant does, `RETRIEVED` passages deep."""
    results = []
    for question in questions:
        if not question.answerable:
            continue
        searched = condense(question.question, question.turns)
        began = time.perf_counter()
        hits = await retrieve(
            searched, services.index, services.embedder, alpha=services.settings.dense_weight, limit=RETRIEVED
        )
        seconds = time.perf_counter() - began
        links = ranked_links([hit.chunk.url for hit in hits])
        results.append(
            RetrievalResult(
                id=question.id,
                kind=question.kind,
                searched=searched,
                links=tuple(links[:10]),
                hit_at_1=hit_at(question, links, 1),
                hit_at_5=hit_at(question, links, 5),
                reciprocal_rank=reciprocal_rank(question, links),
                seconds=seconds,
            )
        )
        on_result(len(results))
    return results


async def run_answers(
    services: Services,
    questions: Sequence[Question],
    writer: str | None = None,
    on_result: OnResult = lambda done: None,
) -> list[AnswerResult]:
    """Ask every question through the real graph, each in a thread of its own."""
    graph = build_assistant(services).compile()
    results = []
    for question in questions:
        began = time.perf_counter()
        answer = await _ask(graph, question, writer)
        results.append(await _judge(services, question, answer, time.perf_counter() - began))
        on_result(len(results))
    return results


async def _ask(
    graph: CompiledStateGraph[AssistantState, RunContext, AssistantInput, AssistantState],
    question: Question,
    writer: str | None,
) -> Answer:
    context = RunContext(run_id=question.id, thread_id=question.id, writer=writer)
    state = await graph.ainvoke({"question": question.question, "turns": question.turns}, context=context)
    answer: Answer = state["answer"]
    return answer


async def _judge(services: Services, question: Question, answer: Answer, seconds: float) -> AnswerResult:
    claims = [sentence for sentence in answer.sentences if sentence.kind != "frame"]
    valid = [one async for one in _valid(services, answer.citations)]
    gold = set(question.gold_links)
    return AnswerResult(
        id=question.id,
        kind=question.kind,
        answer=answer.text,
        abstained=answer.abstained,
        confidence=answer.confidence,
        quotes=len(claims),
        included=includes_all(question.must_include, claims_text(answer)) if question.answerable else None,
        cited_gold=any(one.url in gold for one in answer.citations) if question.answerable else None,
        citations=len(answer.citations),
        valid_citations=len(valid),
        seconds=seconds,
    )


async def _valid(services: Services, citations: Sequence[Citation]) -> AsyncIterator[Citation]:
    """The citations that hold in the stored version, which is read anew, not from the library's cache."""
    for citation in citations:
        document = await services.warehouse.get(citation.document_id, citation.document_version)
        if citation_holds(citation, document):
            yield citation
