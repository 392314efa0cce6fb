"""The factory that `langgraph.json` names: the assistant for LangGraph Studio, without a checkpointer
(the development server brings its own)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.services import open_services
from graphs.assistant import build_assistant
from twin.settings import load_settings

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from agent.state import RunContext


async def make_assistant() -> CompiledStateGraph[Any, RunContext, Any, Any]:
    """Open the services of the twin that the settings name and compile its graph.

    Raises NotFoundError if nothing is indexed yet, and what else `open_services` raises.
    """
    return build_assistant(await open_services(load_settings())).compile(name="assistant")
