"""Failures as clients see them: problem+json (RFC 9457) and the `error` event share one shape.

A TwinError speaks for itself. Anything else is an accident: it is logged with its stack, and the
client learns only where to look.
"""

from __future__ import annotations

import re

from pydantic import BaseModel, Field

from twin import errors
from twin.errors import InputError, TwinError


class Problem(BaseModel):
    """Body of every error response. `retryable`: the same request may work later."""

    type: str = Field(description="stable name of the kind of problem")
    title: str
    status: int
    detail: str
    retryable: bool = False

    def without_paths(self) -> Problem:
        """The problem as it may leave this machine."""
        return self.model_copy(update={"detail": without_paths(self.detail)})


class ThreadBusyError(TwinError):
    """The thread is already answering; two runs at once would lose messages."""

    exit_code = 5
    status = 409
    retryable = True


class QuestionTooLongError(InputError):
    """The question is over the limit."""

    status = 413


class ForbiddenError(InputError):
    """The request comes from a page or under a host name that this server does not serve."""

    status = 403


class RunTimeoutError(TwinError):
    """The run took longer than TWIN_RUN_TIMEOUT and was stopped."""

    exit_code = 7
    status = 504
    retryable = True


class ShuttingDownError(TwinError):
    """The server ends; it takes no new questions."""

    exit_code = 7
    status = 503
    retryable = True


class ServerGoneError(TwinError):
    """The running server that answered a moment ago does not answer any more."""

    exit_code = 7
    status = 502
    retryable = True


TITLES = {
    InputError: "The request cannot be used",
    errors.NotFoundError: "Not found",
    errors.ConfigError: "The twin is not set up for this",
    errors.StoreError: "A store cannot be used",
    errors.LockedError: "Somebody else is writing",
    errors.ModelError: "A model does not answer",
    ThreadBusyError: "The conversation is busy",
    QuestionTooLongError: "The question is too long",
    ForbiddenError: "Refused",
    RunTimeoutError: "The answer took too long",
}

INTERNAL = "internal"

_PATH = re.compile(r"""(?<![\w:/.])/(?:[^\s/,;:()'"]+/)+([^\s/,;:()'"]*)""")


def without_paths(text: str) -> str:
    """`text` with the last part of every absolute path alone: where files lie is for the log, not for clients."""
    return _PATH.sub(r"\1", text)


def type_of(kind: type[TwinError]) -> str:
    """`ThreadBusyError` -> `thread-busy`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__.removesuffix("Error")).lower() or "twin"


def problem_of(error: BaseException, reference: str = "") -> Problem:
    """What a client may know of `error`. `reference` (a run's id) is named where the log has more."""
    if isinstance(error, TwinError):
        title = next((TITLES[kind] for kind in type(error).__mro__ if kind in TITLES), "The twin cannot do this")
        return Problem(
            type=type_of(type(error)), title=title, status=error.status, detail=str(error), retryable=error.retryable
        )
    where = f", under {reference}" if reference else ""
    return Problem(
        type=INTERNAL,
        title="Something broke inside",
        status=500,
        detail=f"The log has the details{where}. Ask again; if it happens again, report it.",
        retryable=True,
    )


def _kinds(base: type[TwinError]) -> dict[str, type[TwinError]]:
    found = {type_of(base): base}
    for kind in base.__subclasses__():
        found |= _kinds(kind)
    return found


def exit_code_of(problem_type: str) -> int:
    """The command line's exit code for a problem met in a stream or an HTTP response; 1 if unknown."""
    kind = _kinds(TwinError).get(problem_type)
    return kind.exit_code if kind is not None else 1
