"""llama.cpp in this process: an OpenAI-compatible server on loopback that only this process can use."""

from __future__ import annotations

import atexit
import secrets
import threading
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from twin.errors import ModelError
from twin.settings import Endpoint

CONTEXT_TOKENS = 4096
QUIET = -1
"""llama.cpp's verbosity: it says nothing; what fails raises."""


class LlamaServer:
    """One model file, served until `stop`. The port is one the system gives, the key a random one."""

    def __init__(self, model: Path, *, threads: int, context: int = CONTEXT_TOKENS) -> None:
        self.model = model
        self._threads = threads
        self._context = context
        self._key = secrets.token_urlsafe(24)
        self._server: Any = None

    def start(self) -> Endpoint:
        """Load the model and listen: seconds, blocking. Raises ModelError if llama.cpp cannot."""
        if self._server is None:
            import xllamacpp

            try:
                self._server = xllamacpp.Server(self._parameters(xllamacpp))
            except RuntimeError as error:
                raise ModelError(
                    f"llama.cpp cannot load {self.model}: it is damaged, of an unknown kind, or memory is short",
                    "Check the file with: twin models verify",
                ) from error
        return Endpoint(
            base_url=f"{self._server.listening_address}/v1", model=self.model.stem, api_key=SecretStr(self._key)
        )

    def stop(self) -> None:
        """Stop listening and free the model. Can be called again."""
        self._server = None

    def _parameters(self, xllamacpp: Any) -> Any:
        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(self.model)
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0
        parameters.api_keys = [self._key]
        parameters.ui = False
        parameters.n_ctx = self._context
        parameters.n_parallel = 1
        parameters.cpuparams.n_threads = self._threads
        parameters.cpuparams_batch.n_threads = self._threads
        parameters.verbosity = QUIET
        return parameters


_servers: dict[Path, tuple[LlamaServer, Endpoint]] = {}
_starting = threading.Lock()


def shared_server(model: Path, *, threads: int) -> Endpoint:
    """The endpoint of this process's server of that model, started the first time. Safe from any thread."""
    with _starting:
        running = _servers.get(model)
        if running is None:
            server = LlamaServer(model, threads=threads)
            running = _servers[model] = (server, server.start())
        return running[1]


@atexit.register
def stop_shared_servers() -> None:
    """Stop them all: llama.cpp's threads must end before the interpreter does."""
    with _starting:
        while _servers:
            _servers.popitem()[1][0].stop()
