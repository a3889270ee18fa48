"""A real server on loopback, and readers of its streams: others buffer whole answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from rota.api.callers import ALL_SCOPES, Scope
from rota.api.operations.events import StreamBounds
from rota.bootstrap.app import App
from rota.domain.ids import UserId

WITHIN = 20.0
"""Seconds until a test that waits for an event fails."""


@dataclass(frozen=True)
class Told:
    """One block of a stream."""

    id: int | None
    event: str | None
    data: Any
    comment: str | None = None


async def blocks(response: httpx.Response) -> AsyncIterator[Told]:
    found: dict[str, str] = {}
    async for line in response.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            found[name] = value
        elif found:
            data = found.get("data")
            yield Told(
                int(found["id"]) if "id" in found else None,
                found.get("event"),
                None if data is None else json.loads(data),
                found.get(""),
            )
            found = {}


class Stream:
    """One connection; `events` are those that were read, `position` the last id."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._blocks = blocks(response)
        self.events: list[Told] = []
        self.position: int | None = None

    async def next(self) -> Told:
        """Return the next block; raises StopAsyncIteration at the end of the stream."""
        async with asyncio.timeout(WITHIN):
            told = await anext(self._blocks)
        self.position = told.id if told.id is not None else self.position
        if told.event is not None:
            self.events.append(told)
        return told

    async def next_event(self) -> Told:
        """Return the next block that is an event."""
        while (told := await self.next()).event is None:
            pass
        return told

    async def until(self, wanted: Callable[[Told], bool]) -> Told:
        while not wanted(told := await self.next_event()):
            pass
        return told

    async def rest(self) -> list[Told]:
        """Read to the end."""
        found = []
        with suppress(StopAsyncIteration):
            while True:
                found.append(await self.next())
        return found


class Serving:
    """A server that runs, and its streams."""

    def __init__(self, api: FastAPI, app: App) -> None:
        self.api = api
        self._app = app
        self._tokens: dict[tuple[UserId, frozenset[Scope]], str] = {}
        config = uvicorn.Config(api, port=0, log_level="warning", lifespan="off", ws="none")
        self.server = uvicorn.Server(config)
        self.client = httpx.AsyncClient(timeout=WITHIN)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self.server._serve())
        while not self.server.started:
            await asyncio.sleep(0.01)

    @property
    def url(self) -> str:
        host, port = self.server.servers[0].sockets[0].getsockname()[:2]
        return f"http://{host}:{port}/api/v1"

    async def stop(self) -> None:
        stopping = getattr(self.api.state, "stopping", None)
        if stopping is not None:
            stopping.set()
        self.server.should_exit = True
        assert self._task is not None
        await asyncio.wait_for(self._task, WITHIN)
        await self.client.aclose()

    async def token(self, person: UserId, scopes: frozenset[Scope] = ALL_SCOPES) -> str:
        if (person, scopes) not in self._tokens:
            made = await self._app.tokens.create(person, uuid4().hex, scopes, lasts=None)
            self._tokens[person, scopes] = made.secret
        return self._tokens[person, scopes]

    def forget_tokens(self) -> None:
        self._tokens.clear()

    @asynccontextmanager
    async def stream(
        self,
        person: UserId,
        path: str = "/events",
        *,
        scopes: frozenset[Scope] = ALL_SCOPES,
        last: int | None = None,
        **params: Any,
    ) -> AsyncIterator[Stream]:
        headers = {"Authorization": f"Bearer {await self.token(person, scopes)}"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        given = self.client.stream("GET", self.url + path, headers=headers, params=params)
        async with given as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"].startswith("text/event-stream")
            stream = Stream(response)
            first = await stream.next()  # from here on nothing is missed
            assert first.event is None
            assert first.id is not None
            yield stream


@pytest.fixture
def bounds() -> StreamBounds:
    """No heartbeat within a test, unless it wants some."""
    return StreamBounds(heartbeat=300.0)


@pytest.fixture
async def serving(api: FastAPI, app: App, bounds: StreamBounds) -> AsyncIterator[Serving]:
    api.state.streams = bounds
    api.state.stopping = asyncio.Event()
    made = Serving(api, app)
    await made.start()
    yield made
    await made.stop()
