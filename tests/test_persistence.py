"""Conversations outlive processes, however these end."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path
from typing import Any

import httpx

from serving.cli.attach import RemoteSession
from tests.processes import WAIT, ServerProcess, twin, twin_server


def ask(server: ServerProcess, question: str, thread: str = "t") -> list[Any]:
    return list(RemoteSession("127.0.0.1", int(server.port)).ask(question, thread, None))


def begin_slow(server: ServerProcess, thread: str = "t") -> str:
    """Start a run that stays in the middle of its answer; returns its id."""
    with httpx.stream(
        "POST", f"{server.url}/v1/chat", json={"question": "slow", "thread_id": thread}, timeout=WAIT
    ) as response:
        for line in response.iter_lines():
            if "pump failed" in line:
                break
    return str(response.headers["x-run-id"])


def first_token(events: list[Any]) -> str:
    return str(next(event.data["text"] for event in events if event.type == "token"))


def test_the_next_process_continues_the_conversation(tmp_path: Path) -> None:
    assert twin(tmp_path, "ask", "first", "--thread", "t").stdout.startswith(b"After 0 turns:")
    assert twin(tmp_path, "ask", "second", "--thread", "t").stdout.startswith(b"After 2 turns:")
    assert twin(tmp_path, "ask", "first", "--thread", "u").stdout.startswith(b"After 0 turns:")
    with twin_server(tmp_path) as server:
        assert first_token(ask(server, "third")) == "After 4 turns:"
        thread = httpx.get(f"{server.url}/v1/threads/t").json()
        assert [run["question"] for run in thread["runs"]] == ["first", "second", "third"]
        assert all(run["answer"]["sentences"][1]["citations"] for run in thread["runs"])


def test_a_killed_server_leaves_every_thread_usable(tmp_path: Path) -> None:
    with twin_server(tmp_path) as server:
        ask(server, "first")
        begin_slow(server, "fresh")
        begin_slow(server)
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    with twin_server(tmp_path) as server:
        client = RemoteSession("127.0.0.1", int(server.port))
        thread = client.thread("t")
        assert thread is not None
        assert ([run["question"] for run in thread["runs"]], thread["running"]) == (["first"], None)
        assert first_token(ask(server, "second")) == "After 2 turns:"
        assert first_token(ask(server, "hello", "fresh")) == "After 0 turns:"
        assert server.stop(signal.SIGKILL) == -signal.SIGKILL
    assert twin(tmp_path, "ask", "third", "--thread", "t").stdout.startswith(b"After 4 turns:")
    with sqlite3.connect(tmp_path / "data" / "default" / "twin.sqlite") as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_sigterm_ends_runs_and_tells_their_readers(tmp_path: Path) -> None:
    with twin_server(tmp_path) as server:
        url = f"{server.url}/v1/runs/{begin_slow(server)}/events"
        with httpx.stream("GET", url, timeout=WAIT) as response:
            lines = response.iter_lines()
            assert next(lines) == "id: 1"
            assert server.stop(signal.SIGTERM) == 0
            last = [line for line in lines if line.startswith("data: ")][-1]
        assert json.loads(last.removeprefix("data: "))["status"] == "cancelled"
    with twin_server(tmp_path) as server:
        assert first_token(ask(server, "next")) == "After 0 turns:"
        assert server.stop(signal.SIGINT) == 0
