"""Sockets that the server listens on. `rota up` binds one without importing the server."""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from typing import Final

from rota.domain.errors import ConflictError, InvalidInputError
from rota.domain.operations.listening import ListenAddress

_BACKLOG: Final = 512
_TRIED: Final = 20
"""Ports after the usual one that are tried before any other."""


def bind(address: ListenAddress) -> socket.socket:
    """Return a socket that listens.

    Raises ConflictError for a port that is taken, and InvalidInputError for an address that this
    machine does not have.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named. Without it an answer, whose head
    # and body are written one by one, waits 40 ms for the client to acknowledge the first.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise _in_words(address, error) from None
    return bound


def bind_near(address: ListenAddress) -> socket.socket:
    """Return a socket that listens, on one of the next ports where that one is taken."""
    for port in range(address.port, address.port + _TRIED):
        with suppress(ConflictError):
            return bind(address.with_port(port))
    return bind(address.with_port(0))


def address_of(bound: socket.socket) -> ListenAddress:
    """Return where a socket listens."""
    host, port = bound.getsockname()[:2]
    return ListenAddress(host, port)


def _in_words(address: ListenAddress, error: OSError) -> ConflictError | InvalidInputError:
    if error.errno == errno.EADDRINUSE:
        return ConflictError(
            f"Another program listens on {address}. Stop it (`rota down` stops your own rota), or "
            "set ROTA_LISTEN, or `rota serve --listen`, to another address."
        )
    if error.errno == errno.EACCES:
        return InvalidInputError(
            f"You may not listen on {address}: the system keeps ports below 1024 to itself. Set "
            "ROTA_LISTEN to another address."
        )
    return InvalidInputError(f"rota cannot listen on {address}: {error.strerror}.")
