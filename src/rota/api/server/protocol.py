"""HTTP by uvicorn and h11, with bounds on what a slow or greedy client can hold.

uvicorn bounds only how long a connection may rest between two requests. Here `look`, called each
second, ends a connection whose request does not come, or whose answer is not read. When all
connections are taken, the oldest that still waits for its request gives way to a new one.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final

import h11
from fastapi.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from rota.api.problems import MEDIA_TYPE, problem
from rota.api.server.guard import STRICT_HEADERS, headers_too_large, stopping

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long, in seconds, and how many.

    `head` is for a request's line and headers, `body` for its body, `rest` for the time between two
    requests on one connection. `unread`: for an answer of which nothing more is read.
    """

    head: float = 10.0
    body: float = 30.0
    rest: float = 150.0
    unread: float = 30.0
    connections: int = 1_000


BOUNDS: Final = Bounds()


class Phase(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    REST = auto()


class BoundedProtocol(H11Protocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        bounds: Bounds,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = bounds
        self._seen: tuple[Phase, object] = (Phase.HEAD, None)
        self._since = self.made_at = time.monotonic()
        self._unread = 0
        self._read_at = self.made_at

    @property
    def phase(self) -> Phase:
        """What the connection waits for now."""
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            return Phase.BODY
        if state is not h11.IDLE or self._is_answering:
            return Phase.ANSWER
        return Phase.HEAD if self.timeout_keep_alive_task is None else Phase.REST

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Begin, in the place of a connection that waits for its request where all are taken."""
        super().connection_made(transport)
        if len(self.connections) <= self._bounds.connections:
            return
        waiting = [
            one
            for one in self.connections
            if isinstance(one, BoundedProtocol)
            and one is not self
            and one.phase is not Phase.ANSWER
        ]
        if waiting:
            min(waiting, key=lambda one: one.made_at).abort()
        else:
            self._refuse(problem(503, "too-many-connections", "Too many are connected. Try later."))

    def resume_writing(self) -> None:
        """Note that the client reads."""
        super().resume_writing()
        self._read_at = time.monotonic()

    def shutdown(self) -> None:
        """End once what was asked for is answered; what is not asked yet is not awaited."""
        if self.phase is Phase.BODY:
            self._refuse(stopping())
        else:
            super().shutdown()

    def look(self, now: float) -> None:
        """End the connection where it has kept the server waiting for too long."""
        seen = (self.phase, self.cycle)
        if seen != self._seen:
            self._seen, self._since = seen, now
        unread = self.transport.get_write_buffer_size()
        if unread < self._unread or not unread:
            self._read_at = now
        self._unread = unread
        if now - self._read_at > self._bounds.unread:
            self.abort()
            return
        allowed = {Phase.HEAD: self._bounds.head, Phase.BODY: self._bounds.body}.get(seen[0])
        if allowed is not None and now - self._since > allowed:
            said = f"The request did not come within {allowed:g} seconds."
            self._refuse(problem(408, "too-slow", said))

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's own words
        """Refuse what is no HTTP request, or one with too large headers."""
        # uvicorn calls this where it catches h11's error.
        if getattr(sys.exception(), "error_status_hint", 400) == 431:
            self._refuse(headers_too_large())
        else:
            self._refuse(problem(400, "no-http", "That is no HTTP request."))

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: whoever asks for a WebSocket gets an answer by HTTP."""

    def _refuse(self, answer: JSONResponse) -> None:
        """Answer, where an answer can still be begun, and close."""
        if self.transport.is_closing():
            self.abort()
            return
        if self._is_answering:
            was_started = self.cycle.response_started
            self.cycle.disconnected = True  # whatever the application answers is not sent any more
            self.cycle.message_event.set()
            if was_started:
                self.abort()
                return
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(answer.body)).encode()),
            (b"connection", b"close"),
            *STRICT_HEADERS,
        ]
        try:
            for event in (
                h11.Response(status_code=answer.status_code, headers=headers),
                h11.Data(data=bytes(answer.body)),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        except h11.LocalProtocolError:  # an answer was sent, and its request never ended
            self.abort()
            return
        self.transport.close()

    def abort(self) -> None:
        """End the connection at once, whatever is under way."""
        self.transport.abort()


LOOK_EVERY: Final = 1.0
"""Seconds between two looks at all connections."""
