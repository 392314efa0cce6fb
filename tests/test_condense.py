"""Follow-ups are searched with what they follow."""

from __future__ import annotations

import pytest

from knowledge.condense import condense, is_follow_up
from twin.records import Turn

TURNS = [
    Turn(role="user", text="What does the Kestrel-3 draw asleep?"),
    Turn(role="assistant", text="From “Eleven microamps” (10 May 2020): It sleeps at 11 µA."),
]


@pytest.mark.parametrize(
    "question",
    [
        "and how much does it draw awake?",
        "Why?",
        "What about the older one?",
        "how many of them are at sea",
        "Which one is cheaper?",
        "but in winter?",
        "how long would the other one last",
    ],
)
def test_a_follow_up_brings_its_question_along(question: str) -> None:
    assert is_follow_up(question)
    condensed = condense(question, TURNS)
    assert condensed.startswith(TURNS[0].text)
    assert condensed.endswith(question)


@pytest.mark.parametrize(
    "question",
    [
        "How do you level a tide gauge?",
        "What do Swedish harbour masters think of LoRa over water?",
        "What is the capital of Mongolia?",
        "Who is Jonas?",
        "What does she charge for a day?",
    ],
)
def test_a_question_with_a_subject_of_its_own_stays_as_it_is(question: str) -> None:
    assert not is_follow_up(question)
    assert condense(question, TURNS) == question


def test_without_history_nothing_is_added() -> None:
    assert condense("and how much is it?", []) == "and how much is it?"


def test_only_the_last_exchange_counts_and_a_long_answer_is_cut() -> None:
    turns = [*TURNS, Turn(role="user", text="Who is Jonas?"), Turn(role="assistant", text="x" * 5000)]
    condensed = condense("and where does he work?", turns)
    assert condensed.startswith("Who is Jonas?")
    assert "Kestrel" not in condensed
    assert len(condensed) < 500
