"""Choosing quotes: what goes along with a sentence, what is never quoted alone, what is left out."""

from __future__ import annotations

import pytest

from knowledge.evidence import Evidence
from knowledge.library import Volume
from knowledge.quote import choose_quotes, is_attribution, leans_back
from knowledge.sentences import split_sentences
from tests.fakes import make_document
from twin.records import Document

TEXT = """# Batteries

Lead freezes. It splits its case. Lithium does not mind the cold.

The harbour master put it more briefly when she saw the first graph:

> Nine hours? You could have rowed there. And back.
>
> — Gunnel Fors

There are three steps:

- Switch off the charger.
- Disconnect the panel first.
- Lift the box.

| part | price |
| --- | --- |
| cell | 320 kr |
| case | 90 kr |

The end comes after this:
"""


def volume(text: str = TEXT, uri: str = "u") -> Volume:
    document: Document = make_document(uri, text, title="T")
    return Volume(document, split_sentences(document.text))


def evidence(held: Volume, *wanted: tuple[str, float]) -> list[Evidence]:
    """Evidence for the sentences that start so, with these scores."""
    found = []
    for start, score in wanted:
        ordinal = next(at for at in range(len(held.sentences)) if held.text_of(at).startswith(start))
        span = held.sentences[ordinal]
        found.append(
            Evidence(
                chunk_id="c", document_id=held.document.document_id, version=held.document.version, start=span.start,
                end=span.end, text=held.text_of(ordinal), block=span.block, block_id=span.block_id, ordinal=ordinal,
                rank=0, late=0, weakest=0, cosine=0, coverage=0, support=0, typed=0, score=score,
            )
        )  # fmt: skip
    return found


def quoted(held: Volume, *wanted: tuple[str, float], most: int = 5) -> list[str]:
    chosen = choose_quotes(evidence(held, *wanted), {held.document.document_id: held}, most)
    return [held.text_of(quote.ordinal) for quote in chosen]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("Lithium", ["Lithium does not mind the cold."]),
        ("It splits", ["Lead freezes.", "It splits its case."]),
        ("Disconnect", ["There are three steps:", "Disconnect the panel first."]),
        ("There are three", ["There are three steps:", "Switch off the charger."]),
        ("| cell", ["| part | price |", "| cell | 320 kr |"]),
        ("The end", []),
    ],
)
def test_what_goes_along(start: str, expected: list[str]) -> None:
    assert quoted(volume(), (start, 0.9)) == expected


def test_a_quotation_comes_whole_with_its_attribution() -> None:
    texts = quoted(volume(), ("You could", 0.9))
    assert texts[0].startswith("Nine hours?")
    assert any("Gunnel Fors" in text for text in texts)


def test_a_quotation_without_attribution_brings_who_introduces_it() -> None:
    held = volume("Karin Boström wrote to me about the table.\n\n> A hole in the table is a question.\n")
    assert quoted(held, ("A hole", 0.9)) == [
        "Karin Boström wrote to me about the table.",
        "A hole in the table is a question.",
    ]


@pytest.mark.parametrize("text", ["— Gunnel Fors", "– Karin Boström, harbour master", "- Mira"])
def test_an_attribution_is_recognised(text: str) -> None:
    assert is_attribution(text)


@pytest.mark.parametrize("text", ["I rowed — twice.", "-50 % was the answer. It was wrong.", "Gunnel Fors"])
def test_other_sentences_are_none(text: str) -> None:
    assert not is_attribution(text)


def test_a_unit_that_does_not_fit_gives_way_to_the_next_sentence() -> None:
    assert quoted(volume(), ("It splits", 0.9), ("Lithium", 0.5), most=1) == ["Lithium does not mind the cold."]


def test_what_is_far_below_the_best_is_left_out() -> None:
    assert quoted(volume(), ("Lithium", 0.9), ("Lead", 0.001)) == ["Lithium does not mind the cold."]


def test_what_was_said_is_not_said_again_and_order_is_that_of_the_text() -> None:
    held = volume("Lithium does not mind the cold. Rust is fine. Lithium does not mind cold!")
    assert quoted(held, ("Rust", 0.9), ("Lithium does not mind the", 0.8), ("Lithium does not mind cold", 0.7)) == [
        "Lithium does not mind the cold.",
        "Rust is fine.",
    ]


def test_no_document_crowds_out_another_that_is_almost_as_good() -> None:
    one = volume("Ducks swim. Geese fly. Swans hiss. Terns dive. Gulls shout.", "one")
    other = volume("Cormorants dry their wings.", "two")
    found = [
        *evidence(one, ("Ducks", 0.9), ("Geese", 0.8), ("Swans", 0.7), ("Terns", 0.6), ("Gulls", 0.5)),
        *evidence(other, ("Cormorants", 0.3)),
    ]
    chosen = choose_quotes(found, {held.document.document_id: held for held in (one, other)}, 4)
    assert other.document.document_id in {quote.document_id for quote in chosen}


@pytest.mark.parametrize(("text", "expected"), [("It froze.", True), ("**But** no.", True), ("Iterate.", False)])
def test_leaning_back(text: str, expected: bool) -> None:
    assert leans_back(text) is expected
