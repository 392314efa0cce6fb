"""How often the claim check is right, on true and false pairs made from real passages.

    python -m evals.claims FOLDER

True: a sentence and its first clause against the sentence itself. False: the sentence with its
numbers changed, denied, with a name exchanged, and against other sentences of the same document.
The evidence is the sentence alone and in its neighbours' company: a claim counts as supported if
either supports it, as in an answer, where several windows of a passage are tried.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from knowledge.claims import check_claim, names
from knowledge.clean import clean
from knowledge.sentences import split_sentences
from knowledge.sources import Skipped, read_sources
from knowledge.view import fold
from knowledge.vocabulary import Vocabulary, count_vocabulary
from knowledge.words import content_stems
from twin.models.embed import Embedder, open_embedder
from twin.settings import Settings

LEAST_WORDS = 8
_NUMBER = re.compile(r"\d+")
_VERB = re.compile(r"\b(is|was|are|were|has|can|will|does)\b(?!['’])")
_CLAUSE_END = re.compile(r"[;:—(]")

Pair = tuple[str, str]
"""A claim and the sentence it is checked against, alone and in its neighbours' company."""


def prose_sentences(folder: Path) -> list[list[str]]:
    """The prose sentences of each document, white space folded, `LEAST_WORDS` words or more."""
    documents = []
    for item in read_sources([folder], "claims", 20_000_000):
        document = None if isinstance(item, Skipped) else clean(item)
        if document is None or isinstance(document, Skipped):
            continue
        texts = [fold(document.text[s.start : s.end]) for s in split_sentences(document.text) if s.block == "prose"]
        documents.append([text for text in texts if len(text.split()) >= LEAST_WORDS])
    return documents


def first_clauses(sentences: Sequence[str]) -> Iterator[Pair]:
    """A sentence cut at its first semicolon, colon, dash or bracket, where four content words remain."""
    for sentence in sentences:
        clause = _CLAUSE_END.split(sentence)[0].strip()
        if clause != sentence and len(content_stems(clause)) >= 4:
            yield clause + ".", sentence


def changed_numbers(sentences: Sequence[str]) -> Iterator[Pair]:
    """Every number of the sentence seven more."""
    for sentence in sentences:
        changed = _NUMBER.sub(lambda match: str(int(match.group()) + 7), sentence)
        if changed != sentence:
            yield changed, sentence


def denied(sentences: Sequence[str]) -> Iterator[Pair]:
    """The sentence with a "not" behind its first verb."""
    for sentence in sentences:
        if _VERB.search(sentence):
            yield _VERB.sub(r"\1 not", sentence, count=1), sentence


def exchanged_names(sentences: Sequence[str]) -> Iterator[Pair]:
    """The first name of the sentence replaced by one from elsewhere that it does not hold."""
    known = sorted({name for sentence in sentences for name in names(sentence) if len(name) > 2})
    for number, sentence in enumerate(sentences):
        held = [name for name in names(sentence) if len(name) > 2]
        others = [known[(number * 7 + step) % len(known)] for step in range(20)]
        other = next((name for name in others if held and name.lower() not in sentence.lower()), None)
        if other is not None:
            yield re.sub(rf"(?<!\w){re.escape(held[0])}(?!\w)", other, sentence, count=1), sentence


def strangers(documents: Sequence[Sequence[str]]) -> Iterator[Pair]:
    """A sentence against the third one after it in the same document."""
    for sentences in documents:
        yield from zip(sentences, sentences[3:], strict=False)


def passages(documents: Sequence[Sequence[str]]) -> dict[str, str]:
    """Each sentence with the one before and the one after it in its document."""
    return {
        sentence: " ".join(sentences[max(0, at - 1) : at + 2])
        for sentences in documents
        for at, sentence in enumerate(sentences)
    }


def embed_all(texts: Iterable[str], embedder: Embedder) -> dict[str, npt.NDArray[np.float32]]:
    """The vector of each text; equal texts are embedded once."""
    once = list(dict.fromkeys(texts))
    return dict(zip(once, embedder.embed(once), strict=True))


def supported_share(
    pairs: Sequence[Pair],
    around: Mapping[str, str],
    vectors: Mapping[str, npt.NDArray[np.float32]],
    vocabulary: Vocabulary,
) -> float:
    """Share of the pairs whose claim a span, alone or with what is `around` it, counts as supporting."""
    held = [
        any(
            check_claim(claim, span, float(vectors[claim] @ vectors[span]), vocabulary).supported
            for span in dict.fromkeys((sentence, around[sentence]))
        )
        for claim, sentence in pairs
    ]
    return sum(held) / max(1, len(held))


def main(report: Callable[[str], None] = print) -> None:
    """Entry point: prints a Markdown table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    documents = prose_sentences(parser.parse_args().folder)
    sentences = [sentence for document in documents for sentence in document]
    vocabulary = count_vocabulary(sentences)
    around = passages(documents)
    kinds: list[tuple[str, str, list[Pair]]] = [
        ("true", "the sentence itself", [(sentence, sentence) for sentence in sentences]),
        ("true", "its first clause", list(first_clauses(sentences))),
        ("false", "numbers changed", list(changed_numbers(sentences))),
        ("false", "denied", list(denied(sentences))),
        ("false", "a name exchanged", list(exchanged_names(sentences))),
        ("false", "another sentence of the document", list(strangers(documents))),
    ]
    texts = [*around.values(), *(text for _, _, pairs in kinds for pair in pairs for text in pair)]
    vectors = embed_all(texts, open_embedder(Settings()))
    report("| pair | | n | counted as supported |\n| --- | --- | ---: | ---: |")
    for truth, name, pairs in kinds:
        report(f"| {truth} | {name} | {len(pairs)} | {supported_share(pairs, around, vectors, vocabulary):.1%} |")


if __name__ == "__main__":
    main()
