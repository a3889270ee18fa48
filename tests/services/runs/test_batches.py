"""Batcher: every item is done once or its error is raised, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.services.runs.batches import Batcher

KINDS = st.sampled_from(["good", "bad", "gone"])


class UnwellError(Exception):
    pass


@given(
    items=st.lists(st.tuples(KINDS, st.integers(0, 6)), max_size=40),
    size=st.integers(1, 7),
    more=st.booleans(),
    drops=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_every_item_is_done_once_or_its_error_is_raised(items, size, more, drops, seed):
    """`bad` items fail in whatever batch, batches fail by chance, and `gone` is cancelled."""
    dice = random.Random(seed)
    done: list[int] = []

    async def work(batch):
        await asyncio.sleep(0)
        if len(batch) > 1 and dice.random() < 0.2:
            raise UnwellError("this batch")
        if any(items[number][0] == "bad" for number in batch):
            raise UnwellError("one of them")
        done.extend(batch)
        return [number * 10 for number in batch]

    async def all_of_them():
        batcher = Batcher(
            work, size=size, wait=0.001, more_to_come=lambda _: more, drop_cancelled=drops
        )

        async def submit(number, kind, later):
            for _ in range(later):
                await asyncio.sleep(0)
            task = asyncio.ensure_future(batcher.submit(number))
            if kind == "gone":
                await asyncio.sleep(0)
                task.cancel()
            return await task

        async with asyncio.timeout(10):
            return await asyncio.gather(
                *(submit(n, kind, later) for n, (kind, later) in enumerate(items)),
                return_exceptions=True,
            )

    for number, outcome in enumerate(asyncio.run(all_of_them())):
        kind = items[number][0]
        came_of_it = (type(outcome).__name__, done.count(number))
        assert (
            came_of_it
            in {
                "good": {("int", 1)},
                "bad": {("UnwellError", 0)},
                "gone": {("int", 1), ("CancelledError", 1)}
                | ({("CancelledError", 0)} if drops else set()),
            }[kind]
        )
        assert kind != "good" or outcome == number * 10


async def test_batches_are_no_larger_than_they_may_be_and_keep_their_order():
    seen = []

    async def work(batch):
        seen.append(list(batch))
        return batch

    batcher = Batcher(work, size=4)
    assert await asyncio.gather(*(batcher.submit(n) for n in range(10))) == list(range(10))
    assert [len(batch) for batch in seen] == [4, 4, 2]
    assert [n for batch in seen for n in batch] == list(range(10))


async def test_caller_that_is_cancelled_has_its_item_done_all_the_same():
    done = []

    async def work(batch):
        await asyncio.sleep(0.01)
        done.extend(batch)
        return batch

    batcher = Batcher(work)
    gone, other = (asyncio.create_task(batcher.submit(n)) for n in (1, 2))
    await asyncio.sleep(0)
    gone.cancel()
    assert await other == 2
    assert done == [1, 2]


async def test_too_few_outcomes_are_everybodys_error():
    async def work(batch):
        return batch[:-1]

    batcher = Batcher(work)
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(
            *(batcher.submit(n) for n in range(3)), return_exceptions=True
        )
    assert [type(outcome) for outcome in outcomes] == [RuntimeError] * 3


@pytest.mark.parametrize("where", ["at work", "waiting"])
async def test_nobody_waits_for_a_batch_whose_task_was_cancelled(where):
    """As at the end of a loop; and what comes later is done."""
    begun = asyncio.Event()

    async def work(batch):
        begun.set()
        if "later" not in batch:
            await asyncio.sleep(60)
        return batch

    batcher = Batcher(work, size=2, wait=60 if where == "waiting" else 0.0)
    before = asyncio.all_tasks()
    callers = [
        asyncio.create_task(batcher.submit(n)) for n in range(1 if where == "waiting" else 3)
    ]
    if where == "at work":
        await begun.wait()
    else:
        await asyncio.sleep(0.01)
    (drain,) = asyncio.all_tasks() - before - set(callers)
    drain.cancel()

    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
        later = await asyncio.gather(batcher.submit("later"), batcher.submit("later"))
        assert later == ["later", "later"]


async def test_work_that_is_cancelled_by_itself_loses_no_caller():
    """A CancelledError out of some library is no cancellation of ours."""

    async def work(batch):
        if 1 in batch:
            raise asyncio.CancelledError
        return batch

    batcher = Batcher(work)
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(
            *(batcher.submit(n) for n in range(3)), return_exceptions=True
        )
        assert await batcher.submit(7) == 7
    assert (outcomes[0], type(outcomes[1]), outcomes[2]) == (0, RuntimeError, 2)
