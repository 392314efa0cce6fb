"""The root of the command line. Commands are imported when they are called, so that help is instant."""

from __future__ import annotations

import importlib
import logging
import sys
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from twin.errors import ConfigError, TwinError

COMMANDS: dict[str, tuple[str, str, str]] = {
    "ask": ("serving.cli.ask", "ask", "Ask one question; the answer streams, with its sources."),
    "chat": ("serving.cli.chat", "chat", "Talk with the twin; it remembers the conversation."),
    "serve": ("serving.cli.serve", "serve", "Serve the page and the HTTP interface."),
    "ingest": ("serving.cli.ingest", "app", "Read files and folders into the twin."),
    "stats": ("serving.cli.documents", "stats", "Show what the twin holds."),
    "documents": ("serving.cli.documents", "app", "List documents, show one."),
    "index": ("serving.cli.index", "app", "Check the search index, build it anew."),
    "models": ("serving.cli.models", "app", "List, fetch and check model files."),
    "eval": ("serving.cli.eval", "app", "Measure retrieval and answers against questions with known answers."),
    "version": ("serving.cli.app", "version", "Print the version."),
}
"""Name -> module, attribute (a Typer or a command's function), and its line in the help."""

OWN_PACKAGES = ("twin", "knowledge", "tools", "agent", "graphs", "serving", "evals", "training")


class LazyGroup(TyperGroup):
    """Shows all commands in its help; imports the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        attributes["commands"] = {
            name: TyperCommand(name, help=text, short_help=text) for name, (_, _, text) in COMMANDS.items()
        }
        super().__init__(**attributes)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            configure_logging(stacks=name == "serve")
            command = load_command(name)
        return name, command, rest


def load_command(name: str) -> Any:
    """The command itself, its module imported."""
    module, attribute, text = COMMANDS[name]
    found = getattr(importlib.import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        function, found = found, typer.Typer(rich_markup_mode=None)
        found.command()(function)
    command = typer.main.get_command(found)
    command.name = name
    command.help = command.help or text
    return command


app = typer.Typer(
    cls=LazyGroup,
    help="An assistant that answers from one person's own writing, every claim cited.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root() -> None:
    """An assistant that answers from one person's own writing, every claim cited."""


def version() -> None:
    """Print the version."""
    from twin import __version__

    typer.echo(f"llm-twin {__version__}")


class ShortFormatter(logging.Formatter):
    """One line per record: whoever reads it is at a terminal, not in a log."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return "  (TWIN_LOG_LEVEL=DEBUG shows where)"


def configure_logging(stacks: bool) -> None:
    """Our packages log to stderr at TWIN_LOG_LEVEL, everybody else's only warnings.

    `stacks`: with the stack of every accident; they also come at level DEBUG.
    """
    from twin.settings import load_settings

    try:
        level = load_settings().log_level
    except ConfigError:
        level = "WARNING"
    formatter = logging.Formatter if stacks or level == "DEBUG" else ShortFormatter
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for package in OWN_PACKAGES:
        logging.getLogger(package).setLevel(level)


def run() -> None:
    """Run the command line: what a user should know is one line on stderr, and the exit status tells.

    Typer itself ends quietly when whoever reads the output has gone.
    """
    try:
        app(prog_name="twin")
    except TwinError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        if logging.getLogger("twin").isEnabledFor(logging.DEBUG):
            raise
        _fail(f"unexpected {type(error).__name__}: {error}. Run it again with TWIN_LOG_LEVEL=DEBUG for the details", 70)


def _fail(message: str, code: int) -> None:
    one_line = " ".join(message.split())
    sys.stderr.write(f"error: {one_line}\n".encode("utf-8", "backslashreplace").decode())
    raise SystemExit(code) from None
