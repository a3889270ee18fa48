"""Which changes are events, and whose: what the triggers write."""

from __future__ import annotations

import uuid

import psycopg
import pytest

from rota.services.operations.event_feed import EventFeed
from tests.api.events.test_streams import new_run


@pytest.fixture
def told(owner, alice):
    """`await told()` returns what was told since the last call: kind and status, of Alice."""
    seen = 0

    async def since(person=alice):
        nonlocal seen
        cursor = await owner.execute(
            "SELECT id, kind, status FROM person_events WHERE id > %s AND user_id = %s ORDER BY id",
            [seen, person],
        )
        rows = await cursor.fetchall()
        seen = max([seen, *(row[0] for row in rows)])
        return [(kind, status) for _, kind, status in rows]

    return since


async def test_a_schedule_is_told_of_when_it_is_changed_and_not_when_it_fires(
    workshop, owner, told
):
    await workshop.agent()
    schedule = await workshop.schedule()
    assert await told() == [("agent", "created"), ("schedule", "created")]
    for change in (
        "next_fire_at = now(), planned_at = now(), runs_started = 1",
        "failures_in_row = 1",
    ):
        await owner.execute(f"UPDATE agent_schedules SET {change}")
    assert await told() == []
    for change in ("cron = '0 8 * * *'", "is_active = false", "prompt = 'Look twice.'"):
        await owner.execute(f"UPDATE agent_schedules SET {change}")
    assert await told() == [("schedule", "changed")] * 3
    await owner.execute("DELETE FROM agent_schedules WHERE id = %s", [schedule.id])
    assert await told() == [("schedule", "deleted")]


async def test_a_connection_is_told_of_when_its_state_changes_and_not_when_it_is_used(
    owner, alice, told
):
    await owner.execute(
        "INSERT INTO connections (user_id, name, service, secret, key_id)"
        " VALUES (%s, 'gmail', 'gmail', 'x', 'k')",
        [alice],
    )
    await owner.execute("UPDATE connections SET last_used_at = now(), secret = 'y'")
    await owner.execute("UPDATE connections SET lease_holder = %s", [uuid.uuid4()])
    await owner.execute("UPDATE connections SET state = 'needs you', problem = 'Sign in.'")
    await owner.execute("DELETE FROM connections")
    assert await told() == [("connection", each) for each in ("created", "changed", "deleted")]


async def test_a_run_is_told_of_when_its_status_changes_or_it_is_to_stop(owner, alice, told):
    await new_run(owner, alice, status="running")
    await owner.execute("UPDATE agent_runs SET snapshot = '{}', attempt = 1")
    await owner.execute("UPDATE agent_runs SET cancel_requested_at = now()")
    await owner.execute("UPDATE agent_runs SET status = 'cancelled'")
    statuses = ["running", "running", "cancelled"]
    assert await told() == [("run", status) for status in statuses]


async def test_a_notification_is_told_of_when_it_is_written_and_read_once(owner, alice, told):
    await owner.execute(
        "INSERT INTO notifications (user_id, category, title) VALUES (%s, 'info', 't')", [alice]
    )
    for _ in range(2):
        await owner.execute("UPDATE notifications SET read_at = now()")
    assert await told() == [("notification", "created"), ("notification", "read")]


async def test_a_deputy_is_told_of_an_action_from_when_they_may_decide(owner, alice, bob, told):
    await owner.execute(
        "INSERT INTO approval_deputies (user_id, deputy_id, user_name, deputy_name)"
        " VALUES (%s, %s, 'alice', 'bob')",
        [alice, bob],
    )
    run = await new_run(owner, alice, status="running")
    await owner.execute(
        "INSERT INTO pending_actions (user_id, run_id, agent_name, tool_name, arguments,"
        " arguments_hash) VALUES (%s, %s, 'a', 't', '{}', 'x')",
        [alice, run],
    )
    assert await told(bob) == []
    await owner.execute("UPDATE pending_actions SET escalated_at = now()")
    await owner.execute("UPDATE pending_actions SET remind_at = now()")
    await owner.execute("UPDATE pending_actions SET status = 'expired'")
    assert await told(bob) == [("action", "pending"), ("action", "expired")]
    cursor = await owner.execute("SELECT run_id FROM person_events WHERE user_id = %s", [bob])
    assert await cursor.fetchall() == [(None,), (None,)]  # the run is Alice's alone
    cursor = await owner.execute(
        "SELECT status FROM person_events WHERE user_id = %s AND kind = 'action' ORDER BY id",
        [alice],
    )
    assert await cursor.fetchall() == [("pending",), ("pending",), ("expired",)]


async def test_a_shared_agent_tells_nobody(owner):
    await owner.execute(
        "INSERT INTO agent_configurations (agent_name, model) VALUES ('shared', 'scripted:x')"
    )
    await owner.execute("UPDATE agent_configurations SET description = 'new'")
    cursor = await owner.execute("SELECT count(*) FROM person_events")
    assert await cursor.fetchone() == (0,)


async def test_what_a_person_does_past_rota_tells_them_alone(database, owner, alice, bob, told):
    async with database.acting_as(alice) as conn:
        await conn.execute(
            "INSERT INTO agent_configurations (user_id, agent_name, model)"
            " VALUES (%s, 'own', 'scripted:x')",
            [alice],
        )
    assert await told(bob) == []
    assert await told() == [("agent", "created")]
    for statement in (
        (
            f"INSERT INTO person_events (user_id, kind, subject, status) VALUES ('{bob}', 'run',"
            " gen_random_uuid(), 'finished')"
        ),
        "UPDATE person_events SET number = 1",
        "DELETE FROM person_events",
        "SELECT rota.number_events(1)",
        "SELECT nextval('rota.person_event_numbers')",
        "SELECT * FROM person_events FOR SHARE",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.acting_as(alice) as conn:
                await conn.execute(statement)


async def test_events_are_kept_for_an_hour(app, owner, alice):
    await new_run(owner, alice)
    await owner.execute("UPDATE person_events SET at = at - interval '59 minutes'")
    await new_run(owner, alice)
    assert await app.events.prune(app.clock()) == 0
    await owner.execute("UPDATE person_events SET at = at - interval '2 minutes'")
    assert await app.events.prune(app.clock()) == 1


async def test_many_events_are_pruned_in_batches(database, owner, alice, app):
    for _ in range(7):
        await new_run(owner, alice)
    await owner.execute("UPDATE person_events SET at = at - interval '2 hours'")
    assert await EventFeed(database, at_once=3).prune(app.clock()) == 7
