"""The evals: scorers against known values, questions that are none, reports, and runs over a small twin."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from evals.report import (
    AnswerResult,
    RetrievalResult,
    Share,
    abstention,
    answer_rows,
    check_writable,
    measured,
    plain,
    retrieval_rows,
    share,
    write_report,
)
from evals.run import run_answers, run_retrieval
from evals.scorers import (
    area_under_curve,
    bootstrap_interval,
    claims_text,
    hit_at,
    includes_all,
    ranked_links,
    reciprocal_rank,
    wilson,
)
from evals.tasks import Question, load_questions
from serving.cli.eval import retrieval
from tests.small_twin import POSTS, small_services
from twin.errors import InputError, NotFoundError, StoreError
from twin.records import Answer, Citation, Sentence

CITATION = Citation(marker=1, document_id="d", document_version="v", chunk_id="c", start=0, end=1, quote="x")


def question(kind: str = "factual", gold: str = "a", **fields: Any) -> Question:
    return Question(**{"id": "q", "question": "what?", "kind": kind, "gold_links": tuple(gold.split()), **fields})


# Scorers.


@pytest.mark.parametrize(
    ("kind", "gold", "links", "k", "expected"),
    [
        ("factual", "a", "a b c", 1, True),
        ("factual", "b", "a b c", 1, False),
        ("factual", "b", "a b c", 2, True),
        ("factual", "b c", "a b", 2, True),
        ("factual", "d", "a b c", 5, False),
        ("factual", "a", "", 5, False),
        ("multi_doc", "a b", "a b", 2, True),
        ("multi_doc", "a b", "a x b", 2, False),
        ("multi_doc", "a b", "a x b", 3, True),
        ("multi_doc", "a b", "a x", 1, True),
        ("multi_doc", "a b", "x a", 1, False),
        ("multi_doc", "a b c", "a b x c", 5, True),
    ],
)
def test_hit_at(kind: str, gold: str, links: str, k: int, expected: bool) -> None:
    assert hit_at(question(kind, gold), links.split(), k) is expected


@pytest.mark.parametrize(
    ("gold", "links", "k", "expected"),
    [("a", "a b", 10, 1), ("b", "a b", 10, 1 / 2), ("c b", "a b c", 10, 1 / 2), ("b", "a b", 1, 0), ("x", "", 10, 0)],
)
def test_reciprocal_rank(gold: str, links: str, k: int, expected: float) -> None:
    assert reciprocal_rank(question("factual", gold), links.split(), k) == expected


def test_documents_rank_by_their_best_passage() -> None:
    assert ranked_links(["b", "a", "b", "c", "a"]) == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("keys", "text", "expected"),
    [
        (("11 µA",), "It sleeps at 11 µA.", True),  # both micro signs are one under NFKC
        (("11 \u00b5a",), "It sleeps at 11 \u03bcA.", True),
        (("tape",), "We used 𝘁𝗮𝗽𝗲 and hope.", True),
        (("𝐓𝐚𝐩𝐞",), "tape", True),
        (("nine|9",), "It took 9 hours.", True),
        (("nine|9",), "It took NINE hours.", True),
        (("nine|9",), "It took hours.", False),
        (("tape", "glue|wire"), "tape and wire", True),
        (("tape", "glue|wire"), "tape", False),
        ((), "anything", True),
        (("a",), "", False),
    ],
)
def test_includes_all(keys: tuple[str, ...], text: str, expected: bool) -> None:
    assert includes_all(keys, text) is expected


def test_frames_claim_nothing() -> None:
    sentences = (
        Sentence(text="From “Tape”:", kind="frame"),
        Sentence(text="It held.", kind="quote", glue="\n", citations=(CITATION,)),
        Sentence(text="It cost 3.", kind="generated", citations=(CITATION,)),
    )
    answer = Answer(
        run_id="r", thread_id="t", question="q", standalone_question="q", sentences=sentences,
        abstained=False, confidence=1, writer="extractive",
    )  # fmt: skip
    assert claims_text(answer) == "It held.\nIt cost 3."


scores = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.9, 1.0]), min_size=1, max_size=30)


@given(scores, scores)
def test_the_area_under_the_curve_is_scikit_learns_with_ties(positive: list[float], negative: list[float]) -> None:
    labels = [1] * len(positive) + [0] * len(negative)
    expected = roc_auc_score(labels, positive + negative)
    assert area_under_curve(positive, negative) == pytest.approx(expected)


@pytest.mark.parametrize(("positive", "negative"), [([], []), ([1.0], []), ([], [1.0])])
def test_no_area_without_both_kinds(positive: list[float], negative: list[float]) -> None:
    assert math.isnan(area_under_curve(positive, negative))


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [
        (0, 0, 0.0, 1.0),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (5, 10, 0.2366, 0.7634),
        (1, 20, 0.0089, 0.2361),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson(successes: int, total: int, low: float, high: float) -> None:
    assert wilson(successes, total) == pytest.approx((low, high), abs=1e-4)


def test_bootstrap_intervals_hold_what_they_should() -> None:
    values = [0.0] * 30 + [1.0] * 70

    def mean(indices: list[int]) -> float:
        return sum(values[index] for index in indices) / len(indices)

    low, high = bootstrap_interval(mean, len(values))
    assert (low, high) == bootstrap_interval(mean, len(values))
    assert (low, high) == pytest.approx(wilson(70, 100), abs=0.02)
    assert bootstrap_interval(lambda indices: 3.0, 5) == (3.0, 3.0)
    assert all(math.isnan(bound) for bound in bootstrap_interval(lambda indices: math.nan, 5))
    sometimes = bootstrap_interval(lambda indices: math.nan if 0 in indices else 2.0, 4)
    assert sometimes == (2.0, 2.0)


# Questions.


def line(number: int = 1, **fields: Any) -> str:
    return json.dumps({"id": f"q-{number}", "question": "what?", "kind": "factual", **fields})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"{line(1)}\n{line(2)[:-5]}", r"questions\.jsonl:2 is no JSON: "),
        (f"{line(1)}\n\n[1, 2]", r"questions\.jsonl:3 is no question: "),
        ('{"id": "q", "kind": "factual"}', r"questions\.jsonl:1 is no question: question: Field required"),
        (line(gold_links="a"), r"questions\.jsonl:1 is no question: gold_links"),
        (line(colour="red"), r"questions\.jsonl:1 is no question: colour"),
        (f"{line(1)}\n{line(2)}\n{line(1)}", r"questions\.jsonl:3: the id 'q-1' occurs twice"),
        ("\n \n", r"there are no questions in .*questions\.jsonl"),
        (b"\xff\xfe\x00", r"questions\.jsonl is not UTF-8 text"),
        (None, r"questions\.jsonl cannot be read: No such file"),
    ],
)
def test_what_is_no_question_is_named_with_its_line(tmp_path: Path, content: str | bytes | None, told: str) -> None:
    file = tmp_path / "questions.jsonl"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=told) as caught:
        load_questions([file])
    assert "\n" not in str(caught.value)


def test_questions_come_in_order_with_their_history(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    history = [{"role": "user", "content": "who?"}, {"role": "assistant", "content": "Ann 🙂."}]
    first.write_text(line(1, history=history) + "\n\n", encoding="utf-8")
    second.write_text(line(2, kind="unanswerable"), encoding="utf-8")
    one, two = load_questions([first, second])
    assert [(turn.role, turn.text) for turn in one.turns] == [("user", "who?"), ("assistant", "Ann 🙂.")]
    assert (one.answerable, two.answerable, two.turns) == (True, False, [])
    with pytest.raises(InputError, match=r"a\.jsonl:1: the id 'q-1' occurs twice"):
        load_questions([first, first])


# Reports.


def answered(kind: str, abstained: bool, confidence: float, **fields: Any) -> AnswerResult:
    known = None if kind == "unanswerable" else not abstained
    values = {
        "id": "q", "kind": kind, "answer": "", "abstained": abstained, "confidence": confidence, "quotes": 1,
        "included": known, "cited_gold": known, "citations": 2, "valid_citations": 2, "seconds": 0.1,
    }  # fmt: skip
    return AnswerResult.model_validate({**values, **fields})


RESULTS = [
    answered("factual", False, 0.9),
    answered("factual", False, 0.8, valid_citations=1),
    answered("howto", True, 0.3, citations=0, valid_citations=0),
    answered("unanswerable", True, 0.2, citations=0, valid_citations=0),
    answered("unanswerable", False, 0.4),
]


def test_the_table_of_answers() -> None:
    rows = {row["kind"]: row for row in answer_rows(RESULTS)}
    assert list(rows) == ["all", "all answerable", "factual", "howto", "unanswerable"]
    assert [row["n"] for row in rows.values()] == ["5", "3", "2", "1", "2"]
    assert rows["all"]["must-include %"] == rows["all answerable"]["must-include %"] == str(Share(count=2, total=3))
    assert rows["all"]["citations valid %"] == str(Share(count=5, total=6))
    assert rows["howto"]["citations valid %"] == rows["unanswerable"]["must-include %"] == "-"
    assert rows["unanswerable"]["abstained %"] == "50.0 [9, 91]"


def test_abstention_is_a_classifier() -> None:
    found = abstention(RESULTS)
    assert found["precision"] == found["recall"] == Share(count=1, total=2)
    assert found["answerable_refused"] == Share(count=1, total=3)
    assert found["auc"] == pytest.approx(5 / 6)
    low, high = found["auc_interval"]
    assert low <= found["auc"] <= high
    alone = abstention(RESULTS[:2])
    assert math.isnan(alone["auc"])
    assert (alone["precision"].value, alone["recall"].value) == (None, None)


def test_the_table_of_retrieval() -> None:
    def result(kind: str, first: bool, five: bool, rank: float) -> RetrievalResult:
        return RetrievalResult(
            id="q",
            kind=kind,
            searched="what?",
            links=(),
            hit_at_1=first,
            hit_at_5=five,
            reciprocal_rank=rank,
            seconds=0,
        )

    rows = retrieval_rows([result("factual", True, True, 1), result("howto", False, True, 0.25)])
    assert [row["kind"] for row in rows] == ["all answerable", "factual", "howto"]
    assert [row["MRR@10"] for row in rows] == ["0.625", "1.000", "0.250"]
    assert rows[0]["hit@1 %"] == str(Share(count=1, total=2))
    assert retrieval_rows([]) == [
        {"kind": "all answerable", "n": "0", "hit@1 %": "-", "hit@5 %": "-", "MRR@10": "-"},
    ]


def test_a_report_is_json_that_any_reader_takes(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "report.json"
    report = {
        "name": "Åby 🙂",
        "abstention": abstention(RESULTS[:2]),
        "results": RESULTS,
        "none": [math.nan, {"x": math.nan}],
    }
    for _ in range(2):
        write_report(file, report)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    read = json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)
    assert read["none"] == [None, {"x": None}]
    assert (read["name"], read["abstention"]["auc"], read["abstention"]["auc_interval"]) == (
        "Åby 🙂",
        None,
        [None, None],
    )
    assert read["abstention"]["precision"] == {"count": 0, "total": 0, "share": None, "interval": [0.0, 1.0]}
    assert [AnswerResult.model_validate(result) for result in read["results"]] == RESULTS
    assert [path.name for path in file.parent.iterdir()] == ["report.json"]
    assert plain(share([True, False]))["share"] == 0.5


@pytest.mark.parametrize("name", ["", "file/report.json"], ids=["a folder", "under a file"])
def test_a_report_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    for write in (check_writable, lambda path: write_report(path, {})):
        with pytest.raises(StoreError, match=r"cannot write the report .* Name another file with --out"):
            write(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_checking_leaves_nothing_but_the_folder(tmp_path: Path) -> None:
    check_writable(tmp_path / "new" / "report.json")
    assert list(tmp_path.rglob("*")) == [tmp_path / "new"]


def test_what_was_not_measured_is_said() -> None:
    assert measured(math.nan, "needs both kinds") == "not measured (needs both kinds)"
    assert measured(share([]), "nothing was refused") == "not measured (nothing was refused)"
    assert measured(0.5, "") == "0.500"
    assert measured(share([True]), "").startswith("100.0 [")


def test_retrieval_needs_an_answerable_question(tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"id": "q", "question": "what?", "kind": "unanswerable", "gold_links": []}) + "\n")
    with pytest.raises(InputError, match="none of the 1 questions is answerable"):
        retrieval([file])


# Runs, over a small twin.

BATTERY, GAPS, GUEST = POSTS
ASKED = [
    question(
        gold=BATTERY, id="a", question="What current does the Kestrel-3 logger draw when it sleeps?",
        must_include=("11 µA",),
    ),
    question(
        "followup", GAPS, id="b", question="And why is a straight line an invention?", must_include=("storm",),
        history=({"role": "user", "content": "Do you leave gaps in the tide record open?"},),
    ),
    question("multi_doc", f"{GUEST} {GAPS}", id="c", question="Do rating curves and the tide record deserve patience?"),
    question("unanswerable", "", id="d", question="Who bought the boat?"),
]  # fmt: skip


async def test_retrieval_is_measured_as_the_assistant_retrieves() -> None:
    services, _ = await small_services()
    told: list[int] = []
    results = await run_retrieval(services, ASKED, told.append)
    assert [result.id for result in results] == ["a", "b", "c"]
    assert told == [1, 2, 3]
    first, follow_up, several = results
    assert (first.links[0], first.hit_at_1, first.reciprocal_rank) == (BATTERY, True, 1.0)
    assert "tide record" in follow_up.searched
    assert set(several.links) == set(POSTS)
    assert several.hit_at_5
    assert all(result.seconds > 0 for result in results)


async def test_answers_are_measured_through_the_real_graph() -> None:
    services, _ = await small_services()
    told: list[int] = []
    results = await run_answers(services, ASKED, on_result=told.append)
    assert ([result.id for result in results], told) == (["a", "b", "c", "d"], [1, 2, 3, 4])
    first = results[0]
    assert (first.included, first.cited_gold, first.abstained) == (True, True, False)
    assert "11 µA 🙂" in first.answer
    for result in results:
        assert result.valid_citations == result.citations > 0
        assert result.quotes >= result.citations
    assert (results[3].included, results[3].cited_gold) == (None, None)


async def test_answers_of_a_model_are_measured_as_they_were_verified() -> None:
    services, model = await small_services(
        ["The Kestrel-3 logger sleeps at 11 µA [1].", "It costs 999 dollars in Paris."]
    )
    good, bad = await run_answers(services, [ASKED[0], ASKED[3]], writer="fake")
    assert len(model.calls) == 2
    assert (good.included, good.citations, good.valid_citations) == (True, 1, 1)
    assert "999" not in bad.answer


async def test_a_citation_that_no_longer_holds_is_counted_as_such() -> None:
    """The stored text is read anew, behind the cache that the answer was checked against."""
    services, _ = await small_services()
    await run_answers(services, ASKED[:1])
    documents = services.warehouse.blocking.documents  # type: ignore[attr-defined]
    for key, document in documents.items():
        documents[key] = document.model_copy(update={"text": document.text.replace("11", "12")})
    (result,) = await run_answers(services, ASKED[:1])
    assert result.citations > 0
    assert result.valid_citations < result.citations
    documents.clear()
    with pytest.raises(NotFoundError):
        await run_answers(services, ASKED[:1])
