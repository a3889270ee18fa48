"""Which waiting runs enter the queue, and who is taken from it first."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from rota.domain.runs.priority import BEGUN, REBASE_ABOVE, job_priority
from rota.engine.admission import admit, requeue_lost
from rota.engine.queue import HandedOverError, QueueWorker
from rota.services.operations.scheduler_loop import ADMISSION_SLEEP, LOCKED_SLEEP, SchedulerLoop
from rota.services.runs.service import RunService
from tests.services.harness import clock

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
MANUAL, SCHEDULED, BACKFILL = 100, 0, -10


async def person(workshop, name):
    cursor = await workshop.owner.execute(
        "INSERT INTO auth.users (email) VALUES (%s) RETURNING id", [f"{name}@example.com"]
    )
    return (await cursor.fetchone())[0]


async def add(workshop, user, count=1, *, agent="a", priority=SCHEDULED, **columns):
    """Insert waiting runs and return the last one's id."""
    values = {"user_id": user, "agent_name": agent, "trigger": "schedule", **columns}
    cursor = await workshop.owner.execute(
        f"INSERT INTO agent_runs ({', '.join(values)}, priority)"
        f" SELECT {', '.join(['%s'] * len(values))}, %s FROM generate_series(1, %s) RETURNING id",
        [*values.values(), priority, count],
    )
    return (await cursor.fetchall())[-1][0]


async def admitted(workshop, **options):
    async with workshop.database.transaction() as conn:
        return await admit(conn, **options)


async def take(workshop, count):
    """Take jobs as PgQueuer does; their runs begin. Returns the ids of the runs."""
    cursor = await workshop.owner.execute(
        "UPDATE rota.pgqueuer SET status = 'picked' WHERE id IN (SELECT id FROM rota.pgqueuer"
        " WHERE status = 'queued' ORDER BY priority DESC, id LIMIT %s) RETURNING priority, id,"
        " dedupe_key",
        [count],
    )
    jobs = sorted(await cursor.fetchall(), key=lambda job: (-job[0], job[1]))
    runs = [UUID(key) for _, _, key in jobs]
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'running' WHERE id = ANY (%s)", [runs]
    )
    return runs


async def end(workshop, runs):
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'finished', finished_at = now() WHERE id = ANY (%s)", [runs]
    )
    await workshop.owner.execute(
        "DELETE FROM rota.pgqueuer WHERE dedupe_key = ANY (%s)", [[str(run) for run in runs]]
    )


async def owners(workshop, runs):
    by_id = {row["id"]: row["user_id"] for row in await workshop.rows("agent_runs")}
    return [by_id[run] for run in runs]


async def limit(workshop, user=None, **columns):
    names = ", ".join(columns)
    places = ", ".join(["%s"] * len(columns))
    await workshop.owner.execute(
        f"INSERT INTO user_limits (user_id, {names}) VALUES (%s, {places})"
        f" ON CONFLICT (user_id) DO UPDATE SET ({names}) = ROW (excluded.{names})",
        [user, *columns.values()],
    )


async def limit_in_all(workshop, most):
    await workshop.owner.execute("UPDATE rota.limits SET max_concurrency = %s", [most])


async def limited_agent(workshop, most, *, name="a", owner=None):
    await workshop.owner.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model, max_concurrency)"
        " VALUES (%s, %s, 'scripted:x', %s)",
        [owner, name, most],
    )


async def statuses(workshop, user=None):
    rows = await workshop.rows("agent_runs")
    return Counter(row["status"] for row in rows if user in {None, row["user_id"]})


# Fairness


async def test_one_run_does_not_wait_behind_ten_thousand_of_somebody_else(workshop, bob):
    await add(workshop, workshop.user, 10_000)
    await admitted(workshop)
    await take(workshop, 10)  # all places of a worker, for as long as its agents take
    await admitted(workshop)
    mine = await add(workshop, bob)

    admission = await admitted(workshop)

    assert admission.count == 1  # though the queue was full
    assert mine in await take(workshop, 2)


async def test_everybodys_first_run_is_before_anybodys_second(workshop, bob):
    carol = await person(workshop, "carol")
    for user, count in ((workshop.user, 50), (bob, 3), (carol, 1)):
        await add(workshop, user, count)
    await admitted(workshop)

    order = await owners(workshop, await take(workshop, 12))

    assert set(order[:3]) == {workshop.user, bob, carol}
    assert sorted(order[3:5]) == sorted([workshop.user, bob])
    assert sorted(order[5:7]) == sorted([workshop.user, bob])
    assert set(order[7:]) == {workshop.user}


async def test_two_herds_share_whatever_came_first(workshop, bob):
    await add(workshop, workshop.user, 500)
    await admitted(workshop, ahead=100)
    await end(workshop, await take(workshop, 60))
    await add(workshop, bob, 500)

    taken = []
    for _ in range(20):
        await admitted(workshop, ahead=100)
        runs = await take(workshop, 10)
        taken += await owners(workshop, runs)
        await end(workshop, runs)

    assert abs(taken.count(workshop.user) - taken.count(bob)) <= 10


async def test_runs_of_one_person_begin_in_the_order_they_came(workshop):
    """A refilled queue does not let what came later overtake what waits in it."""
    for number in range(60):
        await add(workshop, workshop.user, prompt=str(number))
    order = []
    for _ in range(12):
        await admitted(workshop, ahead=20)
        order += await take(workshop, 5)

    prompts = {row["id"]: int(row["prompt"]) for row in await workshop.rows("agent_runs")}
    assert [prompts[run] for run in order] == list(range(60))


async def test_nobody_starves_while_others_come_without_pause(workshop):
    await add(workshop, workshop.user, 50)
    await admitted(workshop)
    last = (await workshop.rows("agent_runs", "start_tag"))[-1]["id"]
    taken = []
    for number in range(60):
        await add(workshop, await person(workshop, f"p{number}"))  # a newcomer each time
        await admitted(workshop)
        taken += await take(workshop, 2)

    assert last in taken


async def test_run_now_is_before_ones_own_herd_and_the_herds_of_others(workshop, bob):
    await add(workshop, workshop.user, 3_000)
    await add(workshop, bob, 3_000)
    await admitted(workshop)
    now = await add(workshop, workshop.user, priority=MANUAL)
    await admitted(workshop)

    assert await take(workshop, 1) == [now]


async def test_backfill_is_behind_everything_scheduled(workshop, bob):
    await add(workshop, workshop.user, 5, priority=BACKFILL)
    await admitted(workshop)
    scheduled = await add(workshop, bob)
    await admitted(workshop)

    assert await take(workshop, 1) == [scheduled]


async def test_ten_thousand_times_run_now_leaves_the_schedules_of_others_their_turn(workshop, bob):
    await add(workshop, workshop.user, 10_000, priority=MANUAL)
    await admitted(workshop)
    scheduled = await add(workshop, bob)
    now = await add(workshop, bob, priority=MANUAL)
    await admitted(workshop)
    await admitted(workshop)  # of those without room, one of a person and agent at a look

    first = await take(workshop, 25)

    assert now in first[:2]
    assert scheduled in first


async def test_run_now_is_urgent_twenty_times_a_minute(workshop, bob):
    await workshop.agent()
    runs = RunService(workshop.database)
    for _ in range(21):
        await runs.request(workshop.user, "watcher")
    await add(workshop, bob, priority=MANUAL)

    rows = await workshop.rows("agent_runs", "created_at")

    assert [row["priority"] for row in rows] == [MANUAL] * 20 + [0, MANUAL]
    await workshop.owner.execute("UPDATE agent_runs SET created_at = now() - interval '2 minutes'")
    await add(workshop, workshop.user, priority=MANUAL, prompt="later")
    later = next(r for r in await workshop.rows("agent_runs") if r["prompt"] == "later")
    assert later["priority"] == MANUAL


async def test_herd_never_holds_more_than_its_part_of_the_queue(workshop):
    await add(workshop, workshop.user, 300)

    admission = await admitted(workshop, ahead=100)

    assert (admission.count, admission.runs_waiting, admission.ran_low) == (100, True, True)
    assert (await statuses(workshop))["queued"] == len(await workshop.rows("rota.pgqueuer")) == 100
    again = await admitted(workshop, ahead=100)
    assert (again.count, again.runs_waiting, again.ran_low) == (0, True, False)


async def test_start_tags_begin_anew_before_they_leave_the_range_of_a_priority(workshop, bob):
    await add(workshop, workshop.user, 3)
    await admitted(workshop)
    far = REBASE_ABOVE + 1
    await workshop.owner.execute("UPDATE agent_runs SET start_tag = start_tag + %s", [far])
    await workshop.owner.execute("UPDATE rota.pgqueuer SET priority = priority - %s", [far])
    await add(workshop, bob, 2)
    await admitted(workshop)
    await add(workshop, bob)
    await admitted(workshop)

    assert {row["start_tag"] for row in await workshop.rows("agent_runs")} <= set(range(4))
    jobs = {row["dedupe_key"]: row["priority"] for row in await workshop.rows("rota.pgqueuer")}
    for row in await workshop.rows("agent_runs"):
        assert jobs[str(row["id"])] == job_priority(row["priority"], row["start_tag"])


def test_priority_of_a_job_never_leaves_its_class():
    greatest = 2**31 - 1
    for tag in (0, 1, 10**6, 10**9, 10**12):
        assert -greatest <= job_priority(BACKFILL, tag) <= job_priority(BACKFILL, 0)
        assert job_priority(BACKFILL, 0) < job_priority(SCHEDULED, tag)
        assert job_priority(SCHEDULED, 0) < job_priority(MANUAL, tag)
        assert job_priority(MANUAL, tag) < BEGUN <= greatest


# What has begun


async def test_run_that_was_begun_and_lost_its_job_comes_first(workshop, bob):
    begun = await add(workshop, workshop.user, priority=BACKFILL)
    lost = await add(workshop, workshop.user)
    await admitted(workshop)
    await workshop.owner.execute("UPDATE agent_runs SET status = 'running' WHERE id = %s", [begun])
    await workshop.owner.execute("DELETE FROM rota.pgqueuer")
    await workshop.owner.execute("UPDATE agent_runs SET queued_at = now() - interval '5 minutes'")
    now = await add(workshop, bob, priority=MANUAL)
    async with workshop.database.transaction() as conn:
        assert await requeue_lost(conn, older_than_seconds=60) == 2
    await admitted(workshop)

    assert await take(workshop, 3) == [begun, now, lost]


async def test_run_that_is_handed_over_is_taken_before_all_that_have_not_begun(workshop, bob):
    begun = await add(workshop, workshop.user, priority=BACKFILL)
    await admitted(workshop)
    stop, seen = asyncio.Event(), []

    async def hand_over(run_id):
        stop.set()
        seen.append(run_id)
        raise HandedOverError

    async with asyncio.timeout(60):
        await QueueWorker(workshop.database, concurrency=2).run(hand_over, stop)
    await add(workshop, bob, priority=MANUAL)
    await admitted(workshop)

    assert seen == [begun]
    assert (await take(workshop, 1)) == [begun]


# Limits


async def test_person_has_no_more_under_way_than_their_limit(workshop, bob):
    await limit(workshop, max_concurrency=3)
    await add(workshop, workshop.user, 50)
    await add(workshop, bob, 50)

    admission = await admitted(workshop)

    assert (admission.count, admission.runs_waiting) == (6, False)
    assert (await statuses(workshop, bob))["queued"] == 3
    running = await take(workshop, 6)
    assert (await admitted(workshop)).count == 0
    await end(workshop, running[:1])
    assert (await admitted(workshop)).count == 1


async def test_persons_own_limit_is_instead_of_everybodys(workshop, bob):
    carol = await person(workshop, "carol")
    await limit(workshop, max_concurrency=2)
    await limit(workshop, bob, max_concurrency=5)
    await limit(workshop, carol, unlimited=["max_concurrency"])
    for user in (workshop.user, bob, carol):
        await add(workshop, user, 30)

    await admitted(workshop)

    queued = [(await statuses(workshop, user))["queued"] for user in (workshop.user, bob, carol)]
    assert queued == [2, 5, 30]


async def test_limit_of_another_kind_leaves_concurrency_to_everybodys(workshop):
    await limit(workshop, max_concurrency=2)
    await limit(workshop, workshop.user, day_tokens=1_000)
    await add(workshop, workshop.user, 9)

    assert (await admitted(workshop)).count == 2


async def test_all_together_have_no_more_under_way_than_the_limit_in_all(workshop, bob):
    await limit_in_all(workshop, 5)
    await add(workshop, workshop.user, 30)
    await add(workshop, bob, 30)

    assert (await admitted(workshop)).count == 5
    assert (await statuses(workshop, bob))["queued"] in {2, 3}


async def test_shared_agents_limit_is_over_everybody_and_own_agents_over_its_owner(workshop, bob):
    carol = await person(workshop, "carol")
    await limited_agent(workshop, 4)
    await limited_agent(workshop, 1, owner=carol)  # hides the shared one of the same name
    for user in (workshop.user, bob, carol):
        await add(workshop, user, 10)
        await add(workshop, user, 2, agent="other")

    await admitted(workshop)

    rows = [r for r in await workshop.rows("agent_runs") if r["status"] == "queued"]
    assert sum(r["agent_name"] == "other" for r in rows) == 6
    limited = Counter(r["user_id"] for r in rows if r["agent_name"] == "a")
    assert limited == {workshop.user: 2, bob: 2, carol: 1}


async def test_runs_kept_back_by_one_limit_take_nobodys_place_under_another(workshop, bob):
    """The first in line cannot run for their agent's sake; the next of the same person can."""
    await limit(workshop, max_concurrency=2)
    await limited_agent(workshop, 1)
    await add(workshop, workshop.user, 5)
    await add(workshop, bob, 5)
    free = await add(workshop, workshop.user, agent="free")

    await admitted(workshop)

    rows = await workshop.rows("agent_runs")
    assert next(r["status"] for r in rows if r["id"] == free) == "queued"
    assert sum(r["status"] == "queued" and r["agent_name"] == "a" for r in rows) == 1


async def test_limit_that_is_lowered_lets_nothing_in_until_enough_has_ended(workshop):
    await limit(workshop, max_concurrency=6)
    await add(workshop, workshop.user, 20)
    await admitted(workshop)
    running = await take(workshop, 6)
    await limit(workshop, max_concurrency=2)

    await end(workshop, running[:4])
    assert (await admitted(workshop)).count == 0
    await end(workshop, running[4:5])
    assert (await admitted(workshop)).count == 1


async def test_run_outside_of_the_queue_counts_for_nothing(workshop):
    await limit(workshop, max_concurrency=1)
    outside = await add(workshop, workshop.user)
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'running' WHERE id = %s", [outside]
    )
    await add(workshop, workshop.user)

    assert (await admitted(workshop)).count == 1


async def test_two_schedulers_at_once_exceed_no_limit(workshop, bob):
    await limit(workshop, max_concurrency=7)
    await limit_in_all(workshop, 10)
    await add(workshop, workshop.user, 40)
    await add(workshop, bob, 40)

    for _ in range(5):
        admissions = await asyncio.gather(*(admitted(workshop) for _ in range(4)))
        assert sum(a.locked for a in admissions) < 4
        under_way = await statuses(workshop)
        assert under_way["queued"] + under_way["running"] == 10
        assert (await statuses(workshop, bob))["queued"] <= 7
        await end(workshop, await take(workshop, 3))
    assert len(await workshop.rows("rota.pgqueuer")) == (await statuses(workshop))["queued"]


async def test_admission_waits_for_nobody_who_is_admitting(workshop, bob):
    await add(workshop, workshop.user, 5)
    async with workshop.database.transaction() as conn:
        await admit(conn)
        await add(workshop, bob)
        loop = SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock)
        assert await loop.tick(15.0) == LOCKED_SLEEP
    assert await loop.tick(15.0) == 15.0
    assert (await statuses(workshop))["queued"] == 6


@pytest.mark.parametrize("seed", range(8))
async def test_no_limit_is_exceeded_and_nothing_that_could_run_is_left(workshop, bob, seed):
    chance = random.Random(seed)
    people = [workshop.user, bob, await person(workshop, "carol")]
    agents = ["a", "b", "c"]
    for name in agents:
        if chance.random() < 0.7:
            await limited_agent(workshop, chance.choice([None, 1, 2, 4]), name=name)
        if chance.random() < 0.4:
            owner = chance.choice(people)
            await limited_agent(workshop, chance.choice([None, 1, 3]), name=name, owner=owner)
    schedules = [
        await workshop.schedule(name=f"s{n}", user=chance.choice(people)) for n in range(4)
    ]

    for _ in range(12):
        for _ in range(chance.randrange(8)):
            await add_any(workshop, chance, people, agents, schedules)
        await change_limits(workshop, chance, people)
        before = await admissible(workshop)
        ahead = chance.choice([3, 1_000])
        admission = await admitted(workshop, ahead=ahead)
        after = await admissible(workshop)
        assert before.exceeded | after.exceeded == before.exceeded, "a limit was exceeded"
        if ahead == 1_000:
            assert after.could_run == set()
            assert not admission.runs_waiting
        elif after.could_run:
            assert admission.runs_waiting
        running = await take(workshop, chance.randrange(6))
        rows = await workshop.rows("agent_runs")
        ends = [r["id"] for r in rows if r["status"] == "running" and chance.random() < 0.4]
        await end(workshop, ends + [run for run in running if chance.random() < 0.2])


async def change_limits(workshop, chance, people):
    if chance.random() < 0.4:
        await limit(workshop, max_concurrency=chance.choice([None, 1, 3, 6]))
    if chance.random() < 0.3:
        await limit(workshop, chance.choice(people), max_concurrency=chance.choice([None, 2, 5]))
    if chance.random() < 0.3:
        await limit_in_all(workshop, chance.choice([None, 2, 6, 9]))


async def add_any(workshop, chance, people, agents, schedules):
    columns = {"priority": chance.choice([MANUAL, SCHEDULED, BACKFILL])}
    owner = chance.choice(people)
    if chance.random() < 0.4:
        schedule = chance.choice(schedules)
        owner = schedule.user_id
        columns |= {"schedule_id": schedule.id, "is_serial": chance.random() < 0.7}
    if chance.random() < 0.2:
        columns |= {"not_before": clock() + timedelta(hours=chance.choice([-1, 1]))}
    await add(workshop, owner, chance.randrange(1, 4), agent=chance.choice(agents), **columns)


class Admissible:
    """What the rows say, worked out in another way: one run at a time, one rule at a time."""

    def __init__(self, runs, limits, agents, in_all):
        self.under_way = [
            r
            for r in runs
            if r["status"] == "queued" or (r["status"] == "running" and r["queued_at"])
        ]
        self._waiting = [r for r in runs if r["status"] == "waiting"]
        self._limits, self._agents, self._in_all = limits, agents, in_all
        self.exceeded = {
            key for run in self.under_way for key, count, most in self._of(run) if count > most
        }
        self.could_run = {
            run["id"]
            for run in self._waiting
            if all(count < most for _, count, most in self._of(run)) and self._has_its_turn(run)
        }

    def _agent(self, run):
        for owner in (run["user_id"], None):
            if (owner, run["agent_name"]) in self._agents:
                return (owner, run["agent_name"])
        return None

    def _of(self, run):
        own = self._limits.get(run["user_id"])
        most = own if own is not None else self._limits.get(None)
        if most is not None:
            mine = [r for r in self.under_way if r["user_id"] == run["user_id"]]
            yield ("person", run["user_id"]), len(mine), most
        agent = self._agent(run)
        if agent is not None and self._agents[agent] is not None:
            same = [r for r in self.under_way if self._agent(r) == agent]
            yield ("agent", agent), len(same), self._agents[agent]
        if self._in_all is not None:
            yield ("all", None), len(self.under_way), self._in_all

    def _is_due(self, run):
        return run["not_before"] is None or run["not_before"] <= clock()

    def _has_its_turn(self, run):
        if not self._is_due(run):
            return False
        if not run["is_serial"] or run["schedule_id"] is None:
            return True
        line = [
            r
            for r in self._waiting
            if r["schedule_id"] == run["schedule_id"] and r["is_serial"] and self._is_due(r)
        ]
        first = min(line, key=lambda r: (-r["priority"], r["created_at"], r["id"]))
        busy = any(r["schedule_id"] == run["schedule_id"] for r in self.under_way)
        return first["id"] == run["id"] and not busy


async def admissible(workshop):
    runs = await workshop.rows("agent_runs")
    limits = {r["user_id"]: r["max_concurrency"] for r in await workshop.rows("user_limits")}
    agents = {
        (r["user_id"], r["agent_name"]): r["max_concurrency"]
        for r in await workshop.rows("agent_configurations")
    }
    in_all = (await workshop.row("rota.limits"))["max_concurrency"]
    return Admissible(runs, limits, agents, in_all)


# Waking


async def test_limited_run_begins_promptly_after_the_one_before_it(workshop, monkeypatch):
    """The end of a run wakes the scheduler, which would sleep on otherwise."""
    monkeypatch.setattr("rota.services.operations.scheduler_loop.LONGEST_SLEEP", 3600.0)
    await limit(workshop, max_concurrency=1)
    await add(workshop, workshop.user, 5)
    stop = asyncio.Event()
    loop = SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock)
    running = asyncio.create_task(loop.run(stop))
    async with asyncio.timeout(60):
        ended = 0
        while ended < 5:
            runs = await take(workshop, 1)
            await end(workshop, runs)
            ended += len(runs)
            await asyncio.sleep(0.01)
    stop.set()
    await running


@pytest.mark.parametrize("kind", ["person", "everyone", "agent", "own agent", "all"])
async def test_end_of_a_run_wakes_admission_where_a_limit_holds_others_back(workshop, kind):
    match kind:
        case "person":
            await limit(workshop, workshop.user, max_concurrency=1)
        case "everyone":
            await limit(workshop, max_concurrency=1)
        case "agent":
            await limited_agent(workshop, 1)
        case "own agent":
            await limited_agent(workshop, 1, owner=workshop.user)
        case "all":
            await limit_in_all(workshop, 1)
    await add(workshop, workshop.user, 2)
    await admitted(workshop)

    assert await notices_of(workshop, lambda: end_one(workshop)) == ["runs"]
    await admitted(workshop)
    assert await notices_of(workshop, lambda: end_one(workshop)) == []  # nothing waits any more


async def test_end_of_a_run_wakes_nobody_where_no_limit_holds_others_back(workshop):
    await add(workshop, workshop.user, 20)
    await admitted(workshop, ahead=5)

    assert await notices_of(workshop, lambda: end_one(workshop)) == []


async def end_one(workshop):
    await end(workshop, await take(workshop, 1))


async def notices_of(workshop, act):
    """Return what is notified on rota's channel while something is done."""
    async with workshop.database.dedicated(listening=True) as conn:
        await conn.execute("LISTEN rota_wake")
        await act()
        await workshop.owner.execute("NOTIFY rota_wake, 'done'")
        heard = []
        async for notice in conn.notifies(timeout=10):
            if notice.payload == "done":
                return heard
            heard.append(notice.payload)
    raise AssertionError("nothing was heard")


@pytest.mark.parametrize(
    "raised",
    [
        "UPDATE user_limits SET max_concurrency = 5",
        "DELETE FROM user_limits",
        "UPDATE rota.limits SET max_concurrency = 5",
        "UPDATE agent_configurations SET max_concurrency = 5",
    ],
)
async def test_limit_that_is_raised_wakes_admission(workshop, raised):
    await limit(workshop, max_concurrency=1)
    await limited_agent(workshop, 1)

    assert "runs" in await notices_of(workshop, lambda: workshop.owner.execute(raised))


async def test_run_that_waits_for_its_time_is_neither_admitted_nor_asked_for(workshop):
    await add(workshop, workshop.user, not_before=clock() + timedelta(hours=1))
    loop = SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock)

    assert await loop.tick(15.0) == 15.0
    assert await statuses(workshop) == {"waiting": 1}
    await workshop.owner.execute("UPDATE agent_runs SET not_before = now() + interval '10 minutes'")
    assert 15 < await loop.tick(3600.0) <= 600
    await workshop.owner.execute("UPDATE agent_runs SET not_before = now()")
    await loop.tick(15.0)
    assert await statuses(workshop) == {"queued": 1}


async def test_serial_run_that_waits_for_its_time_lets_the_next_of_its_schedule_go(workshop):
    schedule = await workshop.schedule()
    serial = {"schedule_id": schedule.id, "is_serial": True}
    await add(workshop, workshop.user, not_before=clock() + timedelta(hours=1), **serial)
    ready = await add(workshop, workshop.user, **serial)

    await admitted(workshop)

    assert await take(workshop, 2) == [ready]


async def test_runs_held_back_by_a_limit_are_not_asked_for_all_the_time(workshop):
    await limit(workshop, max_concurrency=1)
    await add(workshop, workshop.user, 5)
    loop = SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock)

    assert await loop.tick(15.0) == 15.0


async def test_queue_that_runs_low_is_looked_at_again_at_once_and_a_full_one_is_not(workshop):
    await add(workshop, workshop.user, 40)
    loop = SchedulerLoop(workshop.database, workshop.scheduler(ahead=10), clock=clock)

    assert await loop.tick(15.0) == 0.0  # it was empty: whoever empties it is fast
    assert await loop.tick(15.0) == ADMISSION_SLEEP
    await end(workshop, await take(workshop, 2))
    assert await loop.tick(15.0) == ADMISSION_SLEEP
    await end(workshop, await take(workshop, 8))
    assert await loop.tick(15.0) == 0.0


async def test_due_fire_is_not_late_for_runs_that_wait_for_room(workshop):
    await add(workshop, workshop.user, 40)
    await workshop.schedule(cron="* * * * * *", next_fire_at=MONDAY_7 + timedelta(seconds=0.05))
    scheduler = workshop.scheduler(ahead=10)
    loop = SchedulerLoop(workshop.database, scheduler, clock=lambda: MONDAY_7)
    await loop.tick(15.0)

    assert await loop.tick(15.0) == pytest.approx(0.05)


async def test_first_of_a_schedules_line_is_looked_up_and_not_sorted_for(workshop):
    """Ten thousand missed fires of one schedule: sorted for each of them, that takes minutes."""
    await workshop.schedule()
    crowd = (
        "INSERT INTO agent_runs (user_id, agent_name, trigger, schedule_id, is_serial, fire_time)"
        " SELECT user_id, agent_name, 'catch_up', id, true, now() + n * interval '1 s'"
        " FROM agent_schedules, generate_series(1, 10000) AS n"
    )
    await workshop.owner.execute(crowd)
    await workshop.owner.execute("DELETE FROM agent_runs")  # the table is larger than what is in it
    await workshop.owner.execute(crowd)
    async with workshop.database.transaction() as conn:
        assert (await admit(conn)).count == 1
        cursor = await conn.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
            " WHERE relname = 'agent_runs'"
        )
        (read,) = await cursor.fetchone()

    assert read < 100_000  # of ten million
