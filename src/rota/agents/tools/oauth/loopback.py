"""Where a browser on this machine is led after consent: one port of 127.0.0.1, for one answer.

Use as an asynchronous context manager:

    async with LoopbackRedirect() as redirect:
        request = ...  # for a page that leads to redirect.uri
        redirect.expects = request.is_answer
        answer = await redirect.answer()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Self

_LONGEST_HEAD: Final = 16 * 1024
_SECONDS: Final = 10.0
_PAGE: Final = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>rota</title>
<body style="font: 1.1em sans-serif; margin: 4em">
<p>{said}</p>
</body></html>
"""
_THANKS: Final = "rota has the answer. You can close this window, and go back to the terminal."
_NOTHING: Final = "There is nothing here."


class LoopbackRedirect:
    """Listens on a free port of 127.0.0.1 until the answer is there."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._asked: asyncio.Queue[str] = asyncio.Queue()
        self.uri = ""
        self.expects: Callable[[str], bool] = lambda _address: False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LONGEST_HEAD)
        port = self._server.sockets[0].getsockname()[1]
        self.uri = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_exception: object) -> None:
        if self._server is not None:
            self._server.close()

    async def answer(self) -> str:
        """Return the address of the first request that is expected; others get a page of theirs."""
        return await self._asked.get()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(
            OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError
        ):
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                is_request = len(words) == 3 and words[0] == "GET" and words[1].startswith("/")
                address = f"{self.uri}{words[1]}" if is_request else ""
                is_expected = is_request and self.expects(address)
                page = _PAGE.format(said=_THANKS if is_expected else _NOTHING).encode()
                status = "200 OK" if is_expected else "404 Not Found"
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\n"
                    f"Content-Length: {len(page)}\r\nReferrer-Policy: no-referrer\r\n"
                    "Cache-Control: no-store\r\nConnection: close\r\n\r\n".encode()
                    + page
                )
                await writer.drain()
                if is_expected:
                    self._asked.put_nowait(address)
        writer.close()
