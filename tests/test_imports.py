"""The house's import direction, read from the source, and what the base environment must not pull in."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT: dict[str, frozenset[str]] = {
    "twin": frozenset(),
    "knowledge": frozenset({"twin"}),
    "tools": frozenset({"twin", "knowledge"}),
    "agent": frozenset({"twin", "knowledge", "tools"}),
    "graphs": frozenset({"twin", "knowledge", "tools", "agent"}),
    "serving": frozenset({"twin", "knowledge", "tools", "agent", "graphs"}),
    "evals": frozenset({"twin", "knowledge"}),
    "training": frozenset({"twin", "knowledge", "evals"}),
}
EXTRA = {"evals/run.py": frozenset({"agent", "graphs"})}
"""Evals run the assistant in one module only; tasks and scorers stay free of it, so that training may use them."""
CLI_FOLDER = "serving/cli/"
LIGHT_AT_THE_TOP = {"twin", "serving"}


def modules() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for top in MAY_IMPORT for path in (ROOT / top).rglob("*.py"))


def imported(path: str, *, top_level_only: bool = False) -> set[str]:
    """Top-level names of our own packages that the module imports."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names.add(node.module or "")
    return {name.split(".")[0] for name in names} & set(MAY_IMPORT)


@pytest.mark.parametrize("path", modules())
def test_imports_point_the_right_way(path: str) -> None:
    package = path.split("/")[0]
    allowed = MAY_IMPORT[package] | {package} | EXTRA.get(path, frozenset())
    if path.startswith(CLI_FOLDER):
        allowed = frozenset(MAY_IMPORT)
    assert imported(path) <= allowed, f"{path} imports {sorted(imported(path) - allowed)}"


@pytest.mark.parametrize("path", [path for path in modules() if path.startswith(CLI_FOLDER)])
def test_commands_import_the_rest_inside(path: str) -> None:
    assert imported(path, top_level_only=True) <= LIGHT_AT_THE_TOP


def test_training_does_not_reach_the_assistant_through_evals() -> None:
    for path in modules():
        if path.startswith("training/"):
            source = (ROOT / path).read_text(encoding="utf-8")
            assert "evals.run" not in source, f"{path} imports evals.run"


@pytest.mark.parametrize(
    "statement",
    [
        "import serving.app, serving.runtime, graphs.assistant, agent.services, evals.run",
        "from twin.settings import Settings; from twin.models.embed import open_embedder; open_embedder(Settings())",
    ],
)
def test_our_modules_pull_in_neither_torch_nor_transformers(statement: str) -> None:
    """Run where torch is installed (make test-training) this shows that we do not import it either."""
    check = f"{statement}\nimport sys\nprint([name for name in ('torch', 'transformers') if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"


def test_help_loads_nothing_heavy() -> None:
    heavy = ("lancedb", "deltalake", "polars", "langgraph", "langchain_core", "onnxruntime", "fastapi", "numpy")
    check = (
        "import sys\nsys.argv = ['twin', '--help']\n"
        "import serving.cli\n"
        "try:\n    serving.cli.main()\nexcept SystemExit:\n    pass\n"
        f"print('HEAVY', [name for name in {heavy!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert "HEAVY []" in result.stdout, result.stdout + result.stderr
