"""Optional dependencies: imported where they are used, named when they are missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from twin.errors import MissingExtraError


def require(module: str, extra: str) -> ModuleType:
    """Import `module`, which the extra `extra` of this project installs.

    Raises MissingExtraError with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs the Python package {error.name!r}, which is not installed",
            f"Install it with: pip install 'llm-twin[{extra}]' (in a checkout: pip install -e '.[{extra}]')",
        ) from error
