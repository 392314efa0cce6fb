"""Sentences and blocks: exact offsets, no overlap, nothing lost, and the hard cases of real text."""

# ruff: noqa: E501 - text is quoted as pages and converters leave it

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.blocks import split_blocks
from knowledge.sentences import split_sentences


def sentences(text: str) -> list[str]:
    return [text[span.start : span.end] for span in split_sentences(text)]


def kinds(text: str) -> list[tuple[str, str]]:
    return [(span.block, text[span.start : span.end]) for span in split_sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four…", ["One.", "Two!", "Three?", "Four…"]),
        (
            "Dr. Smith et al. found 3.5 kg, e.g. here. Then left.",
            ["Dr. Smith et al. found 3.5 kg, e.g. here.", "Then left."],
        ),
        ("See v1.2.3, torch.Tensor and README.md. Next.", ["See v1.2.3, torch.Tensor and README.md.", "Next."]),
        ("It is `a.b(). C` here. And [x](https://a.b/c.d?e=F. G) too.", None),
        (
            "**Bold ends here.** Next one. _Slanted too._ Last.",
            ["**Bold ends here.**", "Next one.", "_Slanted too._", "Last."],
        ),
        ("First. **Second is bold.** Third.", ["First.", "**Second is bold.**", "Third."]),
        (
            "(In brackets.) After. He said “Yes.” Then he went.",
            ["(In brackets.)", "After.", "He said “Yes.”", "Then he went."],
        ),
        ("hard\nwrapped line\nends. New\none.", ["hard\nwrapped line\nends.", "New\none."]),
        ("𝗕𝗼𝗹𝗱 𝘀𝘁𝗮𝗿𝘁. 𝗧𝗵𝗲𝗻 𝗺𝗼𝗿𝗲.", ["𝗕𝗼𝗹𝗱 𝘀𝘁𝗮𝗿𝘁.", "𝗧𝗵𝗲𝗻 𝗺𝗼𝗿𝗲."]),
        ("Line with a break  \nAnother line  \nthat goes on.", ["Line with a break", "Another line  \nthat goes on."]),
        ("1. Not a list in the middle", ["Not a list in the middle"]),
        ("At 9:00 a.m. CET. At 5 p.m. She left.", ["At 9:00 a.m. CET.", "At 5 p.m.", "She left."]),
        ("It is 5 vs. 6, approx. 7 (Fig. 8). Next.", ["It is 5 vs. 6, approx. 7 (Fig. 8).", "Next."]),
        ("↓↓↓\n\n.\n\nText 🔥\n\n🔥", ["Text 🔥"]),
        ("", []),
        (" \n\t\n ", []),
    ],
)
def test_prose(text, expected):
    if expected is None:
        assert len(sentences(text)) == 2
    else:
        assert sentences(text) == expected


def test_markdown_blocks():
    text = (
        "# Title\n\nA paragraph. Two sentences.\n\n## 2. Second ##\n- item one\n- item two. It has\n  more, wrapped.\n\n"
        "1. first\n2. second\n\n> A quote that\n> goes on. Ends.\n\n```python\nx = 1. + 2\n\nprint('A. B.')\n```\n\n"
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n**Bold heading**\n\nText\nunder it.\n\nSetext\n------\n\n    indented = code\n\nEnd."
    )
    assert kinds(text) == [
        ("heading", "Title"),
        ("prose", "A paragraph."),
        ("prose", "Two sentences."),
        ("heading", "2. Second"),
        ("list", "item one"),
        ("list", "item two."),
        ("list", "It has\n  more, wrapped."),
        ("list", "first"),
        ("list", "second"),
        ("quote", "A quote that\n> goes on."),
        ("quote", "Ends."),
        ("code", "x = 1. + 2\n\nprint('A. B.')"),
        ("table", "| a | b |"),
        ("table", "| 1 | 2 |"),
        ("heading", "**Bold heading**"),
        ("prose", "Text\nunder it."),
        ("heading", "Setext"),
        ("code", "    indented = code"),
        ("prose", "End."),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A wrapped line that begins with a sign is no block of its own.
        ("until you use\n>95% of the memory.", [("prose", "until you use\n>95% of the memory.")]),
        ("It was in\n2024. That was late.", [("prose", "It was in\n2024."), ("prose", "That was late.")]),
        # Markers as converters escape them.
        ("To do:  \n\\- models  \n\\- data", [("prose", "To do:"), ("list", "models"), ("list", "data")]),
        ("2\\. Download it:", [("list", "Download it:")]),
        # A heading that a converter wrapped at its width.
        (
            "### RAG hybrid search with transformers-based sparse vectors. CDC tech stack\nfor event-driven systems.\n\nText.",
            [
                (
                    "heading",
                    "RAG hybrid search with transformers-based sparse vectors. CDC tech stack\nfor event-driven systems.",
                ),
                ("prose", "Text."),
            ],
        ),
        ("## Short\nText right below.", [("heading", "Short"), ("prose", "Text right below.")]),
        # Headings faked in bold letters of the mathematical alphabets.
        ("#𝟭. 𝗘𝘅𝗽𝗲𝗿𝗶𝗺𝗲𝗻𝘁 𝗧𝗿𝗮𝗰𝗸𝗶𝗻𝗴\n\nText.", [("heading", "#𝟭. 𝗘𝘅𝗽𝗲𝗿𝗶𝗺𝗲𝗻𝘁 𝗧𝗿𝗮𝗰𝗸𝗶𝗻𝗴"), ("prose", "Text.")]),
        # A mention that a converter set apart is one sentence again.
        (
            "Read it in\n\nSmall Letters\n\n. Ann Smith\n\nhas written it.",
            [("prose", "Read it in\n\nSmall Letters\n\n."), ("prose", "Ann Smith\n\nhas written it.")],
        ),
        # Code below a list item stays code; text below it stays the item's.
        (
            "  1. Install:\n\n    \n    pip install x\n\nDone.",
            [("list", "Install:"), ("code", "    pip install x"), ("prose", "Done.")],
        ),
        ("- item\n\n  more of it.", [("list", "item"), ("list", "more of it.")]),
        ("```\nunclosed. Code", [("code", "unclosed. Code")]),
        ("* * *\n\n---\n\nText", [("prose", "Text")]),
    ],
)
def test_blocks_as_found_in_the_wild(text, expected):
    assert kinds(text) == expected


def test_text_that_lost_its_line_breaks_is_split_where_sentences_begin():
    text = (
        "→ the first lesson of the free courseWhat is your twin? It writes like you.Image by DALL-EWhy is this different?By "
        "the end you will learn it.The system has parts:the data pipeline: crawls data. (deployed on AWS)the feature pipeline: "
        "cleans. The twin conceptThe outcome of this course is a twin on GitHub.Also, PyTorch is used.3.2. The feature pipeline"
    )
    found = sentences(text)
    for begin in (
        "What is your",
        "It writes",
        "Image by",
        "By the end",
        "The system",
        "the data",
        "the feature",
        "The outcome",
    ):
        assert any(sentence.startswith(begin) for sentence in found), (begin, found)
    assert "3.2. The feature pipeline" in found
    assert not any(sentence.startswith(("Hub", "Torch")) for sentence in found)


def test_names_with_dots_do_not_make_text_look_glued():
    text = "Use torch.Tensor, np.Array and os.Path here. Then pathlib.Path. Finally json.Decoder and re.Match. Done with them."
    assert sentences(text) == [
        "Use torch.Tensor, np.Array and os.Path here.",
        "Then pathlib.Path.",
        "Finally json.Decoder and re.Match.",
        "Done with them.",
    ]


LINES = st.sampled_from(
    [
        "", "", "", " ", "    ", "Some words here.", "and more of them, e.g. these. Next", "# Heading", "## Two words ##",
        "- item", "* **item** one. Two.", "  - nested", "1. first", "12) twelfth", "\\- escaped", "> quote", ">> deep. Quote.",
        "```", "```python", "~~~", "    code = 1", "\tx", "| a | b |", "|---|---|", "a | b", "---", "***", "===", "* * *",
        "**Bold line**", "𝗕𝗼𝗹𝗱", "Ann Smith", "from", "and then.", ".", "…", "“Quoted.” (Yes.) No", "x.Y z.W a.B c.D e.F g.H",
        "Glued.Here it is.And here.Also so.Next one", "hard break  ", "`code. Span` and [link](http://a.b/c. d)", "\\", "*", "_x_",
        "1.", "a)", "🔥 Emoji. Text ⭐️", "\x0c", "\u2028 x", "-", "+ plus", "#", "#no space", ">", "> ",
    ]
)  # fmt: skip
DOCUMENTS = st.one_of(
    st.lists(LINES, max_size=14).map("\n".join),
    st.text(alphabet=st.sampled_from("aB1 .!?\n*_`#>-|()[]“”’…\t\\~𝗕é"), max_size=80),
)
MARKER = re.compile(r"^\s*(?:>\s?)*\s*(?:\\?[-+*•]|\d{1,3}\\?[.)])\s")


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS)
def test_spans_are_ordered_trimmed_and_within_their_block(text):
    blocks = split_blocks(text)
    spans = split_sentences(text)
    edge = 0
    for span in spans:
        assert edge <= span.start < span.end <= len(text)
        edge = span.end
        block = blocks[span.block_id]
        assert block.kind == span.block
        assert block.start <= span.start
        assert span.end <= block.end
        sentence = text[span.start : span.end]
        assert sentence.strip()
        if span.block != "code":
            assert sentence == sentence.strip()
    assert [span.block_id for span in spans] == sorted(span.block_id for span in spans)


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS)
def test_blocks_mask_character_for_character(text):
    edge = 0
    for block in split_blocks(text):
        assert edge <= block.start < block.end <= len(text)
        edge = block.end
        written = text[block.start : block.end]
        assert len(block.masked) == len(written)
        assert all(mask in (" ", character) for mask, character in zip(block.masked, written, strict=True))


@settings(max_examples=400, deadline=None)
@given(DOCUMENTS)
def test_every_letter_and_digit_outside_markup_is_in_some_sentence(text):
    covered = {at for span in split_sentences(text) for at in range(span.start, span.end)}
    begin = 0
    for line in text.split("\n"):
        marker = MARKER.match(line)
        fence = line.strip(" >").startswith(("```", "~~~"))
        for offset, character in enumerate(line):
            markup = fence or (marker and offset < marker.end()) or line.lstrip().startswith("\\")
            if character.isalnum() and not markup:
                assert begin + offset in covered, (line, character)
        begin += len(line) + 1


def test_cuts_do_not_depend_on_the_length_of_the_text():
    text = "One sentence here. Another one there!\n\n" * 2000
    assert len(sentences(text)) == 4000
