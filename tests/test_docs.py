"""Documents that come from code are up to date, and what the others name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.write_settings_docs import env_example, settings_page
from serving.cli.app import COMMANDS
from twin.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), ROOT / "examples/README.md"])
NOT_ABOUT_THE_PAST = [page for page in PAGES if page.name != "CHANGELOG.md"]


def test_the_settings_page_and_the_example_are_what_the_code_says() -> None:
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == settings_page(), "run: make docs"
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == env_example(), "run: make docs"


def test_every_setting_has_a_description() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("page", NOT_ABOUT_THE_PAST, ids=lambda page: page.name)
def test_commands_named_in_documents_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|\$ |bin/|^\s*)twin ([a-z]+)\b", text, re.MULTILINE))
    assert named <= {*COMMANDS}, f"{page.name} names {sorted(named - {*COMMANDS})}"


@pytest.mark.parametrize("page", NOT_ABOUT_THE_PAST, ids=lambda page: page.name)
def test_make_targets_and_settings_named_in_documents_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets
    known = {f"TWIN_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bTWIN_[A-Z][A-Z_]*[A-Z]\b", text)) <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
