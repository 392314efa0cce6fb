"""What `ask` and `chat` talk to: a running server of the same twin, or the twin opened in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from twin.errors import TwinError
from twin.records import SearchScope
from twin.settings import Settings


class Streamed(NamedTuple):
    """An event of a run, as JSON has it."""

    type: str
    data: dict[str, Any]


class Session(Protocol):
    """A twin, used by one person: one question at a time."""

    where: str
    """For messages: the server's address, or "this process"."""

    def ask(
        self, question: str, thread_id: str | None, writer: str | None, scope: SearchScope | None = None
    ) -> Iterator[Streamed]:
        """The run's events to the last. Raises TwinError if the run cannot start."""

    def cancel(self) -> None:
        """Stop the run under way, if there is one, and return when it has stopped."""

    def thread(self, thread_id: str) -> dict[str, Any] | None:
        """The conversation as `GET /v1/threads/{id}` has it; None if there is none."""

    def close(self) -> None:
        """Let go of whatever is open."""


class ReportedError(TwinError):
    """A problem that came in a stream or an HTTP response, in the words of whoever reported it."""

    def __init__(self, problem: dict[str, Any]) -> None:
        from serving.problems import exit_code_of

        super().__init__(str(problem.get("detail") or problem.get("title") or "the run failed"))
        self.exit_code = exit_code_of(str(problem.get("type", "")))
        self.retryable = bool(problem.get("retryable"))


@contextmanager
def open_session(settings: Settings, writer: str | None = None) -> Iterator[Session]:
    """Attach to a running server of this twin where TWIN_ATTACH allows and one answers; else open the twin,
    the model that `writer` names fetched first."""
    from serving.cli.attach import find_server

    session: Session | None = find_server(settings) if settings.attach else None
    if session is None:
        from serving.cli.local import LocalSession
        from serving.cli.models import fetch_writer

        fetch_writer(writer, settings)
        session = LocalSession(settings)
    try:
        yield session
    finally:
        session.close()
