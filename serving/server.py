"""The application under uvicorn: one line when it is ready, and an orderly end."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from contextlib import nullcontext
from types import FrameType

import uvicorn
from sse_starlette.sse import AppStatus

from serving.app import create_app
from serving.identity import url_of
from serving.runtime import Twin, open_twin
from twin.settings import Settings

GRACE_SECONDS = 10


class TwinServer(uvicorn.Server):
    """A server that says where it is, and that ends its runs before its connections.

    SIGINT and SIGTERM both end it in good order, with everything closed; a second SIGINT hurries.
    """

    def __init__(self, config: uvicorn.Config, twin: Twin, url: str) -> None:
        super().__init__(config)
        self._twin = twin
        self._url = url

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            sys.stdout.write(f"LLM Twin is ready at {self._url} (Ctrl-C stops it)\n")
            sys.stdout.flush()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Streams end by themselves once their run has ended, so every reader gets its last events.
        await self._twin.runs.close(GRACE_SECONDS)
        await super().shutdown(sockets=sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not the inherited one: that raises the signal again before the twin is closed.
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def run_server(settings: Settings, host: str, listener: socket.socket) -> None:
    """Serve on `listener`, bound to `host`, until a signal. Raises TwinError if the twin cannot be opened."""
    AppStatus.enable_automatic_graceful_drain = False  # see TwinServer.shutdown
    asyncio.run(_serve(settings, host, listener))


async def _serve(settings: Settings, host: str, listener: socket.socket) -> None:
    # Opened here and not in the application's lifespan, so that a faulty set-up is one line and not a
    # server's stack trace.
    async with open_twin(settings) as twin:
        app = create_app(settings, host=host, opener=lambda _: nullcontext(twin))
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_SECONDS, server_header=False
        )
        await TwinServer(config, twin, url_of(host, listener.getsockname()[1])).serve(sockets=[listener])
