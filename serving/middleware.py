"""What is refused before any code of the application sees it: requests too large, and requests that a
web page of somebody else makes through the user's browser."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.identity import is_loopback
from serving.problems import ForbiddenError, Problem, QuestionTooLongError, problem_of
from twin.errors import TwinError

MAX_BODY_BYTES = 1_000_000
DRAIN_BYTES = 16_000_000
"""Of a body too large this much is still read (and dropped), so that an honest client sees the refusal
and not a broken connection."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """The problem as application/problem+json."""
    body = problem.model_dump_json().encode("utf-8", "replace")
    return Response(body, problem.status, headers, "application/problem+json")


class Guard:
    """ASGI middleware. `host` is the address that the server is bound to: on loopback only loopback names
    are served, so that no foreign name that resolves here (DNS rebinding) reaches the twin."""

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self.host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        refused = self._refusal(scope["method"], Headers(scope=scope))
        if refused is not None:
            await problem_response(problem_of(refused))(scope, receive, send)
            return
        await self._pass_on(scope, receive, send)

    def _refusal(self, method: str, headers: Headers) -> TwinError | None:
        host = headers.get("host", "")
        name = _host_name(host)
        if is_loopback(self.host) and not is_loopback(name):
            return ForbiddenError(
                "this server only answers under a loopback name, not under the one in the request's Host header",
                f"Open it as http://{self.host}:PORT",
            )
        if method not in ("GET", "HEAD", "OPTIONS"):
            origin = headers.get("origin")
            foreign = origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower())
            if foreign or headers.get("sec-fetch-site") in ("cross-site", "same-site"):
                return ForbiddenError("the request comes from another site's page", "Use this server's own page")
        return None

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Read before the application starts: inside it, the framework would take the refusal for bad JSON.
        messages: list[Message] = []
        read = 0
        more = scope["method"] not in ("GET", "HEAD")
        while more and read <= DRAIN_BYTES:
            message = await receive()
            read += len(message.get("body", b""))
            more = message.get("more_body", False)
            if read <= MAX_BODY_BYTES:
                messages.append(message)
        if read > MAX_BODY_BYTES:
            await _too_large()(scope, receive, send)
            return
        messages.reverse()

        async def replayed() -> Message:
            return messages.pop() if messages else await receive()

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, replayed, with_headers)


def _host_name(host: str) -> str:
    """The name or address in a Host header, without its port; empty if it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _too_large() -> Response:
    error = QuestionTooLongError(f"the request has more than {MAX_BODY_BYTES:,} bytes", "Ask something shorter")
    return problem_response(problem_of(error), {"Connection": "close"})
