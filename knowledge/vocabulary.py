"""How common each word is in the corpus, so that rare words of a question weigh more.

Counted when the index changes and stored beside it; a question never counts anything.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from knowledge.faults import write_atomically
from knowledge.words import content_stems

FILE_NAME = "vocabulary.json"


@dataclass(frozen=True)
class Vocabulary:
    """Document frequencies: `frequencies[stem]` of `passages` passages hold the stem."""

    passages: int
    frequencies: dict[str, int]

    def idf(self, stem: str) -> float:
        """Inverse document frequency as in BM25 (Robertson & Zaragoza 2009), never negative."""
        found = self.frequencies.get(stem, 0)
        return math.log(1.0 + (self.passages - found + 0.5) / (found + 0.5))

    def __contains__(self, stem: str) -> bool:
        return stem in self.frequencies


def count_vocabulary(passages: Iterable[str]) -> Vocabulary:
    """Count in how many of the passages each stem occurs."""
    frequencies: Counter[str] = Counter()
    total = 0
    for passage in passages:
        frequencies.update(set(content_stems(passage)))
        total += 1
    return Vocabulary(total, dict(frequencies))


def save_vocabulary(vocabulary: Vocabulary, folder: Path, stamp: int) -> None:
    """Write it into `folder` atomically; `stamp` says which state of the index was counted. Raises OSError."""
    stored = {"stamp": stamp, "passages": vocabulary.passages, "frequencies": vocabulary.frequencies}
    write_atomically(folder / FILE_NAME, json.dumps(stored))


def load_vocabulary(folder: Path) -> tuple[Vocabulary, int] | None:
    """The counts in `folder` and their stamp; None where there are none or they are damaged: they can be
    counted again."""
    try:
        stored = json.loads((folder / FILE_NAME).read_bytes())
        frequencies = {str(word): int(count) for word, count in stored["frequencies"].items()}
        return Vocabulary(int(stored["passages"]), frequencies), int(stored["stamp"])
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
