"""`twin eval retrieval|answers QUESTIONS...`: measure the twin on questions with known answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twin.errors import InputError
from twin.settings import load_settings

if TYPE_CHECKING:
    from evals.tasks import Question

app = typer.Typer(help="Measure the twin on questions with known answers.", no_args_is_help=True)

Files = Annotated[list[Path], typer.Argument(metavar="QUESTIONS...", help="question files (JSONL)")]
Out = Annotated[Path | None, typer.Option("--out", help="write every result as JSON to this file")]


@app.command()
def retrieval(questions: Files, out: Out = None) -> None:
    """Hit@1, hit@5 and MRR of retrieval, by kind of question."""
    from evals.report import retrieval_rows, write_report
    from evals.run import run_retrieval

    loaded = _load(questions, out)
    answerable = sum(question.answerable for question in loaded)
    if not answerable:
        raise InputError(
            f"none of the {len(loaded)} questions is answerable, so retrieval has nothing to find",
            "Add questions with gold_links, or run: twin eval answers",
        )
    results = asyncio.run(_with_services(lambda services, tick: run_retrieval(services, loaded, tick), answerable))
    rows = retrieval_rows(results)
    _table(f"Retrieval, {len(results)} answerable questions", rows)
    milliseconds = sorted(1000 * result.seconds for result in results)
    print(f"time per question: median {milliseconds[len(milliseconds) // 2]:.0f} ms")
    if out is not None:
        write_report(out, {"suite": "retrieval", "table": rows, "results": results})


@app.command()
def answers(
    questions: Files,
    writer: Annotated[str | None, typer.Option(help="who writes; default: TWIN_CHAT_MODEL")] = None,
    out: Out = None,
) -> None:
    """What answers include, cite and refuse, by kind of question."""
    from evals.report import abstention, answer_rows, measured, write_report
    from evals.run import run_answers

    loaded = _load(questions, out)
    results = asyncio.run(
        _with_services(lambda services, tick: run_answers(services, loaded, writer, tick), len(loaded))
    )
    rows, refusals = answer_rows(results), abstention(results)
    _table(f"Answers, {len(results)} questions", rows)
    precision, recall = (
        measured(refusals["precision"], "nothing was refused"),
        measured(refusals["recall"], "no unanswerable questions"),
    )
    print(f"abstention: precision {precision}, recall {recall}")
    print(f"answerable questions refused: {measured(refusals['answerable_refused'], 'no answerable questions')}")
    area = measured(refusals["auc"], "needs both kinds")
    low, high = refusals["auc_interval"]
    print(f"area under the curve of the confidence: {area}" + ("" if isnan(low) else f" [{low:.3f}, {high:.3f}]"))
    milliseconds = sorted(1000 * result.seconds for result in results)
    print(f"time per question: median {milliseconds[len(milliseconds) // 2]:.0f} ms")
    if out is not None:
        report = {"suite": "answers", "table": rows, "abstention": refusals, "results": results}
        write_report(out, report)


def _load(paths: Sequence[Path], out: Path | None) -> list[Question]:
    """The questions, once it is sure that the report can be written. Raises InputError or StoreError."""
    from evals.report import check_writable
    from evals.tasks import load_questions

    loaded = load_questions(paths)
    if out is not None:
        check_writable(out)
    return loaded


async def _with_services(work: Any, total: int) -> Any:
    """Open the services, run `work(services, tick)` under a progress bar, close them."""
    from rich.console import Console
    from rich.progress import Progress

    from agent.services import open_services

    services = await open_services(load_settings())
    try:
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("asking", total=total)
            return await work(services, lambda done: progress.update(task, completed=done))
    finally:
        await services.close()


def _table(title: str, rows: Sequence[dict[str, str]]) -> None:
    from rich.table import Table

    from serving.cli.render import console

    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name, justify="left" if name == "kind" else "right")
    for row in rows:
        table.add_row(*row.values())
    console().print(table)
