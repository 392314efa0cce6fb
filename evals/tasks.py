"""Questions with known answers: the tasks of the evals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from twin.errors import InputError
from twin.records import Record, Turn

UNANSWERABLE = "unanswerable"
ALL_LINKS_NEEDED = frozenset({"multi_doc"})


class HistoryTurn(Record):
    """An earlier message, as question files hold it."""

    role: str
    content: str


class Question(Record):
    """One question of a question file.

    `gold_links`: URLs of the documents that answer it, any of them, or all for kind `multi_doc`.
    `must_include`: every element must occur in the answer; `a|b` means either.
    """

    id: str
    question: str
    kind: str
    gold_links: tuple[str, ...] = ()
    gold_spans: tuple[str, ...] = ()
    answer: str = ""
    must_include: tuple[str, ...] = ()
    history: tuple[HistoryTurn, ...] = ()

    @property
    def answerable(self) -> bool:
        return self.kind != UNANSWERABLE

    @property
    def turns(self) -> list[Turn]:
        return [Turn(role="user" if turn.role == "user" else "assistant", text=turn.content) for turn in self.history]


def load_questions(paths: Sequence[Path]) -> list[Question]:
    """The questions of JSONL files, in order.

    Raises InputError naming file and line of what is no question, and of an id that occurs twice.
    """
    questions: list[Question] = []
    seen: set[str] = set()
    for path in paths:
        for number, line in enumerate(_lines(path), start=1):
            if not line.strip():
                continue
            try:
                question = Question.model_validate(json.loads(line))
            except ValidationError as error:
                problem = error.errors()[0]
                where = ".".join(str(part) for part in problem["loc"])
                raise InputError(f"{path}:{number} is no question: {where}: {problem['msg']}") from None
            except ValueError as error:
                raise InputError(f"{path}:{number} is no JSON: {error}") from None
            if question.id in seen:
                raise InputError(f"{path}:{number}: the id {question.id!r} occurs twice")
            seen.add(question.id)
            questions.append(question)
    if not questions:
        raise InputError(f"there are no questions in {', '.join(map(str, paths))}")
    return questions


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
