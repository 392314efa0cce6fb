"""Words and numbers of a text, folded for comparing: what matching and checking claims count with."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen"
    " fourteen fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {
    **{word: Decimal(value) for value, word in enumerate(_ONES.split())},
    **{word: Decimal(value * 10) for value, word in enumerate(_TENS.split(), start=2)},
    "half": Decimal("0.5"),
}
_SCALES = {
    "dozen": Decimal(12),
    "hundred": Decimal(100),
    "thousand": Decimal(10**3),
    "million": Decimal(10**6),
    "billion": Decimal(10**9),
}
_UNITS = {
    name: spellings.split()[0]
    for spellings in (
        "% percent",
        "\u03bca ua microamp microamps microampere microamperes",
        "ma milliamp milliamps milliampere milliamperes",
        "a amp amps ampere amperes",
        "\u03bcv microvolt microvolts",
        "mv millivolt millivolts",
        "v volt volts",
        "mw milliwatt milliwatts",
        "w watt watts",
        "kw kilowatt kilowatts",
        "wh",
        "kwh",
        "mah",
        "\u03bcs us microsecond microseconds",
        "ms millisecond milliseconds",
        "s sec secs second seconds",
        "min mins minute minutes",
        "h hr hrs hour hours",
        "day days",
        "week weeks",
        "month months",
        "year years",
        "mg milligram milligrams",
        "g gram grams",
        "kg kilo kilos kilogram kilograms",
        "tonne tonnes ton tons",
        "mm millimetre millimetres millimeter millimeters",
        "cm centimetre centimetres centimeter centimeters",
        "m metre metres meter meters",
        "km kilometre kilometres kilometer kilometers",
        "mile miles",
        "kb kilobyte kilobytes",
        "mb megabyte megabytes",
        "gb gigabyte gigabytes",
        "tb terabyte terabytes",
        "byte bytes",
        "hz hertz",
        "khz kilohertz",
        "mhz megahertz",
        "ghz gigahertz",
        "\u00b0c degree degrees c celsius",
        "kr sek krona kronor",
        "$ usd dollar dollars",
        "\u20ac eur euro euros",
        "\u00a3 gbp",
    )
    for name in spellings.split()
}
"""Spellings of a unit, in lower case, and the one that stands for them."""
_DIGITS = r"(?<![\w.])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)*(?:e[-+]?\d+)?"
_ONE = rf"(?:(?:{_TENS.replace(' ', '|')})[- ](?:{'|'.join(_ONES.split()[1:10])})|{'|'.join(_SMALL)})(?![\w'])"
_SCALE = rf"(?:{'|'.join(_SCALES)})(?![\w'])"
_SCALED = rf"{_ONE}(?:[- ]{_SCALE})+"
_WORDED = rf"(?<![\w'])(?:(?:{_SCALED}|{_SCALE}(?: {_SCALE})*)(?: (?:and )?{_SCALED})*(?: and {_ONE})?|{_ONE})"
_QUANTITY = re.compile(
    rf"(?P<sign>(?<![^\s(~])-|\bminus )?(?P<currency>[$\u20ac\u00a3])?"
    rf"(?P<number>(?P<digits>{_DIGITS})(?P<scale>(?: {_SCALE})*)|(?P<words>{_WORDED}))"
    r"(?=(?:[- ]?(?P<unit>%|per ?cent\b|\u00b0 ?c\b|[^\W\d_]+(?!\w)))?)",
    re.IGNORECASE,
)
_RANGE = re.compile(r" ?(?:-|to|or|and) ?[$\u20ac\u00a3]?", re.IGNORECASE)

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


@dataclass(frozen=True)
class Quantity:
    """A number in one form ("-50", "3500000", "3.1.2") and the unit that directly follows it ("%", "ua"; or "")."""

    number: str
    unit: str = ""


def numbers(text: str) -> set[str]:
    """The numbers in `text`, unsigned and in one form: "1,000" is "1000", "6.70" is "6.7", "three" is "3",
    "3.5 million" is "3500000", "two dozen" is "24", "half" is "0.5".

    Digits inside a name ("v2", "llama2") are not numbers; "7b" and "Mistral-7b" hold "7". Versions
    of three or more parts stay as written.
    """
    return {quantity.number.removeprefix("-") for quantity in quantities(text)}


def quantities(text: str) -> list[Quantity]:
    """The numbers in `text` with sign and unit, in order; "10-15 %" is 10 % and 15 %.

    Only a known unit counts as one (`_UNITS`): "11 loggers" is 11 without unit.
    """
    folded = fold(text)
    found: list[Quantity] = []
    following = len(folded)
    for match in reversed(list(_QUANTITY.finditer(folded))):
        unit = _unit(match)
        start = match.end("number")
        if not unit and found and _RANGE.fullmatch(folded, start, following):
            unit = found[-1].unit
        sign = "-" if match["sign"] else ""
        value = _digits_value(match) if match["digits"] else _words_value(match["words"].lower())
        found.append(Quantity(sign + value, unit))
        following = match.start("number")
    return found[::-1]


def _unit(match: re.Match[str]) -> str:
    after, before = match["unit"] or "", match["currency"] or ""
    if after == "a":  # the article, not amperes
        after = ""
    return _UNITS.get(after.lower().replace(" ", "")) or _UNITS.get(before, "")


def _digits_value(match: re.Match[str]) -> str:
    plain = match["digits"].replace(",", "")
    if plain.count(".") > 1:
        return plain
    try:
        value = Decimal(plain)
    except InvalidOperation:
        return plain
    if not -30 < value.adjusted() < 30:
        return plain
    for scale in match["scale"].lower().split():
        value *= _SCALES[scale]
    return _plain(value)


def _words_value(written: str) -> str:
    total, current = Decimal(0), None
    for word in re.split(r"[- ]", written):
        if word in _SMALL:
            current = (current or Decimal(0)) + _SMALL[word]
        elif word in ("hundred", "dozen"):
            current = (Decimal(1) if current is None else current) * _SCALES[word]
        elif word != "and":
            total += (Decimal(1) if current is None else current) * _SCALES[word]
            current = None
    return _plain(total + (current or 0))


def _plain(value: Decimal) -> str:
    return format(value.normalize(), "f") if value else "0"


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
