"""Fit the two logistic models that the assistant ships with (`knowledge.calibration`).

    python -m training.answerability fit --squad DIR [--out knowledge/data]

Data, none of it a test question:

* `examples/questions_calibration.jsonl` over the bundled corpus (90 questions, half unanswerable);
* `evals/data/answerability_wiki.jsonl` (260 questions written for this project, half unanswerable)
  and SQuAD 2.0's own questions, both over the ten articles that `squad2_split.json` gives to training
  and calibration. The other articles stay in the index as distractors.

Each corpus is ingested as a user would ingest it; features come from the same functions that serve.
Needs scikit-learn (extra `evals` or `dev`) and, for `--squad`, a folder with `squad2_dev.json` and
`squad2_split.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.scorers import area_under_curve
from evals.tasks import load_questions
from knowledge.calibration import Logistic, evidence_features, rank_evidence
from knowledge.condense import condense
from knowledge.evidence import Evidence, Signals, passage_signals
from knowledge.index import open_index
from knowledge.library import Library
from knowledge.retrieve import WEIGHED_PASSAGES, Gathered, author_stems, gather, retrieve
from knowledge.sync import ingest
from knowledge.view import fold
from knowledge.vocabulary import Vocabulary
from knowledge.warehouse import Warehouse
from twin.extras import require
from twin.models.embed import Embedder, open_embedder
from twin.settings import Settings

ROOT = Path(__file__).parent.parent
REFUSED = 0.05
"""Share of answerable calibration questions that the threshold may refuse: half of what is allowed (one in
ten), because a corpus that the model was not fitted on is refused more often."""
SQUAD_QUESTIONS = 400
WEIGHTS = {"bundled": 5.0, "wiki": 3.0, "squad": 1.0}
"""Weight of a question by its set: the natural ones count more than the crowd's, which were written with
the passage in view; the two together weigh about as much as the third."""
SUFFICIENCY_WEIGHTS = {"bundled": 2.0, "wiki": 1.0, "squad": 0.0}
"""SQuAD's unanswerable questions are made by changing a word of an answerable one; nobody asks like that,
and fitting to them made the other sets worse. They stay out."""


@dataclass(frozen=True)
class Labelled:
    """A question with what was gathered for it. `answers` tells whether a sentence answers."""

    source: str
    answerable: bool
    gathered: Gathered
    vocabulary: Vocabulary
    answers: Callable[[Evidence], bool]


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("command", choices=["fit"])
    parser.add_argument("--squad", type=Path, required=True, help="folder with squad2_dev.json and squad2_split.json")
    parser.add_argument("--out", type=Path, default=ROOT / "knowledge" / "data")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        labelled = asyncio.run(gather_all(arguments.squad, Path(folder)))
    ranker = fit_ranker(labelled)
    print_recall(labelled, ranker)
    sufficiency = fit_sufficiency(labelled, ranker)
    for name, model in (("ranker", ranker), ("sufficiency", sufficiency)):
        path = arguments.out / f"{name}.json"
        path.write_text(model.model_dump_json(indent=1) + "\n")
        print(f"wrote {path}")


async def gather_all(squad: Path, folder: Path) -> list[Labelled]:
    """Ingest both corpora and gather evidence for every calibration question."""
    bundled = await _Corpus.open(folder / "bundled", ROOT / "examples" / "corpus")
    labelled = [await _bundled(bundled, question) for question in _bundled_questions()]
    articles = {a["title"]: a for a in json.loads((squad / "squad2_dev.json").read_text())["data"]}
    split = json.loads((squad / "squad2_split.json").read_text())
    dump = folder / "articles.jsonl"
    dump.write_text("\n".join(json.dumps(_dumped(article)) for article in articles.values()))
    wiki = await _Corpus.open(folder / "wiki", dump)
    for line in (ROOT / "evals" / "data" / "answerability_wiki.jsonl").read_text().splitlines():
        labelled.append(await _wiki(wiki, json.loads(line)))
    titles = [*split["train"], *split["calibration"]]
    for title, context, asked in _squad_questions(articles, titles)[:SQUAD_QUESTIONS]:
        labelled.append(await _squad(wiki, title, context, asked))
    return [one for one in labelled if one is not None and one.gathered.evidence]


@dataclass(frozen=True)
class _Corpus:
    settings: Settings
    embedder: Embedder
    index: Any
    library: Library
    vocabulary: Vocabulary
    ignored: frozenset[str]

    @classmethod
    async def open(cls, folder: Path, source: Path) -> _Corpus:
        settings = Settings(_env_file=None, data_dir=folder)
        embedder = open_embedder(settings)
        report = await asyncio.to_thread(ingest, [source], settings, embedder)
        print(f"{source.name}: {report.read} documents, {report.chunks_embedded} passages")
        index = await open_index(settings, embedder.identity, embedder.dimension)
        library = Library(Warehouse(settings.warehouse_dir, settings.tenant))
        return cls(settings, embedder, index, library, await index.vocabulary(), await author_stems(index))

    async def gather(self, question: str, standalone: str) -> Gathered:
        settings = self.settings
        hits = await retrieve(
            standalone, self.index, self.embedder, alpha=settings.dense_weight, limit=settings.retrieve_limit
        )
        best = hits[:WEIGHED_PASSAGES]
        keys = list(dict.fromkeys((hit.chunk.document_id, hit.chunk.version) for hit in best))
        sentences = dict(await self.library.sentences(keys))
        return await asyncio.to_thread(
            gather, question, standalone, best, sentences, self.embedder, self.vocabulary, self.ignored
        )


def _bundled_questions() -> list[Any]:
    return list(load_questions([ROOT / "examples" / "questions_calibration.jsonl"]))


async def _bundled(corpus: _Corpus, question: Any) -> Labelled:
    gathered = await corpus.gather(question.question, condense(question.question, question.turns))
    spans = [fold(span) for span in question.gold_spans]

    def answers(one: Evidence) -> bool:
        text = fold(one.text)
        return any(span in text or text in span for span in spans)

    return Labelled("bundled", question.answerable, gathered, corpus.vocabulary, answers)


async def _wiki(corpus: _Corpus, row: dict[str, Any]) -> Labelled:
    span = row["span"]
    gathered = await corpus.gather(row["question"], row["question"])
    return Labelled(
        "wiki", row["answerable"], gathered, corpus.vocabulary, lambda one: span in one.text or one.text in span
    )


async def _squad(corpus: _Corpus, title: str, context: str, asked: dict[str, Any]) -> Labelled:
    question = asked["question"].strip()
    gathered = await corpus.gather(question, question)
    answers = {answer["text"] for answer in asked["answers"]}
    return Labelled(
        "squad",
        not asked["is_impossible"],
        gathered,
        corpus.vocabulary,
        lambda one: one.text in context and any(answer in one.text for answer in answers),
    )


def _dumped(article: dict[str, Any]) -> dict[str, str]:
    title = article["title"].replace("_", " ")
    text = "\n\n".join(paragraph["context"] for paragraph in article["paragraphs"])
    return {"title": title, "text": text, "url": f"https://articles.example/{article['title']}"}


def _squad_questions(articles: dict[str, Any], titles: Sequence[str]) -> list[tuple[str, str, dict[str, Any]]]:
    questions = [
        (title, paragraph["context"], asked)
        for title in titles
        for paragraph in articles[title]["paragraphs"]
        for asked in paragraph["qas"]
    ]
    random.Random(0).shuffle(questions)
    return questions


def _features(evidence: Sequence[Evidence]) -> list[dict[str, float]]:
    best = (max(e.late for e in evidence), max(e.cosine for e in evidence), max(e.support for e in evidence))
    return [evidence_features(one, *best) for one in evidence]


def fit_ranker(labelled: Sequence[Labelled]) -> Logistic:
    """Which sentence answers, from the answerable questions whose answer was found."""
    rows: list[dict[str, float]] = []
    labels: list[bool] = []
    weights: list[float] = []
    for one in labelled:
        answers = [one.answers(evidence) for evidence in one.gathered.evidence]
        if one.answerable and any(answers):
            rows.extend(_features(one.gathered.evidence))
            labels.extend(answers)
            weights.extend([WEIGHTS[one.source]] * len(answers))
    return _fit(rows, labels, weights, strength=1.0)


def print_recall(labelled: Sequence[Labelled], ranker: Logistic) -> None:
    """How often an answering sentence is among the first 1, 3, 5; on the data it was fitted on."""
    for source in WEIGHTS:
        found = []
        for one in labelled:
            if one.source == source and one.answerable:
                ranked = rank_evidence(one.gathered.evidence, ranker)
                found.append([any(one.answers(evidence) for evidence in ranked[:k]) for k in (1, 3, 5)])
        shares = [sum(column) / len(found) for column in zip(*found, strict=True)]
        print(f"ranker, {source} (n {len(found)}): answer in first 1/3/5 sentences", [round(s, 3) for s in shares])


def fit_sufficiency(labelled: Sequence[Labelled], ranker: Logistic) -> Logistic:
    """Whether what was found can answer; prints leave-one-set-out areas under the curve."""
    rows = [
        passage_signals(
            one.gathered.question, one.vocabulary, one.gathered.passages, rank_evidence(one.gathered.evidence, ranker)
        )
        for one in labelled
    ]
    values = [row.model_dump() for row in rows]
    labels = [one.answerable for one in labelled]
    _print_transfer(labelled, values, labels)
    model = _fit(values, labels, [SUFFICIENCY_WEIGHTS[one.source] for one in labelled], strength=0.02)
    natural = [
        model.probability(value)
        for one, value in zip(labelled, values, strict=True)
        if one.answerable and SUFFICIENCY_WEIGHTS[one.source]
    ]
    threshold = sorted(natural)[int(REFUSED * len(natural))]
    print(f"threshold {threshold:.3f}: refuses {REFUSED:.0%} of {len(natural)} answerable calibration questions")
    return model.model_copy(update={"threshold": threshold})


def _print_transfer(labelled: Sequence[Labelled], values: Sequence[dict[str, float]], labels: Sequence[bool]) -> None:
    def area(scores: Sequence[float], source: str) -> float:
        pairs = [(s, y) for s, y, one in zip(scores, labels, labelled, strict=True) if one.source == source]
        return area_under_curve([s for s, y in pairs if y], [s for s, y in pairs if not y])

    for name in Signals.model_fields:
        scores = [value[name] for value in values]
        print(f"  {name:16}", {source: round(area(scores, source), 3) for source in WEIGHTS})
    for held in ("bundled", "wiki"):
        weights = [0.0 if one.source == held else SUFFICIENCY_WEIGHTS[one.source] for one in labelled]
        model = _fit(list(values), list(labels), weights, strength=0.02)
        scores = [model.probability(value) for value in values]
        print(f"fitted without {held}: area under the curve on it {area(scores, held):.3f}")


def _fit(
    rows: Sequence[dict[str, float]], labels: Sequence[bool], weights: Sequence[float], strength: float
) -> Logistic:
    """Logistic regression over standardised features; `strength` is scikit-learn's C."""
    require("sklearn", extra="evals")
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    kept = [position for position, weight in enumerate(weights) if weight > 0]
    names = list(rows[0])
    matrix = np.array([[rows[position][name] for name in names] for position in kept])
    means, scales = matrix.mean(axis=0), np.maximum(matrix.std(axis=0), 1e-6)
    model = LogisticRegression(C=strength, max_iter=2000)
    model.fit(
        (matrix - means) / scales,
        [labels[position] for position in kept],
        sample_weight=[weights[position] for position in kept],
    )
    return Logistic(
        features=tuple(names),
        means=tuple(means.round(6).tolist()),
        scales=tuple(scales.round(6).tolist()),
        weights=tuple(model.coef_[0].round(6).tolist()),
        bias=round(float(model.intercept_[0]), 6),
        provenance="python -m training.answerability fit",
    )


if __name__ == "__main__":
    main()
