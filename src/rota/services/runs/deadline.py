"""The time limits of an attempt: its wall time, and the time without progress."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from rota.domain.runs.limits import (
    DEFAULT_IDLE_SECONDS,
    DEFAULT_WALL_SECONDS,
    LimitReachedError,
    Limits,
)


class Deadline:
    """Ends the block with LimitReachedError once a time limit is over.

    `used` are the seconds of earlier attempts, which count towards the wall time.
    """

    def __init__(self, limits: Limits, *, used: float = 0.0) -> None:
        self._wall = limits.wall_seconds or DEFAULT_WALL_SECONDS
        self._idle = limits.idle_seconds or DEFAULT_IDLE_SECONDS
        self._used = used
        self._timeout = asyncio.timeout(None)
        self._ends = 0.0
        self._over = False

    async def __aenter__(self) -> Self:
        self._ends = asyncio.get_running_loop().time() + max(0.0, self._wall - self._used)
        await self._timeout.__aenter__()
        self.moved()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over = True
        try:
            await self._timeout.__aexit__(kind, error, traceback)
        except TimeoutError as over:
            if not self._timeout.expired():
                raise
            raise self._reached() from over

    def moved(self, seconds: float | None = None) -> None:
        """Take note of progress; silence may last `seconds` from now on, or the idle limit."""
        if self._over or self._timeout.expired():  # a tool that ends late is no matter any more
            return
        silent = asyncio.get_running_loop().time() + max(self._idle, seconds or 0.0)
        self._timeout.reschedule(min(self._ends, silent))

    def _reached(self) -> LimitReachedError:
        if asyncio.get_running_loop().time() >= self._ends:
            return LimitReachedError(
                "wall", f"The agent stopped at its time limit of {self._wall} s."
            )
        return LimitReachedError(
            "idle", f"The agent stopped: nothing moved for {self._idle} s, its idle limit."
        )
