"""Sizes of batches, and the pace at which a worker takes runs, both by measured times.

`BatchSize` is for work that is done in transactions of many rows. Short transactions let the next
caller wait little. `Pace` is for a worker: it takes runs only as fast as it begins and stores them.
A hundred runs that wait for models cost little, but ten runs that compute slow all others. Then
further runs wait in the queue, which is in fair order.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from rota.domain.errors import RotaError

BATCH_SECONDS: Final = 0.030
"""Seconds that a transaction of many rows may take beyond the quickest of late.

The next caller waits for its end. The quickest one shows how far away the database is.
"""

FIRST_BATCH: Final = 20
LEAST_BATCH: Final = 5
"""Items of a batch: at first, and however slow they are."""

SLOW: Final = 0.010
"""How much longer than the quickest time of late a worker may take to come round, in seconds.

Above it the worker takes no more runs (`Pace`).
"""

STEP: Final = 4
"""Runs that are taken before the next round trip, which shows what these runs cost."""

LEAST: Final = 2
"""Runs that even a slow worker executes at the same time."""

_LOOK_EVERY: Final = 0.005

_OF_LATE: Final = 200
"""Measured times among which the quickest is looked for: a second or more of a busy worker.

So a database that becomes slow for good holds nobody up for longer.
"""


class _Excess:
    """How much longer something took than the quickest time of late."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=_OF_LATE)

    def of(self, seconds: float) -> float:
        self._times.append(seconds)
        return seconds - min(self._times)


class BatchSize:
    """The number of items that fit into BATCH_SECONDS, by how long the last batches took."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._excess = _Excess()
        self.items = min(most, FIRST_BATCH)

    def took(self, items: int, seconds: float) -> None:
        """Learn from a batch of so many items."""
        if (excess := self._excess.of(seconds)) > BATCH_SECONDS:
            fitting = max(LEAST_BATCH, int(items * BATCH_SECONDS / excess))
            self.items = min(self.items, fitting)
        elif items >= self.items:
            self.items = min(self._most, 2 * self.items)


class Pace:
    """Says when to take runs and how many.

    `come_round` is measured and does what each run does all the time: it waits for the loop of the
    runs, sends a small query to the database, and waits until a further transaction has room.
    """

    def __init__(
        self,
        come_round: Callable[[], Awaitable[None]],
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._come_round = come_round
        self._clock = clock
        self._excess = _Excess()

    async def next_step(self, under_way: Callable[[], int], stop: asyncio.Event) -> int:
        """Wait until runs are quick, or next to none is under way; returns how many to take.

        0 once `stop` is set. A database that does not answer is no reason to wait here: whoever
        takes the runs asks it next, and says what is wrong.
        """
        while under_way() >= LEAST and not stop.is_set():
            began = self._clock()
            try:
                await self._come_round()
            except RotaError:
                return STEP
            if self._excess.of(self._clock() - began) <= SLOW:
                return STEP
            await asyncio.sleep(_LOOK_EVERY)
        return 0 if stop.is_set() else LEAST
