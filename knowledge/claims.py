"""Is this sentence supported by these spans? Rules that a program checks and a reader can follow.

A sentence is supported by a span only if all of these hold (thresholds: `THRESHOLDS`, measured on
true and false pairs made from the bundled corpus, docs/results.md):

1. numbers: every number of the sentence occurs in the span with its sign (1,000 = 1000; twelve = 12;
   3.5 million = 3500000), with the same unit where both name one, as a percentage only if it is one
   there; and every word with a digit in it (v2, int8);
2. names and dates: every capitalised word, month and year occurs in the span or in the document's
   title and author; so does the word that opens the sentence, unless it is a stop word, a number or
   a word that merely links sentences (its capital says nothing, so a plain noun counts as a name);
3. negation, against the one sentence of the span that shares most content with the claim: the claim
   denies if and only if that sentence does, not more often, and denies one of the same words; opposed words
   (more/less, before/after, first/last ...) are not exchanged;
4. content: enough of the sentence's content words, by idf, occur in the span;
5. similarity: the embeddings of sentence and span are close enough.

A true sentence that words things its own way may fail; a false one that copies the span's words with
one relation turned round may pass ("A feeds B" / "B feeds A"). The rules err towards the quote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from knowledge.sentences import split_sentences
from knowledge.view import fold
from knowledge.vocabulary import Vocabulary
from knowledge.words import STOP_WORDS, Quantity, content_stems, numbers, quantities, stem, words
from twin.records import Record


@dataclass(frozen=True)
class Thresholds:
    """`content`: least idf share of content words in the span. `similarity`: least cosine."""

    content: float
    similarity: float


THRESHOLDS = Thresholds(content=0.6, similarity=0.55)

_WORD = re.compile(r"\b[^\W\d_][\w'-]*(?:\.\w+)*")
_OPENS = re.compile(r"(?:^[\W\d_]*|[.!?:;]\s+|[\"(\[]\s*)$")
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
_LINKS = frozenset(
    """
    accordingly according actually additionally afterwards almost already although always apart basically besides
    certainly clearly consequently conversely currently depending despite earlier eventually everybody everyone
    everything finally first firstly fortunately furthermore generally hence here hopefully importantly indeed
    initially instead last lastly lately later likewise meanwhile moreover namely never nevertheless next nobody
    nonetheless nothing none obviously occasionally originally otherwise overall personally previously probably
    recently second secondly similarly simply sometimes somebody soon specifically still surely therefore third
    thirdly today typically ultimately unfortunately unless unlike usually whatever whenever wherever yesterday
    """.split()  # noqa: SIM905
)
"""Words that open a sentence without naming anything, beside the stop words."""


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
        *_turned_round(sentence, _closest_sentence(sentence, span, vocabulary)),
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


def _closest_sentence(sentence: str, span: str, vocabulary: Vocabulary) -> str:
    """The sentence of `span` that shares most content with `sentence`, the first of equals.

    A denial in its neighbour must not pay for one that the claim invents.
    """
    inside = [span[one.start : one.end] for one in split_sentences(span)] or [span]
    return max(inside, key=lambda one: content_share(sentence, one, vocabulary))


def _missing_numbers(sentence: str, span: str) -> list[str]:
    units: dict[str, set[str]] = {}
    for quantity in quantities(span):
        units.setdefault(quantity.number, set()).add(quantity.unit)
    unheld = {one.number for one in quantities(sentence) if one.number not in units}
    unlike = {one for one in quantities(sentence) if one.number in units and not _fits(one, units[one.number])}
    mixed = _numbered_words(sentence) - _numbered_words(span)
    return [
        *(f"number {number} is not in the span" for number in sorted(unheld)),
        *(
            f"number {one.number} is in the span, but not as {one.number} {one.unit or 'without %'}"
            for one in sorted(unlike, key=lambda one: (one.number, one.unit))
        ),
        *(f"{word!r} is not in the span" for word in sorted(mixed)),
    ]


def _fits(quantity: Quantity, held: set[str]) -> bool:
    """Whether the span's units of that number allow the claim's: the same, or one side names none; % only for %."""
    if quantity.unit == "%":
        return "%" in held
    if not quantity.unit:
        return held != {"%"}
    return quantity.unit in held or "" in held


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
    held.update(content_stems(known))
    for opener in openers(sentence):
        if not held.issuperset(content_stems(opener)) and not _occurs(opener.lower(), folded):
            missing.append(f"name {opener!r} is not in the span")
    return missing


def _occurs(name: str, folded: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", folded) is not None


def names(sentence: str) -> list[str]:
    """Capitalised words that do not merely open the sentence; acronyms and mixed case always."""
    return [word for word, opens in _capitalised(sentence) if not opens or _distinctive(word)]


def openers(sentence: str) -> list[str]:
    """Capitalised words that open a sentence and may be names: no stop word, number or linking word."""
    return [
        word
        for word, opens in _capitalised(sentence)
        if opens and not _distinctive(word) and word.lower().split("'")[0] not in STOP_WORDS | _LINKS
        if not numbers(word)
    ]


def _capitalised(sentence: str) -> list[tuple[str, bool]]:
    """The words with a capital letter first, in any script, and whether a sentence opens with them."""
    folded = fold(sentence)
    return [
        (match.group(), bool(_OPENS.search(folded[: match.start()])))
        for match in _WORD.finditer(folded)
        if match.group()[0].isupper() and match.group().lower() not in _COMMON
    ]


def _distinctive(word: str) -> bool:
    return any(character.isupper() or character.isdigit() for character in word[1:])


def _denies_the_same(sentence: str, span: str) -> bool:
    """Whether the content words after each denial of the claim follow a denial of the span too."""
    held = set().union(*_denied_stems(span, 4))
    return all(not stems or stems & held for stems in _denied_stems(sentence, 2))


def _denied_stems(text: str, most: int) -> list[set[str]]:
    folded = fold(text)
    return [set(content_stems(folded[match.end() :])[:most]) for match in _NEGATION.finditer(folded)]


def _turned_round(sentence: str, span: str) -> list[str]:
    reasons = []
    denied, held_denied = (len(_NEGATION.findall(fold(text))) for text in (sentence, span))
    if denied > held_denied or bool(denied) != bool(held_denied):
        reasons.append("one denies what the other does not")
    elif not _denies_the_same(sentence, span):
        reasons.append("it denies something else than the span denies")
    said, held = set(words(sentence)), set(words(span))
    for one, other in _OPPOSED:
        for mine, theirs in ((one, other), (other, one)):
            if mine in said and mine not in held and theirs in held:
                reasons.append(f"it says {mine!r} where the span says {theirs!r}")
    return reasons
