"""The assistant graph: wiring only.

condense -> retrieve -> weigh -> write -> finish, with a way out to `abstain` where the passages
cannot answer or nothing that was written could be supported. Citations are verified sentence by
sentence inside `write`, before a sentence is released to the stream.
"""

from __future__ import annotations

from typing import Literal

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from agent.nodes import AssistantNodes
from agent.routers import after_weighing, after_writing
from agent.services import Services
from agent.state import AssistantInput, AssistantState, RunContext


def build_assistant(services: Services) -> StateGraph[AssistantState, RunContext, AssistantInput, AssistantState]:
    """The graph, not compiled; whoever runs it chooses the checkpointer."""
    nodes = AssistantNodes(services)

    def can_answer(state: AssistantState, runtime: Runtime[RunContext]) -> Literal["write", "abstain"]:
        return after_weighing(state, services.threshold(runtime.context.abstain_below))

    graph = StateGraph(AssistantState, context_schema=RunContext, input_schema=AssistantInput)
    graph.add_node("condense", nodes.condense)
    graph.add_node("retrieve", nodes.retrieve)
    graph.add_node("weigh", nodes.weigh)
    graph.add_node("write", nodes.write)
    graph.add_node("finish", nodes.finish)
    graph.add_node("abstain", nodes.abstain)
    graph.add_edge(START, "condense")
    graph.add_edge("condense", "retrieve")
    graph.add_edge("retrieve", "weigh")
    graph.add_conditional_edges("weigh", can_answer)
    graph.add_conditional_edges("write", after_writing)
    graph.add_edge("finish", END)
    graph.add_edge("abstain", END)
    return graph
