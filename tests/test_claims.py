"""Is a sentence supported by a span? True and false pairs made from the bundled corpus."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from knowledge.claims import Thresholds, check_claim, names, openers
from knowledge.sentences import split_sentences
from knowledge.vocabulary import Vocabulary, count_vocabulary
from knowledge.words import content_stems, numbers

CORPUS = Path(__file__).parent.parent / "examples" / "corpus" / "blog"
SPAN = (
    "The Kestrel-3 logger sleeps at 11 µA, not the 40 µA that its predecessor drew; "
    "Jonas measured it twice in March 2020."
)


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    """Prose sentences of the bundled posts, eight words or more."""
    found = []
    for path in sorted(CORPUS.glob("*.md")):
        body = path.read_text(encoding="utf-8").split("---\n", 2)[2]
        for span in split_sentences(body):
            text = " ".join(body[span.start : span.end].split())
            if span.block == "prose" and len(text.split()) >= 8:
                found.append(text)
    return found


@pytest.fixture(scope="module")
def vocabulary(sentences: list[str]) -> Vocabulary:
    return count_vocabulary(sentences)


def supported(sentence: str, span: str, vocabulary: Vocabulary, similarity: float = 0.9, known: str = "") -> bool:
    return check_claim(sentence, span, similarity, vocabulary, known).supported


TRUE = [
    "The Kestrel-3 logger sleeps at 11 µA, not at 40 µA.",
    "Jonas measured it twice in March 2020, not once.",
    "Not 40 but 11 µA is what the Kestrel-3 logger draws while it sleeps.",
]
FALSE = [
    ("The Kestrel-3 logger sleeps at 12 µA, not 40 µA.", "12"),
    ("The Kestrel-3 logger sleeps at 11 µA and its predecessor at 40 µA.", "denies"),
    ("The Kestrel-4 logger sleeps at 11 µA, not 40 µA.", "Kestrel-4"),
    ("Not Jonas but Mira measured it twice in March 2020.", "Mira"),
    ("Jonas measured it twice in April 2020, not before.", "April"),
    ("The logger never fails in salt water on long winter crossings.", "content words"),
]


@pytest.mark.parametrize("sentence", TRUE)
def test_what_the_span_says_is_supported(sentence: str, vocabulary: Vocabulary) -> None:
    verdict = check_claim(sentence, SPAN, 0.9, vocabulary)
    assert verdict.supported, verdict.reasons


@pytest.mark.parametrize(("sentence", "reason"), FALSE)
def test_what_it_does_not_say_is_refused_with_the_reason(sentence: str, reason: str, vocabulary: Vocabulary) -> None:
    verdict = check_claim(sentence, SPAN, 0.9, vocabulary)
    assert not verdict.supported
    assert any(reason in one for one in verdict.reasons), verdict.reasons


def test_low_similarity_is_a_reason_of_its_own(vocabulary: Vocabulary) -> None:
    assert supported(TRUE[0], SPAN, vocabulary, similarity=0.6)
    assert not supported(TRUE[0], SPAN, vocabulary, similarity=0.3)


def test_title_and_author_may_be_named(vocabulary: Vocabulary) -> None:
    claim = "In Eleven Microamps the logger sleeps at 11 µA, not 40 µA."
    assert not supported(claim, SPAN, vocabulary)
    assert supported(claim, SPAN, vocabulary, known="Eleven Microamps Tove Marklund")


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("It was cold. The Kestrel froze.", ["Kestrel"]),
        ("We moved to Umeå and I wrote SQLite code in May.", ["Umeå", "SQLite", "May"]),
        ("The logger is fine; I'm sure.", []),
        ("SQLite is fine.", ["SQLite"]),
        ("He went to Åby and Östersund with Émile.", ["Åby", "Östersund", "Émile"]),
    ],
)
def test_names(sentence: str, expected: list[str]) -> None:
    assert names(sentence) == expected


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ('Kubernetes stores it. Émile wrote "Redis" down.', ["Kubernetes", "Émile", "Redis"]),
        ("**Docker** ran (Redis did not).", ["Docker", "Redis"]),
        ("There'll be more. It's cold. Usually I wait. Twelve froze. Nothing broke.", []),
        ("SQLite is a name wherever it stands.", []),
    ],
)
def test_openers(sentence: str, expected: list[str]) -> None:
    assert openers(sentence) == expected


@pytest.mark.parametrize(
    ("claim", "span", "holds"),
    [
        ("Kubernetes stores the water level.", "SQLite stores the water level.", False),
        ("Åke stores the water level.", "Östen stores the water level.", False),
        ("Usually SQLite stores the water level.", "SQLite stores the water level.", True),
        ("Measuring the level is easy.", "The level is easy to measure.", True),
        ("The box costs 3.5 million kr.", "The box costs 3.5 kr.", False),
        ("The box costs 3,500,000 kr.", "The box costs 3.5 million kr.", True),
        ("The box draws 11 amps.", "The box draws 11 microamps.", False),
        ("The box draws 11 amps.", "The box draws 11 µA.", False),
        ("The box draws 11 microamps.", "The box draws 11 µA.", True),
        ("The box draws 11 µA", "The box draws 11 µA.", True),
        ("The price fell by 50 kr.", "The price fell by -50 %.", False),
        ("The price fell by 50 loggers.", "The price fell by 50 %.", False),
        ("The price fell by 50 percent.", "The price fell by 50%.", True),
        ("The price fell by 50 %.", "The price fell by 50 kr.", False),
        ("It froze at 8 °C.", "It froze at -8 °C.", False),
        ("It froze at minus 8 degrees.", "It froze at -8 °C.", True),
        ("We built ninety boxes.", "We built thirty boxes.", False),
        ("We built ninety boxes.", "We built 90 boxes.", True),
        ("We built half the boxes.", "We built the boxes.", False),
        ("Rust is not a good language.", "Rust is a good language. I do not fill gaps.", False),
        ("Rust is a good language.", "I do not fill gaps. Rust is a good language.", True),
        ("The box is faster than paper.", "The box is slower than paper. A faster one exists.", False),
    ],
)
def test_single_facts(claim: str, span: str, holds: bool) -> None:
    verdict = check_claim(claim, span, 0.9, count_vocabulary([span, claim, SPAN]), thresholds=Thresholds(0.3, 0.5))
    assert verdict.supported == holds, verdict.reasons


def test_real_sentences_support_themselves_and_shortened_forms(sentences: list[str], vocabulary: Vocabulary) -> None:
    assert len(sentences) > 300
    own = [supported(sentence, sentence, vocabulary) for sentence in sentences]
    assert all(own)
    heads = [(re.split(r"[;:—(]", one)[0].strip() + ".", one) for one in sentences if re.search(r"[;—(]", one)]
    heads = [(head, one) for head, one in heads if len(content_stems(head)) >= 4]
    kept = [supported(head, one, vocabulary) for head, one in heads]
    assert len(heads) > 40
    assert sum(kept) / len(kept) >= 0.75, f"{sum(kept)} of {len(kept)} first clauses are supported by their sentence"


def test_real_sentences_with_one_fact_changed_are_refused_in_any_company(
    sentences: list[str], vocabulary: Vocabulary
) -> None:
    around = {one: " ".join(sentences[max(0, at - 1) : at + 2]) for at, one in enumerate(sentences)}
    numbered = [one for one in sentences if re.search(r"\d", one)]
    changed = [(re.sub(r"\d+", lambda match: str(int(match.group()) + 7), one), one) for one in numbered]
    assert len(changed) > 80
    for span_of in (str, around.__getitem__):
        assert not any(
            supported(false, span_of(one), vocabulary)
            for false, one in changed
            if numbers(false) - numbers(span_of(one))
        )

    verbs = r"\b(is|was|are|were|has|can|will|does)\b"
    denied = [(re.sub(verbs, r"\1 not", one, count=1), one) for one in sentences if re.search(verbs, one)]
    assert len(denied) > 80
    assert not any(supported(false, span, vocabulary) for false, one in denied for span in (one, around[one]))

    shifted = list(zip(sentences, sentences[7:], strict=False))
    for span_of in (str, around.__getitem__):
        wrong = [supported(one, span_of(other), vocabulary) for one, other in shifted]
        assert sum(wrong) / len(wrong) <= 0.01
