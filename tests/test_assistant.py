"""The real graph over a small corpus, with the extractive writer and with scripted models."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agent.nodes import Release, abstention, nearest_topics
from agent.routers import after_weighing, after_writing
from agent.services import Services
from agent.state import AssistantState, RunContext
from agent.writing import Markers
from graphs.assistant import build_assistant
from knowledge.evidence import Evidence
from knowledge.library import Volume, citation_holds
from tests.fakes import HashEmbedder, index_document, make_document
from tests.small_twin import POSTS, small_services
from twin.errors import ConfigError, InputError, ModelError, StoreError
from twin.records import Answer, Citation, SearchHit, SearchScope, Sentence, Turn

QUESTION = "What current does the Kestrel-3 logger draw when it sleeps?"
EVIDENCE = Evidence(
    chunk_id="c", document_id="d", version="v", start=0, end=1, text="x", block="prose", block_id=0, ordinal=0,
    rank=0, late=0, weakest=0, cosine=0, coverage=0, support=0, typed=0,
)  # fmt: skip
QUOTE = Sentence(
    text="x",
    kind="quote",
    citations=(Citation(marker=1, document_id="d", document_version="v", chunk_id="c", start=0, end=1, quote="x"),),
)
FRAME = Sentence(text="From “T”:", kind="frame")


async def ask(services: Services, question: str, **context: Any) -> tuple[Answer, list[dict[str, Any]], AssistantState]:
    """The answer, what was streamed, the final state."""
    parts: list[dict[str, Any]] = []
    final: AssistantState = {}
    turns = context.pop("turns", [])
    graph = build_assistant(services).compile()
    async for mode, part in graph.astream(
        {"question": question, "turns": turns}, context=RunContext(**context), stream_mode=["custom", "values"]
    ):
        if mode == "custom":
            parts.append(part)
        else:
            final = part
    return final["answer"], parts, final


async def assert_sound(services: Services, answer: Answer, parts: list[dict[str, Any]]) -> None:
    """What must hold for every answer: what was streamed is the answer, every citation holds."""
    assert "".join(part["data"]["text"] for part in parts if part["type"] == "token") == answer.text
    cited = [part["data"]["marker"] for part in parts if part["type"] == "citation"]
    assert set(cited) == {citation.marker for citation in answer.citations}
    for citation in answer.citations:
        document = await services.warehouse.get(citation.document_id, citation.document_version)
        assert citation_holds(citation, document)
        assert document.text[citation.start : citation.end] == citation.quote


@pytest.mark.parametrize(
    ("evidence", "confidence", "expected"),
    [([], 0.9, "abstain"), ([EVIDENCE], 0.29, "abstain"), ([EVIDENCE], 0.3, "write"), ([EVIDENCE], 1.0, "write")],
)
def test_the_router_after_weighing(evidence: list[Evidence], confidence: float, expected: str) -> None:
    assert after_weighing({"evidence": evidence, "confidence": confidence}, threshold=0.3) == expected


@pytest.mark.parametrize(
    ("sentences", "expected"), [([], "abstain"), ([FRAME], "abstain"), ([FRAME, QUOTE], "finish"), ([QUOTE], "finish")]
)
def test_the_router_after_writing(sentences: list[Sentence], expected: str) -> None:
    assert after_writing({"sentences": sentences}) == expected


async def test_the_extractive_answer_is_the_authors_words_with_offsets_beyond_an_emoji() -> None:
    services, _ = await small_services()
    answer, parts, _ = await ask(services, QUESTION)
    await assert_sound(services, answer, parts)
    assert not answer.abstained
    assert "The Kestrel-3 logger sleeps at 11 µA 🙂." in [sentence.text for sentence in answer.sentences]
    assert all(sentence.kind in ("quote", "frame") for sentence in answer.sentences)
    assert answer.sentences[0].text.startswith("From “Eleven microamps”")
    assert len([sentence for sentence in answer.sentences if sentence.kind == "quote"]) <= 5


async def test_a_sentence_that_leans_on_its_neighbour_brings_it_along() -> None:
    services, _ = await small_services()
    answer, _, _ = await ask(services, "what leaked? the voltage divider?", answer_sentences=2)
    texts = [sentence.text for sentence in answer.sentences]
    at = texts.index("It was the voltage divider that leaked.")
    assert texts[at - 1].startswith("The older board drew 40 µA")


async def test_another_author_is_named() -> None:
    services, _ = await small_services()
    answer, _, _ = await ask(services, "what do rating curves deserve?", scope=SearchScope(author="Rasmus"))
    assert answer.sentences[0].text.startswith("Rasmus, in “Rating curves”")
    assert {citation.author for citation in answer.citations} == {"Rasmus"}


async def test_below_the_threshold_it_abstains_and_names_what_comes_nearest() -> None:
    services, _ = await small_services()
    answer, parts, state = await ask(services, QUESTION, abstain_below=1.0)
    await assert_sound(services, answer, parts)
    assert answer.abstained
    assert answer.citations == ()
    assert "Eleven microamps" in answer.nearest_topics
    assert "Eleven microamps" in answer.text
    assert [turn.role for turn in state["turns"]] == ["user", "assistant"]


@pytest.mark.parametrize(
    ("scope", "asked"),
    [
        (SearchScope(author="Nobody"), "author='Nobody'"),
        (SearchScope(author="tove", platform="Usenet"), "author='Tove', platform='Usenet'"),
        (SearchScope(since=datetime(2031, 1, 1, tzinfo=UTC)), "since 2031-01-01T00:00:00+00:00"),
    ],
)
async def test_a_scope_that_nothing_passes_is_an_error_that_lists_what_there_is(scope: SearchScope, asked: str) -> None:
    services, _ = await small_services()
    with pytest.raises(InputError) as raised:
        await ask(services, QUESTION, scope=scope)
    assert str(raised.value) == f"no document matches {asked}. Authors: Tove, Rasmus; platforms: blog"


async def test_a_long_list_of_authors_is_cut() -> None:
    services, _ = await small_services()
    embedder = HashEmbedder(dimension=512)
    for number in range(20):
        guest = make_document(f"https://g.example/{number}", "A guest wrote this.", author=f"Guest {number:02}")
        await services.index.upsert(index_document(guest, embedder))
    with pytest.raises(InputError, match=r"Authors: Tove, Guest 00, .*Guest 06 and 14 more; platforms"):
        await ask(services, QUESTION, scope=SearchScope(author="Nobody"))


@pytest.mark.parametrize("author", ["rasmus", "RASMUS", " Rasmus "])
async def test_author_and_platform_match_whatever_their_case(author: str) -> None:
    services, _ = await small_services()
    scope = SearchScope(author=author, platform="BLOG")
    answer, _, _ = await ask(services, "what do rating curves deserve?", scope=scope)
    assert {citation.author for citation in answer.citations} == {"Rasmus"}


async def test_a_scope_without_restriction_is_none() -> None:
    services, _ = await small_services()
    answer, _, _ = await ask(services, QUESTION, scope=SearchScope())
    assert not answer.abstained


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], ()),
        ([("Gaps", 0.24), ("", 0.9)], ()),
        ([("Gaps", 0.25), ("Cells", 0.1), ("Gaps", 0.8)], ("Gaps",)),
        ([("Gaps", 0.5), ("Gaps (reposted)", 0.5), ("GAPS [again]", 0.4), ("Gaps too", 0.4)], ("Gaps", "Gaps too")),
        ([("(untitled)", 0.5), ("[draft]", 0.4)], ("(untitled)", "[draft]")),
        ([("A", 0.5), ("B", 0.4), ("C", 0.4), ("D", 0.3)], ("A", "B", "C")),
    ],
)  # fmt: skip
def test_only_near_titles_are_named_each_once(found: list[tuple[str, float]], expected: tuple[str, ...]) -> None:
    embedder = HashEmbedder()
    hits = []
    for number, (title, dense) in enumerate(found):
        (indexed,) = index_document(make_document(f"u{number}", "Text.", title=title), embedder)
        hits.append(SearchHit(chunk=indexed.chunk, score=1, dense=dense))
    topics = nearest_topics(hits)
    assert topics == expected
    assert len(abstention(topics)) == (2 if expected else 1)


async def test_a_model_that_stays_with_the_passage_is_cited() -> None:
    reply = "The Kestrel-3 logger sleeps at 11 µA [1]. I measured the current twice [1]."
    services, model = await small_services([reply])
    answer, parts, state = await ask(services, QUESTION, writer="fake")
    await assert_sound(services, answer, parts)
    assert [sentence.kind for sentence in answer.sentences] == ["generated", "generated"]
    assert answer.text == "The Kestrel-3 logger sleeps at 11 µA. I measured the current twice."
    assert answer.citations[0].quote == "The Kestrel-3 logger sleeps at 11 µA 🙂."
    assert [message["role"] for message in state["model_messages"]] == ["system", "human"]
    assert state["model_messages"][0]["content"] == model.calls[0][0].content


async def test_what_no_span_supports_is_replaced_by_the_quote_or_dropped_and_recorded() -> None:
    reply = "The Kestrel-3 logger sleeps at 12 µA [1]. My cat is called Whiskers and likes fish [2]."
    services, _ = await small_services([reply])
    answer, parts, _ = await ask(services, QUESTION, writer="fake")
    await assert_sound(services, answer, parts)
    assert [(sentence.kind, sentence.text) for sentence in answer.sentences] == [
        ("quote", "The Kestrel-3 logger sleeps at 11 µA 🙂.")
    ]
    wrong, invented = answer.rejected
    assert wrong.replaced_by == "The Kestrel-3 logger sleeps at 11 µA 🙂."
    assert any("12" in reason for reason in wrong.reasons)
    assert invented.replaced_by == ""
    assert "Whiskers" not in answer.text


@pytest.mark.parametrize("reply", ["I have not written about that.", "Bananas grow in Ecuador and Kenya.", ""])
async def test_a_model_that_refuses_or_only_invents_ends_in_abstention(reply: str) -> None:
    services, _ = await small_services([reply])
    answer, parts, _ = await ask(services, QUESTION, writer="fake")
    await assert_sound(services, answer, parts)
    assert answer.abstained
    assert answer.citations == ()


async def test_a_model_that_fails_is_an_error_not_an_answer() -> None:
    services, _ = await small_services([ModelError("the model is down")])
    with pytest.raises(ModelError, match="the model is down"):
        await ask(services, QUESTION, writer="fake")


async def test_an_unknown_writer_names_the_known_ones() -> None:
    services, _ = await small_services()
    with pytest.raises(ConfigError, match="extractive"):
        await ask(services, QUESTION, writer="gpt-99")


async def test_the_default_fake_model_answers_from_the_first_passage() -> None:
    services, _ = await small_services()
    answer, parts, _ = await ask(services, QUESTION, writer="fake")
    await assert_sound(services, answer, parts)
    assert not answer.abstained


async def test_sentences_are_released_before_the_model_has_finished() -> None:
    """The second sentence is never written: the first must be out by then."""
    services, model = await small_services(["The Kestrel-3 logger sleeps at 11 µA [1]. " + "I measured " * 50])
    model.seconds_per_word = 0.01
    graph = build_assistant(services).compile()
    stream = graph.astream({"question": QUESTION, "turns": []}, context=RunContext(writer="fake"), stream_mode="custom")
    async with asyncio.timeout(20):
        async for part in stream:
            if part["type"] == "token":
                assert part["data"]["text"] == "The Kestrel-3 logger sleeps at 11 µA."
                break
    await stream.aclose()


async def test_a_follow_up_is_searched_with_its_question_from_the_thread() -> None:
    services, _ = await small_services()
    graph = build_assistant(services).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke({"question": QUESTION, "turns": []}, config, context=RunContext())
    follow_up = {"question": "and how much did the older one?", "turns": []}
    state = await graph.ainvoke(follow_up, config, context=RunContext())
    assert state["standalone"].startswith(QUESTION)
    assert [turn.role for turn in state["turns"]] == ["user", "assistant"] * 2
    assert any("40 µA" in sentence.text for sentence in state["answer"].sentences)


async def test_a_follow_up_of_a_follow_up_keeps_its_subject_and_takes_no_frames_along() -> None:
    services, _ = await small_services()
    graph = build_assistant(services).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    for question in (QUESTION, "and how much did the older one?"):
        await graph.ainvoke({"question": question, "turns": []}, config, context=RunContext())
    state = await graph.ainvoke({"question": "why is that?", "turns": []}, config, context=RunContext(abstain_below=1))
    assert state["standalone"].startswith(f"{QUESTION} and how much did the older one? ")
    assert "µA" in state["standalone"]
    assert "From “" not in state["standalone"]
    assert state["answer"].abstained
    state = await graph.ainvoke({"question": "and in winter?", "turns": []}, config, context=RunContext())
    assert state["standalone"] == f"{QUESTION} and how much did the older one? why is that? and in winter?"
    state = await graph.ainvoke({"question": "Who levels a tide gauge?", "turns": []}, config, context=RunContext())
    assert state["standalone"] == state["subject"] == "Who levels a tide gauge?"


async def test_earlier_turns_reach_the_model() -> None:
    services, model = await small_services(["I measured the current twice [1]."])
    turns = [Turn(role="user", text="Hello?"), Turn(role="assistant", text="Hello.")]
    await ask(services, QUESTION, writer="fake", turns=turns)
    assert [message.type for message in model.calls[0]] == ["system", "human", "ai", "human"]


async def test_a_text_changed_behind_the_indexs_back_is_an_error_not_a_quote() -> None:
    services, _ = await small_services()
    shelf = services.warehouse.blocking
    for key, document in shelf.documents.items():
        shelf.documents[key] = document.model_copy(update={"text": "Z" * len(document.text)})
    with pytest.raises(StoreError, match="the stored text was changed"):
        await ask(services, QUESTION)


def test_a_sentence_whose_citation_does_not_hold_is_never_sent() -> None:
    document = make_document("u", "One. Two.")
    good = Markers().cite(document, "c", 0, 4, 1.0)
    bad = good.model_copy(update={"quote": "Uno."})
    sent: list[Any] = []
    release = Release(sent.append, {document.document_id: Volume(document, [])})
    release.add(FRAME)
    release.add(Sentence(text="Uno.", kind="quote", citations=(bad,)))
    assert sent == []
    assert release.rejected[0].text == "Uno."
    release.add(Sentence(text="One.", kind="quote", citations=(good,)))
    assert [part["data"]["text"] for part in sent if part["type"] == "token"] == ["From “T”:", "One."]


def test_the_corpus_of_these_tests_has_characters_beyond_the_basic_plane() -> None:
    assert any(ord(character) > 0xFFFF for _, text, _ in POSTS.values() for character in text)
