"""Awaits foreign code in a task of its own, so that this code can cancel only itself.

Tools of MCP servers use anyio. A scope of anyio cancels the task that entered it, and may leave
that task cancelled. Without a task of its own, the tool would cancel the task of the run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class CancelledItselfError(Exception):
    """Foreign code was cancelled by itself: nobody outside of it asked for that."""

    def __init__(self) -> None:
        super().__init__("it was cancelled, by none but itself")


async def in_own_task(work: Awaitable[T]) -> T:
    """Await it; cancelling the caller cancels it. Raises CancelledItselfError."""
    task = asyncio.create_task(_ended(work))
    try:
        answer, error = await task
    except asyncio.CancelledError:
        caller = asyncio.current_task()
        if not task.cancelled() or caller is None or caller.cancelling():
            raise
        raise CancelledItselfError from None
    if error is not None:
        raise error
    return answer  # type: ignore[return-value]  # None only beside an error, or where it is T


async def _ended(work: Awaitable[T]) -> tuple[T | None, BaseException | None]:
    """Return what would not only end the task, but the loop that it runs on."""
    try:
        return await work, None
    except (SystemExit, KeyboardInterrupt) as error:
        return None, error
