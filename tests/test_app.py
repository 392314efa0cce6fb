"""The HTTP interface, over a real server on a free port: streams that survive, errors in one shape."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from serving.app import PAGE, create_app
from serving.cli.attach import read_events
from serving.problems import without_paths
from serving.runtime import open_twin
from tests.fakes_graph import DOCUMENT, SECRET, FakeServices, build_assistant
from twin import __version__
from twin.settings import Settings

WAIT = 20.0
JSON = {"Content-Type": "application/json"}


@dataclass
class Server:
    client: httpx.AsyncClient
    services: FakeServices
    url: str


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    services = FakeServices(settings)
    parts: dict[str, Any] = {"services": services, "build": build_assistant}
    app = create_app(settings, opener=lambda own: open_twin(own, **parts))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uvicorn_server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        serving = asyncio.create_task(uvicorn_server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with httpx.AsyncClient(base_url=url, timeout=WAIT) as client:
            await client.get("/v1/health")
            yield Server(client, services, url)
        services.release.set()
        uvicorn_server.should_exit = True
        await serving


def events_of(body: str) -> list[tuple[int, str, dict[str, Any]]]:
    return [(number, event.type, event.data) for number, event in read_events(iter(body.encode().splitlines(True)))]


async def chat(server: Server, question: str, thread: str = "t") -> list[tuple[int, str, dict[str, Any]]]:
    response = await server.client.post("/v1/chat", json={"question": question, "thread_id": thread})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    return events_of(response.text)


async def begin_slow(server: Server, thread: str = "t") -> tuple[str, list[tuple[int, str, dict[str, Any]]]]:
    """Ask something slow, read until the answer has begun, and drop the connection."""
    server.services.entered.clear()
    body = ""
    async with server.client.stream("POST", "/v1/chat", json={"question": "slow", "thread_id": thread}) as response:
        async for text in response.aiter_text():
            body += text
            if "pump failed" in body and body.endswith("\n\n"):
                break
    seen = events_of(body)
    return seen[0][2]["run_id"], seen


async def test_an_answer_as_server_sent_events(server: Server) -> None:
    events = await chat(server, "what happened? 🙂")
    assert [number for number, _, _ in events] == list(range(1, len(events) + 1))
    assert [kind for _, kind, _ in events][:3] == ["run", "status", "token"]
    answer = events[-2][2]
    assert answer["text"] == "".join(data["text"] for _, kind, data in events if kind == "token")
    assert answer["answer"]["question"] == "what happened? 🙂"
    assert events[-1][1:] == ("done", events[-1][2])
    for _, kind, data in events:
        if kind == "citation":
            document = (
                await server.client.get(f"/v1/documents/{data['document_id']}?version={data['document_version']}")
            ).json()
            assert document["text"][data["start"] : data["end"]] == data["quote"]


async def test_without_a_thread_a_new_one_begins(server: Server) -> None:
    response = await server.client.post("/v1/chat", json={"question": "hello"})
    thread = response.headers["x-thread-id"]
    assert thread == events_of(response.text)[0][2]["thread_id"]
    assert [summary["thread_id"] for summary in (await server.client.get("/v1/threads")).json()] == [thread]


async def test_a_dropped_connection_loses_nothing(server: Server) -> None:
    run_id, seen = await begin_slow(server)
    server.services.release.set()
    resumed = await server.client.get(f"/v1/runs/{run_id}/events", headers={"Last-Event-ID": str(seen[-1][0])})
    whole = await server.client.get(f"/v1/runs/{run_id}/events")
    events = seen + events_of(resumed.text)
    assert events == events_of(whole.text)
    assert events[-1][2]["status"] == "answered"
    assert server.services.cancelled == 0


async def test_cancel_stops_the_run(server: Server) -> None:
    run_id, _ = await begin_slow(server)
    running = (await server.client.get("/v1/threads/t")).json()
    assert (running["running"], running["turns"]) == (run_id, [])
    busy = await server.client.post("/v1/chat", json={"question": "me too", "thread_id": "t"})
    assert (busy.status_code, busy.json()["type"], busy.json()["retryable"]) == (409, "thread-busy", True)
    assert run_id in busy.json()["detail"]
    assert (await server.client.delete("/v1/threads/t")).status_code == 409

    cancelled = await server.client.post(f"/v1/runs/{run_id}/cancel")
    assert cancelled.json() == {"run_id": run_id, "thread_id": "t", "status": "cancelled"}
    assert server.services.cancelled == 1
    assert (await server.client.get("/v1/threads/t")).json()["running"] is None
    assert (await chat(server, "next"))[2][2]["text"] == "After 0 turns:"


async def test_threads_and_documents(server: Server) -> None:
    await chat(server, "first", "a")
    await chat(server, "unknown", "a")
    thread = (await server.client.get("/v1/threads/a")).json()
    assert [turn["role"] for turn in thread["turns"]] == ["user", "assistant"] * 2
    assert [(run["question"], run["status"]) for run in thread["runs"]] == [
        ("first", "answered"),
        ("unknown", "abstained"),
    ]
    assert thread["runs"][0]["answer"]["sentences"][1]["citations"][0]["document_id"] == "d1"
    assert (await server.client.delete("/v1/threads/a")).status_code == 204
    assert (await server.client.get("/v1/threads")).json() == []
    document = await server.client.get("/v1/documents/d1")
    assert document.json() == DOCUMENT.model_dump(mode="json")


async def test_health_says_which_twin_this_is(server: Server, tmp_path: Path) -> None:
    health = (await server.client.get("/v1/health")).json()
    assert (health["status"], health["tenant"], health["documents"]) == ("ok", "default", 1)
    assert health["version"] == __version__
    assert str(tmp_path) not in json.dumps(health)


BAD_REQUESTS: list[tuple[str, str, dict[str, Any], int, str]] = [
    ("POST", "/v1/chat", {"json": {"question": ""}}, 422, "empty"),
    ("POST", "/v1/chat", {"json": {"question": " \u200b\n"}}, 422, "empty"),
    ("POST", "/v1/chat", {"json": {"question": "a\x00b"}}, 422, "U+0000"),
    ("POST", "/v1/chat", {"content": b'{"question": "a\\ud800"}', "headers": JSON}, 422, "U+D800"),
    ("POST", "/v1/chat", {"content": b'{"question": "a", "\\ud800": 1}', "headers": JSON}, 422, "string"),
    ("POST", "/v1/chat", {"content": b'{"question": "caf\xe9"}', "headers": JSON}, 400, "UTF-8"),
    ("POST", "/v1/chat", {"content": b'{"question": ', "headers": JSON}, 422, "JSON"),
    ("POST", "/v1/chat", {"content": b"[" * 100_000, "headers": JSON}, 400, "body"),
    ("POST", "/v1/chat", {"json": {"question": 5}}, 422, "question"),
    ("POST", "/v1/chat", {"json": {"question": "hi", "colour": "red"}}, 422, "colour"),
    ("POST", "/v1/chat", {"json": {"question": "hi", "thread_id": "../x"}}, 422, "thread_id"),
    ("POST", "/v1/chat", {"json": {"question": "hi", "writer": "nobody"}}, 422, "nobody"),
    ("POST", "/v1/chat", {"json": {"question": "x" * 100_000}}, 413, "100,000 characters"),
    ("POST", "/v1/chat", {"content": b"x" * 1_000_001, "headers": JSON}, 413, "1,000,000 bytes"),
    ("POST", "/v1/chat", {"data": {"question": "hi"}}, 422, "body"),
    (
        "POST",
        "/v1/chat",
        {"json": {"question": "hi"}, "headers": {"Origin": "http://evil.example"}},
        403,
        "another site",
    ),
    ("POST", "/v1/chat", {"json": {"question": "hi"}, "headers": {"Origin": "null"}}, 403, "another site"),
    (
        "POST",
        "/v1/chat",
        {"json": {"question": "hi"}, "headers": {"Sec-Fetch-Site": "cross-site"}},
        403,
        "another site",
    ),
    ("GET", "/v1/threads", {"headers": {"Host": "evil.example"}}, 403, "loopback"),
    ("GET", "/v1/threads", {"headers": {"Host": "127.0.0.1.evil.example:80"}}, 403, "loopback"),
    ("GET", "/v1/threads", {"headers": {"Host": "[::"}}, 403, "loopback"),
    ("GET", "/v1/threads/nothing", {}, 404, "nothing"),
    ("DELETE", "/v1/threads/nothing", {}, 404, "nothing"),
    ("GET", "/v1/runs/r-0/events", {}, 404, "r-0"),
    ("POST", "/v1/runs/r-0/cancel", {}, 404, "r-0"),
    ("GET", "/v1/runs/r-0/events", {"headers": {"Last-Event-ID": "x"}}, 422, "last-event-id"),
    ("GET", "/v1/documents/d2", {}, 404, "d2"),
    ("GET", "/v1/documents/d1?version=old", {}, 404, "d1"),
    ("GET", "/nowhere", {}, 404, "/nowhere"),
    ("PUT", "/v1/chat", {}, 405, "PUT"),
    ("GET", "/static/../app.py", {}, 404, ""),
    ("GET", "/docs", {}, 404, "/docs"),
]


async def test_whatever_is_wrong_is_a_problem_in_one_line(server: Server) -> None:
    for method, path, request, status, told in BAD_REQUESTS:
        response = await server.client.request(method, path, **request)
        place = f"{method} {path} {str(request)[:80]}"
        assert response.status_code == status, f"{place}: {response.text}"
        assert response.headers["content-type"] == "application/problem+json", place
        problem = response.json()
        assert set(problem) == {"type", "title", "status", "detail", "retryable"}, place
        assert problem["status"] == status
        assert told in problem["detail"], f"{place}: {problem}"
        assert "\n" not in problem["detail"], place
    assert (await server.client.get("/v1/threads")).json() == []


async def test_a_chunked_body_is_cut_off_at_the_limit(server: Server) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            sent += 100_000
            yield b"x" * 100_000

    # The server answers before the body has ended, and a client may notice either one first.
    try:
        response = await server.client.post("/v1/chat", content=endless(), headers=JSON)
    except httpx.TransportError:
        pass
    else:
        assert response.status_code == 413
    assert sent < 50_000_000


async def test_the_inside_stays_inside(server: Server) -> None:
    events = await chat(server, "broken")
    assert SECRET not in json.dumps(events)
    assert events[-2][1] == "error"
    assert set(events[-2][2]) == {"type", "title", "detail", "retryable"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("/home/me/.twin/data/x is full (/dev/sda). Free space", "x is full (sda). Free space"),
        (
            "the model at http://host:8001/v1/chat answered 500 and/or",
            "the model at http://host:8001/v1/chat answered 500 and/or",
        ),
        ("cannot write '/var/lib/twin/'", "cannot write ''"),
    ],
)
def test_where_files_lie_is_not_told(text: str, told: str) -> None:
    assert without_paths(text) == told


async def test_own_page_may_post(server: Server) -> None:
    headers = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert (await server.client.post("/v1/chat", json={"question": "hi"}, headers=headers)).status_code == 200
    for host in ("localhost:1", "[::1]:1", "127.0.0.1"):
        assert (await server.client.get("/v1/threads", headers={"Host": host})).status_code == 200


async def test_the_page_needs_nothing_from_elsewhere(server: Server) -> None:
    page = await server.client.get("/")
    assert page.status_code == 200
    assert (await server.client.head("/")).status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    for tag, attributes, content in re.findall(r"<(script|style)\b([^>]*)>(.*?)</\1>", page.text, re.S):
        assert tag == "script", "the policy forbids inline styles"
        assert "src=" in attributes
        assert not content.strip()
    assert not re.search(r"\s(on\w+|style)=", page.text)
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert not re.match(r"(https?:)?//", address), address
        if not address.startswith(("#", "data:")):
            assert (await server.client.get(address)).status_code == 200, address
    for file in PAGE.iterdir():
        assert (await server.client.get(f"/static/{file.name}")).status_code == 200


async def test_the_interface_describes_itself(server: Server) -> None:
    described = (await server.client.get("/openapi.json")).json()
    assert {"/v1/chat", "/v1/runs/{run_id}/events", "/v1/runs/{run_id}/cancel", "/v1/threads", "/v1/health"} <= set(
        described["paths"]
    )
    assert "Problem" in described["components"]["schemas"]
