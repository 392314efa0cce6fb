"""Two small logistic models whose coefficients ship with the project, and how they are applied.

`ranker.json`: does this sentence answer the question? (orders the evidence)
`sufficiency.json`: can these passages answer the question at all? (decides abstention)

`python -m training.answerability` fits both and writes the files with what they were fitted on;
docs/results.md has the figures. Neither has seen a test question.
"""

from __future__ import annotations

import json
import math
from functools import lru_cache
from importlib import resources

from pydantic import model_validator

from knowledge.evidence import Evidence, Signals
from twin.records import Record


class Logistic(Record):
    """A logistic model over named features, standardised by `means` and `scales`."""

    features: tuple[str, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    threshold: float = 0.5
    provenance: str = ""

    @model_validator(mode="after")
    def _aligned(self) -> Logistic:
        if len({len(self.features), len(self.means), len(self.scales), len(self.weights)}) != 1:
            raise ValueError("features, means, scales and weights must have the same length")
        return self

    def logit(self, values: dict[str, float]) -> float:
        """Log-odds for these feature values; KeyError if one is missing."""
        return self.bias + sum(
            weight * (values[name] - mean) / scale
            for name, mean, scale, weight in zip(self.features, self.means, self.scales, self.weights, strict=True)
        )

    def probability(self, values: dict[str, float]) -> float:
        """Probability in 0..1."""
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, self.logit(values)))))


@lru_cache(maxsize=4)
def load_model(name: str) -> Logistic:
    """The shipped model `name` ("ranker" or "sufficiency")."""
    return Logistic.model_validate(json.loads(resources.files("knowledge").joinpath(f"data/{name}.json").read_text()))


def evidence_features(
    evidence: Evidence, best_late: float, best_cosine: float, best_support: float
) -> dict[str, float]:
    """Features of one sentence among its competitors, for the ranker."""
    return {
        "late": evidence.late,
        "cosine": evidence.cosine,
        "coverage": evidence.coverage,
        "weakest": evidence.weakest,
        "support": evidence.support,
        "relative_support": evidence.support / best_support if best_support else 0.0,
        "first": 1.0 / (1.0 + evidence.rank),
        "neighbour": evidence.neighbour,
        "previous": evidence.previous,
        "typed": evidence.typed,
        "length": min(len(evidence.text), 400) / 400,
        "short": float(len(evidence.text) < 30),
        "behind_late": best_late - evidence.late,
        "behind_cosine": best_cosine - evidence.cosine,
    }


def rank_evidence(evidence: list[Evidence], ranker: Logistic) -> list[Evidence]:
    """The evidence with `score` (probability that the sentence answers), best first."""
    if not evidence:
        return []
    best_late = max(one.late for one in evidence)
    best_cosine = max(one.cosine for one in evidence)
    best_support = max(one.support for one in evidence)
    scored = [
        one.model_copy(
            update={"score": ranker.probability(evidence_features(one, best_late, best_cosine, best_support))}
        )
        for one in evidence
    ]
    return sorted(scored, key=lambda one: (-one.score, one.rank, one.ordinal))


def sufficiency(signals: Signals, model: Logistic) -> float:
    """Calibrated probability that the passages answer the question."""
    return model.probability(signals.model_dump())
