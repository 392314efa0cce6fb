"""The chat page in headless Chromium, against the real server with a scripted assistant.

Every test also checks that no request left the origin and that the browser reported no error, which
includes violations of the Content-Security-Policy.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.settings import Settings

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is missing: pip install 'llm-twin[browser]'")

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect  # noqa: E402

from tests.page_scripts import (  # noqa: E402
    ASTRAL_QUOTE,
    CHANGED,
    CHANGED_STEPS,
    DOCUMENTS,
    EXAMPLES,
    LOST,
    SCRIPTS,
    WRAPPED_QUOTE,
    XSS,
    XSS_QUOTE,
)
from tests.page_server import PageServer, Stage  # noqa: E402

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 360, "height": 740}
SAID = "".join(step.glue + step.text for step in CHANGED_STEPS)
LONGEST_QUESTION = 500


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is missing: apt-get install -y chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    configured = Settings(data_dir=tmp_path, max_question_chars=LONGEST_QUESTION, _env_file=None)
    for script in SCRIPTS.values():
        script.met.clear()
    server = PageServer(Stage(DOCUMENTS, SCRIPTS), configured)
    yield server
    server.stop()


@dataclass
class Watch:
    """What the browser asked for and complained about; `expected` are complaints that the test provokes."""

    requests: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    expected: str = r"^$"

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def viewport() -> dict[str, int]:
    return WIDE


@pytest.fixture
def page(browser: Browser, server: PageServer, watch: Watch, viewport: dict[str, int]) -> Iterator[Page]:
    context = browser.new_context(viewport=viewport, has_touch=viewport is PHONE, reduced_motion="reduce")  # type: ignore[arg-type]
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.on("request", lambda request: watch.requests.append(request))
    page.on("pageerror", lambda error: watch.complaints.append(str(error)))
    page.on("console", watch.hear)
    page.goto(server.url)
    yield page
    context.close()
    assert [request.url for request in watch.requests if not request.url.startswith(f"{server.url}/")] == []
    assert [complaint for complaint in watch.complaints if not re.search(watch.expected, complaint)] == []


def ask(page: Page, question: str) -> Locator:
    """Type the question and send it; the exchange that it opens."""
    exchanges = page.locator(".exchange")
    count = exchanges.count()
    page.fill("#question", question)
    page.press("#question", "Enter")
    expect(exchanges).to_have_count(count + 1)
    return exchanges.nth(count)


def answered(exchange: Locator) -> Locator:
    """The exchange's answer, finished."""
    answer = exchange.locator(".answer")
    expect(answer).not_to_have_attribute("aria-busy", "true")
    return answer


def words(exchange: Locator) -> str:
    """All sentences shown, markers left out, white space collapsed."""
    script = """node => [...node.querySelectorAll(".sentence")].map(sentence => {
        const copy = sentence.cloneNode(true);
        copy.querySelector(".cites").remove();
        return copy.textContent;
    }).join(" ")"""
    return squeezed(exchange.evaluate(script))


def squeezed(text: str) -> str:
    return " ".join(text.split())


def without_marks(text: str) -> str:
    """Letters and digits alone: what Markdown and line breaks cannot change."""
    return re.sub(r"\W", "", text)


def scrolls_sideways(page: Page) -> bool:
    """Whether anything sticks out of the page to the right, clipped or not."""
    return bool(
        page.evaluate(
            """() => [...document.querySelectorAll("body, body *")].some(node => {
                const box = node.getBoundingClientRect();
                const scrolled = node.closest("pre");
                return !scrolled && !node.closest(".hidden, .skip, svg") && box.width && box.right > innerWidth + 0.5;
            }) || [...document.querySelectorAll("html, #scroll, #panel-body, .threads")].some(
                node => node.scrollWidth > node.clientWidth
            )"""
        )
    )


def test_sentences_appear_as_they_come_with_their_markers_and_sources(page: Page, server: PageServer) -> None:
    expect(page.locator(".example")).to_have_count(3)
    exchange = ask(page, "gated")
    sentences = exchange.locator(".sentence")
    expect(sentences).to_have_count(1)
    expect(exchange.locator(".status")).to_contain_text("Searching 12 documents")
    expect(page.locator("#send")).to_be_hidden()
    server.open("one")
    expect(sentences).to_have_count(3)
    expect(exchange.locator(".cite")).to_have_text(["[1]", "[2]"])
    expect(exchange.locator(".sources")).to_have_count(0)
    server.open("two")
    answer = answered(exchange)
    expect(sentences).to_have_count(len(CHANGED_STEPS))
    expect(answer.locator(".cite")).to_have_text([f"[{number}]" for number in range(1, 6)])
    expect(answer.locator(".source-marks")).to_have_text(["[1] [2]", "[3] [4] [5]"])
    expect(answer.locator(".source").nth(1)).to_contain_text("I was wrong about SQLite")
    expect(answer.locator(".source").nth(1)).to_contain_text("19 January 2020 · blog")
    assert answer.locator("blockquote.quote").count() == 2
    expect(page.locator("#empty")).to_be_hidden()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A twin that has read four posts of the sample corpus."""
    from knowledge.sync import ingest
    from twin.models.embed import open_embedder

    configured = Settings(data_dir=tmp_path_factory.mktemp("data"), _env_file=None)
    posts = ["2017-03-12-a-server", "2019-08-25-the-gauge", "2020-01-19-i-was", "2020-05-10-eleven"]
    paths = [path for path in sorted(EXAMPLES.glob("*.md")) if path.name.startswith(tuple(posts))]
    assert ingest(paths, configured, open_embedder(configured)).new == len(posts)
    return configured


def test_the_real_assistant_answers_with_citations_that_open(browser: Browser, watch: Watch, corpus: Settings) -> None:
    server = PageServer(None, corpus)
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    page = context.new_page()
    page.on("console", watch.hear)
    page.goto(server.url)
    expect(page.locator("#empty-title")).to_have_text("Ask what Tove Marklund wrote")
    expect(page.locator("#corpus")).to_contain_text("4 documents")
    question = "Why did the tide gauge at the ferry berth show the sea rising seven times a day?"
    before = words(answered(ask(page, question)))
    assert "ferry" in before.casefold() or "alkan" in before.casefold()
    page.reload()
    answer = answered(page.locator(".exchange"))
    assert words(answer) == before
    markers = answer.locator(".cite")
    assert markers.count() > 0
    for number in range(markers.count()):
        markers.nth(number).click()
        expect(page.locator("#panel-kicker")).to_have_text(f"Source {markers.nth(number).inner_text()}")
        mark = page.locator("#quote")
        expect(mark).to_be_in_viewport()
        shown = markers.nth(number).locator("xpath=ancestor::*[@class='sentence']").inner_text()
        assert without_marks(mark.inner_text())[:40] in without_marks(shown)
    page.get_by_role("button", name="New conversation").first.click()
    expect(page.locator(".exchange")).to_have_count(0)
    expect(answered(ask(page, "What is the capital of Mongolia?"))).to_have_class(re.compile("abstained"))
    context.close()
    server.stop()
    assert watch.complaints == []


def test_an_example_can_be_asked_with_one_click(page: Page) -> None:
    example = page.locator(".example").first
    question = example.inner_text()
    example.click()
    expect(page.locator(".question")).to_contain_text(question)
    answered(page.locator(".exchange"))


@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_citation_opens_its_document_at_exactly_the_quoted_span(page: Page) -> None:
    marker = answered(ask(page, "astral")).locator(".cite")
    marker.click()
    mark = page.locator("#quote")
    expect(mark).to_be_in_viewport()
    assert mark.evaluate("node => node.textContent") == ASTRAL_QUOTE
    document = next(document for document in DOCUMENTS if document.document_id == "astral")
    assert page.locator(".document").evaluate("node => node.textContent") == document.text
    expect(page.locator("#panel-title")).to_have_text(document.title)
    expect(page.locator("#panel-title")).to_be_focused()
    expect(page.locator("#panel-meta")).to_have_text("Tove Marklund · 20 June 2021 · newsletter")
    link = page.locator("#panel-link a")
    assert (link.get_attribute("href"), link.get_attribute("rel")) == (document.url, "noopener noreferrer")
    page.keyboard.press("Escape")
    expect(page.locator("#panel")).to_be_hidden()
    expect(marker).to_be_focused()


def test_lines_that_a_converter_wrapped_are_one_line_again_but_the_quote_is_exact(page: Page) -> None:
    answer = answered(ask(page, "wrapped"))
    assert words(answer) == squeezed(WRAPPED_QUOTE)
    assert "\n" not in answer.locator(".sentence").evaluate("node => node.textContent")
    answer.locator(".source").click()
    assert page.locator("#quote").evaluate("node => node.textContent") == WRAPPED_QUOTE


def test_a_document_that_is_gone_leaves_its_quote_readable(page: Page, watch: Watch) -> None:
    watch.expected = "404"
    answered(ask(page, "lost")).locator(".cite").click()
    panel = page.locator("#panel-body")
    expect(panel.locator(".notice")).to_contain_text("not in the warehouse")
    expect(panel).to_contain_text(LOST.text)
    expect(panel.get_by_role("button", name="Try again")).to_have_count(0)


@pytest.mark.parametrize(("question", "shown"), [("slow", 3), ("silent", 0)])
def test_stop_reaches_the_server_and_keeps_what_was_shown(
    page: Page, server: PageServer, question: str, shown: int
) -> None:
    exchange = ask(page, question)
    expect(exchange.locator(".sentence")).to_have_count(shown)
    expect(exchange.locator(".status")).to_contain_text("Searching 12 documents")
    page.click("#stop")
    expect(exchange.locator(".note")).to_contain_text("Stopped")
    expect(exchange.locator(".sentence")).to_have_count(shown)
    expect(exchange.locator(".cite")).to_have_count(max(shown - 1, 0))
    assert [path.split("/")[-1] for method, path in server.line.requests if method == "POST"] == ["chat", "cancel"]
    expect(page.locator("#question")).to_be_focused()
    assert words(answered(ask(page, CHANGED))) == squeezed(SAID)


def test_nothing_is_sent_while_an_answer_is_running(page: Page, server: PageServer) -> None:
    ask(page, "gated")
    page.fill("#question", "another")
    page.press("#question", "Enter")
    expect(page.locator("#question")).to_have_value("another")
    server.open("one")
    server.open("two")
    expect(page.locator("#send")).to_be_enabled()
    assert [path for method, path in server.line.requests if method == "POST"] == ["/v1/chat"]


def test_conversations_are_listed_and_can_be_left_and_found_again(page: Page, server: PageServer) -> None:
    answered(ask(page, CHANGED))
    answered(ask(page, "unknown"))
    first = page.url
    page.get_by_role("button", name="New conversation").first.click()
    expect(page.locator(".exchange")).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()
    expect(page.locator("#question")).to_be_focused()
    answered(ask(page, "astral"))
    assert page.url != first
    links = page.locator("#threads a")
    expect(links).to_have_count(2)
    expect(links.nth(0)).to_have_attribute("aria-current", "page")
    links.nth(1).click()
    expect(page.locator(".question")).to_contain_text([CHANGED, "unknown"])
    assert page.url == first
    page.go_back()
    expect(page.locator(".question")).to_contain_text(["astral"])


def test_a_conversation_outlives_a_reload_and_a_restart_of_the_server(page: Page, server: PageServer) -> None:
    before = words(answered(ask(page, CHANGED)))
    answered(ask(page, "astral"))
    server.stop()
    server.start()
    page.reload()
    expect(page.locator(".exchange")).to_have_count(2)
    assert words(page.locator(".exchange").nth(0)) == before == squeezed(SAID)
    page.locator(".exchange").nth(1).locator(".cite").click()
    assert page.locator("#quote").evaluate("node => node.textContent") == ASTRAL_QUOTE
    answered(ask(page, "unknown"))
    expect(page.locator("#threads a")).to_have_count(1)


def test_a_reload_in_the_middle_of_an_answer_follows_it_to_its_end(page: Page, server: PageServer) -> None:
    expect(ask(page, "gated").locator(".sentence")).to_have_count(1)
    page.reload()
    exchange = page.locator(".exchange")
    expect(exchange.locator(".question")).to_contain_text("gated")
    expect(exchange.locator(".sentence")).to_have_count(1)
    expect(page.locator("#stop")).to_be_visible()
    server.open("one")
    server.open("two")
    answered(exchange)
    expect(exchange.locator(".cite")).to_have_count(5)
    assert page.locator(".exchange").count() == 1


@pytest.mark.parametrize("cuts", [[0], [1], [4], [7, 0, 3], [15]], ids=str)
def test_a_dropped_connection_loses_and_repeats_nothing(
    page: Page, server: PageServer, watch: Watch, cuts: list[int]
) -> None:
    watch.expected = "ERR_INCOMPLETE_CHUNKED_ENCODING"
    server.line.cuts = list(cuts)
    exchange = ask(page, CHANGED)
    answered(exchange)
    assert words(exchange) == squeezed(SAID)
    expect(exchange.locator(".cite")).to_have_count(5)
    expect(exchange.locator(".notice")).to_have_count(0)
    streams = [path.split("/")[-1] for _, path in server.line.requests if re.search("/(chat|events)$", path)]
    assert streams == ["chat", *["events"] * len(cuts)]


def test_events_that_come_twice_are_shown_once(page: Page, server: PageServer, watch: Watch) -> None:
    watch.expected = "ERR_INCOMPLETE_CHUNKED_ENCODING"
    server.line.cuts = [9]
    server.line.forgetful = True
    exchange = ask(page, CHANGED)
    answered(exchange)
    assert words(exchange) == squeezed(SAID)
    expect(exchange.locator(".cite")).to_have_count(5)


def test_an_error_in_the_middle_can_be_tried_again(page: Page) -> None:
    exchange = ask(page, "flaky")
    notice = exchange.locator(".notice")
    expect(notice).to_contain_text("The model smollm2 does not answer. Ask again")
    expect(exchange.locator(".sentence")).to_have_count(2)
    notice.get_by_role("button", name="Try again").click()
    expect(page.locator(".notice")).to_have_count(0)
    answered(exchange)
    assert words(exchange) == squeezed(SAID)
    page.reload()
    expect(page.locator(".exchange")).to_have_count(1)


def test_an_error_that_needs_a_change_gives_the_question_back(page: Page, watch: Watch) -> None:
    exchange = ask(page, "misconfigured")
    expect(exchange.locator(".notice")).to_contain_text("Set TWIN_ENDPOINTS")
    expect(exchange.get_by_role("button", name="Try again")).to_have_count(0)
    expect(page.locator("#question")).to_have_value("misconfigured")
    watch.expected = "413"
    long = "why? " * LONGEST_QUESTION
    expect(ask(page, long).locator(".notice")).to_contain_text("the limit is 500")
    expect(page.locator("#question")).to_have_value(long.strip())
    expect(page.locator("#question")).to_be_in_viewport()


def test_a_server_that_is_down_is_said_and_the_question_can_be_asked_when_it_is_back(
    page: Page, server: PageServer, watch: Watch
) -> None:
    watch.expected = "ERR_CONNECTION_REFUSED"
    server.stop()
    exchange = ask(page, CHANGED)
    expect(exchange.locator(".notice")).to_contain_text("The server cannot be reached")
    server.start()
    exchange.get_by_role("button", name="Try again").click()
    expect(page.locator(".notice")).to_have_count(0)
    answered(exchange)
    assert words(exchange) == squeezed(SAID)


def test_a_conversation_that_is_not_there_is_said(page: Page, server: PageServer, watch: Watch) -> None:
    watch.expected = "404"
    page.goto(f"{server.url}/#c=t-0123456789")
    expect(page.locator(".notice")).to_contain_text("This conversation is not here")
    page.get_by_role("button", name="Start a new one").click()
    expect(page.locator("#empty")).to_be_visible()


def test_an_abstention_offers_what_was_written_about(page: Page) -> None:
    answer = answered(ask(page, "unknown"))
    expect(answer).to_have_class(re.compile("abstained"))
    expect(answer.locator(".sources")).to_have_count(0)
    expect(answer.locator(".chip")).to_have_text(["tide gauges", "firmware in C", "the winter checklist"])
    answer.locator(".chip").first.click()
    exchange = page.locator(".exchange").nth(1)
    answered(exchange)
    assert words(exchange) == "The file won."


def test_text_from_documents_and_questions_is_never_markup(page: Page) -> None:
    answer = answered(ask(page, "evil"))
    assert XSS_QUOTE.replace("[a link](javascript:window.broken=1)", "a link") in words(answer)
    ask(page, XSS)
    answer.locator(".cite").click()
    assert page.locator("#quote").evaluate("node => node.textContent") == XSS_QUOTE
    expect(page.locator("#panel-title")).to_have_text(f"Title {XSS}")
    page.reload()
    expect(page.locator(".exchange")).to_have_count(2)
    assert page.evaluate("window.broken") is None
    assert page.locator("img, script:not([src])").count() == 0
    assert page.locator("a[href^='javascript'], a[href^='data']").count() == 0


def test_markdown_in_quotes_is_shown_and_only_web_links_are_followed(page: Page) -> None:
    answer = answered(ask(page, "marked"))
    for tag, text in {"strong": "bold", "em": "italic", "code >> nth=0": "PRAGMA journal_mode", "a": "a link"}.items():
        expect(answer.locator(f".sentence {tag}")).to_have_text(text)
    assert answer.locator("a").get_attribute("href") == "https://example.org/x_(y)"
    expect(answer.locator("pre")).to_have_text("SELECT *\nFROM obs;")
    expect(answer.locator(".said.prose")).to_contain_text("The harbour moved into a file.")


def overflowing(page: Page, state: str) -> list[str]:
    return [state] if scrolls_sideways(page) else []


@pytest.mark.parametrize("viewport", [PHONE], ids=["phone"])
def test_on_a_phone_everything_fits_and_can_be_reached(page: Page) -> None:
    expect(page.locator(".example").last).to_be_in_viewport()
    wide = overflowing(page, "empty")
    answered(ask(page, "marked"))
    answered(ask(page, "x" * 200))
    wide += overflowing(page, "long word")
    answer = answered(ask(page, CHANGED))
    expect(answer.locator(".actions")).to_be_in_viewport()
    wide += overflowing(page, "answer")
    answer.locator(".cite").last.tap()
    expect(page.locator("#quote")).to_be_in_viewport()
    assert page.locator("#panel").bounding_box() == {"x": 0, "y": 0, **PHONE}
    wide += overflowing(page, "panel")
    page.locator("#panel-close").tap()
    expect(page.locator("#panel")).to_be_hidden()
    page.locator("#drawer-open").tap()
    expect(page.locator("#threads a")).to_have_count(1)
    wide += overflowing(page, "drawer")
    page.locator("#drawer [data-new]").tap()
    expect(page.locator("#drawer")).to_be_hidden()
    expect(page.locator("#empty")).to_be_visible()
    ask(page, "slow")
    page.locator("#stop").tap()
    expect(page.locator(".note")).to_be_in_viewport()
    assert wide == []


def test_the_panel_changes_with_the_window(page: Page) -> None:
    answered(ask(page, CHANGED)).locator(".cite").first.click()
    expect(page.locator("#quote")).to_be_in_viewport()
    expect(page.locator("#panel:not(:modal)")).to_be_visible()
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    expect(page.locator("#panel:modal")).to_be_visible()
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    expect(page.locator("#panel:not(:modal)")).to_be_visible()
    page.fill("#question", "the rest of the page is not blocked")


def test_the_page_works_from_the_keyboard(page: Page) -> None:
    expect(page.locator("#question")).to_be_focused()
    page.keyboard.type("mar")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("ked")
    expect(page.locator("#question")).to_have_value("mar\nked")
    page.locator("#question").evaluate(
        "node => node.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true, bubbles: true}))"
    )
    expect(page.locator(".exchange")).to_have_count(0)
    page.fill("#question", CHANGED)
    page.keyboard.press("Enter")
    answer = answered(page.locator(".exchange"))
    for _ in range(answer.locator("button").count()):
        page.keyboard.press("Shift+Tab")
    expect(answer.locator(".cite").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#quote")).to_be_in_viewport()
    page.keyboard.press("Tab")
    expect(page.locator("#panel-link a")).to_be_focused()
    page.keyboard.press("Escape")
    expect(answer.locator(".cite").first).to_be_focused()
    assert page.locator("#log").get_attribute("aria-live") == "polite"


def test_offsets_count_code_points(page: Page) -> None:
    text = st.text(st.sampled_from("a \né\u0301🙂𝗠\u200d👩"), max_size=40)

    @settings(max_examples=60, deadline=None)
    @given(text, st.integers(0, 40), st.integers(0, 40))
    def check(text: str, one: int, other: int) -> None:
        start, end = sorted((min(one, len(text)), min(other, len(text))))
        script = "async ([text, a, b]) => (await import('/static/text.js')).splitAt(text, a, b)"
        assert page.evaluate(script, [text, start, end]) == [text[:start], text[start:end], text[end:]]

    check()


STREAM = (
    'id: 1\nevent: run\ndata: {"a":\ndata: "é🙂"}\n\n: ping\n\nid: 2\ndata:x\n\n'
    "id: 3\nevent: done\ndata\n\ndata: cut off"
)
EVENTS = [
    {"id": "1", "type": "run", "data": '{"a":\n"é🙂"}'},
    {"id": "2", "type": "message", "data": "x"},
    {"id": "3", "type": "done", "data": ""},
]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"], ids=["lf", "crlf", "cr"])
def test_events_are_read_however_the_stream_is_cut_up(page: Page, newline: str) -> None:
    script = """async ([stream, size]) => {
        const { EventParser } = await import("/static/stream.js");
        const events = [];
        const parser = new EventParser(event => events.push(event));
        for (let from = 0; from < stream.length; from += size) parser.push(stream.slice(from, from + size));
        return events;
    }"""
    stream = STREAM.replace("\n", newline)
    results: list[Any] = [page.evaluate(script, [stream, size]) for size in (1, 2, 3, 5, 8, 1000)]
    assert results == [EVENTS] * 6
