"""Serves the HTTP API on a socket until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Final

import uvicorn
from fastapi import FastAPI

from rota.api.server.guard import LARGEST_HEAD, Guard
from rota.api.server.protocol import BOUNDS, LOOK_EVERY, BoundedProtocol, Bounds
from rota.domain.operations.listening import Exposure

ENDED_WITHIN: Final = 5
"""Seconds that requests have to end once the server stops."""


async def serve(
    api: FastAPI,
    exposure: Exposure,
    bound: socket.socket,
    stop: asyncio.Event,
    *,
    bounds: Bounds = BOUNDS,
) -> None:
    """Serve until `stop` is set. Then requests have five seconds to end, and streams end at once.

    `api.state.stopping` is an event that streams wait for, too.
    """
    most = _raise_open_files(bounds.connections)

    server = _Server(
        uvicorn.Config(
            Guard(api, exposure),
            http=partial(  # type: ignore[arg-type]  # it makes a protocol, as a class does
                BoundedProtocol,
                bounds=replace(bounds, connections=min(bounds.connections, most)),
            ),
            ws="none",
            lifespan="off",
            log_config=None,  # rota's own is set up
            access_log=False,
            proxy_headers=False,  # the guard reads them
            server_header=False,
            h11_max_incomplete_event_size=LARGEST_HEAD,
            timeout_keep_alive=int(bounds.rest),
            timeout_graceful_shutdown=ENDED_WITHIN,
        )
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    stopping = asyncio.create_task(_stop(api, server, stop))
    try:
        await server.serve(sockets=[bound])
    finally:
        stopping.cancel()
        with suppress(asyncio.CancelledError):
            await stopping


async def _stop(api: FastAPI, server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    api.state.stopping.set()
    server.should_exit = True


def _is_news(record: logging.LogRecord) -> bool:
    """Whether a line of uvicorn's tells more than that requests ended because the server does."""
    return not str(record.msg).startswith("Cancel %s running task(s)")


class _Server(uvicorn.Server):
    """uvicorn, which is stopped by rota, and looks at its connections each second."""

    _looked_at = 0.0

    async def on_tick(self, counter: int) -> bool:
        """Look at all connections."""
        now = time.monotonic()
        if now - self._looked_at >= LOOK_EVERY:
            self._looked_at = now
            for connection in list(self.server_state.connections):
                if isinstance(connection, BoundedProtocol):
                    connection.look(now)
        return await super().on_tick(counter)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `until_stopped`."""
        yield


def _raise_open_files(wanted: int) -> int:
    """Allow this process as many open files as connections need; returns for how many it does."""
    reserve = 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + reserve:
        soft = wanted + reserve if hard == resource.RLIM_INFINITY else min(wanted + reserve, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft == resource.RLIM_INFINITY else max(1, soft - reserve)
