"""Sources: what is read from files, and one clear line for everything that is not."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knowledge.sources import Skipped, read_sources
from knowledge.sources.decode import decode
from knowledge.sources.fields import canonical_url, date_in_name, date_in_text, parse_date, tidy_title
from knowledge.sources.skipped import UnreadableError
from twin.errors import InputError
from twin.records import SourceItem

MEGABYTE = 1_000_000


def read(*paths: Path, max_bytes: int = MEGABYTE) -> tuple[list[SourceItem], list[Skipped]]:
    found = list(read_sources(paths, "t", max_bytes))
    return [i for i in found if isinstance(i, SourceItem)], [s for s in found if isinstance(s, Skipped)]


def reason(path: Path, **kwargs: int) -> str:
    items, (skipped,) = read(path, **kwargs)
    assert items == []
    assert skipped.origin.startswith(str(path))
    assert "\n" not in skipped.reason
    return skipped.reason


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# --- Markdown and text ------------------------------------------------------------------------------------------


def test_markdown_with_front_matter(tmp_path):
    path = write(
        tmp_path / "a.md",
        "---\r\ntitle: 'On gaps: a view'\r\nauthor: [Ann, Bo]\r\ndate: 2021-02-14\r\ntags: [x, 'y z']\r\n"
        "url: https://A.example/p/?utm_source=n&b=2&a=1#top\r\nlang: en\r\nlayout: post\r\n---\r\n"
        "\r\n# On gaps\r\n\r\nText.\r\n",
    )
    (item,), skipped = read(path)
    assert skipped == []
    assert item.title == "On gaps: a view"
    assert item.author == "Ann, Bo"
    assert item.published_at == datetime(2021, 2, 14, tzinfo=UTC)
    assert item.tags == ("x", "y z")
    assert item.uri == "https://a.example/p?a=1&b=2"
    assert item.url == "https://A.example/p/?utm_source=n&b=2&a=1#top"
    assert (item.language, item.platform, item.format) == ("en", "a.example", "markdown")
    assert item.content == "\n# On gaps\n\nText.\n"


def test_markdown_without_front_matter(tmp_path):
    path = write(tmp_path / "2024-07-15-a_post.md", "Intro.\n\n```\n# no title\n```\n\n# The *title*\n\nText.")
    (item,), _ = read(path)
    assert (item.title, item.platform, item.author, item.url) == ("The title", "file", "", "")
    assert item.published_at == datetime(2024, 7, 15, tzinfo=UTC)
    assert item.uri == path.resolve().as_posix()
    (plain,), _ = read(write(tmp_path / "my_notes.txt", "# not a heading\nJust text."))
    assert (plain.title, plain.format, plain.published_at) == ("my notes", "text", None)


def test_a_rule_at_the_top_is_no_front_matter(tmp_path):
    (item,), _ = read(write(tmp_path / "a.md", "---\n\nSome text. With: a colon\n\n---\n\nMore."))
    assert item.content.startswith("---\n\nSome text")


@pytest.mark.parametrize(
    ("front", "expected"),
    [
        ("---\ntitle: a: b\n---\ntext", "front matter is not valid YAML (line 2"),
        ("---\ntitle: ok\ntags: [a, b\n---\ntext", "front matter is not valid YAML (line "),
        ("---\ntitle: never closed\n\ntext", "front matter begins on line 1 and is never closed"),
        ("---\ntitle: all\n---\n \n", "holds front matter and no text"),
    ],
)
def test_broken_front_matter_names_the_line(tmp_path, front, expected):
    assert reason(write(tmp_path / "a.md", front)).startswith(expected)


def test_front_matter_cannot_run_code(tmp_path):
    path = write(tmp_path / "a.md", "---\ntitle: !!python/object/apply:os.system ['true']\n---\ntext")
    assert "not valid YAML" in reason(path)


# --- JSON and JSON Lines ----------------------------------------------------------------------------------------


def test_articles_as_a_crawler_left_them(tmp_path):
    record = {
        "_id": "x1",
        "content": {
            "Title": "Agents Demystified  - by Li - A Newsletter ",
            "Subtitle": None,
            "Content": "# Ann\n\nSubscribeSign in\n\nAnn\n\nJul 5, 2024\n\nText.",
            "language": "en",
        },
        "platform": "a.substack.com",
        "author_full_name": "Ann Author",
        "link": "https://a.substack.com/p/agents?r=1ttoeh&utm_medium=web",
    }
    (item,), _ = read(write(tmp_path / "a.json", json.dumps([record])))
    assert item.title == "Agents Demystified"
    assert item.author == "Ann Author"
    assert item.uri == "https://a.substack.com/p/agents"
    assert item.published_at == datetime(2024, 7, 5, tzinfo=UTC)
    assert item.origin.endswith("a.json#1")


def test_generic_records_of_many_shapes(tmp_path):
    records = [
        {"text": "Plain.", "id": 7, "author": {"name": "Ann"}, "created_at": 1700000000, "tags": "a, #b"},
        {"Body": "Body.", "url": "https://a.example/x", "date": {"$date": "2020-01-02T03:04:05Z"}},
        {"html": "<p>Page.</p>", "title": "T"},
        {"content": "<div><p>a</p><p>b</p></div>"},
        {"markdown": "a\ud83d\ude00 and a lone half \ud83d here", "keywords": ["k"]},
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(json.dumps(record) for record in records))
    items, skipped = read(path)
    assert skipped == []
    assert [item.format for item in items] == ["markdown", "markdown", "html", "html", "markdown"]
    assert items[0].uri == f"{path.resolve().as_posix()}#7"
    assert items[0].author == "Ann"
    assert items[0].tags == ("a", "b")
    assert items[0].published_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert items[1].published_at == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert items[1].platform == "a.example"
    assert items[4].content == "a😀 and a lone half \ufffd here"
    assert items[4].content.encode()


def test_a_broken_line_among_good_ones(tmp_path):
    good = json.dumps({"text": "Good."})
    path = write(
        tmp_path / "a.jsonl",
        b"\xef\xbb\xbf"
        + "\n".join([good, '{"text": "cut', "", "[1]", '{"title": "no text"}', good]).encode()
        + b'\n{"text": "\xff"}\n',
    )
    items, skipped = read(path)
    assert [item.origin for item in items] == [f"{path}:1", f"{path}:6"]
    assert [(s.origin, s.reason) for s in skipped] == [
        (f"{path}:2", "is not valid JSON (column 10: Unterminated string starting at)"),
        (f"{path}:4", "is not an object with a text"),
        (f"{path}:5", "has no text"),
        (f"{path}:7", "is not valid UTF-8 (byte 11 of the line)"),
    ]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('[{"text": "a"},\n {"text": }]', "is not valid JSON (line 2, column 11: Expecting value)"),
        ("[]", "is JSON without records"),
        ('{"a": 1}', "is JSON without records"),
        ("[" * 200_000, "is JSON nested too deeply to be read"),
        ('{"text": ' + "1" * 5000 + "}", "is not valid JSON ("),
    ],
)
def test_a_broken_json_file_says_where(tmp_path, content, expected):
    assert reason(write(tmp_path / "a.json", content)).startswith(expected)


def test_json_object_that_holds_one_list(tmp_path):
    items, _ = read(write(tmp_path / "a.json", json.dumps({"count": 1, "posts": [{"text": "a"}, {"text": "b"}]})))
    assert [item.content for item in items] == ["a", "b"]


# --- HTML -------------------------------------------------------------------------------------------------------

PAGE = """<!DOCTYPE html><html lang="en-GB"><head><meta charset="utf-8"><title>On gaps – The Letter</title>{head}</head>
<body><nav>Home</nav><article><h1>On gaps</h1>{byline}<p>The text “of” it — all.</p></article></body></html>"""


@pytest.mark.parametrize(
    ("head", "byline", "expected"),
    [
        (
            '<meta property="og:title" content="On gaps"><meta name="author" content="Ann">'
            '<link rel="canonical" href="https://a.example/p/gaps#x">'
            '<meta property="og:site_name" content="The Letter">'
            '<meta property="article:published_time" content="2021-02-21T06:00:00+01:00">',
            "",
            ("On gaps", "Ann", "https://a.example/p/gaps", datetime(2021, 2, 21, 5, tzinfo=UTC), "The Letter"),
        ),
        (
            '<script type="application/ld+json">{"@graph": [{"@type": "BlogPosting", "headline": "On gaps",'
            ' "author": [{"name": "Ann"}], "datePublished": "2021-02-21"}]}</script>'
            '<meta property="og:url" content="https://a.example/p/gaps">',
            "",
            ("On gaps", "Ann", "https://a.example/p/gaps", datetime(2021, 2, 21, tzinfo=UTC), "a.example"),
        ),
        (
            '<script type="application/ld+json">{broken</script>',
            '<p>By <a rel="author">Ann</a> on <time datetime="2021-02-21">Sunday</time></p>',
            ("On gaps", "Ann", "", datetime(2021, 2, 21, tzinfo=UTC), "file"),
        ),
        ("", "<p>Published Feb 21, 2021</p>", ("On gaps", "", "", datetime(2021, 2, 21, tzinfo=UTC), "file")),
        ("", "", ("On gaps", "", "", None, "file")),
    ],
)
def test_html_metadata_comes_from_the_page(tmp_path, head, byline, expected):
    path = write(tmp_path / "page.html", PAGE.format(head=head, byline=byline))
    (item,), _ = read(path)
    assert (item.title, item.author, item.url.split("#")[0], item.published_at, item.platform) == expected
    assert item.format == "html"
    assert item.language == "en-GB"
    assert item.uri == (expected[2] or path.resolve().as_posix())


def test_html_in_its_declared_encoding(tmp_path):
    page = '<html><head><meta charset="windows-1251"><title>Привет</title></head><body><p>Добрый день</p></body></html>'
    (item,), _ = read(write(tmp_path / "a.html", page.encode("cp1251")))
    assert item.title == "Привет"


# --- Files and folders ------------------------------------------------------------------------------------------


def test_folders_are_read_in_sorted_order_and_hidden_files_passed_over(tmp_path):
    for name in ("b.md", "a/z.txt", "a/b.markdown", ".git/x.md", ".hidden.md", "node_modules/y.md", "c.HTM"):
        write(tmp_path / name, f"Text of {name}.")
    write(tmp_path / "pic.png", b"\x89PNG")
    write(tmp_path / "Makefile", "all:")
    items, skipped = read(tmp_path)
    assert [Path(item.origin).relative_to(tmp_path).as_posix() for item in items] == [
        "a/b.markdown",
        "a/z.txt",
        "b.md",
        "c.HTM",
    ]
    assert [(Path(s.origin).name, s.reason) for s in skipped] == [
        ("Makefile", "is not a format that is read (no suffix)"),
        ("pic.png", "is not a format that is read (*.png)"),
    ]


def test_a_file_named_on_its_own_is_read_without_a_suffix_too(tmp_path):
    (item,), _ = read(write(tmp_path / "README", "Some words."))
    assert item.format == "text"


def test_a_missing_path_is_an_error_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match=r"nowhere does not exist\. Give folders or files"):
        read_sources([write(tmp_path / "a.md", "Text."), tmp_path / "nowhere"], "t", MEGABYTE)


def test_symlink_loops_and_doubles_end(tmp_path):
    write(tmp_path / "a/one.md", "One.")
    (tmp_path / "a/loop").symlink_to(tmp_path / "a")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "two.md").symlink_to(tmp_path / "a/one.md")
    (tmp_path / "dangling.md").symlink_to(tmp_path / "gone.md")
    items, skipped = read(tmp_path, tmp_path / "a")
    assert len(items) == 1
    assert [(Path(s.origin).name, s.reason) for s in skipped] == [
        ("dangling.md", "cannot be read: no such file or directory")
    ]


def test_two_items_of_one_address_are_one_document(tmp_path):
    front = "---\nurl: https://a.example/p\n---\n"
    write(tmp_path / "a.md", front + "First.")
    write(tmp_path / "b.md", front.replace("/p", "/p/?utm_source=x") + "Second.")
    (item,), (skipped,) = read(tmp_path)
    assert item.content == "First."
    assert skipped.reason == f"is the same document as {tmp_path / 'a.md'} (https://a.example/p)"


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("empty.md", b"", "is empty"),
        ("blank.txt", b" \n\n\t ", "is empty"),
        ("mark.txt", b"\xef\xbb\xbf", "is empty"),
        ("empty.jsonl", b"", "is empty"),
        ("zeros.txt", b"abc\x00\x01\x02def" * 50, "is binary, not text"),
        ("noise.md", bytes(range(1, 256)) * 20, "is binary, not text"),
        ("wide.jsonl", '{"text": "a"}'.encode("utf-16"), "is binary or UTF-16; JSON Lines must be UTF-8"),
        ("damaged.md", "naïve café déjà vu ".encode() * 9 + b"\nna\xefve", "is damaged UTF-8 (line 2, byte 0xef)"),
        ("half.txt", b"\xff\xfea", "says it is utf-16 and is not"),
    ],
)
def test_unreadable_files_say_why(tmp_path, name, content, expected):
    assert reason(write(tmp_path / name, content)).startswith(expected)


def test_a_long_file_is_refused_unread(tmp_path):
    path = tmp_path / "long.md"
    with path.open("wb") as file:
        file.truncate(50 * MEGABYTE)
    assert reason(path, max_bytes=20 * MEGABYTE) == (
        "is longer than 20 MB (50.0 MB); split it, or raise TWIN_MAX_FILE_BYTES"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    path = write(tmp_path / "a.md", "Text.")
    path.chmod(0)
    assert reason(path) == "cannot be read: permission denied"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.md")
    assert reason(tmp_path / "pipe.md") == "is not a regular file"


def test_a_file_that_vanishes_midway_is_skipped_and_the_rest_goes_on(tmp_path):
    for name in ("a.md", "b.md", "c.md"):
        write(tmp_path / name, f"Text of {name}.")
    found = read_sources([tmp_path], "t", MEGABYTE)
    first = next(found)
    (tmp_path / "b.md").unlink()
    rest = list(found)
    assert isinstance(first, SourceItem)
    assert [type(item).__name__ for item in rest] == ["Skipped", "SourceItem"]


# --- Encodings --------------------------------------------------------------------------------------------------

PROSE = "Ein schöner Tag, naïve façade — “quoted” … £5 or 5 €. Åsa köpte smör; L’été. "


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_text_is_read_in_its_encoding(encoding):
    assert decode((PROSE * 3).encode(encoding)) == PROSE * 3


def test_latin_1_and_other_alphabets():
    assert decode("Crème brûlée à la française, señor".encode("latin-1")) == "Crème brûlée à la française, señor"
    russian = "Сегодня мы измеряем уровень воды в гавани и записываем его в журнал каждые десять минут. " * 5
    assert decode(russian.encode("cp1251")) == russian


@given(st.binary(max_size=300))
def test_decoding_never_fails_otherwise(data):
    try:
        text = decode(data)
    except UnreadableError:
        return
    assert text.strip()
    assert "\x00" not in text


# --- Fields -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTPS://WWW.Example.com:443/A/b/?utm_source=x&q=1#frag", "https://www.example.com/A/b?q=1"),
        ("http://a.example", "http://a.example/"),
        ("https://a.substack.com/p/x?r=1ttoeh", "https://a.substack.com/p/x"),
        ("https://a.example/p?r=1", "https://a.example/p?r=1"),
        ("https://medium.com/a/b?source=friends", "https://medium.com/a/b"),
        ("https://a.example/ä b?c=ä", "https://a.example/%C3%A4%20b?c=%C3%A4"),
        ("ftp://a.example/x", ""),
        ("not a url", ""),
        ("https://[broken", ""),
        ("https://a.example:port/x", ""),
    ],
)
def test_canonical_url(url, canonical):
    assert canonical_url(url) == canonical
    assert canonical_url(canonical) == canonical


@given(st.text(max_size=40))
def test_canonical_url_is_idempotent_and_never_fails(text):
    once = canonical_url("https://a.example/" + text)
    assert canonical_url(once) == once
    canonical_url(text)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-07-29", "2024-07-29"),
        ("2024-07-29T23:30:00-05:00", "2024-07-30"),
        ("Jul 15, 2024", "2024-07-15"),
        ("July 5th, 2024", "2024-07-05"),
        ("Sept. 5 2024", "2024-09-05"),
        ("12 June 2024", "2024-06-12"),
        ("Mon, 12 Jun 2023 10:00:00 GMT", "2023-06-12"),
        ("1700000000", "2023-11-14"),
        (1700000000000, "2023-11-14"),
        ({"$date": {"$numberLong": "1700000000000"}}, "2023-11-14"),
        ("Feb 31, 2024", None),
        ("3/4/2024", None),
        ("May", None),
        ("yesterday", None),
        (True, None),
        (7, None),
        ("9999-01-01", None),
        (None, None),
        ([], None),
    ],
)
def test_parse_date(value, expected):
    moment = parse_date(value)
    assert (moment.date().isoformat() if moment else None) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Blog\n\nSubscribeSign in\n\nAnn\n\nJun 12, 2024\n\nText", "2024-06-12"),
        ("Author\n\nAnn\n\nPublished\n\nJuly 29, 2024\n\nText", "2024-07-29"),
        ("Ann·FollowPublished inLetters·16 min read·Mar 16, 20242.1K13ListenShareText", "2024-03-16"),
        ("*Posted on 3 May 2021*\n\nText", "2021-05-03"),
        ("May 3, 2021 · 4 min read\n\nText", "2021-05-03"),
        ("I wrote this on May 3, 2021, in the rain.", None),
        ("Text.\n\n" * 50 + "May 3, 2021", None),
    ],
)
def test_date_at_the_top_of_a_page(text, expected):
    moment = date_in_text(text)
    assert (moment.date().isoformat() if moment else None) == expected


def test_date_in_addresses():
    assert date_in_name("https://a.example/posts/2024-07-15_x.html") == datetime(2024, 7, 15, tzinfo=UTC)
    assert date_in_name("/2024/07/15/x") == datetime(2024, 7, 15, tzinfo=UTC)
    assert date_in_name("/x-12024-07-155") is None


@pytest.mark.parametrize(
    ("title", "author", "expected"),
    [
        ("Ann Smith - On gaps", "Ann Smith", "On gaps"),
        ("On gaps - Ann Smith", "Ann Smith", "On gaps"),
        ("On gaps - by Bo - A Letter ", "", "On gaps"),
        ("Stand by me - a story", "", "Stand by me - a story"),
        ("Ann Smith", "Ann Smith", "Ann Smith"),
    ],
)
def test_tidy_title(title, author, expected):
    assert tidy_title(title, author) == expected
