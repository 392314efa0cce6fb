"""Weighing evidence: any question can be weighed, context counts less, names of authors count nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.condense import context_length
from knowledge.evidence import QuestionView, expected_type, has_type, view_question
from knowledge.retrieve import assess, gather, scope_filter, without_copies
from knowledge.sentences import split_sentences
from knowledge.vocabulary import count_vocabulary
from tests.fakes import HashEmbedder, day, index_document, make_document
from twin.records import SearchHit, SearchScope

TEXT = (
    "The Kestrel-3 logger sleeps at 11 µA 🙂. The older board drew 40 µA and emptied its cells by Christmas. "
    "It was the voltage divider that leaked."
)
EMBEDDER = HashEmbedder(dimension=128)
DOCUMENT = make_document("u", TEXT, title="Eleven microamps")
HITS = [SearchHit(chunk=one.chunk, score=1.0, dense=0.5, lexical=2.0) for one in index_document(DOCUMENT, EMBEDDER)]
SENTENCES = {DOCUMENT.document_id: split_sentences(TEXT)}
VOCABULARY = count_vocabulary([TEXT, "The harbour is calm."])


def view(text: str, context: int = 0, ignored: frozenset[str] = frozenset()) -> QuestionView:
    encoded = EMBEDDER.encode_tokens([text])[0]
    return view_question(text, EMBEDDER.embed([text])[0], encoded, VOCABULARY, context, ignored)


@settings(deadline=None, max_examples=150)
@given(st.text(max_size=60), st.text(max_size=30))
def test_any_question_can_be_weighed(question: str, earlier: str) -> None:
    standalone = f"{earlier} {question}"
    gathered = gather(question, standalone, HITS, SENTENCES, EMBEDDER, VOCABULARY)
    weighed = assess(gathered, VOCABULARY)
    assert 0.0 <= weighed.confidence <= 1.0
    for one in weighed.evidence:
        assert DOCUMENT.text[one.start : one.end] == one.text


@pytest.mark.parametrize("question", ["", "\u3164", "\u0301", "🙂", "?!"])
def test_a_question_without_words_has_no_confidence_to_show(question: str) -> None:
    gathered = gather(question, question, HITS, SENTENCES, EMBEDDER, VOCABULARY)
    assert assess(gathered, VOCABULARY).evidence == []


def test_the_sentence_that_holds_the_questions_words_comes_first() -> None:
    question = "What leaked, the voltage divider?"
    weighed = assess(gather(question, question, HITS, SENTENCES, EMBEDDER, VOCABULARY), VOCABULARY)
    assert weighed.evidence[0].text == "It was the voltage divider that leaked."


def test_words_of_the_conversation_weigh_less_and_are_not_what_is_asked() -> None:
    text = "Why did the voltage divider leak? and the harbour?"
    seen = view(text, context_length(text, "and the harbour?"))
    weights = dict(zip(seen.asked.tolist(), seen.weights.tolist(), strict=False))
    assert seen.asked.sum() == 1
    assert weights[True] == pytest.approx(VOCABULARY.idf("harbour"))
    assert seen.idf["voltag"] == pytest.approx(0.3 * VOCABULARY.idf("voltag"))


def test_an_ignored_name_counts_nothing() -> None:
    assert "kestrel" not in view("What does the Kestrel draw?", ignored=frozenset({"kestrel"})).idf


@pytest.mark.parametrize(
    ("question", "text", "kind", "held"),
    [
        ("How many cells?", "It has 40 cells.", "number", 1.0),
        ("How many cells?", "It has cells.", "number", 0.0),
        ("When did it freeze?", "In May 2021.", "date", 1.0),
        ("who built it?", "The gauge was built by Jonas.", "name", 1.0),
        ("Why did it freeze?", "Because.", "", 0.5),
    ],
)
def test_what_a_short_answer_would_be(question: str, text: str, kind: str, held: float) -> None:
    assert expected_type(question) == kind
    assert has_type(kind, text) == held


def test_of_a_passage_published_twice_the_earliest_stands_in_the_place_of_the_best() -> None:
    text = " ".join(f"word{n} thing{n}" for n in range(30)) + "."
    late = make_document("late", text + " Reposted.", published_at=day("2023-03-20"))
    early = make_document("early", text, published_at=day("2023-02-26"))
    other = make_document("other", "Something else entirely stands here.")
    hits = [
        SearchHit(chunk=index_document(document, EMBEDDER, words=80)[0].chunk, score=score)
        for document, score in ((late, 0.9), (other, 0.5), (early, 0.4))
    ]
    kept = without_copies(hits)
    assert [hit.chunk.document_id for hit in kept] == [early.document_id, other.document_id]
    assert [hit.score for hit in kept] == [0.9, 0.5]


def test_a_scope_is_a_filter_and_an_empty_one_is_none() -> None:
    assert scope_filter(SearchScope()) is None
    single = scope_filter(SearchScope(author="Tove"))
    both = scope_filter(SearchScope(author="Tove", since=day("2023-01-01")))
    assert getattr(single, "attribute", "") == "author"
    assert len(getattr(both, "arguments", [])) == 2


def test_vectors_are_of_one_length() -> None:
    assert np.allclose(np.linalg.norm(EMBEDDER.embed([TEXT])[0]), 1.0)
