"""The clock of schedulers: all of them use the database's clock.

Bootstrap creates it; tests that pass the time as an argument do not need it. The clock of one
machine may be wrong, and one scheduler with a wrong clock would fire schedules too early. The
database's clock may jump, too. rota compares it with this machine's uptime, and does not trust a
jump ahead before a minute has passed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from rota.domain.errors import UnavailableError
from rota.domain.operations.processes import CLOCK_TOLERANCE

JUMP: Final = timedelta(hours=1)
"""A clock that moves so much further than time went by has jumped, or its machine stood still."""

BELIEVED_AFTER: Final = 60.0
"""Seconds after which a clock that has jumped ahead, and stays there, is right."""

log = structlog.get_logger(__name__)


def uptime() -> float:
    """Return seconds that no clock change moves, and that go on while a laptop sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class SharedClock:
    """The database's clock. `read` asks the database; a call computes the time since then.

    A call uses this machine's clock, corrected by the difference that `read` found. Both
    raise UnavailableError while the clock has jumped ahead and is not trusted yet.
    """

    def __init__(
        self,
        ask: Callable[[], Awaitable[datetime]],
        *,
        local: Callable[[], datetime],
        uptime: Callable[[], float] = uptime,
    ) -> None:
        """`ask` returns the time of the database's clock, `local` that of this machine's."""
        self._ask = ask
        self._local = local
        self._uptime = uptime
        self._ahead = timedelta(0)  # of this machine's clock before the database's
        self._known: tuple[datetime, float] | None = (
            None  # the database's time, and the uptime then
        )
        self._jumped_at: float | None = None
        self._told = False

    async def read(self) -> None:
        """Ask the database; whatever this returns from, `()` goes by it."""
        theirs = await self._ask()
        up = self._uptime()
        self._ahead = self._local() - theirs
        self._tell_difference()
        known, self._known = self._known, (theirs, up)
        if known is None:
            return
        jump = theirs - known[0] - timedelta(seconds=up - known[1])
        if jump <= JUMP:
            self._jumped_at = None
            return
        self._known = known  # the last time that was believed
        if self._jumped_at is None:
            self._jumped_at = up
        if up - self._jumped_at >= BELIEVED_AFTER:
            self._known, self._jumped_at = (theirs, up), None
            log.warning("clock_jump_believed", seconds=round(jump.total_seconds()))
            return
        self._raise_doubt()

    def __call__(self) -> datetime:
        """Return the time by what the database said last."""
        if self._jumped_at is not None:
            self._raise_doubt()
        return self._local() - self._ahead

    def _raise_doubt(self) -> None:
        raise UnavailableError(
            "The clock has jumped ahead by more than an hour: it is believed if it stays there for "
            f"{BELIEVED_AFTER:.0f} s. Nothing fires until then.",
            service="clock",
        )

    def _tell_difference(self) -> None:
        differs = abs(self._ahead.total_seconds()) > CLOCK_TOLERANCE
        if differs and not self._told:
            log.error(
                "clock_differs",
                seconds_ahead=round(self._ahead.total_seconds()),
                hint="this machine's clock differs from the database's, which schedules go by",
            )
        self._told = differs
