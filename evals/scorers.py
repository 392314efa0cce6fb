"""Scorers: pure functions from what was found or answered to numbers."""

from __future__ import annotations

import math
import random
import unicodedata
from collections.abc import Callable, Sequence

from evals.tasks import ALL_LINKS_NEEDED, Question
from twin.records import Answer


def ranked_links(urls: Sequence[str]) -> list[str]:
    """Documents in the order of their best passage, each once."""
    return list(dict.fromkeys(urls))


def hit_at(question: Question, links: Sequence[str], k: int) -> bool:
    """Whether a gold document is among the first `k`; all of them where the kind needs all.

    At k below the number of documents needed, one of them suffices.
    """
    top = set(links[:k])
    gold = set(question.gold_links)
    if question.kind in ALL_LINKS_NEEDED and k >= len(gold):
        return gold <= top
    return bool(gold & top)


def reciprocal_rank(question: Question, links: Sequence[str], k: int = 10) -> float:
    """1 / rank of the first gold document within `k`, else 0."""
    gold = set(question.gold_links)
    return next((1.0 / rank for rank, link in enumerate(links[:k], start=1) if link in gold), 0.0)


def claims_text(answer: Answer) -> str:
    """What the answer claims: its sentences without the frames, which may name titles."""
    return "\n".join(sentence.text for sentence in answer.sentences if sentence.kind != "frame")


def includes_all(must_include: Sequence[str], text: str) -> bool:
    """Whether every key (`a|b`: either) occurs in `text`, both NFKC-normalised and in lower case."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return all(
        any(unicodedata.normalize("NFKC", part).lower() in folded for part in key.split("|")) for key in must_include
    )


def area_under_curve(positive: Sequence[float], negative: Sequence[float]) -> float:
    """Probability that a positive scores above a negative, ties half (Mann-Whitney); nan without both."""
    if not positive or not negative:
        return math.nan
    wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    return wins / (len(positive) * len(negative))


def wilson(successes: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927); (0, 1) without observations."""
    if not total:
        return 0.0, 1.0
    share = successes / total
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def bootstrap_interval(
    statistic: Callable[[list[int]], float], size: int, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of `statistic` over resampled indices 0..size-1; nan rounds are left out."""
    generator = random.Random(seed)
    values = []
    for _ in range(rounds):
        value = statistic([generator.randrange(size) for _ in range(size)])
        if not math.isnan(value):
            values.append(value)
    if not values:
        return math.nan, math.nan
    values.sort()
    return values[int(0.025 * len(values))], values[min(len(values) - 1, int(0.975 * len(values)))]
