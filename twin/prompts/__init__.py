"""Prompts: files with strict variables and a version.

A prompt file starts with `version: N` and a line `---`; variables are written `{{name}}`. Rendering
with a variable missing, or one too many, is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

_VARIABLE = re.compile(r"\{\{([a-z_]+)\}\}")


@dataclass(frozen=True)
class Prompt:
    """A versioned template. `identity` (name@version) is stored with every run that used it."""

    name: str
    version: str
    template: str

    @property
    def identity(self) -> str:
        return f"{self.name}@{self.version}"

    def render(self, **values: str) -> str:
        """The text with every variable filled in, in one pass: values are never rendered again.

        Raises ValueError naming the variables that are missing or unknown.
        """
        wanted = set(_VARIABLE.findall(self.template))
        if wanted != set(values):
            missing, unknown = sorted(wanted - set(values)), sorted(set(values) - wanted)
            raise ValueError(f"prompt {self.identity}: missing {missing}, unknown {unknown}")
        return _VARIABLE.sub(lambda match: values[match.group(1)], self.template)


@lru_cache(maxsize=32)
def load_prompt(name: str) -> Prompt:
    """The prompt in `twin/prompts/<name>.md`."""
    head, _, template = resources.files("twin.prompts").joinpath(f"{name}.md").read_text().partition("\n---\n")
    return Prompt(name, head.removeprefix("version:").strip(), template.strip())
