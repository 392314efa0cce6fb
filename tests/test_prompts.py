"""Prompts: strict variables, one pass, a version."""

from __future__ import annotations

import pytest

from twin.prompts import Prompt, load_prompt


def test_the_answer_prompt_renders_and_has_a_version() -> None:
    prompt = load_prompt("answer")
    assert prompt.identity == "answer@2"
    text = prompt.render(persona="Tove", sentences="5", passages="[1] T\nText.")
    assert "as Tove, in the first person" in text
    assert "{{" not in text


def test_missing_and_unknown_variables_are_errors() -> None:
    prompt = Prompt("p", "1", "Hello {{name}}")
    with pytest.raises(ValueError, match="missing \\['name'\\]"):
        prompt.render()
    with pytest.raises(ValueError, match="unknown \\['other'\\]"):
        prompt.render(name="a", other="b")


def test_values_are_never_rendered_again() -> None:
    assert Prompt("p", "1", "{{a}} {{b}}").render(a="{{b}}", b="x") == "{{b}} x"
