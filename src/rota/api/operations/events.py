"""Server-sent events: what changes for a person, or in a run, as it changes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.types import Receive, Scope, Send

from rota.api.answers import StrictRoute
from rota.api.callers import Reader, Services
from rota.api.callers import Scope as CallerScope
from rota.api.problems import ApiError
from rota.api.runs.runs import Run
from rota.domain.errors import NotFoundError, UnavailableError
from rota.domain.ids import UserId
from rota.domain.operations.events import EventKind
from rota.domain.text.jsonable import jsonable
from rota.services.operations.event_feed import Listener

router = APIRouter(tags=["events"], route_class=StrictRoute)


@dataclass(frozen=True, slots=True)
class StreamBounds:
    """Seconds, and how many streams this process has.

    `heartbeat` is between two signs of life of a stream, `check` between two looks whether its
    caller may still read, `retry` what a client is to wait until it connects again.
    """

    heartbeat: float = 15.0
    check: float = 30.0
    retry: float = 3.0
    of_person: int = 20
    in_all: int = 800


BOUNDS: Final = StreamBounds()

_RUN_ID: Final = "0f0e7f5c-8a53-4f0e-9d8f-0d1a2b3c4d5e"
_EXAMPLE: Final = (
    "retry: 3000\nid: 4711\n\n"
    'event: run\ndata: {"number":4712,"kind":"run",'
    f'"id":"{_RUN_ID}","run_id":"{_RUN_ID}",'
    '"model_step":null,"call_index":null,"status":"running","at":"2026-11-30T06:00:00.12Z"}\n'
    "id: 4712\n\n: heartbeat\nid: 4730\n\n"
)
STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Events, as they come. `data` is JSON.",
        "content": {"text/event-stream": {"schema": {"type": "string"}, "example": _EXAMPLE}},
    }
}

After = Annotated[
    int | None,
    Query(
        ge=0,
        lt=2**63,
        description="The number of the last event that you have; `Last-Event-ID` goes before it.",
    ),
]
LastEventId = Annotated[
    int | None,
    Header(
        alias="Last-Event-ID",
        ge=0,
        lt=2**63,
        description="As a browser sends it when it connects again.",
    ),
]
Kinds = Annotated[
    list[EventKind] | None,
    Query(max_length=20, description="Only events of these kinds; none: all."),
]


class EventStream(StreamingResponse):
    """The events of a listener, which is closed when the client goes, and at the end.

    FastAPI's own would begin to answer before a listener is there, so that what is wrong could not
    be said by a status.
    """

    media_type = "text/event-stream"

    def __init__(self, listener: Listener, request: Request, bounds: StreamBounds) -> None:
        self._listener = listener
        self._request = request
        self._bounds = bounds
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._written(), headers=headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until one side ends it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listener.close()

    async def _written(self) -> AsyncIterator[bytes]:
        listener = self._listener
        # A client that loses the connection before the first event knows where to resume.
        begun = f"retry: {int(self._bounds.retry * 1_000)}\nid: {listener.position}\n\n"
        yield begun.encode()
        if listener.is_reset:
            detail = "Events before this one may be lost. Read anew what you show."
            yield _event("reset", {"detail": detail}, listener.position)
        stop = getattr(self._request.app.state, "stopping", None) or asyncio.Event()
        feed = self._request.app.state.rota.events
        checked = time.monotonic()
        try:
            async for events in feed.follow(listener, stop, heartbeat=self._bounds.heartbeat):
                if time.monotonic() - checked >= self._bounds.check:
                    if not await self._may_read():
                        return
                    checked = time.monotonic()
                if events:
                    yield b"".join(_event(one.kind, one, one.number) for one in events)
                else:  # with where it is: what is not wanted moves on, too
                    yield f": heartbeat\nid: {listener.position}\n\n".encode()
        except UnavailableError:
            return  # the client connects again, and is told by an answer of its own
        if listener.is_over:
            yield _event("end", {"run_id": listener.run_id}, listener.position)

    async def _may_read(self) -> bool:
        """Return whether the caller is who they were, and may still read."""
        app = self._request.app.state.rota
        try:
            caller = await self._request.app.state.authenticate(self._request)
            await app.named(str(caller.user_id))
        except (ApiError, NotFoundError):
            return False
        except UnavailableError:
            return True  # nothing is read meanwhile either
        is_same = caller.user_id == self._listener.user_id
        return is_same and CallerScope.READ in caller.scopes


@router.get("/events", status_code=200, response_class=EventStream, responses=STREAM)
async def follow_events(
    request: Request,
    me: Reader,
    app: Services,
    kind: Kinds = None,
    after: After = None,
    last_event_id: LastEventId = None,
) -> EventStream:
    """Follow everything of yours as server-sent events, from now on or from where you were.

    The `id` of an event is its number, in the order of commits over all people, so it grows with
    gaps. Events are kept for an hour. Whoever resumes from before that gets an event `reset` first,
    and reads anew what they show.
    """
    bounds = _bounds(request, me.user_id)
    listener = await app.events.open(
        me.user_id, after=after if last_event_id is None else last_event_id, kinds=kind or ()
    )
    return EventStream(listener, request, bounds)


@router.get("/runs/{run}/events", status_code=200, response_class=EventStream, responses=STREAM)
async def follow_run(
    request: Request,
    me: Reader,
    app: Services,
    run: Run,
    after: After = None,
    last_event_id: LastEventId = None,
) -> EventStream:
    """Follow one run as server-sent events, from its beginning or from where you were.

    Its calls and its actions are among them. Once it is over and all was sent, an event `end` comes
    and the stream ends. Close it then: a browser would connect again.
    """
    bounds = _bounds(request, me.user_id)
    listener = await app.events.open(
        me.user_id, run=run, after=after if last_event_id is None else last_event_id
    )
    return EventStream(listener, request, bounds)


def _bounds(request: Request, user_id: UserId) -> StreamBounds:
    """Return the bounds; raises ApiError where there are as many streams as there may be."""
    bounds: StreamBounds = getattr(request.app.state, "streams", BOUNDS)
    feed = request.app.state.rota.events
    if feed.count(user_id) >= bounds.of_person:
        raise ApiError(
            429,
            "too-many-streams",
            f"You follow events {bounds.of_person} times already. Close a stream, or a tab.",
            headers={"Retry-After": "5"},
        )
    if feed.count() >= bounds.in_all:
        raise ApiError(
            503,
            "too-many-streams",
            "This server has as many streams of events as it can. Try again later.",
            headers={"Retry-After": "30"},
        )
    return bounds


def _event(name: str, value: object, number: int) -> bytes:
    data = json.dumps(jsonable(value), ensure_ascii=False, separators=(",", ":"))
    return format_sse_event(event=name, data_str=data, id=str(number))
