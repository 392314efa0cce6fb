"""`twin ingest`: files and folders into the twin."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twin.settings import load_settings

if TYPE_CHECKING:
    from knowledge.sync import IngestReport, Progress

app = typer.Typer(rich_markup_mode=None)

SHOWN_PER_REASON = 10


@app.command()
def ingest(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files and folders: Markdown, text, HTML, JSON, JSONL.")
    ],
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no table; only what went wrong.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, nothing else.")] = False,
) -> None:
    """Read files and folders into the twin.

    What has not changed costs nothing. It can be stopped at any time; the next run completes it,
    whatever it is given. Files that cannot be read are listed with the reason and the rest goes on;
    the exit status is 1 only if a PATH named here could not be read itself, or nothing was read at all.
    """
    from knowledge.sources import read_sources
    from knowledge.sync import ingest as run
    from serving.cli.render import use_utf8
    from twin.models.embed import open_embedder

    use_utf8()
    settings = load_settings()
    read_sources(
        paths, settings.tenant, settings.max_file_bytes
    )  # a path that is not there is told before a model loads
    embedder = open_embedder(settings)
    try:
        with reporting_progress(quiet or as_json) as report_progress:
            report = run(paths, settings, embedder, report_progress)
    except KeyboardInterrupt:
        typer.echo("stopped; what is done is kept, and the same command goes on from there", err=True)
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(report.model_dump_json(indent=2))
    elif not quiet:
        typer.echo(describe(report))
    named = {str(path) for path in paths}
    failed = [one for one in report.skipped if one.origin in named]
    if not report.read or failed:
        if quiet or as_json:
            for one in failed:
                typer.echo(f"{_plain(one.origin)}: {_plain(one.reason)}", err=True)
        if not report.read:
            typer.echo(f"nothing was read in {', '.join(_plain(name) for name in sorted(named))}", err=True)
        raise typer.Exit(1)


def describe(report: IngestReport) -> str:
    """The closing table, and what was skipped, by reason."""
    rows = [
        ("read", report.read, "documents"),
        ("new", report.new, ""),
        ("changed", report.changed, ""),
        ("unchanged", report.unchanged, ""),
        ("skipped", len(report.skipped), ""),
    ]
    if report.completed:
        rows.append(("completed", report.completed, "documents that an earlier run had left to index"))
    if report.removed:
        rows.append(("removed", report.removed, "documents that are no longer stored, from the index"))
    rate = f"passages in {report.seconds:.1f} s ({report.chunks_per_second:.0f}/s)"
    rows.append(("embedded", report.chunks_embedded, rate if report.chunks_embedded else "passages"))
    lines = [f"{name:<10} {count:>7,}  {text}".rstrip() for name, count, text in rows]
    return "\n".join([*lines, *_skipped_lines(report)])


def _skipped_lines(report: IngestReport) -> Iterator[str]:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for one in report.skipped:
        by_reason[one.reason].append(one.origin)
    if by_reason:
        yield "\nSkipped:"
    for reason, origins in by_reason.items():
        for origin in origins[:SHOWN_PER_REASON]:
            yield f"  {_plain(origin)}: {_plain(reason)}"
        if len(origins) > SHOWN_PER_REASON:
            yield f"  … and {len(origins) - SHOWN_PER_REASON:,} more: {_plain(reason)}"


@contextmanager
def reporting_progress(quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Shows progress on stderr: a bar on a terminal, else only messages such as who holds the lock."""
    if quiet or not sys.stderr.isatty():
        yield _tell_message
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.fields[read]:,} documents read, passages"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=None, read=0)

        def show(progress: object) -> None:
            from knowledge.sync import Progress as Told

            if isinstance(progress, Told):
                if progress.message:
                    bar.console.print(progress.message, markup=False)
                total = progress.chunks or None
                bar.update(task, read=progress.read, completed=progress.embedded, total=total)

        yield show


def _tell_message(progress: Progress) -> None:
    if progress.message:
        typer.echo(progress.message, err=True)


def _plain(text: str) -> str:
    from serving.cli.render import plain

    return " ".join(plain(text).split())
