"""What quantising the embedder costs: ranking quality, closeness, speed. Dense retrieval alone, public test sets."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twin.models.cpu import worker_threads
from twin.models.embed import OnnxEmbedder, load_embedder
from twin.settings import Settings

DEPTH = 10
SPEED_TEXTS = 64
SPEED_WORDS = 180
SPEED_ROUNDS = 3

Gains = Mapping[int, float]


@dataclass(frozen=True)
class TestSet:
    """Passages, queries, and for each query the gain of each relevant passage (by its position)."""

    name: str
    passages: tuple[str, ...]
    queries: tuple[str, ...]
    gains: tuple[Gains, ...]


def read_cranfield(folder: Path) -> TestSet:
    """The Cranfield collection. Relevance codes 1 (best) to 4 become gains 4 to 1, the others none."""
    numbers: dict[int, int] = {}
    passages: list[str] = []
    for record in re.split(r"(?m)^\.I ", (folder / "cran.all.1400").read_text())[1:]:
        numbers[int(record.split("\n", 1)[0])] = len(passages)
        passages.append(" ".join(record.split(".W\n", 1)[1].split()))
    records = re.split(r"(?m)^\.I ", (folder / "cran.qry").read_text())[1:]
    queries = [" ".join(record.split(".W\n", 1)[1].split()) for record in records]
    gains: list[dict[int, float]] = [{} for _ in queries]
    for line in (folder / "cranqrel").read_text().splitlines():
        query, document, code = (int(field) for field in line.split()[:3])
        if code > 0:
            gains[query - 1][numbers[document]] = 5 - code
    return TestSet("Cranfield", tuple(passages), tuple(queries), tuple(gains))


def read_squad(questions: Path, split: Path) -> TestSet:
    """SQuAD 2.0: answerable questions of the split's test articles; the passage asked about is relevant."""
    test = set(json.loads(split.read_text())["test"])
    passages: list[str] = []
    queries: list[str] = []
    gains: list[Gains] = []
    for article in json.loads(questions.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            for item in paragraph["qas"] if article["title"] in test else ():
                if not item["is_impossible"]:
                    queries.append(item["question"])
                    gains.append({len(passages): 1.0})
            passages.append(paragraph["context"])
    return TestSet("SQuAD2", tuple(passages), tuple(queries), tuple(gains))


def ndcg(ranking: Sequence[int], gains: Gains) -> float:
    """Normalised discounted cumulative gain of the first `DEPTH` (Järvelin and Kekäläinen 2002, linear gains)."""

    def discounted(values: Sequence[float]) -> float:
        return sum(value / float(np.log2(rank + 2)) for rank, value in enumerate(values[:DEPTH]))

    ideal = discounted(sorted(gains.values(), reverse=True))
    return discounted([gains.get(index, 0.0) for index in ranking]) / ideal if ideal else 0.0


def reciprocal_rank(ranking: Sequence[int], gains: Gains) -> float:
    """1 / rank of the first relevant passage among the first `DEPTH`, else 0."""
    return next((1 / (rank + 1) for rank, index in enumerate(ranking[:DEPTH]) if index in gains), 0.0)


def rank_quality(
    passages: NDArray[np.float32], queries: NDArray[np.float32], gains: Sequence[Gains]
) -> tuple[float, float]:
    """Mean nDCG and reciprocal rank over the queries, from unit vectors."""
    rankings = np.argsort(-(queries @ passages.T), axis=1, kind="stable")[:, :DEPTH].tolist()
    pairs = list(zip(rankings, gains, strict=True))
    return (
        float(np.mean([ndcg(ranking, gain) for ranking, gain in pairs])),
        float(np.mean([reciprocal_rank(ranking, gain) for ranking, gain in pairs])),
    )


def speed(embedder: OnnxEmbedder, passages: Sequence[str]) -> float:
    """Passages of `SPEED_WORDS` words a second, best of several rounds (other work only slows a round)."""
    words = " ".join(passages).split()
    texts = [" ".join(words[n * SPEED_WORDS : (n + 1) * SPEED_WORDS]) for n in range(SPEED_TEXTS)]
    best = 0.0
    for _ in range(SPEED_ROUNDS):
        start = time.perf_counter()
        embedder.embed(texts)
        best = max(best, SPEED_TEXTS / (time.perf_counter() - start))
    return best


def print_comparison(folders: tuple[Path, Path], data: Path, settings: Settings) -> None:
    """Print one line per model and test set. `folders` are fp32 and int8."""
    embedders = {folder.name: open_folder(folder, settings) for folder in folders}
    sets = [read_cranfield(data / "cranfield"), read_squad(data / "squad2_dev.json", data / "squad2_split.json")]
    for tests in sets:
        reference: NDArray[np.float32] | None = None
        for name, embedder in embedders.items():
            passages = embedder.embed(tests.passages)
            gain, rank = rank_quality(passages, embedder.embed(tests.queries), tests.gains)
            reference = passages if reference is None else reference
            cosines = (reference * passages).sum(axis=1)
            print(
                f"{tests.name} {name}: nDCG@{DEPTH} {100 * gain:.2f}  MRR@{DEPTH} {100 * rank:.2f}  "
                f"cosine to fp32 mean {cosines.mean():.4f} least {cosines.min():.4f}",
                flush=True,
            )
    for name, embedder in embedders.items():
        rate = speed(embedder, sets[0].passages)
        print(f"{name}: {rate:.1f} passages of {SPEED_WORDS} words a second, {worker_threads(settings)} threads")


def open_folder(folder: Path, settings: Settings) -> OnnxEmbedder:
    """The embedder that an export folder holds."""
    return load_embedder(folder / "model.onnx", folder / "tokenizer.json", folder.name, settings)
