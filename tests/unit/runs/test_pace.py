"""How much is taken at once: no clock, and a round trip whose length the test says."""

import asyncio

import pytest

from rota.domain.errors import LostTransactionError, StatementError, UnavailableError
from rota.engine import pace as pace_module
from rota.engine.pace import (
    BATCH_SECONDS,
    FIRST_BATCH,
    LEAST,
    LEAST_BATCH,
    STEP,
    BatchSize,
    Pace,
)


class Loop:
    """Takes so many seconds for each round trip, one after another; then none."""

    def __init__(self, *lags: float) -> None:
        self.lags = list(lags)
        self.time = 0.0
        self.looks = 0

    async def come_round(self) -> None:
        self.looks += 1
        self.time += self.lags.pop(0) if self.lags else 0.0

    def pace(self) -> Pace:
        return Pace(self.come_round, clock=lambda: self.time)


@pytest.fixture
def stop():
    return asyncio.Event()


async def test_worker_that_keeps_up_takes_a_step(stop):
    assert await Loop().pace().next_step(lambda: 90, stop) == STEP


async def test_slow_worker_takes_nothing_until_it_keeps_up(stop):
    loop = Loop(0.001, 0.1, 0.1, 0.1)
    pace = loop.pace()

    assert await pace.next_step(lambda: 90, stop) == STEP
    assert await pace.next_step(lambda: 90, stop) == STEP
    assert loop.looks == 5


async def test_database_that_is_far_away_makes_no_worker_slow(stop):
    loop = Loop(*[0.2] * 100)
    pace = loop.pace()

    assert [await pace.next_step(lambda: 90, stop) for _ in range(3)] == [STEP] * 3
    assert loop.looks == 3


async def test_database_that_has_become_slow_for_good_holds_nobody_up(stop, monkeypatch):
    """However many runs wait for models: it is measured against what is quick now."""
    monkeypatch.setattr(pace_module, "_LOOK_EVERY", 0)
    loop = Loop(0.001, *[0.2] * 1_000)
    pace = loop.pace()

    assert [await pace.next_step(lambda: 90, stop) for _ in range(4)] == [STEP] * 4
    assert loop.looks == 1 + 200 + 2


async def test_slow_worker_with_next_to_nothing_under_way_takes_more(stop):
    """A single run that computes for long is no reason to leave the others waiting."""
    loop = Loop(*[0.1] * 100)

    assert await loop.pace().next_step(lambda: LEAST - 1, stop) == LEAST
    assert loop.looks == 0


async def test_run_that_ends_while_the_worker_is_slow_makes_room(stop):
    loop = Loop(0.001, *[0.1] * 100)
    pace = loop.pace()

    assert await pace.next_step(lambda: 90, stop) == STEP
    assert await pace.next_step(lambda: 10 - loop.looks, stop) == LEAST
    assert loop.looks == 10 - (LEAST - 1)


async def test_stop_ends_the_wait_with_nothing(stop):
    loop = Loop(0.001, *[0.1] * 100)

    async def come_round() -> None:
        await loop.come_round()
        if loop.looks == 3:
            stop.set()

    pace = Pace(come_round, clock=lambda: loop.time)
    assert await pace.next_step(lambda: 90, stop) == STEP
    assert await pace.next_step(lambda: 90, stop) == 0


@pytest.mark.parametrize(
    "error",
    [
        UnavailableError("The loop has ended.", service="agents"),
        LostTransactionError("The connection broke."),
        StatementError("it is read-only"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_cannot_be_asked_is_not_waited_for(stop, error):
    """The loop was given up, or the database is away: taking the runs says so."""

    async def come_round() -> None:
        raise error

    assert await Pace(come_round).next_step(lambda: 90, stop) == STEP


def test_quick_batches_grow_to_the_most_and_no_further():
    size = BatchSize(100)
    seen = [size.items]
    for _ in range(4):
        size.took(size.items, BATCH_SECONDS / 2)
        seen.append(size.items)

    assert seen == [FIRST_BATCH, 40, 80, 100, 100]


def test_slow_batch_leads_to_one_that_fits_the_time():
    size = BatchSize(100)
    size.took(1, 0.001)
    size.took(20, 0.001 + 2 * BATCH_SECONDS)

    assert size.items == 10


def test_batch_is_never_smaller_than_the_least():
    size = BatchSize(100)
    size.took(1, 0.001)
    size.took(20, 1_000 * BATCH_SECONDS)

    assert size.items == LEAST_BATCH


def test_database_that_is_far_away_makes_no_batch_small():
    """A hundred round trips of it are as long as one: the size is not to blame."""
    size = BatchSize(100)
    for _ in range(5):
        size.took(size.items, 20 * BATCH_SECONDS)

    assert size.items == 100


def test_database_that_has_become_slow_is_learnt():
    size = BatchSize(100)
    size.took(20, 0.001)
    size.took(20, 20 * BATCH_SECONDS)
    assert size.items == LEAST_BATCH
    for _ in range(220):
        size.took(size.items, 20 * BATCH_SECONDS)

    assert size.items == 100


def test_quick_batch_that_was_not_full_teaches_nothing():
    size = BatchSize(100)
    size.took(3, 0.001)

    assert size.items == FIRST_BATCH


def test_most_is_kept_where_it_is_less_than_the_first():
    size = BatchSize(1)
    size.took(1, 0.0)
    size.took(1, 9.0)

    assert size.items == 1
