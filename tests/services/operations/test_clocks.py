"""Schedulers go by the database's clock, and believe no clock at once that has jumped ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import structlog

from rota.domain.errors import UnavailableError
from rota.services.operations.clocks import BELIEVED_AFTER, SharedClock
from rota.services.operations.scheduler_loop import SchedulerLoop

NOON = datetime(2026, 3, 27, 12, tzinfo=UTC)
AHEAD = timedelta(days=400)


class Times:
    """The clocks of the database and of a machine, and the machine's uptime."""

    def __init__(self):
        self.server = self.local = NOON
        self.up = 0.0

    async def ask(self):
        return self.server

    def pass_by(self, seconds):
        self.server += timedelta(seconds=seconds)
        self.local += timedelta(seconds=seconds)
        self.up += seconds

    def clock(self):
        return SharedClock(self.ask, local=lambda: self.local, uptime=lambda: self.up)


async def test_machine_whose_clock_is_ahead_goes_by_the_databases_and_says_so():
    times = Times()
    clock = times.clock()
    await clock.read()
    times.pass_by(5)
    times.local += AHEAD  # of this machine alone

    with structlog.testing.capture_logs() as logs:
        await clock.read()
        await clock.read()

    assert clock() == NOON + timedelta(seconds=5)
    assert [line["event"] for line in logs] == ["clock_differs"]


async def test_clock_of_both_that_is_ahead_for_forty_seconds_is_not_believed():
    times = Times()
    clock = times.clock()
    await clock.read()
    times.server += AHEAD
    times.local += AHEAD
    for _ in range(4):
        with pytest.raises(UnavailableError, match="jumped ahead"):
            await clock.read()
        with pytest.raises(UnavailableError):
            clock()
        times.pass_by(10)
    times.server -= AHEAD
    times.local -= AHEAD

    await clock.read()

    assert clock() == NOON + timedelta(seconds=40)


async def test_clock_that_stays_ahead_is_believed_after_a_minute():
    times = Times()
    clock = times.clock()
    await clock.read()
    times.server += AHEAD
    times.local += AHEAD
    with pytest.raises(UnavailableError):
        await clock.read()
    times.pass_by(BELIEVED_AFTER)

    await clock.read()

    assert clock() == NOON + AHEAD + timedelta(seconds=BELIEVED_AFTER)


@pytest.mark.parametrize("slept", [30, 86_400])
async def test_laptop_that_slept_has_no_jump(slept):
    times = Times()
    clock = times.clock()
    await clock.read()
    times.pass_by(slept)

    await clock.read()

    assert clock() == NOON + timedelta(seconds=slept)


async def test_loop_fires_nothing_while_the_clock_is_doubted_and_all_after(workshop):
    times = Times()
    clock = times.clock()
    await workshop.schedule(cron="*/5 * * * *", plan_from=NOON, overlap_policy="allow_all")
    loop = SchedulerLoop(
        workshop.database, workshop.scheduler(), clock=clock, read_clock=clock.read
    )
    await loop.tick(15)
    times.server += AHEAD
    times.local += AHEAD
    for _ in range(4):
        await loop.tick(15)
        times.pass_by(10)
    assert await workshop.rows("schedule_occurrences") == []
    times.server -= AHEAD
    times.local -= AHEAD

    for _ in range(10):
        times.pass_by(60)
        await loop.tick(15)

    assert [
        (row["fire_time"], row["outcome"])
        for row in await workshop.rows("schedule_occurrences", "fire_time")
    ] == [(NOON + timedelta(minutes=minutes), "fired") for minutes in (5, 10)]
