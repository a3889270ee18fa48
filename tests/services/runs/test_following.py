"""Following a run on a worker: whatever is new is told once, as it is stored, until it is over."""

from __future__ import annotations

import asyncio

import pytest

from rota.domain.errors import NotFoundError
from rota.domain.runs.run import RunStatus
from rota.services.runs.following import RunFollower
from rota.services.runs.service import RunService

WAITS = {
    "steps": [
        {"say": "First I look.", "calls": [{"tool": "look", "args": {"query": "x"}}]},
        {"calls": [{"tool": "wait", "args": {}}]},
    ],
    "answer": "Done.",
}


@pytest.fixture
def runs(database):
    return RunService(database)


def told(news):
    return [(one.step.name, one.step.status) for one in news.news]


async def test_calls_are_told_as_they_are_stored_and_each_once(workshop, runs):
    workshop.toolbox.gate = asyncio.Event()
    await workshop.agent(WAITS, tools=["look", "wait"])
    schedule = await workshop.schedule()
    execution = asyncio.create_task(workshop.service().execute(schedule))
    while not await workshop.rows("agent_run_steps"):
        await asyncio.sleep(0.01)

    seen = []
    async for news in RunFollower(runs).follow(workshop.user, None, every=0.01):
        seen.append(news)
        steps = {step.name for step in news.steps}
        if not workshop.toolbox.gate.is_set() and "look" in steps:
            assert news.run.status is RunStatus.RUNNING  # it goes on all the while
            workshop.toolbox.gate.set()
    await execution

    assert seen[0].before is None
    assert all(news.news or news.run.status is not news.before for news in seen)
    assert seen[-1].run.result_status == "success"
    ended = [item for news in seen for item in told(news) if item[1] == "finished"]
    assert len(ended) == 5  # three calls of the model, two of tools
    assert [name for name, _ in ended if name in {"look", "wait"}] == ["look", "wait"]


async def test_status_is_told_when_it_changes(workshop, runs):
    await workshop.owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger) VALUES (%s, 'watcher', 'manual')",
        [workshop.user],
    )
    following = RunFollower(runs).follow(workshop.user, None, every=0.01)
    statuses = [(await anext(following)).run.status]
    for status in ("queued", "running", "suspended", "waiting", "cancelled"):
        await workshop.owner.execute("UPDATE agent_runs SET status = %s", [status])
        news = await anext(following)
        statuses.append(news.run.status)
        assert news.before == statuses[-2]

    assert statuses == ["waiting", "queued", "running", "suspended", "waiting", "cancelled"]
    with pytest.raises(StopAsyncIteration):
        await anext(following)


async def test_run_of_another_person_is_not_followed(workshop, runs, bob):
    await workshop.owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger) VALUES (%s, 'watcher', 'manual')",
        [workshop.user],
    )
    run = (await workshop.row("agent_runs"))["id"]
    follower = RunFollower(runs)

    for reference in (str(run), None):
        with pytest.raises(NotFoundError):
            await anext(follower.follow(bob, reference))


class Counting(RunService):
    reads = 0
    looks = 0

    async def get(self, user_id, reference):
        self.reads += 1
        return await super().get(user_id, reference)

    async def progress(self, user_id, run_id):
        self.looks += 1
        return await super().progress(user_id, run_id)


async def test_what_calls_hold_is_not_read_while_nothing_changes(workshop, database):
    await workshop.owner.execute(
        "WITH run AS (INSERT INTO agent_runs (user_id, agent_name, trigger, status)"
        " VALUES (%(me)s, 'watcher', 'manual', 'running') RETURNING id)"
        " INSERT INTO agent_run_steps (run_id, model_step, call_index, user_id, kind, name, status,"
        " attempt, started_at, attempts) SELECT id, n, -1, %(me)s, 'model', 'm', 'started', 1,"
        " now(), a FROM run, (VALUES (1, NULL), (2, '[{}]'::jsonb)) AS v (n, a)",
        {"me": workshop.user},
    )
    counting = Counting(database)
    following = RunFollower(counting).follow(workshop.user, None, every=0.001)
    await anext(following)
    waiting = asyncio.ensure_future(anext(following))
    while counting.looks < 5:
        await asyncio.sleep(0.001)

    assert counting.reads == 1
    await workshop.owner.execute("UPDATE agent_runs SET status = 'cancelled'")
    assert (await waiting).run.status is RunStatus.CANCELLED
