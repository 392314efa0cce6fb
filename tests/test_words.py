"""Words and numbers as matching and claim checks count them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.words import Quantity, content_stems, numbers, quantities, stem, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "The author’s bge-large at 6.7, C++ and llama.cpp",
            ["the", "author", "bge-large", "at", "6.7", "c++", "and", "llama.cpp"],
        ),
        ("𝗕𝗼𝗹𝗱 𝟯𝟱 words; don’t", ["bold", "35", "words", "don't"]),
        ("1,000 × 15% = 9:00", ["1,000", "15%", "9:00"]),
        ("q2_k, GPT-4o and F#", ["q2_k", "gpt-4o", "and", "f#"]),
        ("… — !", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The fine-tuning of the LLMs", ["fine", "tune", "llm"]),
        ("GPUs and quantized models", ["gpu", "quantiz", "model"]),
        ("Llama-3.1-8B, v1.5 and 1,000", ["llama", "3.1", "8b", "v1.5", "1000"]),
        ("what is it that you do with this?", []),
    ],
)
def test_content_stems(text, expected):
    assert content_stems(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,000 of 6.70 and 15%", {"1000", "6.7", "15"}),
        ("three models, twelve runs", {"3", "12"}),
        ("Mistral-7b, 40k, 1.5M, 2e-4", {"7", "40", "1.5", "0.0002"}),
        ("on 2024-07-05 at 9:00", {"2024", "7", "5", "9", "0"}),
        ("version 3.1.2", {"3.1.2"}),
        ("v2, llama2, q4_k_m, someone", set()),
        ("It ended in 2023. Then", {"2023"}),
        ("𝟭𝟮 items", {"12"}),
        ("thirteen of ninety-nine, half of two dozen", {"13", "99", "0.5", "24"}),
        ("a hundred, two thousand three hundred and four", {"100", "2304"}),
        ("3.5 million of 40 thousand", {"3500000", "40000"}),
        ("one two three; in 2020 three models", {"1", "2", "3", "2020"}),
        ("-50 %", {"50"}),
    ],
)
def test_numbers(text, expected):
    assert numbers(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("11 µA.", [("11", "\u03bca")]),
        ("11 microamps, 11 amps, 11 A, 11 a day", [("11", "\u03bca"), ("11", "a"), ("11", "a"), ("11", "")]),
        ("from -50 % to 50 percent", [("-50", "%"), ("50", "%")]),
        ("10-15 per cent, 3 or 4 days", [("10", "%"), ("15", "%"), ("3", "day"), ("4", "day")]),
        ("$50 and 3.5 million kr", [("50", "$"), ("3500000", "kr")]),
        ("minus eight °C, ten-minute sleep", [("-8", "°c"), ("10", "min")]),
        ("on 2024-07-05, v2 and 11 loggers", [("2024", ""), ("7", ""), ("5", ""), ("11", "")]),
    ],
)
def test_quantities(text, expected):
    assert quantities(text) == [Quantity(*one) for one in expected]


@given(st.integers(1, 99), st.sampled_from([("hundred", 100), ("thousand", 1000), ("million", 10**6)]))
def test_a_scale_multiplies_the_number_before_it(count, scale):
    word, factor = scale
    assert numbers(f"about {count} {word} kr") == {str(count * factor)} == numbers(f"{count * factor:,} kr")


def test_stems_meet_across_forms():
    assert stem("measuring") == stem("measured") == stem("measures")
    assert stem("llms") == stem("llm")
    assert stem("q2k") == "q2k"


@given(st.text(max_size=80))
def test_words_are_folded_lower_case_without_space(text):
    for word in words(text):
        assert word
        assert word == word.lower()
        assert not any(character.isspace() for character in word)
    assert all(content_stems(text))


@given(st.floats(0, 1e6, allow_nan=False).map(lambda x: round(x, 3)))
def test_a_number_is_found_however_it_is_written(value):
    plain = f"{value:f}"
    assert numbers(f"about {plain} kg") == numbers(f"About {value:,.6f} kg.")
