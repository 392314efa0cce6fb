"""Checks on the bundled sample corpus and its two question files."""

import collections
import difflib
import json
import re
import unicodedata
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CORPUS = EXAMPLES / "corpus"
MAIN_AUTHOR = "Tove Marklund"
GUEST_AUTHOR = "Rasmus Ekdahl"
FIELDS = ["id", "question", "kind", "gold_links", "gold_spans", "answer", "must_include", "history"]
KINDS = {
    "factual",
    "paraphrase",
    "multi_doc",
    "author_filter",
    "platform_filter",
    "howto",
    "followup",
    "unanswerable",
}
MINIMUM = {
    "factual": 18,
    "paraphrase": 8,
    "multi_doc": 5,
    "author_filter": 3,
    "platform_filter": 4,
    "howto": 6,
    "followup": 7,
    "unanswerable": 24,
}
FILES = {"questions.jsonl": "s-", "questions_calibration.jsonl": "c-"}


class Page(HTMLParser):
    """Meta fields and visible text of a saved newsletter page (entities resolved)."""

    def __init__(self, markup):
        super().__init__(convert_charrefs=True)
        self.meta, self.canonical, self.open = {}, None, []
        self.text, self.article = [], []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "meta":
            key = attrs.get("property") or attrs.get("name")
            if key:
                self.meta[key] = attrs.get("content", "")
        elif tag == "link":
            if attrs.get("rel") == "canonical":
                self.canonical = attrs.get("href")
        elif tag in ("script", "style", "article"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in ("script", "style", "article") and tag in self.open:
            self.open.remove(tag)

    def handle_data(self, data):
        if "script" in self.open or "style" in self.open:
            return
        self.text.append(data)
        if "article" in self.open:
            self.article.append(data)


def load_documents():
    documents = []
    for path in sorted(CORPUS.rglob("*.md")):
        raw = path.read_text(encoding="utf-8")
        _, front, body = re.split(r"^---\n", raw, maxsplit=2, flags=re.M)
        front = yaml.safe_load(front)
        documents.append(
            {
                "path": path,
                "platform": front.get("platform"),
                "title": front.get("title"),
                "author": front.get("author"),
                "date": str(front.get("published_at")),
                "url": front.get("url"),
                "raw": raw,
                "body": body,
            }
        )
    for path in sorted(CORPUS.rglob("*.html")):
        page = Page(path.read_text(encoding="utf-8"))
        documents.append(
            {
                "path": path,
                "platform": "newsletter",
                "title": page.meta.get("og:title"),
                "author": page.meta.get("author"),
                "date": page.meta.get("article:published_time", "")[:10],
                "url": page.canonical,
                "raw": "".join(page.text),
                "body": "".join(page.article),
                "page": page,
            }
        )
    for line in (CORPUS / "posts.jsonl").read_text(encoding="utf-8").splitlines():
        post = json.loads(line)
        documents.append(
            {
                "path": CORPUS / "posts.jsonl",
                "platform": post["platform"],
                "title": post["id"],
                "author": post["author"],
                "date": post["published_at"],
                "url": post["url"],
                "raw": post["text"],
                "body": post["text"],
                "post": post,
            }
        )
    return documents


def load_questions(name):
    lines = (EXAMPLES / name).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def documents():
    return load_documents()


@pytest.fixture(scope="module")
def by_url(documents):
    return {d["url"]: d for d in documents}


@pytest.fixture(scope="module", params=sorted(FILES))
def question_file(request):
    return request.param, load_questions(request.param)


# the corpus


def test_counts_per_platform(documents):
    count = collections.Counter(d["platform"] for d in documents)
    assert set(count) == {"blog", "newsletter", "repository", "short"}
    assert count["blog"] >= 24
    assert count["newsletter"] >= 9
    assert count["repository"] == 3
    assert count["short"] >= 16


def test_authors(documents):
    count = collections.Counter(d["author"] for d in documents)
    assert set(count) == {MAIN_AUTHOR, GUEST_AUTHOR}
    assert count[MAIN_AUTHOR] >= 46
    assert count[GUEST_AUTHOR] == 2


def test_every_document_has_title_author_date_url(documents):
    for d in documents:
        for field in ("title", "author", "date", "url"):
            assert isinstance(d[field], str), (d["path"], field)
            assert d[field].strip(), (d["path"], field)
            assert d[field] != "None", (d["path"], field)
        date.fromisoformat(d["date"])
        assert re.fullmatch(r"https://[a-z.]*[a-z]\.example/\S+", d["url"]), d["url"]


def test_urls_unique(documents):
    urls = collections.Counter(d["url"] for d in documents)
    assert [u for u, c in urls.items() if c > 1] == []


def test_dates_span_years(documents):
    years = {int(d["date"][:4]) for d in documents if d["author"] == MAIN_AUTHOR}
    assert max(years) - min(years) >= 5
    assert years == set(range(2017, 2026))


def test_lengths(documents):
    for d in documents:
        words = len(d["body"].split())
        if d["platform"] == "short":
            assert 5 <= words <= 120, d["url"]
        else:
            assert 300 <= words <= 700, (d["url"], words)


def test_newsletter_pages_have_chrome_outside_the_article(documents):
    titles = {d["title"] for d in documents if d["platform"] == "newsletter"}
    for d in documents:
        if "page" not in d:
            continue
        page = d["page"]
        assert page.meta.get("og:site_name") == "The Slack Water Letter"
        assert "We use cookies" in d["raw"]
        assert "We use cookies" not in d["body"]
        assert "Related posts" in d["raw"]
        assert "Related posts" not in d["body"]
        others = titles - {d["title"]}
        outside = d["raw"].replace(d["body"], "")
        assert sum(t in outside for t in others) >= 3, d["url"]


def test_short_posts_schema_and_faked_bold(documents):
    posts = [d["post"] for d in documents if "post" in d]
    for post in posts:
        assert list(post) == ["id", "platform", "author", "published_at", "url", "text"]
    assert len({p["id"] for p in posts}) == len(posts)
    assert any(re.search("[\U0001d400-\U0001d7ff]{3}", p["text"]) for p in posts)
    assert any("\n" in p["text"] for p in posts)
    assert any("#" in p["text"] for p in posts)


def test_markdown_features_present(documents):
    blog = [d["body"] for d in documents if d["platform"] == "blog"]
    assert sum("\n|---" in t for t in blog) >= 2
    assert sum("[^1]:" in t for t in blog) >= 2
    for fence in ("```python", "```rust", "```sql", "```shell", "```c"):
        assert any(fence in t for t in blog), fence
    for text in blog:
        assert "\n## " in text
        assert text.count("```") % 2 == 0


@pytest.mark.parametrize(
    "slug",
    [
        "leave-the-hole-open",
        "nine-hours-to-press-a-button",
        "a-manual-for-someone-wet",
    ],
)
def test_cross_posts_share_most_of_their_text(by_url, slug):
    def words(url):
        text = unicodedata.normalize("NFKC", by_url[url]["body"])
        return re.findall(r"\w+", text.lower())

    blog = words(f"https://tovemarklund.example/blog/{slug}")
    letter = words(f"https://slackwater.example/p/{slug}")
    assert blog != letter
    assert difflib.SequenceMatcher(None, blog, letter, autojunk=False).ratio() > 0.85


def test_third_copies_of_cross_posts(by_url):
    gap = "a gap is itself a measurement, and what it measures is that something was happening"
    assert gap in by_url["https://tovemarklund.example/blog/leave-the-hole-open"]["raw"]
    assert gap in by_url["https://git.example/tovemarklund/tidewash"]["raw"]
    wet = "The reader of my manual is wet, has one hand free"
    assert wet in by_url["https://fieldnotes.example/repost/a-manual-for-someone-wet"]["raw"]
    ski = "I skied to Kallvattnet and pressed a button. It took nine hours."
    assert ski in by_url["https://tovemarklund.example/blog/nine-hours-to-press-a-button"]["raw"]
    assert ski in by_url["https://social.example/@tove/157"]["raw"]


# the questions


def test_question_schema(question_file):
    name, questions = question_file
    for q in questions:
        assert list(q) == FIELDS, q.get("id")
        assert re.fullmatch(re.escape(FILES[name]) + r"\d{3}", q["id"])
        assert q["kind"] in KINDS, q["id"]
        assert q["question"].strip(), q["id"]
        assert q["answer"].strip(), q["id"]
        for field in ("gold_links", "gold_spans", "must_include"):
            assert isinstance(q[field], list), q["id"]
            assert all(isinstance(x, str) and x for x in q[field]), q["id"]
        for turn, role in zip(q["history"], ["user", "assistant"] * 4, strict=False):
            assert list(turn) == ["role", "content"], q["id"]
            assert turn["role"] == role, q["id"]
            assert turn["content"].strip(), q["id"]
        assert len(q["history"]) % 2 == 0, q["id"]
        if q["kind"] == "followup":
            assert q["history"], q["id"]


def test_question_counts():
    count = collections.Counter(q["kind"] for q in load_questions("questions.jsonl"))
    for kind, least in MINIMUM.items():
        assert count[kind] >= least, kind
    assert sum(count.values()) >= 76


def test_calibration_counts():
    questions = load_questions("questions_calibration.jsonl")
    count = collections.Counter(q["kind"] for q in questions)
    assert len(questions) == 90
    assert count["unanswerable"] == 45
    assert set(count) == KINDS


def test_ids_and_questions_unique():
    first, second = (load_questions(n) for n in sorted(FILES))
    ids = [q["id"] for q in first + second]
    assert len(ids) == len(set(ids))

    def key(q):
        return (re.sub(r"\W+", " ", q["question"].lower()).strip(), json.dumps(q["history"]))

    for questions in (first, second):
        assert len({key(q) for q in questions}) == len(questions)
    assert not {key(q)[0] for q in first} & {key(q)[0] for q in second}


def test_no_span_in_both_files():
    first, second = ({s for q in load_questions(n) for s in q["gold_spans"]} for n in sorted(FILES))
    clash = [(a, b) for a in first for b in second if a in b or b in a]
    assert clash == []


def test_links_exist_and_spans_are_verbatim(question_file, by_url):
    for q in question_file[1]:
        if q["kind"] == "unanswerable":
            continue
        for field in ("gold_links", "gold_spans", "must_include"):
            assert q[field], (q["id"], field)
        assert len(set(q["gold_links"])) == len(q["gold_links"]), q["id"]
        for link in q["gold_links"]:
            assert link in by_url, (q["id"], link)
            raw = by_url[link]["raw"]
            assert any(s in raw for s in q["gold_spans"]), (q["id"], "no span in", link)
        for span in q["gold_spans"]:
            assert any(span in by_url[link]["raw"] for link in q["gold_links"]), (q["id"], span)


def test_html_spans_lie_in_the_article(question_file, by_url):
    for q in question_file[1]:
        for link in q["gold_links"]:
            document = by_url[link]
            if "page" in document:
                assert any(s in document["body"] for s in q["gold_spans"]), (q["id"], link)


def test_multi_doc_needs_every_link(question_file, by_url):
    for q in question_file[1]:
        if q["kind"] != "multi_doc":
            continue
        assert len(q["gold_links"]) >= 2, q["id"]
        for span in q["gold_spans"]:
            homes = [u for u, d in by_url.items() if span in d["raw"]]
            assert len(homes) == 1, (q["id"], span, homes)


def test_filters_point_where_they_say(question_file, by_url):
    for q in question_file[1]:
        found = [by_url[u] for u in q["gold_links"]]
        if q["kind"] == "platform_filter":
            assert len({d["platform"] for d in found}) == 1, q["id"]
            assert found[0]["platform"] != "blog", q["id"]
        if q["kind"] == "author_filter":
            assert len({d["author"] for d in found}) == 1, q["id"]
            names = found[0]["author"].lower().split()
            assert any(name in q["question"].lower() for name in names), q["id"]


def test_every_copy_of_a_span_is_listed(question_file, by_url):
    """A passage that was published twice must count as a hit in either place."""
    for q in question_file[1]:
        if q["kind"] in ("multi_doc", "platform_filter"):
            continue
        for span in q["gold_spans"]:
            homes = {u for u, d in by_url.items() if span in d["raw"]}
            assert homes <= set(q["gold_links"]), (q["id"], homes - set(q["gold_links"]))


def test_unanswerable_have_no_evidence(question_file):
    for q in question_file[1]:
        if q["kind"] == "unanswerable":
            assert q["gold_links"] == q["gold_spans"] == q["must_include"] == [], q["id"]
            assert q["answer"].startswith("Not in the corpus"), q["id"]


def test_reference_answers_meet_their_own_keys(question_file):
    for q in question_file[1]:
        answer = unicodedata.normalize("NFKC", q["answer"]).lower()
        for key in q["must_include"]:
            # NFKC turns the ohm and micro signs into Greek letters; the keys must survive it
            assert key == unicodedata.normalize("NFKC", key).lower(), (q["id"], key)
            assert any(a and a in answer for a in key.split("|")), (q["id"], key)
