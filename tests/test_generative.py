"""The generative writer's parts, and what it makes of models that repeat themselves or quote others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import BaseMessage

from agent.generative import (
    QUESTION_CHARACTERS,
    TURN_CHARACTERS,
    Seen,
    build_messages,
    complete_sentences,
    judge,
    readable,
    shorten,
    split_markers,
)
from agent.services import Services
from agent.state import RunContext
from agent.writing import Markers, WriteRequest
from graphs.assistant import build_assistant
from knowledge.blocks import BlockKind
from knowledge.claims import Verdict
from knowledge.quote import LONGEST_QUOTE
from knowledge.support import Support, Window
from tests.fakes import HashEmbedder, day, index_document, make_document
from tests.small_twin import small_services
from twin.models.fake import first_passage_sentence
from twin.records import Answer, RejectedSentence, SearchHit, Sentence, Turn

QUESTION = "What current does the Kestrel-3 logger draw when it sleeps?"
SLEEPS = "The Kestrel-3 logger sleeps at 11 µA [1]."
MEASURED = "I measured the current twice [1]."
CURVES = "Rating curves deserve more patience."


async def ask(services: Services, question: str = QUESTION, **context: Any) -> Answer:
    graph = build_assistant(services).compile()
    state = await graph.ainvoke({"question": question, "turns": []}, context=RunContext(writer="fake", **context))
    answer: Answer = state["answer"]
    return answer


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        ("", [""]),
        ("One is", ["One is"]),
        ("One is.", ["One is."]),
        ("One is. Two", ["One is. ", "Two"]),
        ("One is [1]. Two is", ["One is [1]. ", "Two is"]),
        ("One is. [1] Two is", ["One is. [1] ", "Two is"]),
        ("It draws 1.5 mA, e.g. asleep", ["It draws 1.5 mA, e.g. asleep"]),
    ],
)
def test_the_sentences_of_a_stream(buffer: str, expected: list[str]) -> None:
    assert complete_sentences(buffer) == expected


@given(st.text(alphabet="Ab1 .?!\n[]", max_size=60))
def test_cutting_a_stream_loses_no_words(buffer: str) -> None:
    assert re.findall(r"\w+", "".join(complete_sentences(buffer))) == re.findall(r"\w+", buffer)


@pytest.mark.parametrize(
    ("text", "claim", "cited"),
    [
        ("One is [1].", "One is.", {1}),
        ("One is.[2]", "One is.", {2}),
        ("One [1] is two [2, 13].", "One is two.", {1, 2, 13}),
        ("One is.", "One is.", set()),
        ("[1]", "", {1}),
        ("In [2021] and [x] it was.", "In [2021] and [x] it was.", set()),
    ],
)
def test_markers_are_taken_off(text: str, claim: str, cited: set[int]) -> None:
    assert split_markers(text) == (claim, frozenset(cited))


def support(text: str = "It leaks.", *, supported: bool = False, share: float = 0.8, sentences: int = 1) -> Support:
    document = make_document("u", text)
    window = Window(document, "c", 1, 0, len(text), sentences)
    return Support(window, Verdict(supported=supported, reasons=() if supported else ("why",)), share)


@pytest.mark.parametrize(
    ("found", "said", "expected"),
    [
        (support(supported=True), "", ["generated"]),
        (support(supported=True, sentences=3), "", ["generated"]),
        (support(), "", ["rejected", "quote"]),
        (support(), "it leaks", ["rejected"]),
        (support(share=0.49), "", ["rejected"]),
        (support(sentences=2), "", ["rejected"]),
        (support("x" * (LONGEST_QUOTE + 1)), "", ["rejected"]),
        (None, "", ["rejected"]),
    ],
)
def test_what_becomes_of_a_claim(found: Support | None, said: str, expected: list[str]) -> None:
    seen = Seen(10)
    seen.add(said)
    written = judge("It leaks.", found, Markers(), seen, first=True)
    kinds = [one.kind if isinstance(one, Sentence) else "rejected" for one in written]
    assert kinds == expected
    if isinstance(written[0], RejectedSentence):
        assert bool(written[0].replaced_by) == (len(written) == 2)
        assert written[0].reasons
    if "quote" in kinds:
        assert [type(one) for one in judge("Again.", found, Markers(), seen, first=False)] == [RejectedSentence]


@pytest.mark.parametrize(("block", "expected"), [("prose", True), ("list", True), ("code", False), ("table", False)])
def test_code_and_tables_do_not_stand_in(block: BlockKind, expected: bool) -> None:
    window = Window(make_document("u", "a = 1"), "c", 1, 0, 5, 1, block=block)
    assert readable(window) is expected


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (f"{SLEEPS} {SLEEPS} {MEASURED}", "The Kestrel-3 logger sleeps at 11 µA. I measured the current twice."),
        (f"{SLEEPS} {SLEEPS} {SLEEPS} {MEASURED}", "The Kestrel-3 logger sleeps at 11 µA."),
        ("The Kestrel-3 logger sleeps at 12 µA. The Kestrel-3 logger sleeps at 11 µA 🙂.", None),
    ],
)
async def test_what_was_said_is_not_said_again(reply: str, text: str | None) -> None:
    services, _ = await small_services([reply])
    answer = await ask(services)
    assert answer.text == (text or "The Kestrel-3 logger sleeps at 11 µA 🙂.")


@pytest.mark.parametrize(
    "sentences", [[SLEEPS] * 1000, [f"Number {n} is a banana in Ecuador." for n in range(1000)]]
)  # fmt: skip
async def test_a_model_that_never_ends_is_stopped(sentences: list[str]) -> None:
    services, model = await small_services([" ".join(sentences)])
    pieces = 0
    stream = model._astream

    async def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal pieces
        async for piece in stream(*args, **kwargs):
            pieces += 1
            yield piece

    object.__setattr__(model, "_astream", counted)
    answer = await ask(services, answer_sentences=3)
    assert 0 < pieces < 100
    assert len(answer.rejected) <= 6


async def test_another_authors_words_are_put_under_their_name_and_ones_own_again_after() -> None:
    services, model = await small_services(
        [f"{CURVES} The river moves its own bed. I leave gaps in the tide record open."]
    )
    answer = await ask(services, "what do rating curves deserve, and do gaps in the tide record stay open?")
    assert [sentence.kind for sentence in answer.sentences] == ["frame", "generated", "generated", "frame", "generated"]
    assert answer.text == (
        "Rasmus, in “Rating curves”:\nRating curves deserve more patience. The river moves its own bed.\n\n"
        "And from “Leave the hole open”:\nI leave gaps in the tide record open."
    )
    assert ", by Rasmus\n" in str(model.calls[0][0].content)


def request(hits: tuple[SearchHit, ...] = (), turns: tuple[Turn, ...] = (), question: str = "Why?") -> WriteRequest:
    return WriteRequest(
        question=question, standalone=question, turns=turns, hits=hits, evidence=(), volumes={}, persona="Tove", most=5
    )


@pytest.mark.parametrize(
    ("metadata", "header"),
    [
        ({"title": "Bed", "author": "Rasmus", "published_at": day("2021-05-03")}, "[1] Bed, by Rasmus, 3 May 2021"),
        ({"title": "Two\nlines", "author": "R\nE"}, "[1] Two lines, by R E"),
        ({}, "[1] A short post"),
    ],
)  # fmt: skip
def test_a_passage_is_headed_by_title_author_and_date(metadata: dict[str, Any], header: str) -> None:
    chunk = index_document(make_document("u", "The river moves.", **metadata), HashEmbedder())[0].chunk
    messages: list[BaseMessage] = build_messages(request((SearchHit(chunk=chunk, score=1),)))
    assert f"\n{header}\nThe river moves." in str(messages[0].content)
    assert first_passage_sentence(messages) == "The river moves. [1]"


def test_history_and_question_are_cut_to_what_a_small_context_holds() -> None:
    turns = tuple(Turn(role="user", text=f"{n}" * 9000) for n in range(9))
    messages = build_messages(request(turns=turns, question="How " + "x" * 9000 + " why?"))
    assert [len(str(message.content)) <= TURN_CHARACTERS for message in messages[1:-1]] == [True] * 4
    question = str(messages[-1].content)
    assert len(question) <= QUESTION_CHARACTERS
    assert question.startswith("How x")
    assert question.endswith("x why?")


@given(st.text(max_size=80), st.integers(min_value=10, max_value=60))
def test_a_text_is_shortened_only_where_it_is_too_long(text: str, most: int) -> None:
    short = shorten(text, most)
    assert short == text if len(text) <= most else len(short) <= most
