"""Making a follow-up stand alone, without a model.

A follow-up ("and how much faster is that one?") is searched together with what the conversation is
about and, where there was an answer, with that answer's words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from knowledge.view import fold
from knowledge.words import STOP_WORDS, content_stems
from twin.records import Turn

_REFERS = re.compile(
    r"\b(?:it|its|they|them|their|theirs|that|those|this|these|ones|former|latter|instead|same|"
    r"(?:the|any|which|what|that|this) (?:\w+ )?(?:one|others?))\b",
    re.IGNORECASE,
)
"""Words that may point back; enough in a question with hardly a subject of its own. "He" and "she" do not: to
whoever asks a twin, that is the author."""
_CONTINUES = re.compile(
    r"^\W*(?:(?:and|but|so|or|then|also|what about|how about|which one)\b|why(?: not)?\W*$)", re.IGNORECASE
)
_PREPOSITION = r"\b(?:of|for|about|with|from|to|than|like|after|before|in|on|at|by)"
_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|theirs)\b"
    r"|\binstead\b(?! of\b)"
    # "that" and "this": after a preposition, as the end of a clause, as the subject of a question. Elsewhere
    # "that" mostly opens a clause ("did she say that lithium is better?").
    rf"|{_PREPOSITION} that\b"
    r"|\b(?:that|this)(?= *(?:[?.!;:,)]|$)| (?:and|or|but)\b)"
    r"|^\W*(?:(?:how|why|when|where|what) )?(?:is|was|does|did|do|would|will|can|could|has|should) that\b"
    r"|\b(?:the|that|this|which|any) (?!number\b)\w+ ones?\b(?!-)"
    r"|\bthe (?:others|rest)\b",
    re.IGNORECASE,
)
"""Words that point back whatever else is asked."""
_EMPTY_IT = re.compile(
    r"\b(?:(?:is|was|would|does|did|will|can) it (?:be )?(?:really |ever |still |always )?"
    r"(?:worth|true|possible|necessary|hard|difficult|easy|safe|wise|better|best|ok|okay|important|legal|common|"
    r"normal|sensible|reasonable|enough|make sense|matter|take|cost)"
    r"|it (?:takes?|costs?|is (?:worth|true|possible|better|best|hard|easy)))\b(?= (?:to|that|if|whether|\w+ing)\b)",
    re.IGNORECASE,
)
""" "It" that stands for what follows ("is it worth buying ...?")."""
_BARE = re.compile(
    r"\b(?:(?:those|these|the (?:former|latter|same)|(?:after|before|about|like|than|of|for|with) this|"
    r"(?:the|that|this|which) one)\b(?!-))(?: +([\w'-]+))?",
    re.IGNORECASE,
)
"""Words that point back where no noun follows them ("are those cheaper in winter" does not count, "those of" does
not either: it points forward)."""
_FORWARD = frozenset(["who", "whom", "whose", "which", "that", "of", "with", "without", "you", "i", "we"])
_VERBAL = frozenset(["still", "always", "often", "usually", "happen", "apply", "hold", "work", "last", "cost", "mean"])
"""What is no noun after such a word, besides the stop words."""
OWN_WORDS = 2
"""Content words from which a question has a subject of its own."""
SUBJECT_CHARACTERS = 300
"""Of what the conversation is about. With the answer's part and a question of usual length, that stays within the
256 tokens that the embedding model reads, which are cut at the end, where the question is."""
ANSWER_CHARACTERS = 300


def is_follow_up(question: str) -> bool:
    """Whether the question needs the conversation to be understood."""
    folded = fold(question)
    if _CONTINUES.match(folded):
        return True
    own = len(content_stems(folded))
    if own < OWN_WORDS:
        return not own or bool(_REFERS.search(_EMPTY_IT.sub(" ", folded)))
    return _points_back(folded)


def _points_back(folded: str) -> bool:
    said = _EMPTY_IT.sub(" ", folded)
    if _POINTS_BACK.search(said):
        return True
    return any(_is_bare(match.group(1)) for match in _BARE.finditer(said))


def _is_bare(following: str | None) -> bool:
    """Whether no noun, and nothing that points forward, comes next."""
    if following is None:
        return True
    word = following.lower()
    return word in _VERBAL or (word in STOP_WORDS and word not in _FORWARD)


def condense(question: str, turns: Sequence[Turn], subject: str = "", answered: str | None = None) -> str:
    """The question as it can be searched alone; the question itself where it stands alone already.

    What the conversation is about (`subject`; by default as `turns` tell) comes first, then the start of
    the last answer (`answered`; by default the last turn's text), then the question: whoever weighs words
    knows by its end which of them are asked now (`context_length`).
    """
    if not turns or not is_follow_up(question):
        return question
    if answered is None:
        answered = next((turn.text for turn in reversed(turns) if turn.role == "assistant"), "")
    parts = (subject or subject_of(turns), answered[:ANSWER_CHARACTERS].rstrip(), question)
    return " ".join(part for part in parts if part)


def subject_of(turns: Sequence[Turn], before: str = "") -> str:
    """What a conversation is about after these turns: the last question that stood alone and the follow-ups
    to it, at most SUBJECT_CHARACTERS. `before` is what it was about before them.

    Where that is too long, the latest follow-up stays and what it follows is cut.
    """
    subject = before
    for turn in turns:
        if turn.role == "user":
            subject = _follow(subject, turn.text) if is_follow_up(turn.text) else _start(turn.text, SUBJECT_CHARACTERS)
    return subject


def _follow(subject: str, question: str) -> str:
    latest = _start(question, SUBJECT_CHARACTERS // 2) if subject else _start(question, SUBJECT_CHARACTERS)
    return f"{_start(subject, SUBJECT_CHARACTERS - 1 - len(latest))} {latest}".strip()


def _start(text: str, most: int) -> str:
    """The start of the text, cut between words where there is a space to cut at."""
    if len(text) <= most:
        return text
    head = text[: most + 1]
    return (head[: head.rfind(" ")] if " " in head else head[:most]).rstrip()


def context_length(standalone: str, question: str) -> int:
    """How many characters of the folded `standalone` come from the conversation, before `question`."""
    whole, asked = fold(standalone), fold(question)
    return len(whole) - len(asked) if whole != asked and whole.endswith(asked) else 0
