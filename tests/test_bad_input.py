"""Bad input gets a clear answer, and nothing is lost: the list, line by line, and the test that holds it.

question: empty, blank      test_bad_input::test_a_question_that_is_none
                            test_cli_ask::test_what_is_wrong_is_one_line_and_a_status
                            test_app::test_whatever_is_wrong_is_a_problem_in_one_line
                            test_runs::test_what_is_no_question_starts_no_run
question: 100 kB, not text  test_bad_input::test_a_question_that_is_none
                            test_cli_ask::test_what_is_wrong_is_one_line_and_a_status
                            test_app::test_whatever_is_wrong_is_a_problem_in_one_line
                            test_chat_cli::test_questions_from_a_pipe
file: unreadable            test_bad_input::test_a_file_that_may_not_be_read
                            test_sources::test_a_file_without_permission
                            test_sources::test_a_file_that_vanishes_midway_is_skipped_and_the_rest_goes_on
                            test_ingest_cli::test_a_bad_file_is_listed_and_the_rest_goes_on
file: binary, empty, 50 MB  test_ingest_cli::test_a_bad_file_is_listed_and_the_rest_goes_on
                            test_sources::test_unreadable_files_say_why
                            test_sources::test_a_long_file_is_refused_unread
file: wrongly encoded       test_ingest_cli::test_other_encodings_are_read_as_what_they_say
                            test_sources::test_unreadable_files_say_why
a broken JSON line          test_ingest_cli::test_a_broken_json_line_among_good_ones
                            test_sources::test_a_broken_line_among_good_ones
                            test_bad_input::test_a_broken_line_of_a_question_file
a full disk                 test_sync::test_a_full_disk_keeps_what_is_done
                            test_runs::test_a_full_disk_fails_the_run_and_nothing_else
a folder without rights     test_bad_input::test_a_folder_that_may_not_be_written
kill -9 in the middle       test_sync::test_after_kill_9_the_next_run_completes_the_rest
                            test_sync::test_kill_9_while_documents_are_replaced
                            test_sync::test_kill_9_while_rebuilding_leaves_the_old_index_in_use
                            test_persistence::test_a_killed_server_leaves_every_thread_usable
                            test_models_files::test_a_killed_pull_leaves_no_file_and_the_next_one_tidies_up
index: not the warehouse's  test_bad_input::test_asking_an_index_that_lacks_documents
                            test_bad_input::test_asking_without_the_stored_documents
                            test_ingest_cli::test_an_index_that_lacks_documents_is_completed
                            test_sync::test_the_index_forgets_what_the_warehouse_no_longer_has
index: not the model's      test_bad_input::test_asking_an_index_of_another_kind
                            test_ingest_cli::test_an_index_of_another_model_is_refused_until_rebuilt
                            test_index_contract::test_opening_with_something_else_says_what_and_how_to_rebuild
index: damaged              test_ingest_cli::test_a_damaged_index_says_how_to_rebuild_and_can_be
two writers at once         test_bad_input::test_a_writer_keeps_writers_out_and_readers_in
                            test_ingest_cli::test_a_second_writer_is_told_who_writes
                            test_sync::test_a_second_writer_waits_for_the_first
a port in use               test_cli_ask::test_a_port_in_use_is_said_before_anything_is_loaded
a model's wrong hash        test_bad_input::test_a_model_file_with_a_wrong_hash
                            test_models_files::test_a_damaged_file_is_named_with_the_command_that_replaces_it
                            test_models_files::test_a_bad_download_leaves_nothing
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from knowledge.index import inspect_index
from knowledge.lock import write_lock
from knowledge.sources import Skipped, read_sources
from knowledge.sync import ingest
from knowledge.warehouse import open_warehouse
from tests.fakes import HashEmbedder
from tests.processes import REAL
from tests.processes import twin as twin_process
from tests.test_ingest_cli import Command, Outcome, good
from twin.errors import StoreError
from twin.models.catalogue import CATALOGUE
from twin.records import Answer, SourceItem
from twin.settings import Settings, load_settings

QUESTION = "When did the bilge pump fail?"
NOWHERE = "http://127.0.0.1:9"
NOBODY = 65534


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a twin that has read two posts."""
    folder = tmp_path_factory.mktemp("bad")
    posts = folder / "posts"
    posts.mkdir()
    good(posts / "pump.md", "The pump", "The bilge pump failed in March. I fixed it with tape, and the tape has held.")
    good(posts / "lamp.md", "The lamp", "The harbour lamp is green. It was painted in the spring of 2019.")
    result = twin_process(folder, "ingest", str(posts), command=REAL)
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture
def twin(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """`twin` over a copy of the prepared twin, which the test may spoil."""
    shutil.copytree(prepared / "data", tmp_path / "data")
    environment = {"DATA_DIR": str(tmp_path / "data"), "HOME": str(tmp_path / "home"), "ATTACH": "0"}
    for name, value in {**environment, "LOCK_TIMEOUT": "0", "HUB_URL": NOWHERE}.items():
        monkeypatch.setenv(f"TWIN_{name}", value)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    load_settings.cache_clear()
    yield Command(load_settings(), monkeypatch, capsys)
    load_settings.cache_clear()


def refused(outcome: Outcome, status: int, *told: str) -> None:
    """One line on stderr that says all of `told`, this status, and nothing on stdout."""
    assert outcome.status == status, outcome
    (line,) = outcome.err.splitlines()
    assert line.startswith("error: ")
    for part in told:
        assert part in line
    assert outcome.out == ""


def answers(outcome: Outcome) -> None:
    assert outcome.status == 0, outcome
    answer = Answer.model_validate_json(outcome.out)
    assert answer.question == QUESTION


def test_the_table_above_names_tests_that_exist() -> None:
    assert __doc__ is not None
    named = re.findall(r"(test_\w+)::(test_\w+)", __doc__)
    assert len(named) > 30
    for module, name in named:
        text = (Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{module}::{name}"


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("", "the question is empty. Ask something"),
        (" \n\t\u00a0\u200b", "the question is empty. Ask something"),
        ("\u3164", "the question is empty. Ask something"),
        ("\u0301", "the question has no words. Ask something"),
        ("?!", "the question has no words. Ask something"),
        ("🤷", "the question has no words. Ask something"),
        ("x" * 100_000, "the question has 100,000 characters, the limit is 8,000. Ask something shorter"),
        ("caf\udce9", "the question is not plain text: character 4 is U+DCE9. Send UTF-8"),
        ("what\x00", "the question is not plain text: character 5 is U+0000. Send UTF-8"),
    ],
    ids=["empty", "blank", "filler", "accent", "marks", "emoji", "100 kB", "bytes", "control"],
)
def test_a_question_that_is_none(twin: Command, question: str, told: str) -> None:
    refused(twin("ask", question), 2, told)


def test_a_broken_line_of_a_question_file(twin: Command, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    file.write_text(json.dumps({"id": "a", "question": QUESTION, "kind": "factual"}) + '\n{"id": ', encoding="utf-8")
    for suite in ("retrieval", "answers"):
        refused(twin("eval", suite, file), 2, f"{file}:2 is no JSON")
        refused(twin("eval", suite, tmp_path / "none.jsonl"), 2, "none.jsonl cannot be read")


def test_asking_an_index_of_another_kind(twin: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIN_CHUNK_WORDS", "60")
    load_settings.cache_clear()
    for arguments in (("ask", QUESTION), ("chat", "--thread", "t"), ("serve", "--port", "0")):
        refused(twin(*arguments), 4, str(twin.settings.index_dir), "blocks-180", "blocks-60", "twin index rebuild")
    assert twin("index", "rebuild", "--quiet").status == 0
    answers(twin("ask", QUESTION, "--json"))


def test_asking_before_anything_is_ingested(twin: Command) -> None:
    shutil.rmtree(twin.settings.tenant_dir)
    for arguments in (("ask", QUESTION), ("serve", "--port", "0")):
        refused(twin(*arguments), 2, f"nothing is indexed yet at {twin.settings.index_dir}. Run: twin ingest PATH")


def test_asking_an_index_that_lacks_documents(twin: Command, prepared: Path, tmp_path: Path) -> None:
    """What is there is answered from; that something is missing is said, with the way to mend it."""

    async def lose(title: str) -> None:
        index = await inspect_index(twin.settings)
        lost = [one.document_id for one in open_warehouse(twin.settings).list_documents() if one.title == title]
        await index.delete(lost)
        await index.close()

    asyncio.run(lose("The lamp"))
    asked = twin_process(tmp_path, "ask", QUESTION, "--json", command=REAL)
    assert asked.returncode == 0
    assert "March" in Answer.model_validate_json(asked.stdout).text
    (warning,) = asked.stderr.decode().splitlines()
    assert "the index does not match the stored documents: 1 not indexed" in warning
    assert "twin index rebuild" in warning
    assert twin("ingest", prepared / "posts" / "pump.md").status == 0
    assert twin("index", "check").status == 0


def test_asking_without_the_stored_documents(twin: Command, prepared: Path, tmp_path: Path) -> None:
    """The index alone is not enough: what cannot be checked is not quoted."""
    shutil.rmtree(twin.settings.warehouse_dir)
    asked = twin_process(tmp_path, "ask", QUESTION, "--json", command=REAL)
    assert (asked.returncode, asked.stdout) == (2, b"")
    warning, error = asked.stderr.decode().splitlines()
    assert "2 indexed but not stored" in warning
    assert "is not in the warehouse" in error
    assert twin("ingest", prepared / "posts").status == 0
    answers(twin("ask", QUESTION, "--json"))


def test_a_writer_keeps_writers_out_and_readers_in(twin: Command, prepared: Path) -> None:
    with write_lock(twin.settings, "twin ingest"):
        for arguments in (("ingest", prepared / "posts"), ("index", "rebuild")):
            outcome = twin(*arguments)
            assert outcome.status == 5
            error = outcome.err.splitlines()[-1]
            assert f"is being written by twin ingest (process {os.getpid()}, since " in error
            assert "TWIN_LOCK_TIMEOUT" in error
        answers(twin("ask", QUESTION, "--json"))
    assert twin("index", "rebuild", "--quiet").status == 0


def test_a_model_file_with_a_wrong_hash(twin: Command) -> None:
    file = twin.settings.models_dir / "smollm2" / CATALOGUE["smollm2"].files[0].name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half a model")
    outcome = twin("ask", "--writer", "smollm2", QUESTION)
    assert (outcome.status, outcome.out) == (6, "")
    error = outcome.err.splitlines()[-1]
    for part in ("error: ", str(file), "twin models pull smollm2"):
        assert part in error
    verified = twin("models", "verify", "smollm2")
    assert verified.status == 6
    assert f"smollm2: damaged {file} (sha256 " in verified.err
    answers(twin("ask", QUESTION, "--json"))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """The administrator, who may do anything, becomes nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def test_a_file_that_may_not_be_read(open_folder: Path) -> None:
    for name in ("a.md", "secret.md", "z.md"):
        (open_folder / name).write_text(f"Text of {name}.", encoding="utf-8")
    (open_folder / "closed").mkdir()
    assert len(list(read_sources([open_folder], "t", 1000))) == 3
    (open_folder / "secret.md").chmod(0)
    (open_folder / "closed").chmod(0)
    with without_rights():
        found = list(read_sources([open_folder], "t", 1000))
    assert [Path(one.origin).name for one in found if isinstance(one, SourceItem)] == ["a.md", "z.md"]
    skipped = {Path(one.origin).name: one.reason for one in found if isinstance(one, Skipped)}
    assert skipped == dict.fromkeys(("closed", "secret.md"), "cannot be read: permission denied")


def test_a_folder_that_may_not_be_written(open_folder: Path) -> None:
    post = open_folder / "post.md"
    post.write_text("Some text.", encoding="utf-8")
    ingest([post], Settings(data_dir=open_folder / "first"), HashEmbedder())
    (open_folder / "closed").mkdir(mode=0o555)
    with (
        without_rights(),
        pytest.raises(StoreError, match=r"^no permission at \S*closed\S* .*Check who owns") as caught,
    ):
        ingest([post], Settings(data_dir=open_folder / "closed"), HashEmbedder())
    assert "\n" not in str(caught.value)
    assert not list((open_folder / "closed").iterdir())
