"""The tools and the callable of the soak: each writes down, in a file, that it really ran.

A line holds the call (the run's id and the call's name), the process, when its tools were made for
this attempt, and when it ran; both in seconds of the machine's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from langchain_core.tools import BaseTool, tool

from rota.agents.tools.context import ToolContext

FOLDER: Final = "SOAK_FOLDER"
PROCESS: Final = "SOAK_PROCESS"
LOOKS: Final = "looks"
EFFECTS: Final = "effects"
BLOCK: Final = "block"

BLOCKED_FOR: Final = 14.0
"""Seconds; longer than a worker waits for its agents' loop."""


def look(_context: ToolContext) -> BaseTool:
    """Make a reader."""
    write = _writer(LOOKS)

    @tool
    async def soak_look(call: str) -> str:
        """Read something."""
        write(call)
        await asyncio.sleep(0.02)
        return f"looked at {call}"

    return soak_look


def slow_look(_context: ToolContext) -> BaseTool:
    """Make a reader that takes its time, in a thread."""
    write = _writer(LOOKS)

    @tool
    def soak_slow_look(call: str) -> str:
        """Read something slowly."""
        write(call)
        time.sleep(0.4)
        return f"looked at {call}"

    return soak_slow_look


def effect(_context: ToolContext) -> BaseTool:
    """Make a tool with an effect that nobody can take back."""
    write = _writer(EFFECTS)

    @tool
    def soak_effect(call: str) -> str:
        """Do something."""
        write(call)
        time.sleep(0.05)  # a crash between the effect and its answer is to be likely
        return f"did {call}"

    return soak_effect


def block(_context: ToolContext) -> BaseTool:
    """Make a reader that blocks its event loop, once for each file that asks for it."""
    write = _writer(LOOKS)

    @tool
    async def soak_block(call: str) -> str:
        """Block the loop if somebody asked for it."""
        write(call)
        with contextlib.suppress(FileNotFoundError):
            (Path(os.environ[FOLDER]) / BLOCK).unlink()
            time.sleep(BLOCKED_FOR)  # noqa: ASYNC251  as said
        return f"passed {call}"

    return soak_block


async def errand(context: Any, prompt: str) -> str:
    """Look, act, look, act: a callable's way to the same tools."""
    for number in range(2):
        await context.call("soak_look", call=f"{prompt}/look{number}")
        await context.call("soak_effect", call=f"{prompt}/effect{number}")
        await asyncio.sleep(0.3)
    return "done"


def _writer(name: str) -> Callable[[str], None]:
    """Return what appends a line, durably and in one piece, whoever else does the same."""
    made_at = time.time()
    path = Path(os.environ[FOLDER]) / name

    def write(call: str) -> None:
        line = f"{call} {os.environ[PROCESS]} {made_at:.6f} {time.time():.6f}\n"
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line.encode())
            os.fsync(handle)
        finally:
            os.close(handle)

    return write
