"""How common each word is in the corpus, so that rare words of a question weigh more.

Counted when the index changes and stored beside it; a question never counts anything.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from knowledge.words import content_stems
from twin.errors import StoreError

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


def save_vocabulary(vocabulary: Vocabulary, folder: Path) -> None:
    """Write it into `folder` atomically."""
    target = folder / FILE_NAME
    partial = target.with_suffix(f".{os.getpid()}.part")
    partial.write_text(json.dumps({"passages": vocabulary.passages, "frequencies": vocabulary.frequencies}))
    partial.replace(target)


def load_vocabulary(folder: Path) -> Vocabulary:
    """Read it from `folder`. Raises StoreError where it is missing or damaged."""
    path = folder / FILE_NAME
    try:
        stored = json.loads(path.read_text())
        return Vocabulary(int(stored["passages"]), {str(k): int(v) for k, v in stored["frequencies"].items()})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the word counts of the index at {path} cannot be read", "Run: twin index rebuild") from error
