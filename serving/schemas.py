"""What clients send: shapes of requests, and what counts as a question."""

from __future__ import annotations

import re
import secrets
import unicodedata

from pydantic import BaseModel, ConfigDict, Field, StrictStr

from knowledge.view import fold
from serving.problems import QuestionTooLongError
from twin.errors import InputError
from twin.records import SearchScope

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_ID = re.compile(ID_PATTERN)
_WHITE_SPACE_CONTROLS = "\n\r\t"


class ChatRequest(BaseModel):
    """A question; without `thread_id` a new conversation begins."""

    model_config = ConfigDict(extra="forbid")

    question: StrictStr = Field(description="plain text; the limit is TWIN_MAX_QUESTION_CHARS")
    thread_id: StrictStr | None = Field(default=None, pattern=ID_PATTERN, description="conversation to continue")
    writer: StrictStr | None = Field(default=None, max_length=64, description="who writes; default TWIN_CHAT_MODEL")
    answer_sentences: int | None = Field(default=None, ge=1, le=20, description="most sentences of the answer")
    abstain_below: float | None = Field(default=None, ge=0, le=1, description="abstain under this confidence")
    scope: SearchScope | None = Field(default=None, description="ask only of these documents")


def new_thread_id() -> str:
    return f"t-{secrets.token_hex(5)}"


def new_run_id() -> str:
    return f"r-{secrets.token_hex(8)}"


def check_thread_id(thread_id: str) -> str:
    """`thread_id` itself. Raises InputError if it cannot name a conversation."""
    if _ID.fullmatch(thread_id) is None:
        raise InputError(
            "a conversation's id has 1 to 64 letters, digits, dots, dashes or underscores, and starts with a letter "
            "or digit",
            "Leave it out to start a new conversation",
        )
    return thread_id


def check_question(question: str, limit: int) -> str:
    """The question without white space around it. `limit` is in characters (code points).

    Raises QuestionTooLongError over the limit; InputError if it is blank, without words or not text.
    """
    if len(question) > limit:
        raise _too_long(f"the question has {len(question):,} characters, the limit is {limit:,}")
    for position, character in enumerate(question):
        category = unicodedata.category(character)
        if category == "Cs" or (category == "Cc" and character not in _WHITE_SPACE_CONTROLS):
            raise InputError(
                f"the question is not plain text: character {position + 1} is U+{ord(character):04X}",
                "Send UTF-8 text without control characters",
            )
    words = fold(question)
    if not words:
        raise InputError("the question is empty", 'Ask something, for example: twin ask "Why ...?"')
    if not any(character.isalnum() for character in words):
        raise InputError("the question has no words", 'Ask something, for example: twin ask "Why ...?"')
    return question.strip()


def _too_long(message: str) -> QuestionTooLongError:
    return QuestionTooLongError(message, "Ask something shorter, or raise TWIN_MAX_QUESTION_CHARS")


def decode_question(raw: bytes, limit: int, *, is_cut: bool = False) -> str:
    """A question read as bytes (a pipe, a file). `is_cut`: there is more than was read, which is too long.

    Raises as `check_question` does; also if it is not UTF-8.
    """
    if is_cut:
        raise _too_long(f"the question has more than {limit:,} characters, which is the limit")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"the question is not UTF-8 text: byte {error.start + 1} is 0x{raw[error.start]:02X}",
            "Convert it first, for example with iconv",
        ) from None
    return check_question(text.removeprefix("\ufeff"), limit)
