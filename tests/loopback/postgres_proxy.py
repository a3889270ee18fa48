"""A loopback server between rota and Postgres that goes away when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict


class PostgresProxy:
    """Passes on what clients and Postgres say.

    `cut_after` is a piece of a query: the first connection that sends it hears no answer to it, and
    is cut once Postgres has answered; with `leaves_after_cut` all are, that very moment. `away`
    refuses and cuts everything.
    """

    def __init__(self, url: str) -> None:
        known = conninfo_to_dict(url)
        self._host, self._port = str(known["host"]), int(known.get("port") or 5432)
        self._known = known
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.cut_after: bytes | None = None
        self.leaves_after_cut = False
        self.cuts = 0
        self.away = False

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        known = {**self._known, "host": "127.0.0.1", "port": port, "sslmode": "disable"}
        return psycopg.conninfo.make_conninfo(**known)

    def go_away(self) -> None:
        """Cut every connection, and refuse new ones until `come_back`."""
        self.away = True
        for writer in self._writers:
            writer.transport.abort()

    def come_back(self) -> None:
        self.away = False

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.away:
            writer.transport.abort()
            return
        if self._host.startswith("/"):
            path = Path(self._host) / f".s.PGSQL.{self._port}"
            theirs, ours = await asyncio.open_unix_connection(str(path))
        else:
            theirs, ours = await asyncio.open_connection(self._host, self._port)
        self._writers |= {writer, ours}
        cutting = asyncio.Event()
        try:
            await asyncio.wait(
                {
                    asyncio.create_task(self._ask(reader, ours, cutting)),
                    asyncio.create_task(self._answer(theirs, writer, cutting)),
                },
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for end in (writer, ours):
                end.transport.abort()
            self._writers -= {writer, ours}

    async def _ask(
        self, reader: asyncio.StreamReader, ours: asyncio.StreamWriter, cutting: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if self.cut_after is not None and self.cut_after in data:
                    self.cut_after = None
                    self.cuts += 1
                    cutting.set()
                ours.write(data)
                await ours.drain()

    async def _answer(
        self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter, cutting: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await theirs.read(65_536):
                if cutting.is_set():
                    if self.leaves_after_cut:
                        self.go_away()
                    return
                writer.write(data)
                await writer.drain()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[PostgresProxy]:
        """Listen for the life of the block."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        try:
            yield self
        finally:
            self.go_away()
            self._server.close()
