"""The search view: what it folds, and that every character of it knows where it came from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.view import display, fold, search_view

ODD = st.sampled_from(
    "𝗯𝘰𝟯𝓪ﬁ½²…’“”«»–—−\u00a0\u2003\u200b\u200d\ufe0f\ufeff\u00ad\u0301\u0308éÅ가ᄀㅏㅎ각\u1100\u1161\u11a8ｶﾞﾞ👨👩🏼⭐\u2028\x00\x0b"
)
TEXTS = st.text(
    alphabet=st.one_of(ODD, st.characters(exclude_categories=("Cs",)), st.sampled_from("aZ09 .\n-")), max_size=60
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("𝗘𝘃𝗲𝗿𝘆 𝘄𝗲𝗲𝗸 𝟭𝟮 𝐓𝐡𝐞", "Every week 12 The"),
        ("“don’t” – he said — 5−3", '"don\'t" - he said - 5-3'),
        ("a\u00a0b\u2009c\u3000d", "a b c d"),
        ("soft\u00adhyphen zero\u200bwidth \ufeffmark ⭐\ufe0f", "softhyphen zerowidth mark ⭐"),
        ("e\u0301tude, e\u200d\u0301tude", "étude, étude"),
        ("ﬁne x² ｆｕｌｌ", "fine x2 full"),
        ("tab\tand\nline", "tab\tand\nline"),
        ("plain ASCII", "plain ASCII"),
        ("", ""),
    ],
)
def test_view_folds(text, expected):
    assert search_view(text).text == expected


def test_styled_words_are_found_and_mapped_back():
    text = "Join 5k+ engineers in the 𝗗𝗲𝗰𝗼𝗱𝗶𝗻𝗴 𝗠𝗟 𝗡𝗲𝘄𝘀𝗹𝗲𝘁𝘁𝗲𝗿 ⭐️ today…"
    view = search_view(text)
    at = view.text.index("Decoding ML Newsletter")
    start, end = view.to_source(at, at + len("Decoding ML Newsletter"))
    assert text[start:end] == "𝗗𝗲𝗰𝗼𝗱𝗶𝗻𝗴 𝗠𝗟 𝗡𝗲𝘄𝘀𝗹𝗲𝘁𝘁𝗲𝗿"
    dots = view.text.index("...")
    assert [text[slice(*view.to_source(dots + i, dots + i + 1))] for i in range(3)] == ["…"] * 3


@given(TEXTS)
def test_mapping_is_monotone_in_range_and_covers(text):
    view = search_view(text)
    ranges = [view.to_source(at, at + 1) for at in range(len(view.text))]
    assert all(0 <= start < end <= len(text) for start, end in ranges)
    assert ranges == sorted(ranges)
    covered = {at for start, end in ranges for at in range(start, end)}
    assert all(at in covered for at, character in enumerate(text) if character.isalnum() and ord(character) < 0x3000)
    if view.text:
        start, end = view.to_source(0, len(view.text))
        assert search_view(text[start:end]).text == view.text


@given(TEXTS)
def test_view_is_idempotent_and_ranges_fold_to_what_they_cover(text):
    view = search_view(text)
    again = search_view(view.text)
    assert again.text == view.text
    for at in range(len(view.text)):
        assert view.text[at] in search_view(text[slice(*view.to_source(at, at + 1))]).text


@given(TEXTS, st.integers(0, 60), st.integers(0, 60))
def test_ranges_outside_the_view_are_refused(text, start, length):
    view = search_view(text)
    end = start + length
    if end <= len(view.text):
        first, last = view.to_source(start, end)
        assert 0 <= first <= last <= len(text)
        assert (first == last) == (start == end)
    else:
        with pytest.raises(ValueError, match="outside a view"):
            view.to_source(start, end)


@given(TEXTS)
def test_fold_has_single_spaces_and_is_idempotent(text):
    folded = fold(text)
    assert folded == " ".join(folded.split())
    assert fold(folded) == folded


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("**Configuration** : see [this](https://a.b/c_(d)) and `a_b*c`.", "Configuration: see this and a_b*c."),
        ("\n\n _Hello there_", "\n\n Hello there"),
        ("\\- the version of\nthe code", "- the version of the code"),
        ("super high-\nquality by Georgi\nGerganov", "super high-quality by Georgi Gerganov"),
        (
            "Ann Smith\n\nwrote it in the\n\nSmall Letter\n\nlast week.",
            "Ann Smith wrote it in the Small Letter last week.",
        ),
        ("First.\n\nSecond *part* of snake_case, 2 * 3 * 4.", "First.\n\nSecond part of snake_case, 2 * 3 * 4."),
        ("**cut in the middle.", "cut in the middle."),
        ("> quoted **x**\n> more", "quoted x more"),
        ("- one\n- **two**", "- one\n- two"),
        ("__init__ stays, __bold word__ goes", "__init__ stays, bold word goes"),
        ("    code = 1\n    b *= 2", "    code = 1\n    b *= 2"),
        ("```\na_b_ = '*x*'\n```", "```\na_b_ = '*x*'\n```"),
        ("   ", "   "),
    ],
)
def test_display_takes_markup_away_and_nothing_else(written, shown):
    assert display(written) == shown


@given(TEXTS)
def test_display_keeps_every_letter_and_digit_and_outer_space(text):
    shown = display(text)
    letters = [character for character in text if character.isalnum()]
    assert [character for character in shown if character.isalnum()] == letters
    if text.strip():
        assert shown[: len(shown) - len(shown.lstrip())] == text[: len(text) - len(text.lstrip())]
