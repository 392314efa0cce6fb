"""Cleaning: chrome goes, every word of the author stays; checked on made pages and on the real dump."""

# ruff: noqa: E501 - text is quoted as pages and converters leave it

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knowledge.clean import clean
from knowledge.clean.html import html_to_text
from knowledge.sources import Skipped, read_sources
from knowledge.sources.fields import canonical_url
from knowledge.view import search_view
from tests.test_sentences import DOCUMENTS
from twin.records import Document, SourceItem

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared" / "data"
EXAMPLES = REPOSITORY / "examples"
needs_real_data = pytest.mark.skipif(
    not (SHARED / "articles.json").exists(), reason="../shared/data/articles.json is not there"
)


def item(content: str, form: str = "markdown", **fields: object) -> SourceItem:
    given_fields: dict[str, object] = {
        "tenant": "t", "uri": "https://a.example/p", "origin": "a.md", "format": form, "content": content,
        "title": "On gaps", "subtitle": "A view from the mole", "author": "Ann Author",
        "published_at": datetime(2024, 6, 12, tzinfo=UTC),
    }  # fmt: skip
    return SourceItem.model_validate(given_fields | fields)


def text_of(content: str, form: str = "markdown", **fields: object) -> str:
    document = clean(item(content, form, **fields))
    assert isinstance(document, Document), document
    return document.text


SHARE = "Share this post\n\n#### On gaps\n\na.substack.com\n\nCopy link\n\nFacebook\n\nEmail\n\nNote\n\nOther\n\n"
BODY = (
    "The text — “of it” — stays…  \nwith its breaks.\n\n### A part\n\n\\- one\n\n    code = 1\n    \n    more()\n\n"
    "Ann Smith\n\nwrote that we share this. Subscribe to nothing; Medium is a word.\n\n* * *\n\nThe end 🔥"
)
SUBSTACK = (
    "# Ann Author\n\nSubscribeSign in\n\n"
    + SHARE
    + "# On gaps\n\n### A view from\nthe mole\n\nAnn Author\n\nJun 12, 2024\n\n"
    "14\n\n"
    + SHARE
    + "2\n\nShare\n\n#### A view from the mole\n\n"
    + BODY
    + "\n\n14\n\n"
    + SHARE
    + "Share\n\nPreviousNext\n\n"
    "#### Discussion about this post\n\nComments\n\nRestacks\n\n| A Reader Jun 13Liked by AnnGreat!\n---|---\n\nReady for more?\n\n"
    "Subscribe\n\n© 2024 Ann Author\n\nPrivacy ∙ Terms ∙ Collection notice\n\nStart WritingGet the app\n\n"
    "Substack is the home for great culture\n\nShare\n\nCopy link\n\nThis site requires JavaScript to run correctly. Please "
    "turn on JavaScript or\nunblock scripts\n\n"
)
MEDIUM = (
    "On gaps | LettersOpen in appSign upSign inWriteSign upSign inTop highlightOn gapsA view from the moleAnn Author·Follow"
    "Published inLetters·16 min read·Jun 12, 20242.1K13ListenShareThe text — “of it”. It stays.Enjoyed This Article?Join the "
    "Letters Newsletter for battle-tested content on gaps. Every week. For FREE ↓Letters | Ann Author | SubstackJoin for "
    "content on gaps. Every week. For…letters.substack.comReferences[1] A bookSign up to discover human stories that deepen "
    "your understanding of the world.FreeMembership2.1K13FollowWritten by Ann AuthorMore from Ann AuthorBo OtherA Title by Bo"
    "Sep 6HelpStatusTeams\n\n\n\nTo make Medium work, we log user data. By using Medium, you agree to our Privacy Policy."
)
QUARTO = (
    "Ann Author\n\n  * __Course\n  * __About\n\n__\n\n  1. **Gaps**\n  2. On gaps\n\n# On gaps\n\nA view from the mole\n\nTides\n\n"
    "Author\n\nAnn Author\n\nPublished\n\nJune 12, 2024\n\n  * 🔧 **All posts** __\n\n    * Another post\n\n  * * * *\n\n"
    "## **Sections**\n\n  * One\n  * Two\n\nThe text.\n\n    code()\n    more()__\n\nIt __stays__.\n\n__Copyright 2023, Ann Author\n\n"
)


def test_substack_page_as_a_crawler_left_it():
    assert text_of(SUBSTACK) == BODY


def test_medium_page_without_line_breaks():
    assert text_of(MEDIUM) == "The text — “of it”. It stays.References[1] A book"


def test_quarto_page():
    assert text_of(QUARTO) == "The text.\n\n    code()\n    more()\n\nIt __stays__."


@pytest.mark.parametrize(
    "chrome",
    [
        "Subscribe",
        "**Subscribe now**",
        "Leave a comment",
        "Ann’s Letter is a reader-supported publication. To receive new posts\nand support my work, consider becoming a "
        "free or paid subscriber.",
        "Thanks for reading Ann’s Letter! Subscribe for free to receive new posts and support my work.",
        " _Learn more and support my work with one click —\nbecome a Medium member here:_",
        "**Join Medium with my referral link — Ann**  \n _As a Medium member, a portion of your fee goes to writers_medium.com",
        "Discover more from Ann’s Letter",
        "Type your email…",
        "We use cookies to remember you.",
        "#### Related articles\n\n**One post**  \n _About it_towardsdatascience.com\n\n**Two**  \n_More…_medium.com",
    ],
)
def test_calls_and_buttons_go_wherever_they_stand(chrome):
    assert text_of(f"First.\n\n{chrome}\n\n## Then\n\nLast.") == "First.\n\n## Then\n\nLast."
    assert text_of(f"First.\n\nLast.\n\n{chrome}") == "First.\n\nLast."


@pytest.mark.parametrize(
    "kept",
    [
        "I do not subscribe to that view; share it if you like.",
        "## Share\n\nA share is a tenth.",
        "```\nSubscribe\n\nShare\n```",
        "    Subscribe\n\nis what the button said.",
        "**The Talking Machines**  \n _Great episodes on the human side of it…_thetalkingmachines.com\n\nI liked this one.",
        "Thanks for reading this article. I encourage you to try to make your own.",
        "#### Whenever you’re ready, here is how I can help you:\n\n  1. A course.",
        "Copyright 2019 was the year on the box.\n\nIt lied.",
        "May 3, 2021\n\nA diary begins with another date than the post’s.",
        "By Bo Other\n\nHe wrote this part.",
        "A view from the mole\n\nis also how its first sentence begins.",
    ],
)
def test_the_authors_words_stay(kept):
    assert text_of(f"{kept}\n\nLast words.") == f"{kept}\n\nLast words."


def test_title_subtitle_and_byline_at_the_top_are_metadata():
    top = "# On gaps\n\n*A view from the mole*\n\nBy Ann Author · June 12, 2024 · 4 min read\n\n"
    assert text_of(f"{top}Text.\n\n## On gaps\n\nMore.") == "Text.\n\n## On gaps\n\nMore."
    assert text_of("Text.\n\n© 2024 Ann Author\n\nAll rights reserved.") == "Text."


def test_a_post_whose_title_is_its_text_keeps_it():
    assert text_of("On gaps") == "On gaps"
    assert text_of("On gaps\n\nMind them.") == "Mind them."


def test_line_ends_and_control_characters():
    assert text_of("One\r\ntwo\rthree\x00\x1b[31m\n\n\n\nfour\x0c") == "One\ntwo\nthree[31m\n\n\n\nfour"
    assert text_of("# On gaps\n\nSubscribe\n", form="text") == "# On gaps\n\nSubscribe"


def test_nothing_but_chrome_is_skipped_with_a_reason():
    for content in ("# On gaps\n\nSubscribe\n\nShare", "…\n\n* * *", ""):
        skipped = clean(item(content))
        assert isinstance(skipped, Skipped)
        assert skipped.origin == "a.md"
        assert skipped.reason == "has no text left without the page's chrome"
    assert isinstance(clean(item("<html><body><nav>Menu</nav></body></html>", "html")), Skipped)


def test_version_is_of_text_and_metadata_and_not_of_chrome():
    first = clean(item(SUBSTACK))
    again = clean(item(SUBSTACK.replace("14\n\n", "99\n\n")))
    other = clean(item(SUBSTACK, title="Another title"))
    edited = clean(item(SUBSTACK.replace("stays…", "stayed…")))
    assert isinstance(first, Document)
    assert first == again
    assert len({first.version, other.version, edited.version}) == 3
    assert first.document_id == other.document_id == edited.document_id


@settings(max_examples=200, deadline=None)
@given(DOCUMENTS)
def test_cleaning_only_takes_away_and_does_so_once(content):
    document = clean(item(content, title="", subtitle="", author="", published_at=None))
    if isinstance(document, Document):
        rest = iter(content.replace("\r\n", "\n").replace("\r", "\n"))
        assert all(character in rest for character in document.text)
        again = clean(item(document.text, title="", subtitle="", author="", published_at=None))
        assert isinstance(again, Document)
        assert again.text == document.text


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab \n\t#*_>-|`[]1.”…é𝗕", min_size=1, max_size=80))
def test_an_ordinary_text_loses_no_letter(content):
    document = clean(item(content, title="", subtitle="", author="", published_at=None))
    if isinstance(document, Document):
        assert [c for c in document.text if c.isalnum()] == [c for c in content if c.isalnum()]


# --- HTML -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("<p>“Quotes” — dashes…&nbsp;and &lt;b&gt; &amp; <b>bold</b>, <em>slant</em>, <code>a_b*c</code>.</p>",
         "“Quotes” — dashes…\u00a0and <b> & **bold**, *slant*, `a_b*c`."),
        ("<p>One<br>two<br><br>three <a href='x'>link</a><img src=x alt=no></p>", "One  \ntwo\n\nthree link"),
        ("<h2>Head</h2><ul><li>a<ul><li>b</li></ul></li><li><p>c</p></li></ul><ol start=3><li>d</li></ol>",
         "## Head\n\n- a\n  - b\n- c\n\n3. d"),
        ("<blockquote><p>Said.</p><p>More.</p></blockquote>", "> Said.\n>\n> More."),
        ("<pre><code class='language-py'>def f():\n    return '&lt;'\n</code></pre>", "```py\ndef f():\n    return '<'\n```"),
        ("<table><tr><th>a</th><th>b</th></tr><tr><td>1|2</td><td><p>x</p></td></tr></table>",
         "| a | b |\n| --- | --- |\n| 1\\|2 | x |"),
        ("<div>a<div>b</div>c <span>d</span></div>", "a\n\nb\n\nc d"),
        ("plain words", "plain words"),
    ],
)  # fmt: skip
def test_html_keeps_what_is_visible(page, expected):
    assert html_to_text(page) == expected


PAGE = """<html><head><title>x</title><style>p{{}}</style></head><body><div class="cookie-banner"><p>Cookies!</p></div>
<header><a>Site</a><nav>Menu</nav></header>{main}<div id="comments"><p>A reader says things here, at length.</p></div>
<aside>Related</aside><footer>© 2024</footer><script>var x = "<p>no</p>";</script></body></html>"""


@pytest.mark.parametrize(
    "main",
    [
        "<article><h1>On gaps</h1><p class='byline'>By Ann</p><p>The first paragraph of it.</p><div class='share'>Share</div>"
        "<p>The second.</p><form>Type your email <input></form></article>",
        "<main><h1>On gaps</h1><p>The first paragraph of it.</p><p hidden>not seen</p><p>The second.</p></main>",
        "<div class='page share'><div><h1>On gaps</h1><p>The first paragraph of it.</p><p>The second.</p></div></div>",
        "<form id='whole'><div><h1>On gaps</h1><p>The first paragraph of it.</p><p>The second.</p></div></form>",
    ],
)
def test_html_main_text_is_found(main):
    text = html_to_text(PAGE.format(main=main), "On gaps").removeprefix("# On gaps\n\n")
    assert text == "The first paragraph of it.\n\nThe second."


@pytest.mark.parametrize("page", ["", "<!-- only a comment -->", "<" * 1000, "<div>" * 3000 + "deep"])
def test_html_that_cannot_be_read_is_skipped(page):
    assert isinstance(clean(item(page, "html")), Skipped)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["<p>", "</p>", "<b>", "</i>", "<li>", "text ", "&amp;", "<td>", "<pre>", "é”", "<!--", "]]>", "<br/>"]
        )
    )
)
def test_html_soup_never_fails_otherwise(parts):
    assert clean(item("".join(parts), "html"))


# --- The bundled corpus and the real dump -----------------------------------------------------------------------


def documents_of(path: Path) -> tuple[list[tuple[SourceItem, Document]], list[Skipped]]:
    pairs, skipped = [], []
    for found in read_sources([path], "t", 20_000_000):
        document = found if isinstance(found, Skipped) else clean(found)
        if isinstance(document, Skipped):
            skipped.append(document)
        else:
            assert isinstance(found, SourceItem)
            pairs.append((found, document))
    return pairs, skipped


@pytest.fixture(scope="module")
def articles():
    return documents_of(SHARED / "articles.json")


def comparable(text: str) -> str:
    plain = re.sub(r"[*_`\\>]", "", unicodedata.normalize("NFKC", text))
    return re.sub(r"\s+", " ", plain).strip()


def missing_spans(questions: Path, pairs: list[tuple[SourceItem, Document]]) -> list[tuple[str, str]]:
    texts = {document.uri: comparable(document.text) for _, document in pairs}
    return [
        (question["id"], span)
        for question in map(json.loads, questions.read_text().splitlines())
        for span in question["gold_spans"]
        if not any(comparable(span) in texts[canonical_url(link)] for link in question["gold_links"])
    ]


@pytest.mark.skipif(not (EXAMPLES / "questions.jsonl").exists(), reason="the sample corpus is not there")
def test_sample_corpus_keeps_every_answer():
    pairs, skipped = documents_of(EXAMPLES / "corpus")
    assert skipped == []
    assert missing_spans(EXAMPLES / "questions.jsonl", pairs) == []
    chrome = re.compile(r"cookies|Subscribe|Type your email|Related posts|min read|Copy link|\blikes\b", re.IGNORECASE)
    assert [d.title for i, d in pairs if i.format == "html" and chrome.search(d.text)] == []
    assert all(d.published_at and d.author for _, d in pairs)


@needs_real_data
def test_every_real_article_becomes_a_document(articles):
    pairs, skipped = articles
    assert (len(pairs), skipped) == (76, [])
    assert len({document.document_id for _, document in pairs}) == 76
    assert all(document.published_at and document.title and document.author for _, document in pairs)
    assert not any(re.search(r" - by |^Maxime Labonne -|- Maxime Labonne$", document.title) for _, document in pairs)


@needs_real_data
@pytest.mark.parametrize("name", ["golden_dev.jsonl", "golden_dev2.jsonl"])
def test_every_gold_span_is_still_there(articles, name):
    assert missing_spans(SHARED / name, articles[0]) == []


CHROME_LINES = (
    """
SubscribeSign in|Share this post|Copy link|Facebook|Note|Other|Share|Restacks|Latest|Discussions|No posts|Ready for more?
Subscribe|Privacy ∙ Terms ∙ Collection notice|Start WritingGet the app|Substack is the home for great culture|PreviousNext
© 2024 Paul Iusztin|© 2024 Maxime Labonne|decodingml.substack.com|maximelabonne.substack.com|#### Discussion about this post
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
CHROME_PHRASES = [
    "Open in app", "ListenShare", "min read·", "Sign up to discover human stories", "To make Medium work", "unblock scripts",
    "Recommended from Medium", "Written by Paul Iusztin", "See more recommendations", "commentReplyShare", "Expand full",
    "reader-supported publication", "paid subscriber", "become a Medium member", "Join Medium with my referral",
    "Copyright 2023, Maxime", "Newsletter for battle-tested content", "substack.com",
]  # fmt: skip


@needs_real_data
def test_site_chrome_is_gone_and_bold_letters_are_findable(articles):
    pairs, _ = articles
    lines = Counter(line for _, document in pairs for line in {raw.strip() for raw in document.text.split("\n")})
    assert {line: lines[line] for line in CHROME_LINES if lines[line]} == {}
    assert [(p, d.title) for _, d in pairs for p in CHROME_PHRASES if p in search_view(d.text).text] == []
    assert any("Model Registry" in search_view(d.text).text and "Model Registry" not in d.text for _, d in pairs)


@needs_real_data
def test_little_but_chrome_is_removed(articles):
    before, after = defaultdict(int), defaultdict(int)
    for source, document in articles[0]:
        before[source.platform] += len(source.content)
        after[source.platform] += len(document.text)
        assert len(document.text) > 0.55 * len(source.content), document.title
    removed = {platform: round(1 - after[platform] / before[platform], 3) for platform in before}
    print("share of characters removed:", removed)
    assert all(0.05 < share < 0.15 for share in removed.values()), removed
