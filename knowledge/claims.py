"""Is this sentence supported by these spans? Rules that a program checks and a reader can follow.

A sentence is supported by a span only if all of these hold (thresholds: `THRESHOLDS`, measured on
true and false pairs made from the bundled corpus, docs/results.md):

1. numbers: every number of the sentence occurs in the span (1,000 = 1000; twelve = 12), and every
   word with a digit in it (v2, int8);
2. names and dates: every capitalised word, month and year occurs in the span or in the document's
   title and author;
3. negation: the sentence denies if and only if the span does, and not more often; opposed words
   (more/less, before/after, first/last ...) are not exchanged;
4. content: enough of the sentence's content words, by idf, occur in the span;
5. similarity: the embeddings of sentence and span are close enough.

A true sentence that words things its own way may fail; a false one that copies the span's words with
one relation turned round may pass ("A feeds B" / "B feeds A"). The rules err towards the quote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from knowledge.view import fold
from knowledge.vocabulary import Vocabulary
from knowledge.words import content_stems, numbers, stem, words
from twin.records import Record


@dataclass(frozen=True)
class Thresholds:
    """`content`: least idf share of content words in the span. `similarity`: least cosine."""

    content: float
    similarity: float


THRESHOLDS = Thresholds(content=0.6, similarity=0.55)

_NAME = re.compile(r"\b[A-Z][\w’'-]*(?:\.\w+)*")
_OPENERS = re.compile(r"(?:^|[.!?:;]\s+|[\"“(\[]\s*|\n\s*)$")
_NEGATION = re.compile(
    r"\b(?:not|never|no|nor|none|nobody|nothing|neither|without|cannot|hardly|barely)\b|n't\b", re.IGNORECASE
)
_OPPOSED = (
    ("more", "less"),
    ("more", "fewer"),
    ("increase", "decrease"),
    ("raise", "lower"),
    ("before", "after"),
    ("first", "last"),
    ("always", "never"),
    ("above", "below"),
    ("best", "worst"),
    ("better", "worse"),
    ("faster", "slower"),
    ("higher", "lower"),
    ("larger", "smaller"),
    ("cheap", "expensive"),
    ("start", "stop"),
    ("add", "remove"),
    ("agree", "disagree"),
    ("like", "dislike"),
    ("possible", "impossible"),
    ("on", "off"),
)
_NUMBERED = re.compile(r"[^\W_]*\d[^\W_]*")
_COMMON = frozenset(["i", "i'm", "i've", "i'd", "i'll", "ok"])


class Verdict(Record):
    """Whether a sentence is supported, and the rules it breaks, in words."""

    supported: bool
    reasons: tuple[str, ...] = ()
    content: float = 0.0
    similarity: float = 0.0


def check_claim(
    sentence: str,
    span: str,
    similarity: float,
    vocabulary: Vocabulary,
    known: str = "",
    thresholds: Thresholds = THRESHOLDS,
) -> Verdict:
    """Check `sentence` against `span`; `similarity` is the cosine of their embeddings.

    `known` is what may be named without occurring in the span: the document's title and author.
    """
    content = content_share(sentence, span, vocabulary)
    reasons = [
        *_missing_numbers(sentence, span),
        *_missing_names(sentence, f"{span} {known}"),
        *_turned_round(sentence, span),
    ]
    if content < thresholds.content:
        reasons.append(f"only {content:.0%} of its content words are in the span")
    if similarity < thresholds.similarity:
        reasons.append(f"similarity {similarity:.2f} to the span is below {thresholds.similarity:.2f}")
    return Verdict(supported=not reasons, reasons=tuple(reasons), content=content, similarity=similarity)


def content_share(sentence: str, span: str, vocabulary: Vocabulary) -> float:
    """Idf share of the sentence's content words that occur in the span, 0..1; 1 if it has none."""
    wanted = set(content_stems(sentence))
    total = sum(vocabulary.idf(word) for word in wanted)
    if not total:
        return 1.0
    held = set(content_stems(span))
    return sum(vocabulary.idf(word) for word in wanted & held) / total


def _missing_numbers(sentence: str, span: str) -> list[str]:
    missing = numbers(sentence) - numbers(span)
    mixed = _numbered_words(sentence) - _numbered_words(span)
    return [
        *(f"number {number} is not in the span" for number in sorted(missing)),
        *(f"{word!r} is not in the span" for word in sorted(mixed)),
    ]


def _numbered_words(text: str) -> set[str]:
    """Parts of words that hold letters and digits: "v2", "int8", "4bit"."""
    return {
        part
        for part in _NUMBERED.findall(fold(text).lower())
        if any(character.isalpha() for character in part) and any(character.isdigit() for character in part)
    }


def _missing_names(sentence: str, known: str) -> list[str]:
    folded = fold(known).lower()
    held = set(words(known))
    held |= {stem(word) for word in held}
    missing = []
    for name in names(sentence):
        parts = words(name)
        if any(part not in held and stem(part) not in held for part in parts) and not _occurs(name.lower(), folded):
            missing.append(f"name {name!r} is not in the span")
    return missing


def _occurs(name: str, folded: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", folded) is not None


def names(sentence: str) -> list[str]:
    """Capitalised words that do not merely open the sentence; acronyms and mixed case always."""
    folded = fold(sentence)
    found = []
    for match in _NAME.finditer(folded):
        name = match.group()
        opens = bool(_OPENERS.search(folded[: match.start()]))
        distinctive = any(character.isupper() or character.isdigit() for character in name[1:])
        if name.lower() not in _COMMON and (distinctive or not opens):
            found.append(name)
    return found


def _turned_round(sentence: str, span: str) -> list[str]:
    reasons = []
    denied, held_denied = (len(_NEGATION.findall(fold(text))) for text in (sentence, span))
    if denied > held_denied or bool(denied) != bool(held_denied):
        reasons.append("one denies what the other does not")
    said, held = set(words(sentence)), set(words(span))
    for one, other in _OPPOSED:
        for mine, theirs in ((one, other), (other, one)):
            if mine in said and mine not in held and theirs in held:
                reasons.append(f"it says {mine!r} where the span says {theirs!r}")
    return reasons
