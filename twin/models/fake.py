"""A chat model with a script: a provider like any other, for running everything with no model at all."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, PrivateAttr

from twin.errors import ModelError

Reply = str | Exception
Script = Sequence[Reply] | Callable[[list[BaseMessage]], Reply]

NO_PASSAGE = "I have not written about that."

# A passage as `twin/prompts/answer.md` shows it: `[1] title`, then its text, up to the next number.
_PASSAGE = re.compile(r"^\[(\d+)\][^\n]*\n(.+?)(?=^\[\d+\]|\Z)", re.DOTALL | re.MULTILINE)
_SENTENCE = re.compile(r"[^\n#>`|*-].+?[.!?](?=\s|$)", re.DOTALL)


def first_passage_sentence(messages: list[BaseMessage]) -> str:
    """The first sentence of the first passage in the prompt, followed by that passage's number.

    The default behaviour of the fake: an answer in the form a real model is asked for, which its
    passage supports, the same every time. `NO_PASSAGE` if the prompt shows no passage.
    """
    for message in messages:
        for passage in _PASSAGE.finditer(message.text):
            for paragraph in re.split(r"\n\s*\n", passage.group(2)):
                sentence = _SENTENCE.match(paragraph.strip())
                if sentence is not None:
                    return f"{' '.join(sentence.group().split())} [{passage.group(1)}]"
    return NO_PASSAGE


class ScriptedChatModel(BaseChatModel):
    """Replies by a script: a list that is used up in order, or a function of the messages.

    A reply that is an exception is raised. Every call's messages are kept in `calls`. Streaming gives
    a piece per word and yields to the event loop between them; `seconds_per_word` slows it down.
    """

    script: Any = Field(default=first_passage_sentence, description="replies in order, or messages -> reply")
    seconds_per_word: float = 0.0
    calls: list[list[BaseMessage]] = Field(default_factory=list)
    _used: int = PrivateAttr(default=0)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _reply(self, messages: list[BaseMessage]) -> str:
        self.calls.append(list(messages))
        if callable(self.script):
            reply: Reply = self.script(messages)
        elif self._used < len(self.script):
            reply = self.script[self._used]
            self._used += 1
        else:
            raise ModelError(f"the scripted model has no reply left after {self._used}", "Give it a longer script")
        if isinstance(reply, Exception):
            raise reply
        return reply

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=self._reply(messages)))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for piece in _pieces(self._reply(messages)):
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if run_manager is not None:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for piece in _pieces(self._reply(messages)):
            await asyncio.sleep(self.seconds_per_word)
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=piece))
            if run_manager is not None:
                await run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


def _pieces(text: str) -> list[str]:
    """The text word by word, white space with the word before it; nothing is lost."""
    return re.findall(r"\s*\S+\s*", text) or [text]
