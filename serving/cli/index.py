"""`twin index`: check the search index against the stored documents, build it anew."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from twin.errors import IndexMismatchError
from twin.settings import Settings, load_settings

if TYPE_CHECKING:
    from twin.models.embed import Embedder

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Check the search index, build it anew.")


@app.command()
def check() -> None:
    """Compare the index with the stored documents and the settings; exit status 0 if they fit."""
    from twin.models.embed import open_embedder

    settings = load_settings()
    typer.echo(asyncio.run(_check(settings, open_embedder(settings))))


@app.command()
def rebuild(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no closing line.")] = False,
) -> None:
    """Build the index anew from the stored documents. The old one serves until the new one is complete."""
    from knowledge.sync import rebuild_index
    from serving.cli.ingest import reporting_progress
    from twin.models.embed import open_embedder

    settings = load_settings()
    embedder = open_embedder(settings)
    with reporting_progress(quiet) as report_progress:
        report = rebuild_index(settings, embedder, report_progress)
    if not quiet:
        typer.echo(f"indexed {report.chunks_embedded:,} passages in {report.seconds:.1f} s")


async def _check(settings: Settings, embedder: Embedder) -> str:
    """One line about an index that fits. Raises IndexMismatchError, NotFoundError or StoreError."""
    from knowledge.index import open_index
    from knowledge.sync import COMPLETE_HINT, check_consistency
    from knowledge.warehouse import open_warehouse

    index = await open_index(settings, embedder.identity, embedder.dimension)
    try:
        found = await check_consistency(open_warehouse(settings), index)
        if found.message:
            raise IndexMismatchError(found.message, COMPLETE_HINT)
        stats = await index.stats()
    finally:
        await index.close()
    return f"the index fits: {stats.documents:,} documents, {stats.chunks:,} passages, {embedder.identity}"
