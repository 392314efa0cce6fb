"""Chat models by alias: opening them, streaming, stopping, and what a user reads when they fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from twin.errors import ConfigError, ModelError
from twin.models.chat import chat_model_name, model_errors, open_chat_model
from twin.models.fake import NO_PASSAGE, ScriptedChatModel, first_passage_sentence
from twin.models.files import resolve
from twin.models.llamacpp import LlamaServer
from twin.settings import Endpoint, Settings, load_settings

KEY = "sk-very-secret-0123456789"

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def chunk(text: str) -> bytes:
    delta = {"role": "assistant", "content": text}
    body = {
        "id": "1",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "delta": delta}],
    }
    return f"data: {json.dumps(body)}\n\n".encode()


def plain(status: str, body: str, kind: str = "application/json") -> Reply:
    """A server's whole answer; the connection stays open for another request."""

    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = body.encode()
        writer.write(f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(raw)}\r\n\r\n".encode() + raw)

    return reply


def words(*texts: str) -> Reply:
    """A whole stream of tokens."""
    return plain("200 OK", b"".join(map(chunk, texts)).decode() + "data: [DONE]\n\n", "text/event-stream")


def stream_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")


class LoopbackEndpoint:
    """An OpenAI-compatible endpoint as far as these tests need one; keeps the requests it got."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests on one connection until either side ends it."""
        task = asyncio.current_task()
        assert task is not None
        self.open[task] = writer
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = (line for line in head.lower().splitlines() if line.startswith("content-length"))
                body = await reader.readexactly(int(next(lengths).split(":")[1]))
                self.requests.append((head, json.loads(body)))
                await self.reply(reader, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(reply: Reply) -> AsyncIterator[tuple[LoopbackEndpoint, Settings]]:
    endpoint = LoopbackEndpoint(reply)
    server = await asyncio.start_server(endpoint, "127.0.0.1", 0)
    try:
        yield endpoint, settings_for(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    finally:
        server.close()
        for writer in endpoint.open.values():
            writer.close()
        await asyncio.wait_for(asyncio.gather(*endpoint.open), 5)


def settings_for(url: str) -> Settings:
    endpoint = Endpoint.model_validate({"base_url": url, "model": "m", "api_key": KEY})
    return Settings(endpoints={"big": endpoint}, chat_retries=0, chat_timeout=5, chat_max_tokens=33)


async def streamed(settings: Settings) -> str:
    with model_errors("big", settings):
        return "".join([piece.text async for piece in open_chat_model("big", settings).astream("hello")])
    raise AssertionError("unreachable")


async def test_streams_token_by_token_with_the_settings_limits() -> None:
    async with serving(words("One ", "two ", "three.")) as (endpoint, settings):
        model = open_chat_model("big", settings)
        pieces = [piece.text async for piece in model.astream([SystemMessage("rules"), HumanMessage("hello")])]
    assert [piece for piece in pieces if piece] == ["One ", "two ", "three."]
    head, body = endpoint.requests[0]
    assert f"authorization: bearer {KEY}" in head.lower()
    assert body["model"] == "m"
    assert body["temperature"] == 0
    assert body["max_completion_tokens"] == 33
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_one_model_serves_one_event_loop_after_another() -> None:
    """A command line runs a loop per question; a connection of a loop that is gone must not be used."""

    async def main() -> list[str]:
        async with serving(words("fine")) as (_, settings):
            model = open_chat_model("big", settings)

            def in_another_loop() -> str:
                return asyncio.run(model.ainvoke("hello")).text  # type: ignore[arg-type]

            return [await asyncio.to_thread(in_another_loop) for _ in range(3)]

    assert asyncio.run(main()) == ["fine"] * 3


async def test_cancelling_closes_the_endpoints_stream() -> None:
    disconnected = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream_head(writer)
        writer.write(chunk("first "))
        await writer.drain()
        assert await reader.read() == b""
        disconnected.set()

    async with serving(endless) as (_, settings):
        first = asyncio.Event()

        async def consume() -> None:
            with model_errors("big", settings):
                async for _ in open_chat_model("big", settings).astream("hello"):
                    first.set()

        task = asyncio.create_task(consume())
        await asyncio.wait_for(first.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(disconnected.wait(), 5)


ECHOED = json.dumps({"error": {"message": f"bad thing with key {KEY}", "type": "x"}})


@pytest.mark.parametrize(
    ("reply", "expected", "retryable"),
    [
        (plain("401 Unauthorized", ECHOED), "refused the key (401)", False),
        (plain("404 Not Found", ECHOED), "does not know the model 'm'", False),
        (plain("400 Bad Request", ECHOED), "refused the request: ", False),
        (plain("429 Too Many Requests", ECHOED), "is over its limit", True),
        (plain("500 Internal Server Error", ECHOED), "failed (500)", True),
        (plain("200 OK", "<html>welcome</html>", "text/html"), "not one of an OpenAI-compatible endpoint", True),
        (plain("200 OK", "data: {broken\n\n", "text/event-stream"), "not one of an OpenAI-compatible endpoint", True),
        (plain("200 OK", f"data: {ECHOED}\n\n", "text/event-stream"), "failed: ", True),
        (plain("200 OK", "data: [1]\n\n", "text/event-stream"), "not one of an OpenAI-compatible endpoint", True),
        (plain("200 OK", "", "text/event-stream"), "not one of an OpenAI-compatible endpoint", True),
    ],
    ids=["key", "model", "request", "limit", "server", "html", "broken json", "error in stream", "other json", "empty"],
)
async def test_failures_say_where_and_what_and_never_the_key(reply: Reply, expected: str, retryable: bool) -> None:
    async with serving(reply) as (_, settings):
        with pytest.raises(ModelError) as caught:
            await streamed(settings)
    assert expected in str(caught.value)
    assert settings.endpoints["big"].base_url in str(caught.value)
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.retryable is retryable


async def test_an_answer_that_breaks_off_is_a_failure() -> None:
    async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = chunk("half an ")
        writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
        writer.close()

    async with serving(half) as (_, settings):
        with pytest.raises(ModelError, match="broke off"):
            await streamed(settings)


async def test_silence_is_a_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(silent) as (_, settings):
        with pytest.raises(ModelError, match=r"did not answer within 0\.2 s.*TWIN_CHAT_TIMEOUT"):
            await streamed(settings.model_copy(update={"chat_timeout": 0.2}))


async def test_silence_in_the_middle_is_a_timeout() -> None:
    async def stuck(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stream_head(writer)
        writer.write(chunk("first "))
        await reader.read()

    async with serving(stuck) as (_, settings):
        with pytest.raises(ModelError, match=r"did not answer within 0\.2 s"):
            await streamed(settings.model_copy(update={"chat_timeout": 0.2}))


async def test_nobody_listening() -> None:
    async with serving(plain("200 OK", "")) as (_, settings):
        pass
    with pytest.raises(ModelError, match="cannot be reached"):
        await streamed(settings)


async def test_an_accident_of_our_own_is_not_blamed_on_the_endpoint() -> None:
    async with serving(words("fine")) as (_, settings):

        async def misuse() -> None:
            with model_errors("big", settings):
                async for piece in open_chat_model("big", settings).astream("hello"):
                    float(piece.text)

        with pytest.raises(ValueError, match="could not convert"):
            await misuse()


def test_unknown_alias_lists_the_known_ones_and_how_to_define_one() -> None:
    settings = settings_for("http://127.0.0.1:1/v1")
    for unknown in ("huge", "minilm", "extractive"):
        with pytest.raises(ConfigError) as caught:
            open_chat_model(unknown, settings)
        assert "big, fake, smollm2" in str(caught.value)
        assert "TWIN_ENDPOINTS" in str(caught.value)
        with pytest.raises(ConfigError):
            chat_model_name(unknown, settings)
    assert [chat_model_name(alias, settings) for alias in ("big", "fake")] == ["m", "fake"]


PROMPT = """Rules:
- Cite like [1].

Passages:
[1] A title
## Heading

Rain stops play. It began at noon.

[2] Another
Snow is late."""


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (PROMPT, "Rain stops play. [1]"),
        ("[1] \nNo full stop here\n\n[2] T\nThis one\nhas one. And more.", "This one has one. [2]"),
        ("What do you think?", NO_PASSAGE),
        ("", NO_PASSAGE),
    ],
)
async def test_the_fake_quotes_the_first_passage(prompt: str, expected: str) -> None:
    messages = [SystemMessage(prompt), HumanMessage("Will there be rain?")]
    assert first_passage_sentence(messages) == expected
    model = open_chat_model("fake", Settings())
    assert (await model.ainvoke(messages)).text == expected
    assert "".join([piece.text async for piece in model.astream(messages)]) == expected


async def test_a_script_is_followed_and_recorded() -> None:
    model = ScriptedChatModel(script=["  One two.\nThree ", ValueError("boom")])
    pieces = [piece.text async for piece in model.astream([HumanMessage("a")])]
    assert "".join(pieces) == "  One two.\nThree "
    assert len([piece for piece in pieces if piece]) == 3
    with pytest.raises(ValueError, match="boom"):
        await model.ainvoke([HumanMessage("b"), AIMessage("c")])
    with pytest.raises(ModelError, match="no reply left"):
        model.invoke("d")
    assert [[message.text for message in call] for call in model.calls] == [["a"], ["b", "c"], ["d"]]


def test_what_llama_cpp_cannot_load_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(1000))
    with pytest.raises(ModelError, match=r"broken\.gguf"):
        LlamaServer(broken, threads=1).start()


async def test_the_local_model_answers_and_stops() -> None:
    """The real server and the real weights, where they have been fetched."""
    try:
        files = resolve("smollm2", load_settings())
    except ModelError as error:
        pytest.skip(str(error))
    server = LlamaServer(files[files.entry.files[0].name], threads=2, context=256)
    endpoint = await asyncio.to_thread(server.start)
    settings = Settings(endpoints={"local": endpoint}, chat_max_tokens=8, chat_retries=0)
    messages = [SystemMessage("You are a helpful assistant."), HumanMessage("What is the capital of France?")]
    try:
        with model_errors("local", settings):
            reply = "".join([piece.text async for piece in open_chat_model("local", settings).astream(messages)])
        assert "Paris" in reply
        stranger = endpoint.model_copy(update={"api_key": "guessed"})
        with pytest.raises(ModelError, match="refused the key"), model_errors("local", settings):
            await open_chat_model("local", settings.model_copy(update={"endpoints": {"local": stranger}})).ainvoke("hi")
        with pytest.raises(ModelError, match="refused the request"), model_errors("local", settings):
            await open_chat_model("local", settings).ainvoke("word " * 500)
    finally:
        await asyncio.to_thread(server.stop)
    with pytest.raises(ModelError, match="cannot be reached"), model_errors("local", settings):
        await open_chat_model("local", settings).ainvoke("hi")
