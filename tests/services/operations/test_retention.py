"""What is pruned, what is kept, and that nobody waits for it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, fields
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from rota.domain.errors import InvalidInputError
from rota.domain.operations.retention import Kind, Period, Pruned, RetentionPolicy, parse_days
from rota.services.audit.checkpoints import Checkpoints
from rota.services.operations.chores import Chore
from rota.services.operations.retention import RetentionService
from rota.services.operations.scheduler_loop import SchedulerLoop
from rota.services.runs.results import ResultService
from rota.services.runs.service import RunService
from rota.services.schedules.explanations import ExplanationService
from rota.services.schedules.service import ScheduleService
from tests.services.harness import CIPHER, PAST, clock

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MOMENT = timedelta(microseconds=1)
DEFAULTS = RetentionPolicy(30, 365, 365, 365, 7, None)
CHECKPOINTS = Checkpoints(CIPHER)
LONG_AGO = 4_000 * DAY
OPEN = ("pending", "approved", "running", "unknown")
DECIDED = ("refused", "expired", "withdrawn", "succeeded", "failed")


@pytest.fixture
def retention(database):
    return RetentionService(database, CHECKPOINTS)


async def insert(workshop, table, **values):
    """Insert a row and return it."""
    async with workshop.owner.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        await cursor.execute(
            psycopg.sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING *").format(
                psycopg.sql.Identifier(*table.split(".")),
                psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, values)),
                psycopg.sql.SQL(", ").join([psycopg.sql.Placeholder()] * len(values)),
            ),
            list(values.values()),
        )
        return await cursor.fetchone()


async def old_run(workshop, age, *, status="finished", steps=2, action=None, **columns):
    """Insert a run that ended `age` ago with a journal and a result; returns its id."""
    ended = NOW - age
    over = status in {"finished", "cancelled"}
    run = await insert(
        workshop,
        "agent_runs",
        **{
            "user_id": workshop.user,
            "agent_name": "watcher",
            "trigger": "manual",
            "status": status,
            "attempt": 1,
            "created_at": ended,
            "finished_at": ended if over else None,
            **columns,
        },
    )
    for number in range(steps):
        await insert(
            workshop,
            "agent_run_steps",
            run_id=run["id"],
            model_step=number + 1,
            call_index=-1,
            user_id=workshop.user,
            kind="model",
            name="m",
            status="finished",
            attempt=1,
            started_at=ended,
        )
    if status == "finished":
        await insert(
            workshop,
            "agent_execution_results",
            user_id=workshop.user,
            run_id=run["id"],
            agent_name="watcher",
            result_content="All quiet.",
            status="success",
            execution_duration_ms=1,
            created_at=ended,
        )
    if action is not None:
        await insert(
            workshop,
            "pending_actions",
            user_id=workshop.user,
            run_id=run["id"],
            agent_name="watcher",
            tool_name="send",
            arguments=json.dumps({}),
            arguments_hash="x",
            status=action,
        )
    return run["id"]


async def notification(workshop, age, **columns):
    return await insert(
        workshop,
        "notifications",
        user_id=workshop.user,
        category="info",
        title="t",
        created_at=NOW - age,
        **columns,
    )


async def occurrence(workshop, schedule, age, *, outcome="fired", **columns):
    values = {"fire_time": NOW - age, "created_at": NOW - age, **columns}
    return await insert(
        workshop,
        "schedule_occurrences",
        schedule_id=schedule.id,
        user_id=workshop.user,
        outcome=outcome,
        **values,
    )


async def counts(workshop):
    tables = {
        "steps": "agent_run_steps",
        "runs": "agent_runs",
        "results": "agent_execution_results",
        "occurrences": "schedule_occurrences",
        "notifications": "notifications",
        "schedule_changes": "schedule_changes",
        "incidents": "incidents",
        "queue_log": "rota.pgqueuer_log",
    }
    return Pruned(**{name: len(await workshop.rows(table)) for name, table in tables.items()})


async def one_of_each(workshop, margin):
    """Insert one of each kind, as old as it is kept for by default, and `margin` more."""
    schedule = await workshop.schedule(name=f"s{margin}")
    await old_run(workshop, 30 * DAY + margin, steps=3)
    run = await old_run(workshop, 365 * DAY + margin, steps=0, journal_pruned_at=NOW)
    await occurrence(workshop, schedule, 365 * DAY + margin, run_id=run)
    await occurrence(workshop, schedule, 366 * DAY + margin, run_id=run)
    await occurrence(
        workshop,
        schedule,
        367 * DAY + margin,
        outcome="missed",
        last_fire_time=NOW - 365 * DAY - margin,
        fire_count=3,
        created_at=NOW - 365 * DAY - margin,
    )
    await notification(workshop, 365 * DAY + margin)
    await insert(
        workshop,
        "schedule_changes",
        schedule_id=schedule.id,
        user_id=workshop.user,
        changed_at=NOW - 365 * DAY - margin,
        was=json.dumps({}),
    )
    await insert(
        workshop,
        "incidents",
        user_id=workshop.user,
        kind="missed_fires",
        opened_at=NOW - LONG_AGO,
        closed_at=NOW - 365 * DAY - margin,
    )
    await insert(
        workshop,
        "rota.pgqueuer_log",
        created=NOW - 7 * DAY - margin,
        job_id=10**12,
        status="successful",
        priority=0,
        entrypoint="e",
    )


async def test_what_is_older_than_it_is_kept_goes(workshop, retention):
    await one_of_each(workshop, MOMENT)

    pruned = await retention.prune(NOW)

    assert pruned == Pruned(3, 1, 1, 3, 1, 1, 1, 1)
    # The run whose journal went is kept for longer.
    assert await counts(workshop) == Pruned(runs=1, results=1)


async def test_what_is_just_as_old_as_it_is_kept_stays(workshop, retention):
    await one_of_each(workshop, timedelta())
    before = await counts(workshop)

    assert await retention.prune(NOW) == Pruned()

    assert await counts(workshop) == before


async def test_dry_run_counts_what_a_pruning_deletes_and_deletes_nothing(workshop, retention):
    await one_of_each(workshop, MOMENT)
    await one_of_each(workshop, 400 * DAY)
    await old_run(workshop, LONG_AGO, action="unknown")
    await old_run(workshop, LONG_AGO, status="running")
    before = await counts(workshop)

    told = await retention.count_prunable(NOW)

    assert await counts(workshop) == before
    assert told == await retention.prune(NOW)
    assert told.runs == 3
    assert await retention.count_prunable(NOW) == Pruned()


async def test_for_ever_is_for_ever(workshop, retention):
    await one_of_each(workshop, LONG_AGO)
    before = await counts(workshop)
    await retention.set(dict.fromkeys(Period))

    assert await retention.count_prunable(NOW) == Pruned()
    assert await retention.prune(NOW) == Pruned()

    assert await counts(workshop) == before


@pytest.mark.parametrize("period", list(Period))
async def test_one_kind_kept_for_ever_keeps_no_other(workshop, retention, period):
    await one_of_each(workshop, LONG_AGO)
    before = await counts(workshop)
    run_too = {Period.RUN: None} if period is Period.JOURNAL else {}
    await retention.set({period: None, **run_too})

    await retention.prune(NOW)

    kept = {
        Period.JOURNAL: {"steps", "runs", "results", "occurrences"},
        Period.RUN: {"runs", "results", "occurrences"},
        Period.NOTIFICATION: {"notifications"},
        Period.HISTORY: {"schedule_changes", "incidents"},
        Period.QUEUE_LOG: {"queue_log"},
        Period.AUDIT: set[str](),  # see test_audit.py
    }[period]
    after = asdict(await counts(workshop))
    assert after == {name: n if name in kept else 0 for name, n in asdict(before).items()}


@pytest.mark.parametrize("status", ["waiting", "queued", "running"])
async def test_nothing_of_a_run_that_is_not_over_goes(workshop, retention, status):
    schedule = await workshop.schedule()
    # Its status counts, even where an end was written that it cannot have.
    run = await old_run(workshop, LONG_AGO, status=status, finished_at=NOW - LONG_AGO)
    await notification(workshop, LONG_AGO, run_id=run)
    await occurrence(workshop, schedule, LONG_AGO, run_id=run)
    job = await insert(
        workshop, "rota.pgqueuer", priority=0, status="queued", entrypoint="e", payload=b""
    )
    await insert(
        workshop,
        "rota.pgqueuer_log",
        created=NOW - LONG_AGO,
        job_id=job["id"],
        status="queued",
        priority=0,
        entrypoint="e",
    )
    before = await counts(workshop)

    assert await retention.prune(NOW) == Pruned()

    assert await counts(workshop) == before


@pytest.mark.parametrize("status", OPEN)
async def test_run_whose_action_is_not_settled_stays_whole(workshop, retention, status):
    await old_run(workshop, LONG_AGO, action=status)
    before = await counts(workshop)

    assert await retention.prune(NOW) == Pruned()
    assert await counts(workshop) == before

    await workshop.owner.execute(
        "UPDATE pending_actions SET status = CASE status WHEN 'pending' THEN 'refused'"
        " ELSE 'failed' END"
    )
    assert await retention.prune(NOW) == Pruned(steps=2, runs=1, results=1)


@pytest.mark.parametrize("status", DECIDED)
async def test_settled_action_outlives_its_run(workshop, retention, status):
    await old_run(workshop, LONG_AGO, action=status)

    assert (await retention.prune(NOW)).runs == 1

    action = await workshop.row("pending_actions")
    assert (action["status"], action["run_id"]) == (status, None)


async def test_statuses_of_actions_are_all_known_here(owner):
    cursor = await owner.execute(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conname = 'pending_actions_status_check'"
    )
    (definition,) = await cursor.fetchone()
    assert set(definition.split("'")[1::2]) == {*OPEN, *DECIDED}


async def test_run_that_never_began_goes_too(workshop, retention):
    await old_run(workshop, LONG_AGO, status="cancelled", steps=0, attempt=0)

    assert await retention.prune(NOW) == Pruned(runs=1)


async def test_run_without_its_journal_still_shows_its_result(workshop, retention):
    run = await old_run(workshop, 31 * DAY)
    await retention.prune(NOW)

    view, steps = await RunService(workshop.database).get(workshop.user, str(run))
    result = await ResultService(workshop.database).get(workshop.user, str(run))

    assert steps == ()
    assert view.journal_pruned_at == NOW
    assert (view.result_status, result.result_content) == ("success", "All quiet.")


async def test_audit_log_is_kept_for_ever_and_goes_on_naming_runs_that_are_gone(
    workshop, retention
):
    run = await old_run(workshop, LONG_AGO)
    await insert(
        workshop,
        "audit_logs",
        user_id=workshop.user,
        run_id=run,
        agent_name="watcher",
        tool_name="send",
        tier="auto",
        decision="allowed",
        outcome="succeeded",
        arguments_hash="x",
        called_at=NOW - LONG_AGO,
        created_at=NOW - LONG_AGO,
    )

    assert (await retention.prune(NOW)).runs == 1

    assert (await workshop.row("audit_logs"))["run_id"] == run


async def test_fire_time_that_is_younger_than_its_run_stays_until_its_time(workshop, retention):
    schedule = await workshop.schedule()
    run = await old_run(workshop, LONG_AGO)
    await occurrence(workshop, schedule, LONG_AGO, created_at=NOW - 10 * DAY, run_id=run)

    assert (await retention.prune(NOW)).occurrences == 0
    left = await workshop.row("schedule_occurrences")
    assert (left["outcome"], left["run_id"]) == ("fired", None)

    assert (await retention.prune(NOW + 356 * DAY)).occurrences == 1


async def test_range_of_fire_times_stays_until_its_last_is_old(workshop, retention):
    schedule = await workshop.schedule()
    await occurrence(
        workshop,
        schedule,
        LONG_AGO,
        outcome="missed",
        fire_count=9,
        last_fire_time=NOW - 364 * DAY,
    )
    assert (await retention.prune(NOW)).occurrences == 0
    assert (await retention.prune(NOW + 2 * DAY)).occurrences == 1


async def test_later_run_that_repeats_a_pruned_one_stays(workshop, retention):
    first = await old_run(workshop, LONG_AGO)
    again = await old_run(workshop, DAY, retry_of=first)

    assert (await retention.prune(NOW)).runs == 1

    left = await workshop.row("agent_runs")
    assert (left["id"], left["retry_of"]) == (again, None)


async def test_incident_that_is_open_stays(workshop, retention):
    await insert(
        workshop,
        "incidents",
        user_id=workshop.user,
        kind="missed_fires",
        opened_at=NOW - LONG_AGO,
    )
    assert await retention.prune(NOW) == Pruned()


async def test_schedule_does_not_call_a_pruned_fire_time_overdue(workshop, retention):
    monday = datetime(2026, 3, 2, 7, tzinfo=UTC)
    await workshop.due(monday, created_at=PAST)
    await workshop.scheduler().tick(monday)
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'cancelled', finished_at = %s", [monday]
    )
    await workshop.owner.execute("UPDATE schedule_occurrences SET created_at = %s", [monday])
    later = monday + 366 * DAY
    schedules = ScheduleService(workshop.database, clock=lambda: later)
    explanations = ExplanationService(workshop.database, schedules, clock=lambda: later)
    assert (await explanations.why(workshop.user, "morning", "2026-03-02 7:00")).verdict == "fired"

    assert (await retention.prune(later)).occurrences == 1

    found = await explanations.why(workshop.user, "morning", "2026-03-02 7:00")
    assert (found.verdict, found.why) == ("pruned", ("The record of it is no longer kept.",))
    overdue = await explanations.why(workshop.user, "morning", "2026-03-03 7:00")
    assert overdue.verdict == "overdue"


@pytest.mark.parametrize("apart", [timedelta(), timedelta(minutes=1)], ids=["at once", "apart"])
async def test_small_batches_reach_everything(workshop, database, apart):
    schedule = await workshop.schedule()
    for number in range(7):
        age = LONG_AGO + number * apart
        run = await old_run(workshop, age)
        await notification(workshop, age, run_id=run)
        await occurrence(workshop, schedule, LONG_AGO + number * DAY, run_id=run)
        await occurrence(
            workshop,
            schedule,
            LONG_AGO + (number + 100) * DAY,
            outcome="missed",
            created_at=NOW - age,
        )

    pruned = await RetentionService(database, CHECKPOINTS, batch=2, runs_batch=2).prune(NOW)

    assert pruned == Pruned(steps=14, runs=7, results=7, occurrences=14, notifications=7)
    assert await counts(workshop) == Pruned()


async def test_prunings_at_once_share_the_work(workshop, database):
    for number in range(30):
        run = await old_run(workshop, LONG_AGO + number * MOMENT)
        await notification(workshop, LONG_AGO + number * MOMENT, run_id=run)
    services = [RetentionService(database, CHECKPOINTS, batch=3, runs_batch=3) for _ in range(4)]

    shares = await asyncio.gather(*(service.prune(NOW) for service in services))
    # Who found the rest in others' hands has passed it over, and a journal may have gone after the
    # other's look at the runs: the next pruning has those.
    rest = await services[0].prune(NOW)

    assert sum(shares, rest) == Pruned(steps=60, runs=30, results=30, notifications=30)
    assert await counts(workshop) == Pruned()


async def waits_for_a_lock(owner):
    """Return once some statement of the test's database waits for a lock."""
    async with asyncio.timeout(15):
        while True:
            cursor = await owner.execute(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            if (await cursor.fetchone())[0]:
                return
            await asyncio.sleep(0.01)


async def test_interrupted_pruning_keeps_what_it_did_and_the_next_goes_on(
    workshop, retention, owner_url
):
    run = await old_run(workshop, LONG_AGO)
    await notification(workshop, DAY, run_id=run)  # the key has to reach it when the run goes
    async with await psycopg.AsyncConnection.connect(owner_url) as other:
        await other.execute("SELECT FROM agent_execution_results FOR UPDATE")
        pruning = asyncio.create_task(retention.prune(NOW))
        await waits_for_a_lock(workshop.owner)
        pruning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pruning

    assert await counts(workshop) == Pruned(runs=1, results=1, notifications=1)

    assert await retention.prune(NOW) == Pruned(runs=1, results=1)
    assert (await workshop.row("notifications"))["run_id"] is None


async def test_policy_that_grows_during_a_pruning_counts_at_once(workshop, retention, owner_url):
    await old_run(workshop, LONG_AGO)
    async with await psycopg.AsyncConnection.connect(owner_url) as other:
        await other.execute("SELECT FROM agent_run_steps FOR UPDATE")
        pruning = asyncio.create_task(retention.prune(NOW))
        await waits_for_a_lock(workshop.owner)
        await retention.set({Period.RUN: None})

    assert await pruning == Pruned(steps=2)
    assert await counts(workshop) == Pruned(runs=1, results=1)


async def test_of_many_schedulers_one_prunes_each_hour(workshop, database):
    await old_run(workshop, LONG_AGO)
    services = [RetentionService(database, CHECKPOINTS) for _ in range(4)]

    turns = await asyncio.gather(*(service.prune_hourly(NOW) for service in services))

    assert [turn for turn in turns if turn is not None] == [Pruned(2, 1, 1)]
    await old_run(workshop, LONG_AGO)
    assert await services[0].prune_hourly(NOW) is None
    await workshop.owner.execute("UPDATE rota.marks SET marked_at = now() - interval '1 hour'")
    assert await services[0].prune_hourly(NOW) == Pruned(2, 1, 1)


def scheduling(workshop, retention):
    """Return a scheduler's loop that prunes beside its work."""
    prune = Chore("prune", 300.0, lambda: retention.prune_hourly(clock()))
    return SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock, chores=[prune])


async def test_pruning_that_hangs_keeps_nothing_from_firing_and_ends_with_its_scheduler(
    workshop, retention, owner_url
):
    await old_run(workshop, LONG_AGO)
    stop = asyncio.Event()
    loop = scheduling(workshop, retention)
    async with (
        asyncio.timeout(30),
        await psycopg.AsyncConnection.connect(owner_url) as other,
    ):
        await other.execute("SELECT FROM agent_run_steps FOR UPDATE")
        running = asyncio.create_task(loop.run(stop))
        await waits_for_a_lock(workshop.owner)

        await workshop.schedule(every_seconds=1, anchor_at=PAST)
        while not await workshop.rows("schedule_occurrences"):
            await asyncio.sleep(0.02)
        stop.set()
        await running

    assert (await counts(workshop)).steps == 2


async def test_pruning_that_fails_is_logged_and_the_scheduler_goes_on(workshop, retention, capsys):
    await old_run(workshop, LONG_AGO)
    await workshop.owner.execute("REVOKE DELETE ON agent_run_steps FROM service_role")
    stop = asyncio.Event()
    loop = scheduling(workshop, retention)
    running = asyncio.create_task(loop.run(stop))
    async with asyncio.timeout(30):
        said = ""
        while "permission denied for table agent_run_steps" not in said:
            await asyncio.sleep(0.02)
            said += capsys.readouterr().out
        await workshop.schedule(every_seconds=1, anchor_at=PAST)
        while not await workshop.rows("schedule_occurrences"):
            await asyncio.sleep(0.02)
        stop.set()
        await running
    assert (await counts(workshop)).steps == 2

    await workshop.owner.execute("GRANT DELETE ON agent_run_steps TO service_role")
    assert await retention.prune_hourly(clock()) is None  # it has had its turn
    await workshop.owner.execute("UPDATE rota.marks SET marked_at = now() - interval '1 hour'")
    assert (await retention.prune_hourly(NOW)).steps == 2


async def test_policy_is_what_the_migration_says_until_it_is_set(retention):
    assert await retention.policy() == DEFAULTS

    changed = await retention.set({Period.JOURNAL: 14, Period.QUEUE_LOG: None})

    assert changed == RetentionPolicy(14, 365, 365, 365, None, None)
    assert await retention.policy() == changed


async def test_settings_made_at_once_are_both_kept(retention):
    # In whatever order: a journal is not to be kept for longer than its run in between.
    days = {period: 400 if period is Period.RUN else 20 for period in Period}
    await asyncio.gather(*(retention.set({period: kept}) for period, kept in days.items()))

    assert await retention.policy() == RetentionPolicy(20, 400, 20, 20, 20, 20)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        ({Period.RUN: 0}, "run_days is 1 to 36500 days, or forever, not 0"),
        ({Period.HISTORY: -1}, "history_days is 1"),
        ({Period.QUEUE_LOG: 36_501}, "queue_log_days is 1"),
        ({Period.RUN: 29}, "cannot outlive its run: journals 30 days, runs 29 days"),
        ({Period.JOURNAL: 366}, "cannot outlive its run"),
        ({Period.JOURNAL: None}, "journals forever, runs 365 days"),
    ],
)
async def test_policy_that_cannot_be_is_refused_with_a_sentence(retention, days, said):
    with pytest.raises(InvalidInputError, match=said) as refused:
        await retention.set(days)

    assert refused.value.field in days
    assert await retention.policy() == DEFAULTS


@pytest.mark.parametrize("written", ["", "0x1f", "1.5", "-3", "1_000", "٣", "thirty", "1" * 40])
def test_what_is_no_number_of_days_is_refused(written):
    with pytest.raises(InvalidInputError, match="a number of days, or forever"):
        parse_days(written, Period.RUN)


def test_days_are_read():
    assert [parse_days(text, Period.RUN) for text in (" 30", "Forever", "1")] == [30, None, 1]


def test_every_count_has_its_kind():
    """`runs` counts results and fire times too, `journals` steps, and `audit` what it left."""
    assert {f.name for f in fields(Pruned)} == {
        *(kind.value for kind in Kind if kind is not Kind.JOURNALS),
        *("steps", "results", "audit_refused"),
    }
