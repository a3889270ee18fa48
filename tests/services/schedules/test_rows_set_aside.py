"""Schedules that cannot be read, planned or fired: each is paused with the reason, alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.services.harness import Workshop

MONDAY_7 = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
LONG_NAME = "(SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) AS i)"


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    return Workshop(database, owner, alice)


async def fired(workshop, schedule) -> list[str]:
    cursor = await workshop.owner.execute(
        "SELECT outcome FROM schedule_occurrences WHERE schedule_id = %s", [schedule.id]
    )
    return [row[0] for row in await cursor.fetchall()]


async def state(workshop, schedule_id) -> tuple[bool, str]:
    cursor = await workshop.owner.execute(
        "SELECT is_active, coalesce(pause_note, '') FROM agent_schedules WHERE id = %s",
        [schedule_id],
    )
    return await cursor.fetchone()


async def told(workshop, person) -> list[str]:
    cursor = await workshop.owner.execute(
        "SELECT title FROM notifications WHERE user_id = %s", [person]
    )
    return [row[0] for row in await cursor.fetchall()]


async def test_due_schedule_that_cannot_be_read_is_paused_and_others_fire(workshop, alice, bob):
    unreadable = await workshop.due(MONDAY_7, name="unreadable", prompt="x")
    await workshop.owner.execute("UPDATE agent_schedules SET paused_at = '0044-03-15 BC'")
    good = [await workshop.due(MONDAY_7, name="good", user=user) for user in (alice, bob)]

    with capture_logs() as logs:
        tick = await workshop.scheduler().tick(MONDAY_7)

    assert tick.fired == 2
    assert [await fired(workshop, one) for one in good] == [["fired"], ["fired"]]
    is_active, note = await state(workshop, unreadable.id)
    assert not is_active
    assert note.startswith("unreadable")
    assert "paused_at" in note
    assert await told(workshop, alice) == ["unreadable is paused"]
    assert [line["event"] for line in logs if line["log_level"] != "info"] == ["schedule_paused"]


async def test_new_schedule_that_cannot_be_read_is_paused_and_others_are_planned(
    workshop, alice, bob
):
    unreadable = await workshop.schedule(name="unreadable")
    await workshop.owner.execute("UPDATE agent_schedules SET paused_at = '0044-03-15 BC'")
    good = await workshop.schedule(name="good", user=bob)

    tick = await workshop.scheduler().tick(MONDAY_7)

    assert tick.planned == 1
    assert (await workshop.fetch(good.id)).next_fire_at is not None
    assert not (await state(workshop, unreadable.id))[0]
    assert await told(workshop, alice) == ["unreadable is paused"]


@pytest.mark.parametrize("zone", ["FOO+3", "<-03>3", "EST5EDT,M3.2.0,M11.1.0"])
async def test_schedules_that_follow_an_unknown_zone_are_paused_with_the_reason(
    workshop, alice, bob, zone
):
    await workshop.owner.execute(
        "INSERT INTO user_settings (user_id, time_zone) VALUES (%s, %s)", [alice, zone]
    )
    due = await workshop.due(MONDAY_7, name="due")
    new = await workshop.schedule(name="new")
    other = await workshop.due(MONDAY_7, name="other", user=bob)

    await workshop.scheduler().tick(MONDAY_7)

    assert await fired(workshop, other) == ["fired"]
    for schedule in (due, new):
        is_active, note = await state(workshop, schedule.id)
        assert (is_active, zone in note) == (False, True)
    assert sorted(await told(workshop, alice)) == ["due is paused", "new is paused"]


async def test_schedule_whose_run_the_database_refuses_is_found_and_paused(workshop, alice, bob):
    await workshop.owner.execute(
        "ALTER TABLE agent_runs DROP CONSTRAINT agent_runs_bounds_check;"
        "ALTER TABLE agent_schedules DROP CONSTRAINT agent_schedules_bounds_check"
    )
    good = [await workshop.due(MONDAY_7, name=f"good {n}", user=bob) for n in range(5)]
    bad = await workshop.due(MONDAY_7, name="bad")
    await workshop.owner.execute(
        f"UPDATE agent_schedules SET agent_name = {LONG_NAME} WHERE id = '{bad.id}'"
    )

    with capture_logs() as logs:
        tick = await workshop.scheduler().tick(MONDAY_7)

    assert tick.fired == 5
    assert [await fired(workshop, one) for one in good] == [["fired"]] * 5
    is_active, note = await state(workshop, bad.id)
    assert not is_active
    assert "ndex row size" in note
    assert await told(workshop, alice) == ["bad is paused"]
    assert [line["event"] for line in logs if line["log_level"] != "info"] == ["schedule_paused"]


async def test_schedule_that_fails_the_database_with_a_limit_of_its_own_is_no_lost_database(
    workshop, bob
):
    await workshop.owner.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'stack depth limit exceeded' USING ERRCODE = '54001'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON agent_runs FOR EACH ROW"
        " WHEN (NEW.agent_name = 'refused') EXECUTE FUNCTION refuse()"
    )
    bad = await workshop.due(MONDAY_7, name="bad", agent_name="refused")
    good = await workshop.due(MONDAY_7, name="good", user=bob)

    await workshop.scheduler().tick(MONDAY_7)

    assert await fired(workshop, good) == ["fired"]
    is_active, note = await state(workshop, bad.id)
    assert (is_active, "stack depth limit exceeded" in note) == (False, True)


async def test_others_hear_of_what_was_missed_whatever_zone_one_of_them_has(workshop, alice, bob):
    now = datetime.now(UTC)
    for person in (alice, bob):
        await workshop.owner.execute(
            "INSERT INTO incidents (user_id, kind) VALUES (%s, 'missed_fires')", [person]
        )
        schedule = await workshop.schedule(name="late", user=person)
        await workshop.owner.execute(
            "INSERT INTO schedule_occurrences (schedule_id, user_id, fire_time, outcome)"
            " VALUES (%s, %s, %s, 'missed')",
            [schedule.id, person, now - timedelta(hours=3)],
        )
    await workshop.owner.execute(
        "INSERT INTO user_settings (user_id, time_zone) VALUES (%s, 'FOO+3')", [alice]
    )

    await workshop.scheduler().tick(now)

    assert await told(workshop, bob) == ["1 scheduled run was missed"]
    assert "1 scheduled run was missed" in await told(workshop, alice)
