"""The command line over the stand-in assistant: `python -m tests.command ask "..."`.

The stand-ins take the real parts' places without being imported, so that what a command loads, and
when, is as it would be.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

from serving.cli import main


class StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("tests.fakes_graph"), name)


if __name__ == "__main__":
    for replaced in ("agent.services", "graphs.assistant"):
        sys.modules[replaced] = StandIn(replaced)
    main()
