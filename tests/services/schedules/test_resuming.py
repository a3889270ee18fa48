"""Schedules that rota paused for want of a connection, and what they catch up once it is there."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from rota.domain.agents.connections import setups_met
from rota.services.schedules.resuming import resume_mended
from rota.services.schedules.service import ScheduleService
from tests.services.harness import clock

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
FULL_HOUR: datetime = clock().replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def paused(workshop):
    """Have the run of an hourly schedule fail for a connection, and rota pause it then."""

    async def paused(failed_at, **columns):
        script = {"steps": [{"calls": [{"tool": "setup"}]}], "answer": ""}
        await workshop.agent(script, tools=["setup"])
        schedule = await workshop.schedule(cron="0 * * * *", **columns)
        await workshop.service().execute(schedule)
        await workshop.owner.execute("UPDATE agent_runs SET fire_time = %s", [failed_at])
        await workshop.owner.execute(
            "UPDATE agent_schedules SET paused_at = %s", [failed_at + MINUTE]
        )
        assert (await workshop.fetch(schedule.id)).is_active is False
        return schedule

    return paused


@pytest.fixture
def goes_on(workshop, database):
    """Resume what waits for Gmail, and return the runs and fires that this leads to."""

    async def goes_on(now):
        service = ScheduleService(database, clock=lambda: now)
        resumed = await service.resume_after_setup(workshop.user, "connection:gmail")
        again = await service.resume_after_setup(workshop.user, "connection:gmail")
        assert (len(resumed), again) == (1, ())
        await workshop.scheduler().tick(now)
        await workshop.scheduler().tick(now)
        runs = await workshop.rows("agent_runs", "fire_time NULLS LAST")
        fires = await workshop.rows("schedule_occurrences", "fire_time")
        return (
            [run["fire_time"] or "again" for run in runs if run["status"] != "finished"],
            [(fire["fire_time"], fire["outcome"]) for fire in fires],
        )

    return goes_on


async def test_the_latest_that_fell_due_meanwhile_runs(workshop, paused, goes_on):
    await paused(FULL_HOUR - 2 * HOUR)

    runs, fires = await goes_on(FULL_HOUR + 20 * MINUTE)

    assert runs == [FULL_HOUR]
    assert fires == [(FULL_HOUR - HOUR, "suppressed"), (FULL_HOUR, "fired")]
    assert await workshop.rows("notifications", "created_at")  # of the run that failed
    assert await workshop.rows("incidents") == []


async def test_all_of_it_runs_where_the_schedule_says_so(paused, goes_on):
    await paused(FULL_HOUR - 2 * HOUR, catch_up="all", catch_up_window_seconds=10_800)

    runs, _ = await goes_on(FULL_HOUR + 20 * MINUTE)

    assert runs == [FULL_HOUR - HOUR, FULL_HOUR, "again"]


async def test_the_run_that_failed_runs_anew_where_nothing_fell_due_after_it(paused, goes_on):
    await paused(FULL_HOUR)

    assert await goes_on(FULL_HOUR + 40 * MINUTE) == (["again"], [])


async def test_what_is_past_the_window_does_not_run(paused, goes_on):
    await paused(FULL_HOUR, catch_up_window_seconds=600)

    assert await goes_on(FULL_HOUR + 40 * MINUTE) == ([], [])


@pytest.mark.parametrize(
    ("changes", "is_enough"),
    [
        ("last_checked_at = now()", True),
        ("last_used_at = now(), last_checked_at = NULL", True),
        ("last_checked_at = now() - interval '1 hour'", False),
        ("last_checked_at = now(), state = 'needs you'", False),
        ("last_checked_at = now(), expires_at = now() - interval '1 hour'", False),
        ("last_checked_at = now(), name = 'private'", True),  # of the kind that was lacked
        ("last_checked_at = now(), name = 'work', service = 'imap'", False),
    ],
)
async def test_a_connection_that_works_again_is_enough(
    workshop, database, paused, changes, is_enough
):
    schedule = await paused(FULL_HOUR)
    await workshop.owner.execute(
        "INSERT INTO connections (user_id, name, service, secret, key_id)"
        " VALUES (%s, 'gmail', 'gmail', 'x', 'k')",
        [workshop.user],
    )
    assert await resume_mended(database, now=clock()) == ()
    await workshop.owner.execute(f"UPDATE connections SET {changes}")

    resumed = await resume_mended(database, now=clock())

    assert [one.id for one in resumed] == ([schedule.id] if is_enough else [])
    assert (await workshop.fetch(schedule.id)).is_active is is_enough


async def test_what_somebody_else_connected_resumes_nothing(workshop, database, paused, bob):
    await paused(FULL_HOUR)
    await workshop.owner.execute(
        "INSERT INTO connections (user_id, name, service, secret, key_id, last_checked_at)"
        " VALUES (%s, 'gmail', 'gmail', 'x', 'k', now())",
        [bob],
    )

    assert await resume_mended(database, now=clock()) == ()


@pytest.mark.parametrize(
    ("lacked", "kind", "is_enough"),
    [
        ("connection:mail", "imap", True),
        ("connection:mail", "microsoft", True),
        ("connection:mail", "ics", False),
        ("connection:calendar", "caldav", True),
        ("connection:calendar", "gmail", False),
        ("model_key", "gmail", False),
        ("connection:mine:send", "imap", False),  # a check of reading says nothing of it
    ],
)
async def test_who_had_none_of_a_sort_needs_any_of_it(
    workshop, database, paused, lacked, kind, is_enough
):
    await paused(FULL_HOUR)
    await workshop.owner.execute(
        "UPDATE agent_execution_results"
        " SET metadata = jsonb_set(metadata, '{setup_required}', to_jsonb(%s::text))",
        [lacked],
    )
    await workshop.owner.execute(
        "INSERT INTO connections (user_id, name, service, secret, key_id, last_checked_at)"
        " VALUES (%s, 'mine', %s, 'x', 'k', now())",
        [workshop.user, kind],
    )

    assert len(await resume_mended(database, now=clock())) == is_enough
    assert (lacked in setups_met("mine", kind)) is (is_enough or lacked.endswith(":send"))
