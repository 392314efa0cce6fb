"""Words and numbers of a text, folded for comparing: what matching and checking claims count with."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

from knowledge.view import fold

_TOKEN = re.compile(
    r"c\+\+|[cf]#|\.net\b"
    r"|\d+(?:[.,:]\d+)+(?:%|[a-z]+\b)?"
    r"|\d+%"
    r"|[^\W_]+(?:[-'./_+&][^\W_]+)*"
)
_PARTS = re.compile(r"c\+\+|[cf]#|\.net\b|[^\W\d_]*\d+(?:[.,]\d+)*[^\W_]*|[^\W\d_]+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_ACRONYM_PLURAL = re.compile(r"([^\Waeiouy\d_]{2,}|[cgt]pu)s")
_POSSESSIVE = re.compile(r"'s?$")
_NUMBER = re.compile(r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)*(?:e[-+]?\d+)?", re.IGNORECASE)
_NUMBER_WORD = re.compile(r"(?<![\w'])(zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)(?![\w'])")
_NUMBER_WORDS = {
    word: str(value)
    for value, word in enumerate(
        "zero one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
    )
}

STOP_WORDS: frozenset[str] = frozenset(
    """
    a about above after again all also although am an and any anyone anything are as at be because been before
    being below between both but by can can't cannot could couldn't did didn't do does doesn't doing don't done
    down during each either else ever every few for from further get gets getting give given go goes going got
    had hadn't has hasn't have haven't having he her here hers herself him himself his how however i i'd i'll
    i'm i've if in into is isn't it it's its itself just let let's like made make makes making many may maybe me
    might mine more most much must my myself neither no nor not now of off often on once one only or other
    others our ours ourselves out over own per perhaps please quite rather really said same say says shall she
    should shouldn't since so some someone something such than that that's the their theirs them themselves then
    there there's these they they're this those though through thus to too under until up upon us use used uses
    using very via was wasn't we we'll we're we've were weren't what what's when where whether which while who
    whom whose why will with within without won't would wouldn't yes yet you you'll you're you've your yours
    yourself d ll m re s t ve
    """.split()  # noqa: SIM905
)
"""English words that carry no subject of their own."""


def words(text: str) -> list[str]:
    """The tokens of `text`, folded and in lower case, in order.

    Decimals, versions and hyphenated or dotted names stay whole ("6.7", "bge-large", "llama.cpp",
    "c++"); a possessive loses its ending.
    """
    return [_POSSESSIVE.sub("", token) or token for token in _TOKEN.findall(fold(text).lower())]


def stem(word: str) -> str:
    """The English stem of a word in lower case; words with digits stay as they are, "llms" is "llm"."""
    return _stem(word)


def content_stems(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order; compound names are taken apart."""
    stems: list[str] = []
    for token in words(text):
        if token in STOP_WORDS:
            continue
        for part in _PARTS.findall(token):
            if part not in STOP_WORDS:
                stems.append(_stem(_THOUSANDS.sub("", part)))
    return stems


def numbers(text: str) -> set[str]:
    """The numbers in `text`, in one form: "1,000" is "1000", "6.70" is "6.7", "three" is "3".

    Digits inside a name ("v2", "llama2") are not numbers; "7b" and "Mistral-7b" hold "7". Versions
    of three or more parts stay as written.
    """
    folded = fold(text).lower()
    found = {_normal_number(match.group()) for match in _NUMBER.finditer(folded)}
    found.update(_NUMBER_WORDS[match.group(1)] for match in _NUMBER_WORD.finditer(folded))
    return found


def _normal_number(written: str) -> str:
    plain = written.replace(",", "")
    if plain.count(".") > 1:
        return plain
    try:
        value = Decimal(plain)
        return format(value.normalize(), "f") if value.adjusted() < 30 and value.adjusted() > -30 else plain
    except InvalidOperation:
        return plain


@lru_cache(maxsize=65536)
def _stem(word: str) -> str:
    if not word.isalpha():
        return word
    if plural := _ACRONYM_PLURAL.fullmatch(word):
        return plural.group(1)
    return str(_stemmer().stemWord(word))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")
