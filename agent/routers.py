"""Routers: pure decisions over the state, typed by where they may lead."""

from __future__ import annotations

from typing import Literal

from agent.state import AssistantState


def after_weighing(state: AssistantState, threshold: float) -> Literal["write", "abstain"]:
    """Write only where the passages can answer; abstain otherwise."""
    if not state.get("evidence") or state.get("confidence", 0.0) < threshold:
        return "abstain"
    return "write"


def after_writing(state: AssistantState) -> Literal["finish", "abstain"]:
    """Finish if at least one claim was released; an answer of frames alone is none."""
    return "finish" if any(sentence.kind != "frame" for sentence in state.get("sentences", [])) else "abstain"
