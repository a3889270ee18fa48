"""How many runs a worker takes, and when: no clock, a loop whose lag the test says."""

import asyncio

import pytest

from rota.domain.errors import UnavailableError
from rota.engine.pace import LEAST, Pace


class Loop:
    """Comes round after so many seconds of its own clock, one after another; then at once."""

    def __init__(self, *lags: float) -> None:
        self.lags = list(lags)
        self.time = 0.0
        self.looks = 0

    async def come_round(self) -> None:
        self.looks += 1
        self.time += self.lags.pop(0) if self.lags else 0.0

    def pace(self, most: int = 50) -> Pace:
        return Pace(self.come_round, most=most, clock=lambda: self.time)


@pytest.fixture
def stop():
    return asyncio.Event()


async def test_loop_that_keeps_up_is_given_twice_as_much_each_time_and_no_more_than_most(stop):
    pace = Loop().pace(most=12)

    assert [await pace.next_step(lambda: 90, stop) for _ in range(5)] == [2, 4, 8, 12, 12]


async def test_loop_that_is_slow_is_given_nothing_until_it_keeps_up_and_then_less(stop):
    loop = Loop(0, 0, 0, 0.1, 0.1, 0.1)
    pace = loop.pace()
    steps = [await pace.next_step(lambda: 90, stop) for _ in range(3)]

    assert (steps, await pace.next_step(lambda: 90, stop)) == ([2, 4, 8], 4)
    assert loop.looks == 7


async def test_slow_loop_with_next_to_nothing_under_way_is_given_more(stop):
    """A single run that computes for long is no reason to leave the others waiting."""
    pace = Loop(*[0.1] * 100).pace()

    assert await pace.next_step(lambda: LEAST - 1, stop) == 1


async def test_run_that_ends_while_the_loop_is_slow_makes_room(stop):
    loop = Loop(*[0.1] * 100)

    assert await loop.pace().next_step(lambda: 10 - loop.looks, stop) == 1


async def test_stop_ends_the_wait_with_nothing(stop):
    loop = Loop(*[0.1] * 100)

    async def come_round() -> None:
        await loop.come_round()
        if loop.looks == 3:
            stop.set()

    pace = Pace(come_round, most=50, clock=lambda: loop.time)
    assert await pace.next_step(lambda: 90, stop) == 0


async def test_loop_that_was_given_up_is_not_waited_for(stop):
    async def come_round() -> None:
        raise UnavailableError("The loop has ended.", service="agents")

    assert await Pace(come_round, most=50).next_step(lambda: 90, stop) >= 1
