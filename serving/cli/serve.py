"""`twin serve`: the page and the HTTP interface on a port."""

from __future__ import annotations

import socket
import sys
from typing import Annotated

import typer

from serving.identity import is_loopback
from twin.errors import ConfigError
from twin.settings import load_settings


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: TWIN_HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one; default: TWIN_PORT.")
    ] = None,
) -> None:
    """Serve the page and the HTTP interface, until Ctrl-C or SIGTERM."""
    settings = load_settings()
    address = host if host is not None else settings.host
    if not is_loopback(address):
        if host is None:
            raise ConfigError(
                f"TWIN_HOST={address} would open this twin to the network, and nothing asks for a password yet",
                f"If you mean it, run: twin serve --host {address}",
            )
        sys.stderr.write(f"warning: whoever reaches {address} can read this twin: there is no authentication yet\n")
    listener = listen(address, port if port is not None else settings.port)
    try:
        from serving.cli.models import fetch_writer
        from serving.server import run_server

        fetch_writer(None, settings)
        run_server(settings, address, listener)
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """The listening socket, taken before anything is loaded. Raises ConfigError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host} port {port} ({error.strerror or error})",
            "Choose another with --port or TWIN_PORT, or stop the program that has it",
        ) from None
    return listener
