"""What `rota up` does for its server: a socket, the address to print, and a browser."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rota.cli import output
from rota.domain.errors import RotaError
from rota.settings import Settings

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.ids import UserId


@dataclass(frozen=True, slots=True)
class Listening:
    """A socket for the server, and the address that people open."""

    socket: socket.socket
    url: str


@contextmanager
def listening(settings: Settings) -> Iterator[Listening | RotaError]:
    """Listen for the block where the settings say; yields why where that cannot be.

    That is said, and is not raised: schedules do not need the server. Where no address is
    named and the usual one is taken, another port is.
    """
    from rota.api.server import sockets

    exposure = settings.exposure
    try:
        exposure.check(has_sign_in=settings.has_sign_in)
        if "ROTA_LISTEN" in settings.names:
            bound = sockets.bind(exposure.listen)
        else:
            bound = sockets.bind_near(exposure.listen)
    except RotaError as error:
        output.warn(f"Error: the server is not started. {error.message}")
        yield error
        return
    with bound:
        found = sockets.address_of(bound)
        if found.port != exposure.listen.port and exposure.listen.port:
            output.warn(f"Port {exposure.listen.port} is taken: the server listens on {found}.")
        yield Listening(bound, replace(exposure, listen=found).url)


async def sign_in_link(app: App, me: UserId, listening: Listening) -> str:
    """Return what to open: a link that signs the local owner in, only where a person reads it.

    Elsewhere the output may be a log that others read, and it is the address alone.
    """
    if app.server.embedded is None or not sys.stdout.isatty():
        return listening.url
    return (await app.links.make(me)).url(listening.url)


def has_display() -> bool:
    """Return whether a person at this machine sees a browser that is opened."""
    if not sys.stdout.isatty():
        return False
    return sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


async def open_browser(url: str) -> None:
    """Open a browser; where there is none, the address is printed anyway."""
    import webbrowser

    await asyncio.to_thread(webbrowser.open, url)
