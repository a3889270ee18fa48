"""The sockets that the server listens on."""

from __future__ import annotations

import asyncio
import socket

from rota.api.server import sockets
from rota.domain.operations.listening import read_listen_address


async def test_what_is_written_is_sent_at_once():
    """asyncio sets TCP_NODELAY only on sockets that name their protocol; without it each answer of
    two writes takes 40 ms."""
    address = read_listen_address("127.0.0.1:0", variable="ROTA_LISTEN")
    bound = sockets.bind(address)
    accepted = asyncio.get_running_loop().create_future()

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        accepted.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async with await asyncio.start_server(connected, sock=bound) as server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await accepted
        writer.close()
