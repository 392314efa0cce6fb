"""Write docs/settings.md and .env.example from twin/settings.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from twin.settings import Settings

ROOT = Path(__file__).parent.parent


def default_of(field: Any) -> str:
    """The default as it would be written in the environment; empty where there is none."""
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, dict) else str(value)


def settings_page() -> str:
    """docs/settings.md."""
    rows = [
        f"| `TWIN_{name.upper()}` | {f'`{default_of(field)}`' if default_of(field) else ''} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Read from the environment and from a file `.env` in the folder where `twin` is started; the",
            "environment wins. A request (a flag, a field of the HTTP body) wins over both. This page is",
            "written by `make docs` from `twin/settings.py`.",
            "",
            "| setting | default | meaning |",
            "| --- | --- | --- |",
            *rows,
            "",
        ]
    )


def env_example() -> str:
    """.env.example: every setting with its default, commented out."""
    lines = ["# Every setting with its default; docs/settings.md says the same. Written by `make docs`.", ""]
    for name, field in Settings.model_fields.items():
        lines += [f"# {field.description}", f"# TWIN_{name.upper()}={default_of(field)}", ""]
    return "\n".join(lines)


def main() -> None:
    """Entry point."""
    (ROOT / "docs" / "settings.md").write_text(settings_page(), encoding="utf-8")
    (ROOT / ".env.example").write_text(env_example(), encoding="utf-8")


if __name__ == "__main__":
    main()
