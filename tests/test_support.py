"""Which span supports a sentence: windows over whole passages, and the choice among them."""

from __future__ import annotations

import pytest

from knowledge.library import Volume
from knowledge.quote import LONGEST_QUOTE
from knowledge.sentences import split_sentences
from knowledge.support import LONGEST_WINDOW, Support, Window, find_support, windows
from knowledge.vocabulary import count_vocabulary
from tests.fakes import HashEmbedder, index_document, make_document
from twin.records import SearchHit

LOGGER = "The logger sleeps at 11 µA. It wakes every ten minutes. I do not fill gaps in the data."
RUST = "Rust is a good language for firmware. I do not fill gaps in the data. SQLite stores the water level."


def passages(*texts: str) -> tuple[list[SearchHit], dict[str, Volume]]:
    """One passage per text, each a document of its own."""
    hits, volumes = [], {}
    for number, text in enumerate(texts):
        document = make_document(f"post-{number}", text)
        volumes[document.document_id] = Volume(document, split_sentences(text))
        (one,) = index_document(document, HashEmbedder(), words=1000)
        hits.append(SearchHit(chunk=one.chunk, score=1.0, dense=1.0, lexical=0.0))
    return hits, volumes


async def support(sentence: str, *texts: str, preferred: frozenset[int] = frozenset()) -> Support:
    found = await find_support(sentence, windows(*passages(*texts)), HashEmbedder(), count_vocabulary(texts), preferred)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One is here. Two is there.", [("One is here.", 1), ("One is here. Two is there.", 2), ("Two is there.", 1)]),
        ("# Head\n\nOne is here.", [("One is here.", 1)]),
        ("One is here.\n\n```\nx = 1\n```", [("One is here.", 1), ("x = 1", 1)]),
        ("a" * LONGEST_QUOTE + "b", []),
        (
            "Long " + "incomprehensibility " * 25 + "one. Long " + "incomprehensibility " * 25 + "two.",
            [("Long " + "incomprehensibility " * 25 + "one.", 1), ("Long " + "incomprehensibility " * 25 + "two.", 1)],
        ),
    ],
)
def test_windows_of_a_passage(text: str, expected: list[tuple[str, int]]) -> None:
    assert [(window.text, window.sentences) for window in windows(*passages(text))] == expected


def test_windows_know_their_block_and_join_neither_code_nor_rows() -> None:
    text = "Read it:\n\n```\nx = 1\n```\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n| 3 | 4 |\n\nDone is done. So it is."
    found = windows(*passages(text))
    assert {window.block for window in found} >= {"prose", "code", "table"}
    assert all(window.sentences == 1 for window in found if window.block in ("code", "table"))
    assert not any("x = 1" in window.text for window in found if window.block == "prose")
    assert max(window.sentences for window in found) == 2 < LONGEST_WINDOW


def test_a_window_is_prose_unless_it_says_otherwise() -> None:
    assert Window(make_document("post", LOGGER), "chunk", 1, 0, 27, 1).block == "prose"


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("Rust is not a good language for firmware.", "denies"),
        ("I fill gaps in the data.", "denies"),
        ("Kubernetes stores the water level.", "Kubernetes"),
        ("Åke stores the water level in SQLite.", "Åke"),
    ],
)
async def test_neighbours_do_not_pay_for_what_a_sentence_invents(sentence: str, reason: str) -> None:
    found = await support(sentence, RUST)
    assert not found.verdict.supported
    assert any(reason in one for one in found.verdict.reasons), found.verdict.reasons


@pytest.mark.parametrize(
    ("sentence", "window"),
    [
        ("Rust is a good language for firmware.", "Rust is a good language for firmware."),
        ("I do not fill gaps in the data.", "I do not fill gaps in the data."),
        ("Usually SQLite stores the water level.", "SQLite stores the water level."),
    ],
)
async def test_the_shortest_supporting_window_is_cited(sentence: str, window: str) -> None:
    found = await support(sentence, LOGGER, RUST)
    assert found.verdict.supported, found.verdict.reasons
    assert found.window.text == window


async def test_two_sentences_support_what_neither_says_alone() -> None:
    found = await support("The logger sleeps at 11 µA and wakes every ten minutes.", LOGGER, RUST)
    assert found.verdict.supported, found.verdict.reasons
    assert found.window.text == "The logger sleeps at 11 µA. It wakes every ten minutes."


@pytest.mark.parametrize("cited", range(1, 9))
async def test_the_cited_passage_is_preferred_among_the_supporting(cited: int) -> None:
    twins = [f"The logger sleeps at 11 µA. Page {number} ends." for number in range(8)]
    found = await support("The logger sleeps at 11 µA.", *twins, preferred=frozenset([cited]))
    assert found.verdict.supported
    assert (found.window.passage, found.window.sentences) == (cited, 1)


async def test_a_cited_passage_wins_over_a_shorter_window_elsewhere() -> None:
    sentence = "The logger sleeps at 11 µA and wakes every ten minutes."
    found = await support(sentence, sentence, LOGGER, preferred=frozenset([2]))
    assert (found.window.passage, found.window.sentences) == (2, 2)
    assert (await support(sentence, sentence, LOGGER)).window.passage == 1


async def test_without_passages_there_is_no_support() -> None:
    assert await find_support("Anything.", [], HashEmbedder(), count_vocabulary([LOGGER])) is None
