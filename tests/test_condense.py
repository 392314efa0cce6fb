"""Follow-ups are searched with what they follow."""

from __future__ import annotations

import pytest

from knowledge.condense import (
    ANSWER_CHARACTERS,
    SUBJECT_CHARACTERS,
    condense,
    context_length,
    is_follow_up,
    subject_of,
)
from knowledge.view import fold
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
        "Why not?",
        "How does that work?",
        "Was that expensive?",
        "What did the harbour master say about that?",
        "Did you measure that, or guess the current?",
        "Is lithium any better than that?",
        "Does the voltage divider leak after that?",
        "Is that the reason the logger failed at Christmas?",
        "What does its voltage divider cost?",
        "Do they survive Swedish winters?",
        "Would a tide gauge work with the former?",
        "Should harbour masters buy a radar gauge instead?",
        "Are those still used on Swedish islands?",
        "Does the same happen with lithium cells?",
        "How did the harbour master react to this?",
        "Would LoRa reach the harbour with that one?",
        "Who told you that?",
        "in which year did you solder that?",
        "How often do the others need new batteries?",
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
        "Did Tove say that lithium is better than lead acid?",
        "Do you think that tide gauges need batteries?",
        "Why do you leave gaps in the tide record?",
        "Is it worth replacing lead acid cells with lithium?",
        "Is it true that interpolated values mislead harbour masters?",
        "How long does it take to level a tide gauge?",
        "What do you think of these tide gauges in Sweden?",
        "Are those who interpolate tide records wrong?",
        "Do you use the same battery in every logger?",
        "Should I use lithium instead of lead acid?",
        "Which loggers sleep at the same current?",
        "What is the number one reason loggers fail?",
        "What happened this winter to the tide gauge?",
        "Why is one logger not enough for a harbour?",
        "Which ones of the Kestrel loggers leak current?",
        "What is the difference between those two tide gauges?",
        "What makes the one-wire bus fail at sea?",
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


def asked(*questions: str) -> list[Turn]:
    return [
        turn
        for question in questions
        for turn in (Turn(role="user", text=question), Turn(role="assistant", text="Yes."))
    ]


@pytest.mark.parametrize(
    ("questions", "subject"),
    [
        ([], ""),
        (["Who is Jonas?"], "Who is Jonas?"),
        (["Who is Jonas?", "and where does he work?", "Why?"], "Who is Jonas? and where does he work? Why?"),
        (["Who is Jonas?", "and where?", "How do you level a tide gauge?"], "How do you level a tide gauge?"),
        (["and where?"], "and where?"),
    ],
)
def test_the_subject_is_the_last_question_that_stood_alone_and_its_follow_ups(
    questions: list[str], subject: str
) -> None:
    turns = asked(*questions)
    assert subject_of(turns) == subject
    by_turn = ""
    for turn in turns:
        by_turn = subject_of([turn], by_turn)
    assert by_turn == subject


def test_a_follow_up_of_a_follow_up_keeps_its_subject() -> None:
    turns = asked("What does the Kestrel-3 draw asleep?", "and awake?")
    assert condense("why is that?", turns) == "What does the Kestrel-3 draw asleep? and awake? Yes. why is that?"
    assert condense("why is that?", turns, "Subject?", "") == "Subject? why is that?"
    assert condense("why is that?", turns, answered="11 µA.").endswith("and awake? 11 µA. why is that?")


@pytest.mark.parametrize("length", [10, 299, 300, 301, 5000])
@pytest.mark.parametrize("word", ["tide ", "x"])
def test_a_long_conversation_never_pushes_the_question_out(word: str, length: int) -> None:
    long = (word * length)[:length]
    turns = [
        *asked(f"gauge {long}", f"and {long}", "and the latest?"),
        Turn(role="assistant", text=long),
    ]
    subject = subject_of(turns)
    assert len(subject) <= SUBJECT_CHARACTERS
    assert subject.startswith("gauge")
    assert subject.endswith("and the latest?")
    standalone = condense("why?", turns)
    assert len(standalone) <= SUBJECT_CHARACTERS + ANSWER_CHARACTERS + len(" why?") + 1
    assert context_length(standalone, "why?") == len(fold(standalone)) - len("why?")
