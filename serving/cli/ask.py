"""`twin ask`: one question, one answer."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from twin.errors import InputError
from twin.records import SearchScope
from twin.settings import Settings, load_settings


def ask(
    question: Annotated[
        list[str] | None, typer.Argument(help='The question; "-" (or nothing, in a pipe) reads it from stdin.')
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the Answer record as JSON, nothing else.")] = False,
    thread: Annotated[str | None, typer.Option(help="Continue this conversation, or begin it.")] = None,
    writer: Annotated[str | None, typer.Option(help="Who writes the answer; default: TWIN_CHAT_MODEL.")] = None,
    author: Annotated[str, typer.Option(help="Ask only what this author wrote.")] = "",
    platform: Annotated[str, typer.Option(help="Ask only of this platform.")] = "",
    since: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Only what was published from then.")] = None,
    until: Annotated[str | None, typer.Option(metavar="YYYY-MM-DD", help="Only what was published before.")] = None,
) -> None:
    """Ask one question; the answer streams, with its sources.

    Exit status 0 when the twin answered, also when its answer is that it has not written about that.
    A running server of the same twin is used if there is one (TWIN_ATTACH).
    """
    from serving.cli.render import use_utf8
    from serving.schemas import check_thread_id

    use_utf8()
    settings = load_settings()
    text = read_question(question or [], settings)
    if thread is not None:
        check_thread_id(thread)
    scope = SearchScope(author=author, platform=platform, since=_day("--since", since), until=_day("--until", until))
    answer_once(settings, text, thread, writer, as_json, scope if scope != SearchScope() else None)


def _day(option: str, given: str | None) -> datetime | None:
    """The day's beginning. Raises InputError."""
    if given is None:
        return None
    try:
        return datetime.strptime(given, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise InputError(f"{option} {given!r} is not a day", "Write it as YYYY-MM-DD, for example 2024-05-31") from None


def read_question(words: list[str], settings: Settings) -> str:
    """The question from the arguments or stdin, checked. Raises InputError."""
    from serving.schemas import check_question, decode_question

    if words not in ([], ["-"]):
        return check_question(" ".join(words), settings.max_question_chars)
    if not words and sys.stdin.isatty():
        raise InputError("there is no question", 'Ask something, for example: twin ask "Why ...?"')
    # Four bytes hold any character: more than this is too long whatever it says.
    most = 4 * settings.max_question_chars + 8
    raw = sys.stdin.buffer.read(most + 1)
    return decode_question(raw, settings.max_question_chars, is_cut=len(raw) > most)


def answer_once(
    settings: Settings,
    question: str,
    thread: str | None,
    writer: str | None,
    as_json: bool,
    scope: SearchScope | None = None,
) -> None:
    """Ask, print, and raise ReportedError if the run failed."""
    import json

    from serving.cli.render import Printer, print_sources
    from serving.cli.session import ReportedError, open_session

    printer = None if as_json else Printer(sys.stdout, sys.stderr)
    answer: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None
    with open_session(settings, writer) as session:
        try:
            for event in session.ask(question, thread, writer, scope):
                if printer is not None:
                    printer.show(event)
                if event.type == "answer":
                    answer = event.data["answer"]
                elif event.type == "error":
                    problem = event.data
        except (KeyboardInterrupt, BrokenPipeError):
            session.cancel()
            raise
        finally:
            if printer is not None:
                printer.end()
        # Before the session closes, which takes a moment: nobody should wait for that.
        if answer is not None:
            if printer is None:
                sys.stdout.write(json.dumps(answer, ensure_ascii=False, indent=2) + "\n")
                sys.stdout.flush()
            else:
                print_sources(printer.citations.values(), sys.stdout)
    if problem is not None:
        raise ReportedError(problem)
    if answer is None:
        raise ReportedError({"detail": "the answer was stopped by somebody else"})
