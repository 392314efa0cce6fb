"""`langgraph dev` with the repository's `langgraph.json`: starts offline, without a key and without a `.env`."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from graphs.studio import make_assistant
from tests.processes import REAL, ROOT, WAIT, environment, twin
from twin.errors import NotFoundError
from twin.records import Answer
from twin.settings import load_settings

START_SECONDS = 60.0
POST = """---
title: The pump
author: Ann
url: https://ann.example/pump
published_at: 2024-05-31
---

The bilge pump failed in March 🙂, two days before the race. I fixed it with tape, and the tape has held since.
The new pump cost 214 euros and sits in its box.
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def configuration(folder: Path) -> Path:
    """The repository's configuration for a working folder elsewhere: its paths made absolute, nothing else."""
    given = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))
    given["dependencies"] = [str((ROOT / path).resolve()) for path in given["dependencies"]]
    given["graphs"] = {name: str(ROOT / path.removeprefix("./")) for name, path in given["graphs"].items()}
    file = folder / "langgraph.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    return file


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Ask until it answers; fails with the log once the process or the time has ended."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/ok", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"langgraph dev did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")


def ingest(folder: Path) -> None:
    (folder / "pump.md").write_text(POST, encoding="utf-8")
    ingested = twin(folder, "ingest", str(folder / "pump.md"), command=REAL, TWIN_TENANT="studio")
    assert ingested.returncode == 0, ingested.stderr


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[str]:
    """The address of a development server over a twin that has read one post."""
    ingest(tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    configuration(work)
    # What the environment says counts for more than a `.env` where the server is started.
    (work / ".env").write_text("TWIN_TENANT=another\n", encoding="utf-8")
    values = {"LANGSMITH_TRACING": "false", "LANGGRAPH_NO_VERSION_CHECK": "true", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
    env = environment(tmp_path, TWIN_TENANT="studio", **values)
    env = {name: value for name, value in env.items() if not name.endswith("_API_KEY")}
    port, log = free_port(), tmp_path / "log"
    options = ["--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(port)]
    command = [sys.executable, "-c", "from langgraph_cli.cli import cli; cli()", "dev", *options]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, cwd=work, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL) as process,
    ):
        try:
            wait_until_ready(f"http://127.0.0.1:{port}", process, log)
            yield f"http://127.0.0.1:{port}"
            process.terminate()
            process.wait(WAIT)
        finally:
            process.kill()


async def run(url: str, thread_id: str, question: str) -> tuple[list[dict[str, Any]], Answer]:
    """What a run streams on the custom channel, and the answer in the thread's state after it."""
    client = get_client(url=url, api_key=None)
    parts = []
    given: dict[str, Any] = {"question": question, "turns": []}
    async for part in client.runs.stream(thread_id, "assistant", input=given, stream_mode=["custom", "values"]):
        assert part.event != "error", part.data
        if part.event == "custom":
            parts.append(part.data)
    return parts, Answer.model_validate((await values_of(url, thread_id))["answer"])


async def values_of(url: str, thread_id: str) -> dict[str, Any]:
    """The thread's state."""
    state: Any = await get_client(url=url, api_key=None).threads.get_state(thread_id)
    values: dict[str, Any] = state["values"]
    return values


async def test_the_studio_runs_the_assistant_with_its_memory(studio: str) -> None:
    before = set(ROOT.glob(".langgraph*"))
    client = get_client(url=studio, api_key=None)
    thread_id = (await client.threads.create())["thread_id"]
    parts, answer = await run(studio, thread_id, "When did the bilge pump fail?")
    assert not answer.abstained
    assert "".join(part["data"]["text"] for part in parts if part["type"] == "token") == answer.text
    assert "March 🙂" in answer.text
    (citation,) = [one for one in answer.citations if "March" in one.quote]
    assert (citation.title, citation.url, citation.author) == ("The pump", "https://ann.example/pump", "Ann")

    _, after = await run(studio, thread_id, "And what did the new one cost?")
    assert "bilge pump" in after.standalone_question
    turns = (await values_of(studio, thread_id))["turns"]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2
    assert set(ROOT.glob(".langgraph*")) == before


def test_the_factory_opens_the_twin_once_for_each_event_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The development server calls it for every run and every look at a thread."""
    for name, value in environment(tmp_path, TWIN_TENANT="studio").items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()

    async def fail_then_open() -> list[object]:
        with pytest.raises(NotFoundError, match="twin ingest"):
            await make_assistant()
        await asyncio.to_thread(ingest, tmp_path)
        return list(await asyncio.gather(make_assistant(), make_assistant()))

    async def open_once() -> object:
        return await make_assistant()

    try:
        first, same = asyncio.run(fail_then_open())
        assert first is same
        assert asyncio.run(open_once()) is not first
    finally:
        load_settings.cache_clear()
