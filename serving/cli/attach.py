"""A running server as a session. Only the standard library's HTTP client: attaching has to be instant."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote

from serving.cli.session import ReportedError, Streamed
from serving.identity import data_fingerprint, url_of
from serving.problems import ServerGoneError
from serving.schemas import new_thread_id
from twin.records import SearchScope
from twin.settings import Settings

CONNECT_SECONDS = 0.15
ANSWER_SECONDS = 0.5
"""How long a server may take to say who it is, once it listens; past it, the twin is opened here."""
SILENCE_SECONDS = 45.0
"""A server sends something at least every 15 seconds; after this long the connection is dead."""
ATTEMPTS = 3

_LOST = (OSError, HTTPException)


def find_server(settings: Settings) -> RemoteSession | None:
    """The server on settings.host and settings.port, if it serves this tenant from this data folder."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    connection = HTTPConnection(host, settings.port, timeout=CONNECT_SECONDS)
    try:
        connection.connect()
        connection.sock.settimeout(ANSWER_SECONDS)
        connection.request("GET", "/v1/health")
        response = connection.getresponse()
        health = json.loads(response.read(65536)) if response.status == 200 else {}
    except (*_LOST, ValueError):
        return None
    finally:
        connection.close()
    expected = {"tenant": settings.tenant, "data": data_fingerprint(settings)}
    if not isinstance(health, dict) or any(health.get(key) != value for key, value in expected.items()):
        return None
    return RemoteSession(host, settings.port)


class RemoteSession:
    """See `Session`. A dropped connection is taken up again where it broke."""

    def __init__(self, host: str, port: int) -> None:
        self.where = url_of(host, port)
        self._host = host
        self._port = port
        self._run_id = ""
        self._last_id = 0
        self._thread_id = ""
        self._ended = False

    def ask(
        self, question: str, thread_id: str | None, writer: str | None, scope: SearchScope | None = None
    ) -> Iterator[Streamed]:
        self._run_id, self._last_id = "", 0
        self._thread_id = thread_id or new_thread_id()
        self._ended = False
        body: dict[str, Any] = {"question": question, "thread_id": self._thread_id, "writer": writer}
        if scope is not None:
            body["scope"] = scope.model_dump(mode="json")
        yield from self._events("POST", "/v1/chat", {name: value for name, value in body.items() if value is not None})
        failures = 0
        while not self._ended:
            failures += 1
            if not self._run_id or failures > ATTEMPTS:
                raise self._gone()
            yield from self._events("GET", f"/v1/runs/{self._run_id}/events")

    def cancel(self) -> None:
        run_id = self._run_id
        if not run_id and self._thread_id:
            run_id = (self.thread(self._thread_id) or {}).get("running") or ""
        if run_id:
            self._call("POST", f"/v1/runs/{run_id}/cancel")

    def thread(self, thread_id: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._call("GET", f"/v1/threads/{quote(thread_id)}", missing_ok=True)
        return found

    def close(self) -> None:
        """Nothing stays open between calls."""

    def _gone(self) -> ServerGoneError:
        return ServerGoneError(
            f"the server at {self.where} does not answer any more", "Ask again; without a server, the twin opens here"
        )

    def _call(self, method: str, path: str, missing_ok: bool = False) -> Any:
        connection = HTTPConnection(self._host, self._port, timeout=SILENCE_SECONDS)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            if missing_ok and response.status == 404:
                return None
            self._raise_problem(response)
            return json.loads(response.read())
        except _LOST as error:
            raise self._gone() from error
        finally:
            connection.close()

    def _events(self, method: str, path: str, body: dict[str, Any] | None = None) -> Iterator[Streamed]:
        """The events of one connection, which may break before the last."""
        connection = HTTPConnection(self._host, self._port, timeout=SILENCE_SECONDS)
        headers = {"Content-Type": "application/json", "Last-Event-ID": str(self._last_id)}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            self._raise_problem(response)
            for number, event in read_events(response):
                self._last_id = number
                self._run_id = event.data.get("run_id", self._run_id) if event.type == "run" else self._run_id
                self._ended = event.type == "done"
                yield event
        except _LOST:
            return
        finally:
            connection.close()

    @staticmethod
    def _raise_problem(response: HTTPResponse) -> None:
        if response.status < 400:
            return
        try:
            problem = json.loads(response.read(65536))
        except ValueError:
            problem = {}
        raise ReportedError(problem or {"detail": f"the server answered {response.status}"})


def read_events(lines: Iterator[bytes] | HTTPResponse) -> Iterator[tuple[int, Streamed]]:
    """Server-sent events from `lines`, each with its id; a half event at the end is dropped."""
    number, kind, data = 0, "message", ""
    for raw in lines:
        field, _, value = raw.decode("utf-8").rstrip("\r\n").partition(":")
        value = value.removeprefix(" ")
        if field == "id" and value.isdigit():
            number = int(value)
        elif field == "event":
            kind = value
        elif field == "data":
            data += value
        elif not field and not value:
            if data:
                yield number, Streamed(kind, json.loads(data))
            kind, data = "message", ""
