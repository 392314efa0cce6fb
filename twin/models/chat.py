"""Chat models by alias, all behind LangChain's interface, their failures in words a user can act on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from twin.errors import ConfigError, ModelError
from twin.models.catalogue import CATALOGUE
from twin.models.cpu import worker_threads
from twin.models.files import OnProgress, ensure
from twin.models.progress import ProgressLine
from twin.settings import Endpoint, Settings, load_settings

if TYPE_CHECKING:
    import httpx
    from langchain_core.language_models import BaseChatModel

FAKE = "fake"
CONNECT_SECONDS = 10.0
DETAIL_CHARS = 200
"""How much of an endpoint's own error message is passed on."""

_CLIENT_PACKAGES = frozenset({"openai", "httpx", "langchain_core", "langchain_openai"})
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def chat_aliases(settings: Settings) -> list[str]:
    """Every alias that `open_chat_model` knows."""
    local = (alias for alias, entry in CATALOGUE.items() if entry.role == "chat")
    return sorted({FAKE, *local, *settings.endpoints})


def chat_model_name(alias: str, settings: Settings) -> str:
    """What is recorded with a run: the model an alias stands for. Raises ConfigError if there is none."""
    if alias in settings.endpoints:
        return settings.endpoints[alias].model
    if alias == FAKE:
        return FAKE
    entry = CATALOGUE.get(alias)
    if entry is None or entry.role != "chat":
        raise _unknown(alias, settings)
    return entry.files[0].name


def open_chat_model(alias: str, settings: Settings, on_progress: OnProgress | None = None) -> BaseChatModel:
    """The chat model of that alias: one of `settings.endpoints`, a local one of the catalogue, or `fake`.

    A local one is fetched if need be (reported to `on_progress`, by default as a line on stderr) and
    started; that blocks: call it in a thread. Raises ConfigError for an unknown alias, ModelFileError or
    ModelError if a local one cannot be had.
    """
    if alias in settings.endpoints:
        return _open_endpoint(settings.endpoints[alias], settings)
    if alias == FAKE:
        from twin.models.fake import ScriptedChatModel

        return ScriptedChatModel()
    entry = CATALOGUE.get(alias)
    if entry is None or entry.role != "chat":
        raise _unknown(alias, settings)
    from twin.models.llamacpp import shared_server

    files = ensure(alias, settings, on_progress or ProgressLine(f"fetching model {alias}"))
    model = files[entry.files[0].name]
    return _open_endpoint(shared_server(model, threads=worker_threads(settings)), settings)


def _unknown(alias: str, settings: Settings) -> ConfigError:
    return ConfigError(
        f"there is no chat model {alias!r}",
        f"Known: {', '.join(chat_aliases(settings))}. Define one with "
        f"""TWIN_ENDPOINTS='{{"{alias}": {{"base_url": "http://host:8001/v1", "model": "name", "api_key": "..."}}}}'""",
    )


def _open_endpoint(endpoint: Endpoint, settings: Settings) -> BaseChatModel:
    import httpx
    from langchain_openai import ChatOpenAI

    timeout = httpx.Timeout(settings.chat_timeout, connect=min(CONNECT_SECONDS, settings.chat_timeout))
    # A connection kept open belongs to the event loop that opened it, and breaks the next loop's call:
    # the command line runs a loop per question. A new connection is nothing beside a generation.
    limits = httpx.Limits(max_keepalive_connections=0)
    # A proxy has no business between this process and its own machine.
    through_proxy = urlsplit(endpoint.base_url).hostname not in _LOOPBACK
    return ChatOpenAI(
        base_url=endpoint.base_url,
        api_key=endpoint.api_key,
        model=endpoint.model,
        temperature=0.0,
        max_completion_tokens=settings.chat_max_tokens,
        timeout=timeout,
        stream_chunk_timeout=settings.chat_timeout,
        max_retries=settings.chat_retries,
        streaming=True,
        use_responses_api=False,
        openai_proxy=None,
        http_socket_options=(),
        http_client=httpx.Client(timeout=timeout, limits=limits, trust_env=through_proxy),
        http_async_client=httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=through_proxy),
    )


@contextlib.contextmanager
def model_errors(alias: str, settings: Settings | None = None) -> Iterator[None]:
    """Turn what goes wrong while a chat model is called into ModelError; also around `async for`.

    The message names the endpoint and what to do, never its key. Cancellation passes through.
    """
    import httpx
    import openai

    try:
        yield
    except (openai.OpenAIError, httpx.HTTPError, TimeoutError, ValueError, TypeError, AttributeError) as error:
        if not _from_client(error):
            raise
        settings = settings or load_settings()
        endpoint = settings.endpoints.get(alias)
        where = f"chat model {alias!r}" + (f" at {_without_secrets(endpoint.base_url)}" if endpoint else "")
        what, todo = _explain(error, alias, settings)
        raise _with_retryable(ModelError(f"{where} {_redact(what, endpoint)}", todo), error) from error


def _from_client(error: Exception) -> bool:
    """Whether the client library raised it: garbage makes it raise ValueError and the like, as bugs of ours would."""
    frame = error.__traceback__
    while frame is not None:
        if str(frame.tb_frame.f_globals.get("__name__")).split(".")[0] in _CLIENT_PACKAGES:
            return True
        frame = frame.tb_next
    return False


def _transport_error(error: BaseException | None) -> httpx.TransportError | None:
    """What happened on the wire, if that is what the client library reports."""
    import httpx

    while error is not None and not isinstance(error, httpx.TransportError):
        error = error.__cause__ or error.__context__
    return error


def _with_retryable(mapped: ModelError, error: Exception) -> ModelError:
    """A wrong key, name or request stays wrong; everything else may pass."""
    import openai

    mapped.retryable = not (
        isinstance(error, openai.APIStatusError) and error.status_code < 500 and error.status_code not in (408, 429)
    )
    return mapped


def _explain(error: Exception, alias: str, settings: Settings) -> tuple[str, str]:
    """What happened, and what to do, for an exception of the client library."""
    import httpx
    import openai

    endpoint = settings.endpoints.get(alias)
    check = f"Check that it runs and that TWIN_ENDPOINTS names it rightly ({alias})" if endpoint else "Try again"
    if isinstance(error, openai.APITimeoutError | httpx.TimeoutException | TimeoutError):
        return f"did not answer within {settings.chat_timeout:g} s", "Try again, or raise TWIN_CHAT_TIMEOUT"
    if isinstance(error, openai.APIConnectionError | httpx.HTTPError):
        if isinstance(_transport_error(error), httpx.RemoteProtocolError | httpx.ReadError):
            return "broke off its answer", "Try again; if it happens again, look at the endpoint's log"
        return "cannot be reached", check
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return f"refused the key ({error.status_code})", f"Set the api_key of {alias} in TWIN_ENDPOINTS"
    if isinstance(error, openai.NotFoundError):
        model = f" {endpoint.model!r}" if endpoint else ""
        return f"does not know the model{model} or the path (404)", check
    if isinstance(error, openai.RateLimitError):
        return "is over its limit (429)", "Try again later"
    if isinstance(error, openai.BadRequestError):
        return (
            f"refused the request: {_detail(error)}",
            "If it is too long, ask a shorter question or lower TWIN_RETRIEVE_LIMIT or TWIN_CHAT_MAX_TOKENS",
        )
    if isinstance(error, openai.APIStatusError):
        return f"failed ({error.status_code})", "Try again; if it happens again, look at the endpoint's log"
    if isinstance(error, openai.APIError):
        return f"failed: {_detail(error)}", "Try again; if it happens again, look at the endpoint's log"
    return "gave an answer that is not one of an OpenAI-compatible endpoint", check


def _detail(error: Exception) -> str:
    return " ".join(str(getattr(error, "message", error)).split())[:DETAIL_CHARS]


def _without_secrets(url: str) -> str:
    """The URL without user, password and query."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def _redact(text: str, endpoint: Endpoint | None) -> str:
    """`text` without the endpoint's key, should the endpoint have repeated it."""
    key = endpoint.api_key.get_secret_value() if endpoint else ""
    return text.replace(key, "***") if key else text
