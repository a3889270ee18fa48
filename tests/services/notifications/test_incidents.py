"""MissedSchedule fires: one message when they begin, one when they are over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def scheduler(workshop):
    return workshop.scheduler()


async def titles(workshop, user=None):
    return [
        row["title"]
        for row in await workshop.rows("notifications", "created_at")
        if user is None or row["user_id"] == user
    ]


async def test_many_missed_fires_are_one_message_that_names_them(workshop, scheduler):
    await workshop.due(MONDAY_7, name="often", cron="*/10 * * * *", time_zone="Europe/Berlin")
    await workshop.due(MONDAY_7, name="daily")

    await scheduler.tick(MONDAY_7 + 2 * HOUR + MINUTE)

    (told,) = await workshop.rows("notifications")
    assert told["title"] == "13 scheduled runs were missed"
    assert "- often: 12 times, from 2026-03-02 08:00 to 2026-03-02 09:50" in told["body"]
    assert "(Europe/Berlin); the latest ran late" in told["body"]
    assert "- daily: 2026-03-02 07:00 (UTC)" in told["body"]
    assert told["category"] == "error"


async def test_further_missed_fires_belong_to_the_same_incident(workshop, scheduler):
    await workshop.due(MONDAY_7)

    for day in range(3):
        await scheduler.tick(MONDAY_7 + day * DAY + 2 * HOUR)

    assert len(await workshop.rows("schedule_occurrences")) == 3
    assert await titles(workshop) == ["1 scheduled run was missed"]


async def test_recovery_is_told_once(workshop, scheduler):
    await workshop.due(MONDAY_7)
    await scheduler.tick(MONDAY_7 + 2 * HOUR)

    for day in (1, 2, 3):
        await scheduler.tick(MONDAY_7 + day * DAY)

    assert await titles(workshop) == [
        "1 scheduled run was missed",
        "Schedules fire on time again",
    ]
    assert (await workshop.row("incidents"))["closed_at"] is not None


async def test_recovery_in_the_same_look_is_not_told_before_the_incident(workshop, scheduler):
    await workshop.due(MONDAY_7, name="old")
    await workshop.due(MONDAY_7 + 2 * HOUR, name="new", cron="0 9 * * *")

    await scheduler.tick(MONDAY_7 + 2 * HOUR)

    assert await titles(workshop) == ["1 scheduled run was missed"]


async def test_late_run_is_no_recovery(workshop, scheduler):
    await workshop.due(MONDAY_7, cron="*/10 * * * *")

    await scheduler.tick(MONDAY_7 + 35 * MINUTE)
    await scheduler.tick(MONDAY_7 + 45 * MINUTE)

    assert await titles(workshop) == ["3 scheduled runs were missed"]


async def test_everybody_hears_of_their_own(workshop, scheduler, bob):
    await workshop.due(MONDAY_7)
    await workshop.due(MONDAY_7, name="bobs", user=bob)

    await scheduler.tick(MONDAY_7 + 2 * HOUR)

    for user in (workshop.user, bob):
        (told,) = [n for n in await workshop.rows("notifications") if n["user_id"] == user]
        assert ("bobs" in told["body"]) == (user == bob)


async def test_suppressed_and_skipped_fires_are_no_incident(workshop, scheduler):
    await workshop.due(MONDAY_7, active_hours="09:00-10:00")

    await scheduler.tick(MONDAY_7 + 2 * HOUR)

    assert await titles(workshop) == []
    assert await workshop.rows("incidents") == []


async def test_new_trouble_after_a_day_is_a_new_incident(workshop, scheduler):
    await workshop.due(MONDAY_7)
    await scheduler.tick(MONDAY_7 + 2 * HOUR)
    await workshop.owner.execute(
        "UPDATE incidents SET last_seen_at = now() - interval '2 days',"
        " opened_at = now() - interval '2 days'"
    )

    await scheduler.tick(MONDAY_7 + DAY + 2 * HOUR)

    assert len(await titles(workshop)) == 2
    closed, opened = await workshop.rows("incidents", "opened_at")
    assert closed["closed_at"] is not None
    assert opened["closed_at"] is None


async def test_rival_schedulers_tell_it_once(workshop):
    for number in range(40):
        await workshop.due(MONDAY_7, name=f"s{number}")

    await asyncio.gather(*(workshop.scheduler().tick(MONDAY_7 + 2 * HOUR) for _ in range(4)))

    assert len(await workshop.rows("schedule_occurrences")) == 40
    assert len(await workshop.rows("incidents")) == 1
    assert len(await titles(workshop)) == 1
