"""The scheduler's loop: it sleeps until the next fire time, or until NOTIFY wakes it.

It decides when to look for due schedules, and allows for a clock that jumps. Firing itself is in
services/schedules/firing.py, and admission in engine/admission.py. Chores run beside the loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import structlog

from rota.domain.errors import RotaError
from rota.domain.operations.processes import SILENT_AFTER
from rota.engine.admission import admit, requeue_lost
from rota.engine.patience import Patience
from rota.services.operations.chores import Chore, cancel, first_of, repeat, reporting
from rota.services.schedules.firing import Scheduler
from rota.store.database import WAKE_CHANNEL, Database, listen
from rota.store.operations import processes

LONGEST_SLEEP: Final = 15.0
"""Seconds after which the scheduler looks at the wall clock again, whatever it waits for: laptops
suspend, and connections die half."""

UNHEARD_SLEEP: Final = 1.0
"""Seconds between looks where LISTEN is not heard (a transaction pooler drops it)."""

ADMISSION_SLEEP: Final = 0.2
"""Seconds between looks while runs wait for room in the queue."""

LOCKED_SLEEP: Final = 0.05
"""Seconds between looks at what somebody else has locked: a due schedule, or admission."""

SHORTEST_SLEEP: Final = 0.02
"""Seconds from one look to the next at least, however often it is woken: anybody may notify."""

QUEUE_WATCHED_EVERY: Final = 10.0
"""Seconds between looks at how full the server's queue of notifications is."""

SWEEP_EVERY: Final = 30.0
LOST_AFTER: Final = 60.0
"""Seconds after which a queued run without a job counts as lost."""

log = structlog.get_logger(__name__)


class SchedulerLoop:
    """Runs a Scheduler by the wall clock, with chores beside it.

    It continues when the database was away and is back. A chore that fails or hangs does not delay
    a fire time.
    """

    def __init__(
        self,
        database: Database,
        scheduler: Scheduler,
        *,
        clock: Callable[[], datetime],
        read_clock: Callable[[], Awaitable[None]] | None = None,
        chores: Sequence[Chore] = (),
        settings: Sequence[str] | None = None,
    ) -> None:
        """`read_clock` is awaited before each look: it sets a clock that has to be asked.

        `settings` are the names of those that this process has, for `rota doctor`.
        """
        self._settings = settings
        self._database = database
        self._scheduler = scheduler
        self._clock = clock
        self._read_clock = read_clock
        self._chores = (
            Chore("requeue lost runs", SWEEP_EVERY, self._requeue_lost),
            Chore(
                "watch the queue of notifications", QUEUE_WATCHED_EVERY, self._watch_notifications
            ),
            *chores,
        )
        self._ticked: float | None = None
        self._is_crowded = False  # the queue of notifications: nothing is announced any more
        self._patience = Patience("scheduler_lost_database")

    async def run(self, stop: asyncio.Event) -> None:
        """Fire schedules and admit runs until `stop` is set."""
        async with reporting(
            self._database, "scheduler", ticked_ago=self._ticked_ago, settings=self._settings
        ):
            wake = asyncio.Event()
            beside = [asyncio.create_task(repeat(chore)) for chore in self._chores]
            beside.append(asyncio.create_task(self._listen(wake)))
            heard: bool | None = None
            try:
                while not stop.is_set():
                    wake.clear()
                    if heard is None:
                        heard = await self._hears()
                    began = time.monotonic()
                    delay = await self.tick(
                        LONGEST_SLEEP if heard and not self._is_crowded else UNHEARD_SLEEP
                    )
                    await first_of(stop, wake, seconds=delay)
                    if wake.is_set() and (rest := began + SHORTEST_SLEEP - time.monotonic()) > 0:
                        await asyncio.sleep(rest)
            finally:
                await cancel(*beside)

    async def _hears(self) -> bool | None:
        """Whether notifications arrive; None while the database is away."""
        try:
            heard = await self._database.hears_notifications()
        except RotaError:
            return None
        if not heard:
            log.warning(
                "listen_unheard",
                hint="notifications do not arrive (a transaction pooler?), so rota polls each "
                "second. Set ROTA_DATABASE_LISTEN_URL to a direct connection.",
            )
        return heard

    @property
    def is_awake(self) -> bool:
        """Whether it has looked at the clock within the last minute."""
        ago = self._ticked_ago()
        return ago is not None and ago < SILENT_AFTER

    async def admit_only(self, stop: asyncio.Event) -> None:
        """Admit waiting runs until `stop` is set, and fire nothing."""
        while not stop.is_set():
            pause = ADMISSION_SLEEP
            try:
                async with self._database.transaction() as conn:
                    await admit(conn)
                self._patience.succeeded()
            except RotaError as error:
                pause = self._patience.failed(error)
            await first_of(stop, seconds=pause)

    async def tick(self, longest: float) -> float:
        """Fire, plan and admit once; returns the seconds to sleep, `longest` at most.

        Whatever the database says is told and tried again: only a fault of our own code is raised.
        """
        try:
            if self._read_clock is not None:
                await self._read_clock()
            tick = await self._scheduler.tick(self._clock())
        except RotaError as error:
            return self._patience.failed(error)
        self._patience.succeeded()
        self._ticked = time.monotonic()
        delays = [longest]
        if tick.admission_locked:
            delays.append(LOCKED_SLEEP)
        elif tick.runs_waiting:
            # Found half empty, the queue may run dry before the next look.
            delays.append(0.0 if tick.queue_ran_low else ADMISSION_SLEEP)
        if tick.next_run_in is not None:
            delays.append(max(0.0, tick.next_run_in))
        if tick.next_fire_at is not None:
            until = (tick.next_fire_at - self._clock()).total_seconds()
            # What is due and was not taken is locked: by another scheduler, or by an editor.
            soonest = 0.0 if tick.fired or tick.planned else LOCKED_SLEEP
            delays.append(max(until, soonest if until <= 0 else 0.0))
        return min(delays)

    async def _listen(self, wake: asyncio.Event) -> None:
        """Set `wake` at each NOTIFY; reconnects for ever."""
        patience = Patience("listener_lost_database")
        while True:
            try:
                async with self._database.dedicated(listening=True) as conn:
                    await listen(conn, WAKE_CHANNEL)
                    patience.succeeded()
                    wake.set()  # whatever came while nobody listened
                    async for _ in conn.notifies():
                        wake.set()
                pause = 1.0
            except RotaError as error:
                pause = patience.failed(error)
            await asyncio.sleep(pause)

    def _ticked_ago(self) -> float | None:
        return time.monotonic() - self._ticked if self._ticked is not None else None

    async def _watch_notifications(self) -> None:
        async with self._database.connection() as conn:
            problem = await processes.notification_queue_problem(conn)
        if problem is not None and not self._is_crowded:
            log.error("notification_queue_crowded", reason=problem)
        self._is_crowded = problem is not None

    async def _requeue_lost(self) -> None:
        async with self._database.transaction() as conn:
            requeued = await requeue_lost(conn, older_than_seconds=LOST_AFTER)
        if requeued:
            log.warning("runs_requeued", count=requeued)
