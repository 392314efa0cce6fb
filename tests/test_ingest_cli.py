"""`twin ingest`, `stats`, `documents`, `index`: good input, bad input, one line that says what to do."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from knowledge.index import inspect_index
from knowledge.lock import write_lock
from knowledge.warehouse import open_warehouse
from serving.cli.app import run
from twin.settings import Settings, load_settings

REPOSITORY = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str


class Command:
    """`twin`, in this process, with the real embedding model and a data folder of its own."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.settings = settings
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Outcome:
        self._monkeypatch.setattr(sys, "argv", ["twin", *map(str, arguments)])
        self._capsys.readouterr()
        try:
            run()
            status: object = 0
        except SystemExit as exit_:
            status = exit_.code or 0
        assert isinstance(status, int)
        shown = self._capsys.readouterr()
        return Outcome(status, shown.out, shown.err)


@pytest.fixture
def twin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    monkeypatch.setenv("TWIN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("TWIN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TWIN_LOCK_TIMEOUT", "0")
    load_settings.cache_clear()
    yield Command(load_settings(), monkeypatch, capsys)
    load_settings.cache_clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good posts."""
    made = tmp_path / "posts"
    made.mkdir()
    good(made / "good.md", "The pump", "The bilge pump failed in March; I fixed it with “tape” — and it held.")
    good(made / "lamp.md", "The lamp", "The harbour lamp is green.")
    return made


def good(path: Path, title: str, text: str) -> None:
    front = f"---\ntitle: {title}\nauthor: Ann\nplatform: blog\npublished_at: 2024-05-31\n---\n\n"
    path.write_text(front + text + "\n", encoding="utf-8")


def count(outcome: Outcome, name: str) -> int:
    found = re.search(rf"^{name}\s+([\d,]+)", outcome.out, re.MULTILINE)
    assert found is not None, outcome
    return int(found.group(1).replace(",", ""))


def test_ingest_then_look_at_what_is_there(twin: Command, folder: Path) -> None:
    first = twin("ingest", folder)
    assert (first.status, first.err) == (0, "")
    assert [count(first, name) for name in ("read", "new", "changed", "unchanged", "skipped")] == [2, 2, 0, 0, 0]
    again = twin("ingest", folder)
    assert [count(again, name) for name in ("read", "new", "unchanged", "embedded")] == [2, 0, 2, 0]

    assert "Ann 2" in twin("stats").out
    record = json.loads(twin("stats", "--json").out)
    assert (record["documents"]["documents"], record["index"]["documents"], record["problem"]) == (2, 2, "")
    rows = [json.loads(line) for line in twin("documents", "list", "--platform", "blog", "--json").out.splitlines()]
    assert sorted(row["title"] for row in rows) == ["The lamp", "The pump"]
    assert len(twin("documents", "list", "--limit", "1").out.splitlines()) == 1
    assert "no documents like that" in twin("documents", "list", "--author", "Nobody").err

    pump = next(row["document_id"] for row in rows if row["title"] == "The pump")
    assert "fixed it with “tape” — and it held." in twin("documents", "show", pump[:6]).out
    shown = json.loads(twin("documents", "show", pump, "--json").out)
    assert (shown["title"], shown["published_at"][:10]) == ("The pump", "2024-05-31")
    assert twin("index", "check").out.startswith("the index fits: 2 documents")


def test_every_version_can_be_shown(twin: Command, folder: Path) -> None:
    twin("ingest", folder, "--quiet")
    old = next(one for one in open_warehouse(twin.settings).list_documents() if one.title == "The lamp")
    good(folder / "lamp.md", "The lamp", "The harbour lamp is red.")
    changed = twin("ingest", folder)
    assert [count(changed, name) for name in ("new", "changed", "unchanged")] == [0, 1, 1]
    assert "red" in twin("documents", "show", old.document_id).out
    assert "green" in twin("documents", "show", old.document_id, "--version", old.version).out
    wrong = twin("documents", "show", old.document_id, "--version", "1234")
    assert wrong.status == 2
    assert "in version 1234" in wrong.err


def empty(path: Path) -> None:
    path.write_bytes(b"")


def blank(path: Path) -> None:
    path.write_bytes(b" \n\n\t ")


def binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 50)


def long(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(50_000_000)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def forbidden(path: Path) -> None:
    path.write_text("text")
    path.chmod(0)


BAD = [
    (empty, "empty.md", "empty"),
    (blank, "blank.txt", ""),
    (binary, "binary.md", "binary"),
    (binary, "picture.png", "not a format that is read"),
    (long, "long.md", "50.0 MB"),
    (dangling, "dangling.md", "cannot be read"),
    (pipe, "pipe.md", "not a regular file"),
    pytest.param(
        forbidden, "secret.md", "permission",
        marks=pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may read anything"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("make", "name", "reason"), BAD)
def test_a_bad_file_is_listed_and_the_rest_goes_on(
    twin: Command, folder: Path, make: Callable[[Path], None], name: str, reason: str
) -> None:
    make(folder / name)
    inside = twin("ingest", folder)
    assert inside.status == 0
    assert (count(inside, "new"), count(inside, "skipped")) == (2, 1)
    (line,) = [line for line in inside.out.splitlines() if name in line]
    assert reason in line
    named = twin("ingest", folder / "good.md", folder / name)
    assert named.status == 1
    assert count(named, "unchanged") == 1
    quiet = twin("ingest", "--quiet", folder / name)
    assert quiet.status == 1
    assert quiet.out == ""
    assert name in quiet.err


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8-sig"])
def test_other_encodings_are_read_as_what_they_say(twin: Command, folder: Path, encoding: str) -> None:
    text = "Zoë wrote that the café by the harbour was closed; the fenêtre was open. " * 4
    (folder / "other.md").write_bytes(text.encode(encoding))
    assert twin("ingest", folder).status == 0
    warehouse = open_warehouse(twin.settings)
    (found,) = [one for one in warehouse.list_documents() if one.uri.endswith("other.md")]
    assert "Zoë wrote that the café by the harbour was closed; the fenêtre" in warehouse.get(found.document_id).text


def test_a_broken_json_line_among_good_ones(twin: Command, folder: Path) -> None:
    lines = [
        json.dumps({"title": "One", "url": "https://a.example/1", "text": "The first post is about tides."}),
        '{"title": "Two", "text": ',
        json.dumps({"title": "Three", "url": "https://a.example/3", "text": "The third post is about boats."}),
        json.dumps(["not", "a", "record"]),
    ]
    (folder / "dump.jsonl").write_text("\n".join(lines), encoding="utf-8")
    outcome = twin("ingest", folder / "dump.jsonl")
    assert outcome.status == 0
    assert (count(outcome, "new"), count(outcome, "skipped")) == (2, 2)
    assert re.search(r"dump\.jsonl\S*2\b", outcome.out), outcome.out


def test_what_cannot_be_ingested_at_all(twin: Command, tmp_path: Path) -> None:
    missing = twin("ingest", tmp_path / "nowhere")
    assert missing.status == 2
    assert missing.err.count("\n") == 1
    assert "nowhere does not exist" in missing.err
    assert not twin.settings.tenant_dir.exists()
    (tmp_path / "void").mkdir()
    void = twin("ingest", tmp_path / "void")
    assert void.status == 1
    assert "nothing was read" in void.err


def test_names_cannot_steer_the_terminal(twin: Command, folder: Path) -> None:
    (folder / "evil\x1b[2J\n.md").write_bytes(b"")
    outcome = twin("ingest", folder)
    assert "\x1b" not in outcome.out
    assert "evil[2J" in outcome.out


def test_before_anything_is_ingested(twin: Command) -> None:
    assert "documents  0" in twin("stats").out
    assert "twin ingest PATH..." in twin("documents", "list").err
    for arguments, status in ((("documents", "show", "abcd"), 2), (("index", "check"), 2), (("index", "rebuild"), 2)):
        outcome = twin(*arguments)
        assert (outcome.status, outcome.err.count("\n")) == (status, 1)
    assert not twin.settings.tenant_dir.exists() or not any(twin.settings.tenant_dir.glob("index/*"))


def test_an_index_of_another_model_is_refused_until_rebuilt(
    twin: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin("ingest", folder)
    monkeypatch.setenv("TWIN_CHUNK_WORDS", "60")
    load_settings.cache_clear()
    for arguments in (("ingest", folder), ("index", "check")):
        outcome = twin(*arguments)
        assert outcome.status == 4
        assert outcome.err.count("\n") == 1
        assert "twin index rebuild" in outcome.err
    assert twin("index", "rebuild").status == 0
    assert twin("index", "check").status == 0


def test_an_index_that_lacks_documents_is_completed(twin: Command, folder: Path) -> None:
    twin("ingest", folder)

    async def lose_one() -> None:
        index = await inspect_index(twin.settings)
        await index.delete([next(iter(await index.versions()))])
        await index.close()

    asyncio.run(lose_one())
    check = twin("index", "check")
    assert check.status == 4
    assert "1 not indexed" in check.err
    assert "twin index rebuild" in check.err
    completed = twin("ingest", folder)
    assert (count(completed, "unchanged"), count(completed, "completed")) == (2, 1)
    assert twin("index", "check").status == 0


def test_a_damaged_index_says_how_to_rebuild_and_can_be(twin: Command, folder: Path) -> None:
    twin("ingest", folder)
    for manifest in twin.settings.index_dir.rglob("*.manifest"):
        manifest.write_bytes(b"broken")
    for arguments in (("ingest", folder), ("index", "check")):
        outcome = twin(*arguments)
        assert outcome.status == 4
        assert "twin index rebuild" in outcome.err
    assert "twin index rebuild" in twin("stats").err
    assert twin("index", "rebuild").status == 0
    assert twin("index", "check").status == 0


def test_a_second_writer_is_told_who_writes(twin: Command, folder: Path) -> None:
    with write_lock(twin.settings, "twin ingest"):
        outcome = twin("ingest", folder)
    assert outcome.status == 5
    waiting, refused = outcome.err.splitlines()
    assert waiting.startswith(f"waiting for twin ingest (process {os.getpid()}, since ")
    assert f"process {os.getpid()}" in refused
    assert "TWIN_LOCK_TIMEOUT" in refused


@pytest.mark.parametrize("module", ["serving.cli.ingest", "serving.cli.documents", "serving.cli.index"])
def test_commands_are_light_until_they_run(module: str) -> None:
    heavy = ("lancedb", "deltalake", "polars", "pyarrow", "onnxruntime", "numpy", "langchain_core")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_twice_the_sample_corpus(twin: Command) -> None:
    corpus = REPOSITORY / "examples" / "corpus"
    first = json.loads(twin("ingest", corpus, "--json").out)
    again = json.loads(twin("ingest", corpus, "--json").out)
    assert first["new"] == again["unchanged"] >= 40
    assert again["chunks_embedded"] == 0
