"""`twin chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from twin.errors import TwinError
from twin.settings import Settings, load_settings

HELP = """\
/sources   where the last answer comes from, with the quoted words
/new       begin a new conversation
/help      this list
/quit      leave (or Ctrl-D); Ctrl-C stops an answer"""


def chat(
    thread: Annotated[str | None, typer.Option(help="Continue this conversation, or begin it.")] = None,
    writer: Annotated[str | None, typer.Option(help="Who writes the answers; default: TWIN_CHAT_MODEL.")] = None,
) -> None:
    """Talk with the twin; it remembers the conversation, also for the next time.

    Reads questions from a pipe too, one a line; the exit status is that of the last one that failed.
    """
    from serving.cli.render import use_utf8
    from serving.cli.session import open_session
    from serving.schemas import check_thread_id, new_thread_id

    use_utf8()
    settings = load_settings()
    thread_id = check_thread_id(thread) if thread is not None else new_thread_id()
    with open_session(settings, writer) as session:
        conversation = Conversation(settings, session, thread_id, writer)
        conversation.greet(session.where)
        conversation.loop()
    raise typer.Exit(conversation.exit_code)


class Conversation:
    """The state of one sitting: which thread, and the sources of the last answer."""

    def __init__(self, settings: Settings, session: Any, thread_id: str, writer: str | None) -> None:
        self.settings = settings
        self.session = session
        self.thread_id = thread_id
        self.writer = writer
        self.exit_code = 0
        self.citations: list[dict[str, Any]] = []
        self.interactive = sys.stdin.isatty()
        self.commands: dict[str, Callable[[], None]] = {
            "/sources": self.sources,
            "/new": self.new,
            "/help": lambda: say(HELP),
        }

    def greet(self, where: str) -> None:
        stored = self.session.thread(self.thread_id)
        if stored is not None:
            answers = [run["answer"] for run in stored["runs"] if run["answer"] is not None]
            self.citations = _citations(answers[-1]) if answers else []
            note(f"Conversation {self.thread_id}, {len(answers)} answers so far ({where}). /help lists the commands.")
        elif self.interactive:
            note(f"New conversation {self.thread_id} ({where}). /help lists the commands.")

    def loop(self) -> None:
        """Read and answer until the end of input, /quit, or Ctrl-C twice at the prompt."""
        if self.interactive:
            import readline  # noqa: F401  (line editing and history for input())
        interrupted = False
        while True:
            try:
                line = input("> " if self.interactive else "").strip()
            except EOFError:
                if self.interactive:
                    say("")
                return
            except KeyboardInterrupt:
                say("")
                if interrupted or not self.interactive:
                    raise
                interrupted = True
                note("Ctrl-C again leaves, so does Ctrl-D.")
                continue
            interrupted = False
            if line in ("/quit", "/exit"):
                return
            self.take(line)

    def take(self, line: str) -> None:
        """One line: a command, a question, or nothing."""
        if not line:
            return
        word = line.split()[0]
        if word.startswith("/") and "/" not in word[1:]:
            self.commands.get(word, lambda: note(f"There is no command {word}. /help lists them."))()
            return
        try:
            self.answer(line)
        except TwinError as error:
            note(f"error: {error}")
            self.exit_code = error.exit_code

    def answer(self, question: str) -> None:
        """Ask and print; Ctrl-C stops the answer. Raises TwinError."""
        from serving.cli.render import Printer
        from serving.cli.session import ReportedError
        from serving.schemas import check_question

        printer = Printer(sys.stdout, sys.stderr)
        problem = None
        try:
            for event in self.session.ask(
                check_question(question, self.settings.max_question_chars), self.thread_id, self.writer
            ):
                printer.show(event)
                if event.type == "error":
                    problem = event.data
                elif event.type == "answer":
                    self.citations = _citations(event.data["answer"])
        except KeyboardInterrupt:
            printer.end()
            self.session.cancel()
            note("Stopped; this question is not part of the conversation.")
            return
        printer.end()
        if problem is not None:
            raise ReportedError(problem)

    def sources(self) -> None:
        from serving.cli.render import plain, source_lines

        if not self.citations:
            note("The last answer has no sources.")
            return
        for line in source_lines(self.citations):
            say(line)
        for citation in self.citations:
            quoted = " ".join(plain(citation["quote"]).split())
            say(f"  [{citation['marker']}] “{quoted}”")

    def new(self) -> None:
        from serving.schemas import new_thread_id

        self.thread_id = new_thread_id()
        self.citations = []
        note(f"New conversation {self.thread_id}.")


def _citations(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer's citations, each marker once, in order."""
    cited = {citation["marker"]: citation for sentence in answer["sentences"] for citation in sentence["citations"]}
    return [cited[marker] for marker in sorted(cited)]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """What is about the conversation, not in it."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
