"""`twin documents` and `twin stats`: what the twin holds."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from twin.errors import InputError, NotFoundError, StoreError
from twin.settings import Settings, load_settings

if TYPE_CHECKING:
    from knowledge.index.contract import IndexIdentity, IndexStats
    from knowledge.warehouse import StoredDocument, Warehouse, WarehouseStats
    from twin.records import UtcDatetime

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List documents, show one.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, nothing else.")]
_LEAST_PREFIX = 4


@app.command("list")
def list_command(
    platform: Annotated[str | None, typer.Option(help="Only documents from this platform.")] = None,
    author: Annotated[str | None, typer.Option(help="Only documents by this author.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the newest.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line, nothing else.")] = False,
) -> None:
    """List the documents, the newest first."""
    from knowledge.warehouse import open_warehouse

    warehouse = open_warehouse(load_settings())
    documents = warehouse.list_documents(platform=platform, author=author, limit=limit)
    if as_json:
        for document in documents:
            typer.echo(document.model_dump_json())
        return
    for document in documents:
        typer.echo(_row(document))
    if not documents:
        told = " like that" if platform or author else " yet; run: twin ingest PATH..."
        typer.echo(f"there are no documents{told}", err=True)


@app.command()
def show(
    document_id: Annotated[str, typer.Argument(metavar="ID", help="A document's id, or the beginning of one.")],
    version: Annotated[str | None, typer.Option(help="A version that is kept; default: the current one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a document: what is known of it, and its text as it is stored."""
    from knowledge.warehouse import open_warehouse

    warehouse = open_warehouse(load_settings())
    document = warehouse.get(_whole_id(warehouse, document_id), version)
    if as_json:
        typer.echo(document.model_dump_json(indent=2))
        return
    for name, value in document.model_dump(mode="json", exclude={"text"}).items():
        if value:
            typer.echo(f"{name + ':':<14} {_plain(', '.join(value) if isinstance(value, list) else str(value))}")
    versions = warehouse.versions_of(document.document_id)
    if len(versions) > 1:
        typer.echo(f"{'kept:':<14} " + ", ".join(f"{one.version} ({_day(one.ingested_at)})" for one in versions))
    typer.echo(f"\n{_safe(document.text)}")


def stats(as_json: JsonOption = False) -> None:
    """Show what the twin holds."""
    from knowledge.warehouse import open_warehouse

    settings = load_settings()
    stored = open_warehouse(settings).stats()
    try:
        identity, indexed = asyncio.run(_index_stats(settings))
        problem = ""
    except (NotFoundError, StoreError) as error:
        identity, indexed, problem = None, None, str(error)
    if as_json:
        import json

        record = {
            "tenant": settings.tenant,
            "folder": str(settings.tenant_dir),
            "documents": stored.model_dump(mode="json"),
            "index": indexed.model_dump(mode="json") if indexed is not None else None,
            "built_with": identity.model_dump(mode="json") if identity is not None else None,
            "problem": problem,
        }
        typer.echo(json.dumps(record, ensure_ascii=False, indent=2))
        return
    typer.echo("\n".join(_stats_lines(settings, stored, identity, indexed)))
    if problem and stored.documents:
        typer.echo(f"index: {problem}", err=True)


def _stats_lines(
    settings: Settings, stored: WarehouseStats, identity: IndexIdentity | None, indexed: IndexStats | None
) -> list[str]:
    first, last = stored.first_published, stored.last_published
    rows = {
        "twin": f"{settings.tenant} in {settings.tenant_dir}",
        "documents": f"{stored.documents:,} ({stored.chars:,} characters; {stored.versions:,} versions kept)",
        "platforms": _counts(stored.platforms),
        "authors": _counts(stored.authors),
        "dates": f"{_day(first)} to {_day(last)}" if first is not None else "none",
        "read last": _day(stored.last_ingested),
        "warehouse": _size(stored.bytes_on_disk),
    }
    if indexed is not None and identity is not None:
        rows["passages"] = f"{indexed.chunks:,} of {indexed.documents:,} documents"
        rows["index"] = _size(indexed.bytes_on_disk)
        rows["embedder"] = f"{identity.embedder} ({identity.dimension} dimensions), passages: {identity.chunker}"
    return [f"{name:<10} {_plain(text)}" for name, text in rows.items()]


async def _index_stats(settings: Settings) -> tuple[IndexIdentity, IndexStats]:
    from knowledge.index import inspect_index

    index = await inspect_index(settings)
    try:
        return index.identity, await index.stats()
    finally:
        await index.close()


def _whole_id(warehouse: Warehouse, beginning: str) -> str:
    """The id that begins so; what is no beginning of one comes back as it is. Raises InputError."""
    known = warehouse.current_versions()
    if beginning in known:
        return beginning
    if len(beginning) < _LEAST_PREFIX:
        raise InputError(
            f"{beginning!r} is too little of a document's id",
            f"Give {_LEAST_PREFIX} characters or more; `twin documents list` lists the ids",
        )
    found = [one for one in known if one.startswith(beginning)]
    if len(found) > 1:
        some = ", ".join(sorted(found)[:5])
        raise InputError(f"{len(found)} documents begin with {beginning}: {some}", "Give more of the id")
    return found[0] if found else beginning


def _row(document: StoredDocument) -> str:
    parts = (_day(document.published_at), document.platform[:12], document.author[:20], document.title or document.uri)
    date, platform, author, title = (_plain(part) for part in parts)
    return f"{document.document_id}  {date:<10}  {platform:<12}  {author:<20}  {document.chars:>7,}  {title[:80]}"


def _counts(counts: dict[str, int], most: int = 8) -> str:
    shown = [f"{name or '(none)'} {count:,}" for name, count in list(counts.items())[:most]]
    return ", ".join(shown + ([f"and {len(counts) - most} more"] if len(counts) > most else [])) or "none"


def _day(moment: UtcDatetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment is not None else "-"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _plain(text: str) -> str:
    return " ".join(_safe(text).split())


def _safe(text: str) -> str:
    from serving.cli.render import plain

    return plain(text)
