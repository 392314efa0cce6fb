"""Passages: exact offsets, whole sentences, a size the embedding model can read, stable identities."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.chunk import CHUNKER, MAX_PIECES, chunk_document, chunker_identity, estimate_pieces
from knowledge.sentences import split_sentences
from tests.test_sentences import DOCUMENTS, LINES
from twin.records import Document


def document(text: str, title: str = "A title") -> Document:
    return Document(
        tenant="t",
        document_id="d" * 16,
        version="0123456789abcdef",
        uri="https://a.example/b",
        title=title,
        author="Ann",
        platform="blog",
        published_at=datetime(2024, 5, 1, tzinfo=UTC),
        tags=("x",),
        text=text,
    )


SENTENCE = "This sentence number {} has exactly ten words in it, really. "
ARTICLE = "\n\n".join(
    f"## Part {part}\n\n" + "".join(SENTENCE.format(part * 100 + n) for n in range(30)) for part in range(1, 4)
)


def test_blank_text_has_no_passages():
    assert chunk_document(document(" \n\n\t ")) == []
    assert chunk_document(document("* * *\n\n---")) == []


def test_passages_of_an_article():
    chunks = chunk_document(document(ARTICLE), words=180)
    assert [chunk.ordinal for chunk in chunks] == list(range(len(chunks)))
    assert {chunk.total for chunk in chunks} == {len(chunks)}
    assert [chunk.chunk_id for chunk in chunks][:2] == ["d" * 16 + "-01234567-0000", "d" * 16 + "-01234567-0001"]
    assert all(chunk.text == ARTICLE[chunk.start : chunk.end] for chunk in chunks)
    assert all(80 <= len(chunk.text.split()) <= 200 for chunk in chunks)
    assert {chunk.section for chunk in chunks} == {"Part 1", "Part 2", "Part 3"}
    # A heading opens a passage and never closes one.
    assert not any(chunk.text.rstrip().split("\n")[-1].startswith("#") for chunk in chunks)
    first = chunks[0]
    assert first.search_text.startswith("A title. Part 1. Part 1 This sentence number 100 has")
    assert (first.author, first.platform, first.tags, first.published_at) == (
        "Ann",
        "blog",
        ("x",),
        datetime(2024, 5, 1, tzinfo=UTC),
    )


def test_search_text_is_folded_and_the_text_is_not():
    (chunk,) = chunk_document(document("Read the 𝗗𝗲𝗰𝗼𝗱𝗶𝗻𝗴 “letter”…\nevery week."))
    assert chunk.text == "Read the 𝗗𝗲𝗰𝗼𝗱𝗶𝗻𝗴 “letter”…\nevery week."
    assert chunk.search_text == 'A title. Read the Decoding "letter"... every week.'


def test_section_path_follows_the_headings_and_leaves_the_title_out():
    text = "# A title\n\nStart.\n\n## One\n\n### Deep *er*\n\nWords here.\n\n## Two\n\nMore words."
    sections = {chunk.section for chunk in chunk_document(document(text), words=3)}
    assert sections == {"", "One > Deep er", "Two"}


def test_a_short_last_passage_is_not_left_alone():
    text = "".join(SENTENCE.format(n) for n in range(18)) + "The end."
    assert all(len(chunk.text.split()) > 20 for chunk in chunk_document(document(text), words=180))


def test_a_sentence_longer_than_a_passage_is_cut_between_words():
    text = "word " * 2000 + "end."
    chunks = chunk_document(document(text))
    assert len(chunks) > 5
    assert " ".join(chunk.text for chunk in chunks).split() == text.split()


def test_long_code_is_cut_between_lines():
    text = "```\n" + "\n".join(f"value_{n} = compute({n}, other={n * 7})" for n in range(200)) + "\n```"
    chunks = chunk_document(document(text))
    assert len(chunks) > 3
    assert all(chunk.text.startswith("value_") and chunk.text.endswith(")") for chunk in chunks)
    assert all(estimate_pieces(chunk.search_text) <= MAX_PIECES + 6 for chunk in chunks)


def test_one_endless_word_does_not_break_it():
    text = "x" * 100_000
    chunks = chunk_document(document(text))
    assert "".join(chunk.text for chunk in chunks) == text


def test_identity_changes_with_the_size():
    assert chunker_identity() == CHUNKER
    assert chunker_identity(120) != CHUNKER


@pytest.mark.parametrize(
    ("text", "pieces"), [("", 0), ("the cat sat", 3), ("a, b.", 4), ("internationalization", 3), ("12345678", 4)]
)
def test_estimate_of_pieces(text, pieces):
    assert estimate_pieces(text) == pieces


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS, st.sampled_from([3, 40, 180]))
def test_every_sentence_is_inside_one_passage_and_offsets_are_exact(text, words):
    source = document(text)
    chunks = chunk_document(source, words)
    edge = 0
    for chunk in chunks:
        assert edge <= chunk.start < chunk.end <= len(text)
        assert chunk.text == text[chunk.start : chunk.end]
        edge = chunk.end
    for span in split_sentences(text):
        whole = any(chunk.start <= span.start and span.end <= chunk.end for chunk in chunks)
        long = len(text[span.start : span.end].split()) > 1.5 * words
        assert whole or long
        covered = {at for chunk in chunks for at in range(chunk.start, chunk.end)}
        assert all(at in covered for at in range(span.start, span.end) if not text[at].isspace())


@settings(max_examples=40, deadline=None)
@given(st.lists(LINES, max_size=8).map("\n".join), st.integers(1, 20))
def test_long_documents_keep_passages_within_the_model(text, times):
    source = document("\n\n".join([text] * times + [ARTICLE]))
    chunks = chunk_document(source)
    assert all(estimate_pieces(chunk.search_text) <= MAX_PIECES * 1.1 for chunk in chunks)
    assert chunks == chunk_document(source)
