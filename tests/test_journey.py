"""The default stack, all of it real, as a user meets it: ingest the sample corpus, ask, serve, come back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.cli.attach import read_events
from tests.processes import REAL, ROOT, WAIT, ServerProcess, twin, twin_server
from twin.errors import ModelError
from twin.models.files import resolve
from twin.records import Answer, Document
from twin.settings import Settings

CORPUS = ROOT / "examples" / "corpus"
DOCUMENTS = 59
QUESTION = "how many bytes did Chronolith need per reading?"
NEAR = "What does she charge for a day of consulting?"
FAR = "What is the capital of Mongolia?"
NOWHERE = "/nowhere/model"


def run(folder: Path, *args: str, **values: str) -> str:
    """What a command that must succeed prints."""
    result = twin(folder, *args, command=REAL, **values)
    assert (result.returncode, result.stderr.decode()) == (0, "")
    return result.stdout.decode()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a twin lives that has read the sample corpus."""
    made = tmp_path_factory.mktemp("journey")
    report = json.loads(run(made, "ingest", str(CORPUS), "--json"))
    assert (report["read"], report["new"], report["skipped"]) == (DOCUMENTS, DOCUMENTS, [])
    assert report["chunks_embedded"] > DOCUMENTS
    return made


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[ServerProcess]:
    with twin_server(folder, command=REAL) as server:
        yield server


def stored(folder: Path, document_id: str, version: str) -> Document:
    """The document as `twin documents show` has it."""
    return Document.model_validate_json(run(folder, "documents", "show", document_id, "--version", version, "--json"))


def assert_cited(answer: Answer, folder: Path) -> None:
    """Every claim is cited, and every citation quotes its document version to the letter."""
    for sentence in answer.sentences:
        assert sentence.kind == "frame" or sentence.citations
    documents = {
        key: stored(folder, *key) for key in {(one.document_id, one.document_version) for one in answer.citations}
    }
    for citation in answer.citations:
        document = documents[citation.document_id, citation.document_version]
        assert document.intact
        assert document.text[citation.start : citation.end] == citation.quote != ""
        assert (document.title, document.url) == (citation.title, citation.url)


def ask(server: ServerProcess, question: str, thread: str) -> tuple[list[tuple[str, dict[str, Any]]], Answer]:
    """The events of an answer over HTTP, checked for their order, and the answer."""
    body = {"question": question, "thread_id": thread}
    with httpx.stream("POST", f"{server.url}/v1/chat", json=body, timeout=WAIT) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        numbered = list(read_events(iter(response.read().splitlines(keepends=True))))
    assert [number for number, _ in numbered] == list(range(1, len(numbered) + 1))
    events = [(event.type, event.data) for _, event in numbered]
    order = " ".join(kind for kind, _ in events)
    assert re.fullmatch(r"run( status)+( token( citation)*)+ answer done", order), order
    answer = Answer.model_validate(events[-2][1]["answer"])
    assert "".join(data["text"] for kind, data in events if kind == "token") == events[-2][1]["text"] == answer.text
    return events, answer


def test_a_second_run_embeds_nothing(folder: Path) -> None:
    report = json.loads(run(folder, "ingest", str(CORPUS), "--json"))
    assert (report["unchanged"], report["new"], report["changed"], report["removed"]) == (DOCUMENTS, 0, 0, 0)
    assert report["chunks_embedded"] == 0


def test_an_answer_whose_citations_a_program_can_check(folder: Path) -> None:
    answer = Answer.model_validate_json(run(folder, "ask", QUESTION, "--json"))
    assert not answer.abstained
    assert answer.writer == "extractive"
    assert "1.4 bytes" in answer.text
    assert_cited(answer, folder)


def test_what_the_author_never_wrote_about_gets_no_answer(folder: Path) -> None:
    far = Answer.model_validate_json(run(folder, "ask", FAR, "--json"))
    assert far.abstained
    assert far.citations == ()
    assert far.nearest_topics == ()

    near = Answer.model_validate_json(run(folder, "ask", NEAR, "--json"))
    assert near.abstained
    assert near.nearest_topics
    assert all(topic in near.text for topic in near.nearest_topics)


def test_what_the_twin_holds(folder: Path) -> None:
    shown = json.loads(run(folder, "stats", "--json"))
    assert (shown["documents"]["documents"], shown["index"]["documents"], shown["problem"]) == (DOCUMENTS,) * 2 + ("",)
    rows = [json.loads(line) for line in run(folder, "documents", "list", "--json").splitlines()]
    assert len({row["document_id"] for row in rows}) == DOCUMENTS
    dates = [row["published_at"] for row in rows]
    assert dates == sorted(dates, reverse=True)
    assert sorted({row["platform"] for row in rows}) == sorted(shown["documents"]["platforms"])


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Four questions that the corpus answers, of different kinds, and two that it does not."""
    lines = (ROOT / "examples" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    by_kind: dict[str, list[str]] = {}
    for line in lines:
        by_kind.setdefault(json.loads(line)["kind"], []).append(line)
    chosen = [by_kind[kind][0] for kind in ("factual", "paraphrase", "multi_doc", "followup")]
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join([*chosen, *by_kind["unanswerable"][-2:]]) + "\n", encoding="utf-8")
    return file


def test_first_measurements(folder: Path, questions: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "retrieval.json"
    assert "hit@5" in run(folder, "eval", "retrieval", str(questions), "--out", str(out))
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["suite"], len(found["results"])) == ("retrieval", 4)
    assert sum(result["hit_at_5"] for result in found["results"]) >= 3

    out = tmp_path / "answers.json"
    assert "abstention: precision" in run(folder, "eval", "answers", str(questions), "--out", str(out))
    answered = json.loads(out.read_text(encoding="utf-8"))
    assert (answered["suite"], len(answered["results"])) == ("answers", 6)
    assert sum(result["citations"] for result in answered["results"]) > 0
    assert all(result["valid_citations"] == result["citations"] for result in answered["results"])
    assert answered["abstention"]["recall"]["total"] == 2


def test_an_answer_as_it_is_written(folder: Path, server: ServerProcess) -> None:
    events, answer = ask(server, QUESTION, "streamed")
    assert "1.4 bytes" in answer.text
    assert [data["writer"] for kind, data in events if kind == "run"] == ["extractive"]
    assert events[-1][1]["status"] == "answered"
    cited = [data["marker"] for kind, data in events if kind == "citation"]
    assert sorted(set(cited)) == [citation.marker for citation in answer.citations]
    for citation in answer.citations:
        path = f"/v1/documents/{citation.document_id}?version={citation.document_version}"
        document = Document.model_validate(httpx.get(server.url + path, timeout=WAIT).json())
        assert document.text[citation.start : citation.end] == citation.quote


def test_ask_attaches_to_the_server(folder: Path, server: ServerProcess) -> None:
    """With an embedding model that does not exist nothing could be answered in the command's own process."""
    alone = twin(folder, "ask", QUESTION, command=REAL, TWIN_EMBEDDER=NOWHERE)
    assert alone.returncode != 0
    assert NOWHERE in alone.stderr.decode()
    values = {"TWIN_EMBEDDER": NOWHERE, "TWIN_ATTACH": "1", "TWIN_PORT": server.port}
    shown = run(folder, "ask", QUESTION, "--thread", "attached", **values)
    assert "1.4 bytes" in shown
    assert "\nSources\n  [1]" in shown
    threads = httpx.get(f"{server.url}/v1/threads", timeout=WAIT).json()
    assert {"attached": 1}.items() <= {thread["thread_id"]: thread["runs"] for thread in threads}.items()


def test_a_conversation_goes_on_after_a_restart(folder: Path) -> None:
    first, follow_up = "where did Tove ski to in February 2022?", "and how long did the trip take in total?"
    with twin_server(folder, command=REAL) as server:
        _, before = ask(server, first, "restarted")
        assert server.stop() == 0
    with twin_server(folder, command=REAL) as server:
        thread = httpx.get(f"{server.url}/v1/threads/restarted", timeout=WAIT).json()
        assert [turn["text"] for turn in thread["turns"]] == [first, before.text]
        assert [Answer.model_validate(one["answer"]) for one in thread["runs"]] == [before]
        _, after = ask(server, follow_up, "restarted")
        assert after.question == follow_up
        assert "February 2022" in after.standalone_question
        values = {"TWIN_ATTACH": "1", "TWIN_PORT": server.port}
        result = twin(folder, "chat", "--thread", "restarted", stdin=b"/sources\n", command=REAL, **values)
        assert result.returncode == 0
        assert b"Conversation restarted, 2 answers so far" in result.stderr
        for citation in after.citations:
            assert f"[{citation.marker}]" in result.stdout.decode()
        assert server.stop() == 0


def test_the_local_model_is_held_to_its_passages(folder: Path) -> None:
    """SmolLM2 through llama.cpp: it may be wrong, dropped or replaced, but never shown uncited."""
    own = Settings()
    try:
        resolve("smollm2", own)
    except ModelError as error:
        pytest.skip(f"smollm2 is not here: {error}")
    values = {"TWIN_CHAT_MODEL": "smollm2", "TWIN_HOME": str(own.home), "TWIN_CHAT_MAX_TOKENS": "40"}
    values["TWIN_THREADS"] = "1"  # llama.cpp's threads wait for each other: two on a busy machine are slower than one
    with twin_server(folder, command=REAL, **values) as server:
        events, answer = ask(server, QUESTION, "smollm2")
        assert [(data["writer"], data["prompt_version"] != "") for kind, data in events if kind == "run"] == [
            ("smollm2", True)
        ]
        record = httpx.get(f"{server.url}/v1/threads/smollm2", timeout=WAIT).json()["runs"][0]
        assert server.stop() == 0
    assert answer.writer == "smollm2"
    assert any(QUESTION in str(message["content"]) for message in record["messages"])
    assert answer.abstained == all(sentence.kind == "frame" for sentence in answer.sentences)
    assert_cited(answer, folder)
