"""A real `rota serve` process, and clients that speak to its socket."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Served:
    """A process that serves, and its port."""

    process: subprocess.Popen[str]
    port: int

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def serve(database_url, tmp_path) -> Iterator[object]:
    """`serve(ROTA_...=...)` starts `rota serve` on the test's database and a free port."""
    started: list[subprocess.Popen[str]] = []

    def start(**more: str) -> Served:
        process = subprocess.Popen(
            [sys.executable, "-m", "rota", "serve"],
            env=os.environ
            | {
                "ROTA_DATABASE_URL": database_url,
                "ROTA_DATA_DIR": str(tmp_path / "data"),
                "ROTA_SECRET_KEY": "00" * 32,
                "ROTA_LISTEN": "127.0.0.1:0",
                **more,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if "The server is ready" in line:
                # With a public URL the line has that, and the test names the port.
                found = re.search(r"ready: http://[\d.]+:(\d+)", line)
                port = found[1] if found else more["ROTA_LISTEN"].rpartition(":")[2]
                return Served(process, int(port))
        raise AssertionError(process.wait())

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stderr is not None:
            process.stderr.close()


class Connection:
    """A connection on which a test writes what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def to(cls, served: Served) -> Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", served.port))

    async def send(self, text: str | bytes) -> None:
        self.writer.write(text if isinstance(text, bytes) else text.encode())
        await self.writer.drain()

    async def rest(self) -> bytes:
        """Return all that comes until the server ends the connection."""
        try:
            return await self.reader.read()
        except ConnectionResetError:
            return b""
        finally:
            self.writer.close()

    async def trickle(self, piece: bytes, every: float) -> bytes:
        """Send a piece again and again until the server ends the connection; returns the rest."""
        reading = asyncio.ensure_future(self.rest())
        while not reading.done():
            try:
                await self.send(piece)
            except ConnectionError:
                break
            await asyncio.wait({reading}, timeout=every)
        return await reading


async def ask(served: Served, path: str = "/healthz", head: str = "", method: str = "GET") -> bytes:
    """Ask on a connection of its own, and return the whole answer."""
    one = await Connection.to(served)
    await one.send(
        f"{method} {path} HTTP/1.1\r\nHost: {served.host}\r\n{head}Connection: close\r\n\r\n"
    )
    return await one.rest()


def status_of(answered: bytes) -> int:
    """Return the status of an answer."""
    return int(answered.split(b" ", 2)[1])
