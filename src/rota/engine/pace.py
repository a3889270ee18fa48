"""How many runs a worker takes at once: as many as the loop that executes them keeps up with.

Runs mostly wait for models, and then a hundred of them cost little. Where they compute, each one
more slows all others and whoever comes next: those wait in the queue, which is in fair order.
Used by queue.py before it takes jobs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from rota.domain.errors import UnavailableError

SLOW: Final = 0.010
"""Seconds that a loop may take to come round while it is given more to do."""

QUICK: Final = 0.003
"""Seconds below which it is given twice as much the next time."""

LEAST: Final = 2
"""Runs that a worker has under way however slow it is."""

_LOOK_EVERY: Final = 0.005


class Pace:
    """Says when to take runs and how many; `come_round` returns once their loop has come round."""

    def __init__(
        self,
        come_round: Callable[[], Awaitable[None]],
        *,
        most: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._come_round = come_round
        self._most = most
        self._clock = clock
        self._step = 1

    async def next_step(self, under_way: Callable[[], int], stop: asyncio.Event) -> int:
        """Wait until the loop keeps up, or next to nothing is under way; returns how many to take.

        0 once `stop` is set.
        """
        lag = await self._lag()
        if lag > SLOW:
            self._step = max(1, self._step // 2)
        elif lag < QUICK:
            self._step = min(self._most, self._step * 2)
        while lag > SLOW and under_way() >= LEAST and not stop.is_set():
            await asyncio.sleep(_LOOK_EVERY)
            lag = await self._lag()
        return 0 if stop.is_set() else self._step

    async def _lag(self) -> float:
        began = self._clock()
        with suppress(UnavailableError):  # it has been given up: the next one is quick
            await self._come_round()
        return self._clock() - began
