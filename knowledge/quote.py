"""Choosing quotes: the author's own best sentences for a question, never edited.

Pure functions over weighed evidence (`knowledge.evidence`) and the documents' sentences.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from knowledge.evidence import Evidence
from knowledge.library import Volume
from knowledge.sentences import SentenceSpan
from knowledge.view import fold
from knowledge.words import content_stems

LONGEST_QUOTE = 900
"""Characters; a longer sentence (a long code block, a table) is not quoted whole."""
FROM_ONE_DOCUMENT = 3
"""Sentences from one document while another holds one at least `ALMOST_AS_GOOD` times the best: an answer
may need both, and a view may have changed."""
ALMOST_AS_GOOD = 0.3
SAME = 0.8
"""Share of content words in common from which two sentences say the same."""

FLOOR = 0.02
"""Sentences below this share of the best score are not taken. Higher floors made answers shorter and lost
more of what they must include (calibration questions: 0.62 without, 0.60 at 0.02, 0.58 at 0.05)."""

_LEANS_BACK = re.compile(
    r"^[\W_]*(?:it|its|this|that|these|those|they|them|their|he|she|his|her|such|so|but|and|or|however|"
    r"therefore|thus|hence|instead|otherwise|then|also|too|both|neither|either|which|here|there|"
    r"the (?:former|latter|first|second|third|same|other|others|last)|in (?:this|that) (?:case|way)|"
    r"for (?:this|that) reason|as a result|on the other hand|because of (?:this|that))\b",
    re.IGNORECASE,
)
_ATTRIBUTION = re.compile(r"^\W*-{1,2}\s*[^\W\d_](?:[^.!?]|\.(?=\s*\w)){0,60}[.)\]]?$")
_LEADS_IN = re.compile(r":[\s*_`\"”]*$")


@dataclass(frozen=True)
class Quote:
    """A sentence to be quoted, by its place in its document. `score` is 0 for one taken along."""

    document_id: str
    version: str
    chunk_id: str
    ordinal: int
    score: float
    rank: int


def choose_quotes(evidence: Sequence[Evidence], volumes: Mapping[str, Volume], most: int) -> list[Quote]:
    """At most `most` sentences in reading order: documents by their best sentence, then by position.

    A sentence that leans on the one before it brings that one along; what was said already is
    left out.
    """
    chosen: dict[tuple[str, int], Quote] = {}
    said: list[set[str]] = []
    best = max((one.score for one in evidence), default=0.0)
    for one in _spread(sorted(evidence, key=lambda one: -one.score)):
        if len(chosen) >= most or one.score < FLOOR * best:
            break
        unit = _unit(one, volumes[one.document_id])
        fresh = [ordinal for ordinal in unit if (one.document_id, ordinal) not in chosen]
        if one.ordinal not in fresh or len(chosen) + len(fresh) > most:
            continue
        stems = set(content_stems(one.text))
        if not stems or any(_overlap(stems, earlier) >= SAME for earlier in said):
            continue
        said.append(stems)
        for ordinal in fresh:
            score = one.score if ordinal == one.ordinal else 0.0
            chosen[one.document_id, ordinal] = Quote(
                one.document_id, one.version, one.chunk_id, ordinal, score, one.rank
            )
    return in_reading_order(list(chosen.values()))


def _spread(ranked: Sequence[Evidence]) -> list[Evidence]:
    """The evidence, best first, with what exceeds `FROM_ONE_DOCUMENT` put behind the other documents' best."""
    if not ranked:
        return []
    early: list[Evidence] = []
    taken: Counter[str] = Counter()
    for one in ranked:
        if one.score < ALMOST_AS_GOOD * ranked[0].score:
            break
        if taken[one.document_id] < FROM_ONE_DOCUMENT:
            early.append(one)
            taken[one.document_id] += 1
    first = {(one.document_id, one.ordinal) for one in early}
    return [*early, *(one for one in ranked if (one.document_id, one.ordinal) not in first)]


def _overlap(one: set[str], other: set[str]) -> float:
    return len(one & other) / max(1, min(len(one), len(other)))


def _unit(one: Evidence, volume: Volume) -> list[int]:
    """The sentence with what it cannot be quoted without, in order; nothing if it cannot be quoted at all."""
    if is_attribution(one.text):
        return []
    if one.block == "quote":
        unit = _whole_quotation(one, volume)
    elif one.block == "table":
        unit = [_first_of_block(one, volume), one.ordinal]
    else:
        before = _needed_before(one, volume)
        unit = [one.ordinal] if before is None else [before, one.ordinal]
    if _LEADS_IN.search(volume.text_of(unit[-1])):
        after = unit[-1] + 1
        if after >= len(volume.sentences) or volume.sentences[after].block == "heading":
            return []
        unit.append(after)
    unit = sorted(set(unit))
    return unit if all(len(volume.text_of(ordinal)) <= LONGEST_QUOTE for ordinal in unit) else []


def _needed_before(one: Evidence, volume: Volume) -> int | None:
    """The sentence before, where this one leans on it or is announced by it."""
    before = one.ordinal - 1
    if before < 0 or volume.sentences[before].block == "heading":
        return None
    if leans_back(one.text) and volume.sentences[before].block_id == one.block_id:
        return before
    return _lead_in(one, volume)


def _first_of_block(one: Evidence, volume: Volume) -> int:
    first = one.ordinal
    while first > 0 and volume.sentences[first - 1].block_id == one.block_id:
        first -= 1
    return first


def _whole_quotation(one: Evidence, volume: Volume) -> list[int]:
    """A block quote entire, so that its attribution stays with it; without one, the sentence that
    introduces it comes along. The words are not the author's: the reader must see whose they are."""
    first = _first_of_block(one, volume)
    last = one.ordinal
    while last + 1 < len(volume.sentences) and volume.sentences[last + 1].block_id == one.block_id:
        last += 1
    unit = list(range(first, last + 1))
    attributed = any(is_attribution(volume.text_of(ordinal)) for ordinal in unit)
    if not attributed and first > 0 and volume.sentences[first - 1].block != "heading":
        unit.insert(0, first - 1)
    return unit


def is_attribution(sentence: str) -> bool:
    """Whether this is only the name under a quotation ("- Gunnel Fors")."""
    return bool(_ATTRIBUTION.match(fold(sentence)))


def leans_back(sentence: str) -> bool:
    """Whether the sentence opens with a word that refers to what came before it."""
    return bool(_LEANS_BACK.match(fold(sentence)))


def _lead_in(one: Evidence, volume: Volume) -> int | None:
    """For a list item, code or table: the sentence that introduces it ("... in three steps:")."""
    if one.block not in ("list", "code", "table"):
        return None
    for ordinal in range(one.ordinal - 1, max(-1, one.ordinal - 12), -1):
        span = volume.sentences[ordinal]
        text = volume.document.text[span.start : span.end]
        if span.block in ("prose", "quote"):
            return ordinal if _LEADS_IN.search(text) else None
        if span.block == "heading":
            return None
    return None


def in_reading_order(quotes: Sequence[Quote]) -> list[Quote]:
    """Documents by their best sentence, sentences by position."""
    best: dict[str, float] = {}
    for quote in quotes:
        best[quote.document_id] = max(best.get(quote.document_id, 0.0), quote.score)
    return sorted(quotes, key=lambda quote: (-best[quote.document_id], quote.document_id, quote.ordinal))


def glue_between(before: SentenceSpan | None, after: SentenceSpan) -> str:
    """White space between two quoted sentences of one document."""
    if before is None:
        return ""
    return " " if before.block_id == after.block_id and after.block in ("prose", "quote") else "\n"
