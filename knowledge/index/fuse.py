"""One ranking out of two: weighted sum of dense and lexical scores, each brought to 0..1."""

from __future__ import annotations

from collections.abc import Mapping


def fuse(dense: Mapping[str, float], lexical: Mapping[str, float], alpha: float) -> list[tuple[str, float]]:
    """Ids with their fused score (0..1), best first; ties go to the better cosine, then to the id.

    `dense` holds the cosine of every candidate, `lexical` the BM25 score of those that were found by
    their words; `alpha` is the weight of the dense side. Cosines are scaled between the least and
    the greatest among the candidates; BM25 scores, whose floor is known to be 0, by the greatest.
    """
    low, high = min(dense.values(), default=0.0), max(dense.values(), default=0.0)
    span = high - low
    best = max(lexical.values(), default=0.0)
    scores = {
        one: alpha * ((cosine - low) / span if span > 0 else 1.0)
        + (1 - alpha) * (lexical.get(one, 0.0) / best if best > 0 else 0.0)
        for one, cosine in dense.items()
    }
    return sorted(scores.items(), key=lambda pair: (-pair[1], -dense[pair[0]], pair[0]))
