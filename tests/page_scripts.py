"""What the scripted assistant of the page's tests says: documents with text that is easy to get wrong, and answers."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from tests.page_server import Gate, Once, Script, Step, frame, make_document, said
from twin.errors import ConfigError, ModelError
from twin.records import Document, Sentence

EXAMPLES = Path(__file__).parent.parent / "examples" / "corpus" / "blog"


def post(file: str, title: str, day: datetime) -> Document:
    """A post of the sample corpus, its front matter as metadata."""
    _, head, body = (EXAMPLES / file).read_text(encoding="utf-8").split("---\n", 2)
    url = next(line.split(": ", 1)[1] for line in head.splitlines() if line.startswith("url: "))
    return make_document(
        file, body.strip(), title=title, url=url, author="Tove Marklund", platform="blog", published_at=day
    )


TOY = post("2017-03-12-a-server-for-the-harbour.md", "A server for the harbour", datetime(2017, 3, 12, tzinfo=UTC))
WRONG = post("2020-01-19-i-was-wrong-about-sqlite.md", "I was wrong about SQLite", datetime(2020, 1, 19, tzinfo=UTC))

# Emoji, a family joined by ZWJ, mathematical bold, a combining accent: all before the quote.
ASTRAL_BEFORE = "🚢🌊 𝗪𝗮𝘁𝗲𝗿 👨\u200d👩\u200d👧 "
ASTRAL_QUOTE = "The pump failed 🙂 in 𝗠𝗮𝗿𝗰𝗵, and cafe\u0301 closed."
ASTRAL = make_document(
    "astral",
    f"{ASTRAL_BEFORE * 40}\n\n{'A long paragraph before it. ' * 120}\n\n{ASTRAL_QUOTE} 🙂 And {'after it. ' * 300}",
    title="Pumps 🙂 and 𝗽𝗶𝗽𝗲𝘀",
    author="Tove Marklund",
    platform="newsletter",
    url="https://tovemarklund.example/pumps",
    published_at=datetime(2021, 6, 20, tzinfo=UTC),
)

WRAPPED_QUOTE = (
    "Graphs are an essential structure for representing relationships between\n"
    "objects, and you meet them in a multitude of real situations."
)
WRAPPED = make_document(
    "wrapped", f"# Graphs\n\n{WRAPPED_QUOTE} More.\n\n    import graphs\n    graphs.draw()\n", title="Graphs"
)

XSS = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>'
XSS_QUOTE = f"Never trust {XSS} in a post, nor [a link](javascript:window.broken=1)."
EVIL = make_document(
    "evil",
    f"{XSS}\n\n{XSS_QUOTE}\n\n{XSS}",
    title=f"Title {XSS}",
    author=f"Author {XSS}",
    platform=f"blog {XSS}",
    url="javascript:window.broken=1",
)

MARKED_QUOTE = "Use **bold** claims, *italic* doubts, `PRAGMA journal_mode` and [a link](https://example.org/x_(y))."
CODE_QUOTE = "```sql\nSELECT *\nFROM obs;\n```"
MARKED = make_document("marked", f"Intro\n\n{MARKED_QUOTE}\n\n{CODE_QUOTE}\n", title="Marked up")

LOST = make_document("lost", "A document that is forgotten by now.", title="Forgotten")

CHANGED = "What did you think of SQLite?"
CHANGED_STEPS: list[Sentence] = [
    frame("I have changed my mind about this. In 2017 I wrote:"),
    said("It is a file.", TOY, 1),
    said("It is a toy for this job, and I say that as someone who likes toys.", TOY, 2),
    frame("In January 2020, after Chronolith had refused to open its own data:", glue="\n\n"),
    said("The file won.", WRONG, 3),
    said("I was not pleased; I had written the opposite in public.", WRONG, 4),
    said("A server promises to be maintained, by somebody, for ever; a file promises only to be a file.", WRONG, 5),
]


def many(count: int) -> list[Step]:
    """Sentences one by one behind gates: the n-th waits at gate `many-n`."""
    steps: list[Step] = []
    for number in range(1, count + 1):
        steps += [said("It is a file.", TOY, number), Gate(f"many-{number}")]
    return steps


GENERATED = Sentence(
    text="The harbour moved into a file.", kind="generated", citations=said("The file won.", WRONG, 3).citations
)

SCRIPTS = {
    CHANGED: Script(CHANGED_STEPS),
    "gated": Script([frame("First this:"), Gate("one"), *CHANGED_STEPS[1:3], Gate("two"), *CHANGED_STEPS[3:]]),
    "slow": Script([*CHANGED_STEPS[:3], Gate("never"), *CHANGED_STEPS[3:]]),
    "silent": Script([Gate("never"), frame("Never said.")]),
    "astral": Script([frame("About pumps:"), said(ASTRAL_QUOTE, ASTRAL, 1)]),
    "wrapped": Script([said(WRAPPED_QUOTE, WRAPPED, 1, glue="")]),
    "evil": Script([frame(f"Beware {XSS}."), said(XSS_QUOTE, EVIL, 1)], topics=(XSS,)),
    "marked": Script([said(MARKED_QUOTE, MARKED, 1, glue=""), said(CODE_QUOTE, MARKED, 2, glue="\n\n"), GENERATED]),
    "lost": Script([said(LOST.text, LOST, 1, glue="")]),
    "flaky": Script(
        [*CHANGED_STEPS[:2], Once(ModelError("the model smollm2 does not answer", "Ask again")), *CHANGED_STEPS[2:]]
    ),
    "misconfigured": Script([ConfigError("the endpoint big has no key", "Set TWIN_ENDPOINTS")]),
    "many": Script(many(3)),
    "unknown": Script(
        [frame("I have not written about the opera, so I will not guess.")],
        topics=("tide gauges", "firmware in C", "the winter checklist"),
        abstained=True,
    ),
    "What did you write in “tide gauges”?": Script([said("The file won.", WRONG, 1, glue="")]),
}
DOCUMENTS = [TOY, WRONG, ASTRAL, WRAPPED, EVIL, MARKED]
