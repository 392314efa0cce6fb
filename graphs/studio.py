"""The factory that `langgraph.json` names: the assistant for LangGraph Studio, without a checkpointer
(the development server brings its own)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from agent.services import open_services
from graphs.assistant import build_assistant
from twin.settings import load_settings

if TYPE_CHECKING:
    from langgraph.graph.state import CompiledStateGraph

    from agent.state import RunContext

    Compiled = CompiledStateGraph[Any, RunContext, Any, Any]

# The development server calls the factory for every run and every look at a thread, from several
# event loops; what is opened belongs to its loop.
_compiled: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Compiled]] = WeakKeyDictionary()


async def make_assistant() -> CompiledStateGraph[Any, RunContext, Any, Any]:
    """The compiled graph over the twin that the settings name, opened on the first call.

    Raises NotFoundError if nothing is indexed yet, and what else `open_services` raises; the next call
    then tries again.
    """
    loop = asyncio.get_running_loop()
    task = _compiled.get(loop)
    if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
        task = _compiled[loop] = loop.create_task(_compile())
    return await asyncio.shield(task)


async def _compile() -> CompiledStateGraph[Any, RunContext, Any, Any]:
    return build_assistant(await open_services(load_settings())).compile(name="assistant")
