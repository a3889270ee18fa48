"""A terminal of a given width that a command runs in: what stands on its screen, line by line."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from dataclasses import dataclass

from rich.cells import cell_len

COMMAND = "from rota.cli.main import run; run()"
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Screen:
    """What a command printed, as a terminal shows it, and its exit code."""

    lines: tuple[str, ...]
    text: str
    exit_code: int


def on_terminal(
    arguments: list[str],
    environment: Mapping[str, str],
    *,
    width: int,
    typed: str = "",
    seconds: float = 60,
) -> Screen:
    """Run a command of rota's where its input and output are a terminal."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    inherited = {name: v for name, v in os.environ.items() if name not in {"COLUMNS", "LINES"}}
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env={**inherited, "TERM": "xterm-256color", **environment},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        close_fds=True,
    )
    os.close(terminal)
    try:
        if typed:
            os.write(controller, typed.encode())
        printed = _read(controller, time.monotonic() + seconds)
        code = process.wait(seconds)
    finally:
        process.kill()
        os.close(controller)
    text = _STYLE.sub("", printed.decode()).replace("\r\n", "\n")
    return Screen(tuple(_rows(text, width)), text, code)


def _read(controller: int, until: float) -> bytes:
    printed = b""
    while select.select([controller], [], [], max(until - time.monotonic(), 0))[0]:
        try:
            part = os.read(controller, 65_536)
        except OSError:  # the other end is closed
            return printed
        if not part:
            return printed
        printed += part
    raise TimeoutError(printed.decode(errors="replace"))


def _rows(text: str, width: int) -> list[str]:
    """Break lines as a terminal does: at its edge, to go on at the left one."""
    rows = []
    for line in text.expandtabs().split("\n"):
        row = ""
        for c in line:
            if cell_len(row + c) > width:
                rows.append(row)
                row = ""
            row += c
        rows.append(row)
    return rows
