"""Errors, sorted by who must act.

Every error says what happened, where, and what to do, in one line: the command line prints
`str(error)` and exits with `exit_code`; HTTP maps it to problem+json (`status`, `retryable`).
"""

from __future__ import annotations


class TwinError(Exception):
    """Base of all errors that a user is meant to read.

    `message` says what and where; `hint` says what to do.
    """

    exit_code = 1
    status = 500
    retryable = False

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class InputError(TwinError):
    """The asker must act: an empty question, a file that cannot be read."""

    exit_code = 2
    status = 422


class NotFoundError(InputError):
    """What was named does not exist: a document, a run, a thread."""

    status = 404


class ConfigError(TwinError):
    """The operator must act: a setting, a missing extra, a port in use."""

    exit_code = 3
    status = 500


class MissingExtraError(ConfigError):
    """An optional dependency is not installed; the hint is the command that installs it."""


class StoreError(TwinError):
    """A store (warehouse, index, checkpoints) cannot be read or written as it is."""

    exit_code = 4
    status = 503


class IndexMismatchError(StoreError):
    """The index does not belong to this warehouse or embedding model; it must be rebuilt."""


class LockedError(StoreError):
    """Another process holds the write lock; the message says which."""

    exit_code = 5
    retryable = True


class ModelError(TwinError):
    """A model cannot be had or does not answer."""

    exit_code = 6
    status = 502
    retryable = True


class ModelFileError(ModelError):
    """A model file is missing, cannot be fetched, or has the wrong hash."""

    status = 503
    retryable = False
