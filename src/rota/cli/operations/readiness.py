"""Tells whoever started a process that it is ready: systemd, or `rota up -d`."""

from __future__ import annotations

import os
import socket
from typing import Final

ASKED_BY: Final = "NOTIFY_SOCKET"
"""The variable by which systemd asks (see sd_notify(3)); `Type=notify` in a unit."""

READY: Final = b"READY=1"


def is_asked_for() -> bool:
    """Return whether somebody waits to hear that this process is ready."""
    return bool(os.environ.get(ASKED_BY))


def say_ready() -> None:
    """Report once that this process is ready, if its starter asked for that."""
    address = os.environ.pop(ASKED_BY, "")
    if not address:
        return
    # On Linux an address may have no file: it begins with a zero byte, written as @.
    place = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(READY, place)
