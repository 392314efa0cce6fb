"""Making a follow-up stand alone, without a model.

A follow-up ("and how much faster is that one?") is searched together with the question it follows
and, where it points at the answer, with that answer's words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from knowledge.view import fold
from knowledge.words import content_stems
from twin.records import Turn

_REFERS = re.compile(
    r"\b(?:it|its|they|them|their|theirs|that|those|this|these|ones|former|latter|instead|same|"
    r"(?:the|any|which|what|that|this) (?:\w+ )?(?:one|others?))\b",
    re.IGNORECASE,
)
"""Words that point back. "He" and "she" do not: to whoever asks a twin, that is the author."""
_CONTINUES = re.compile(r"^\W*(?:and|but|so|or|then|also|what about|how about|why|why not|which one)\b", re.IGNORECASE)
ANSWER_CHARACTERS = 300


def is_follow_up(question: str) -> bool:
    """Whether the question needs the conversation to be understood."""
    folded = fold(question)
    if _CONTINUES.match(folded) or _REFERS.search(folded):
        return True
    return not content_stems(folded)


def condense(question: str, turns: Sequence[Turn]) -> str:
    """The question as it can be searched alone; the question itself where it stands alone already.

    The earlier question comes first, then the start of its answer, then the question: whoever weighs
    words knows by its end which of them are asked now (`context_length`).
    """
    if not turns or not is_follow_up(question):
        return question
    asked = _last(turns, "user")
    answered = _last(turns, "assistant")[:ANSWER_CHARACTERS]
    return " ".join(part for part in (asked, answered, question) if part)


def context_length(standalone: str, question: str) -> int:
    """How many characters of the folded `standalone` come from the conversation, before `question`."""
    whole, asked = fold(standalone), fold(question)
    return len(whole) - len(asked) if whole != asked and whole.endswith(asked) else 0


def _last(turns: Sequence[Turn], role: str) -> str:
    return next((turn.text for turn in reversed(turns) if turn.role == role), "")
