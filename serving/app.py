"""The HTTP interface: the assistant as server-sent events, conversations, documents, and the page."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.exceptions import HTTPException

from serving.conversations import Thread
from serving.middleware import Guard, problem_response
from serving.problems import Problem, problem_of, without_paths
from serving.records_store import ThreadSummary
from serving.runs import Ask, Run
from serving.runtime import Twin, open_twin
from serving.schemas import ChatRequest, new_thread_id
from twin import __version__
from twin.errors import InputError, NotFoundError, TwinError
from twin.records import Document, Record
from twin.settings import Settings

log = logging.getLogger(__name__)

PAGE = Path(__file__).parent / "page"
PING_SECONDS = 15
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "content": {"application/problem+json": {}}},
    "5XX": {"model": Problem, "content": {"application/problem+json": {}}},
}

Opener = Callable[[Settings], AbstractAsyncContextManager[Twin]]


class ThreadView(Thread):
    """A conversation, and the run that is answering in it now."""

    running: str | None = None


class RunView(Record):
    """Where a run stands."""

    run_id: str
    thread_id: str
    status: str


router = APIRouter(prefix="/v1", responses=PROBLEMS)


def _twin(request: Request) -> Twin:
    twin: Twin = request.app.state.twin
    return twin


@router.post("/chat", response_class=EventSourceResponse)
async def chat(body: ChatRequest, request: Request) -> EventSourceResponse:
    """Ask. The answer comes as events; the run goes on if the connection drops."""
    asked = Ask(
        question=body.question,
        thread_id=body.thread_id or new_thread_id(),
        writer=body.writer,
        answer_sentences=body.answer_sentences,
        abstain_below=body.abstain_below,
        scope=body.scope,
    )
    return _stream(_twin(request).ask(asked), 0)


@router.get("/runs/{run_id}/events", response_class=EventSourceResponse)
async def follow(run_id: str, request: Request, last_event_id: Annotated[int, Header(ge=0)] = 0) -> EventSourceResponse:
    """A run's events after `Last-Event-ID`, from the first without it."""
    return _stream(_twin(request).runs.get(run_id), last_event_id)


@router.post("/runs/{run_id}/cancel")
async def cancel(run_id: str, request: Request) -> RunView:
    """Stop a run, the model's call included; a finished run stays as it is."""
    run = await _twin(request).runs.cancel(run_id)
    status = run.events[-1].data["status"] if run.done else "cancelling"
    return RunView(run_id=run.run_id, thread_id=run.thread_id, status=status)


@router.get("/threads")
async def threads(request: Request) -> list[ThreadSummary]:
    """The conversations, the latest first."""
    return await _twin(request).threads()


@router.get("/threads/{thread_id}")
async def thread(thread_id: str, request: Request) -> ThreadView:
    """A conversation: what was said, each run with its answer and citations, and the run under way."""
    twin = _twin(request)
    running = twin.runs.running_on(thread_id)
    try:
        stored = await twin.thread(thread_id)
    except NotFoundError:
        if running is None:
            raise
        stored = Thread(thread_id=thread_id, turns=(), runs=())
    return ThreadView(**dict(stored), running=running.run_id if running is not None else None)


@router.delete("/threads/{thread_id}", status_code=204)
async def delete_thread(thread_id: str, request: Request) -> Response:
    """Forget a conversation."""
    await _twin(request).delete_thread(thread_id)
    return Response(status_code=204)


@router.get("/documents/{document_id}")
async def document(document_id: str, request: Request, version: str | None = None) -> Document:
    """A document with its text, in the version that a citation names; without one, the current version.

    Offsets of citations count code points of `text`.
    """
    try:
        return await _twin(request).document(document_id, version)
    except NotFoundError as error:
        raise NotFoundError(error.message) from error  # without the hint, which is for a terminal


@router.get("/health")
async def health(request: Request) -> dict[str, Any]:
    """Which twin this is, and what it holds."""
    return await _twin(request).health()


def _stream(run: Run, after: int) -> EventSourceResponse:
    async def events() -> AsyncIterator[ServerSentEvent]:
        async for event in run.follow(after):
            told = event.data
            if event.type == "error":
                told = {**told, "detail": without_paths(str(told["detail"]))}
            data = json.dumps(told, ensure_ascii=False, separators=(",", ":"))
            yield ServerSentEvent(data, id=str(event.id), event=event.type, sep="\n")

    headers = {"X-Run-Id": run.run_id, "X-Thread-Id": run.thread_id}
    return EventSourceResponse(events(), headers=headers, ping=PING_SECONDS, sep="\n")


def create_app(settings: Settings, *, host: str | None = None, opener: Opener = open_twin) -> FastAPI:
    """The application. It opens its twin when it starts and closes it when it ends.

    `host` is the address it will be bound to (default: settings.host), which decides under which names
    it answers. `opener` makes the twin.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opener(settings) as twin:
            app.state.twin = twin
            yield

    app = FastAPI(title="LLM Twin", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, host=host or settings.host)
    app.include_router(router)
    app.mount("/static", StaticFiles(directory=PAGE, check_dir=False), name="static")
    app.add_api_route("/", _page, methods=["GET", "HEAD"], include_in_schema=False)
    _answer_with_problems(app)
    return app


async def _page() -> FileResponse:
    return FileResponse(PAGE / "index.html")


def _answer_with_problems(app: FastAPI) -> None:
    @app.exception_handler(TwinError)
    async def known(request: Request, error: TwinError) -> Response:
        if error.status >= 500:
            log.error("%s %s: %s", request.method, request.url.path, error)
        return problem_response(problem_of(error).without_paths())

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        wrong = "; ".join(f"{_place(problem['loc'])}: {problem['msg']}" for problem in error.errors()[:3])
        return problem_response(problem_of(InputError(f"the request is not valid: {wrong}", "See /openapi.json")))

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        if error.status_code in (404, 405):
            detail = f"{request.method} {request.url.path} is not served here. See /openapi.json"
        else:
            detail = f"{error.detail}. Send JSON in UTF-8, as /openapi.json describes it"
        problem = Problem(
            type="http", title=HTTPStatus(error.status_code).phrase, status=error.status_code, detail=detail
        )
        return problem_response(problem, error.headers)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        return problem_response(problem_of(error))


def _place(location: tuple[int | str, ...]) -> str:
    """`("body", "question")` -> `question`; positions in broken JSON stay out."""
    names = [str(part) for part in location if isinstance(part, str) and part not in ("body", "header", "query")]
    return ".".join(names) or "body"
