"""What one person writes past rota, and what the scheduler of all makes of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from rota.store.schedules.firing import claim_due, claim_unplanned
from tests.services.harness import Workshop

MONDAY_7 = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
DEEP = "[" * 2000 + "]" * 2000
NESTED = "[" * 500 + "]" * 500
MANY_OF = """
    INSERT INTO agent_schedules (user_id, name, agent_name, every_seconds, next_fire_at, plan_from)
    SELECT %s, 'n' || i, 'a', 3600, %s, %s FROM generate_series(1, %s) AS i
"""
WRITES = {
    "a number of 5,000 digits": (
        "INSERT INTO agent_schedules (name, agent_name, every_seconds, options)"
        " VALUES ('p', 'a', 60, jsonb_build_object('a', repeat('1', 5000)::numeric))"
    ),
    "JSON nested 2,000 levels deep": (
        "INSERT INTO agent_schedules (name, agent_name, every_seconds, options)"
        f" VALUES ('p', 'a', 60, jsonb_build_object('a', '{DEEP}'::jsonb))"
    ),
    "the name of an agent that no index holds": (
        "INSERT INTO agent_schedules (name, agent_name, every_seconds)"
        " VALUES ('p', (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 200) AS i), 60)"
    ),
    "a prompt of 100 MiB": (
        "INSERT INTO agent_schedules (name, agent_name, every_seconds, prompt)"
        " VALUES ('p', 'a', 60, repeat('x', 104857600))"
    ),
    "a run with a number of 5,000 digits": (
        "SELECT request_run('a', '', jsonb_build_object('a', repeat('1', 5000)::numeric))"
    ),
    "a run with a prompt of 1 MB": "SELECT request_run('a', repeat('x', 1000000))",
    "a run of an agent with a long name": "SELECT request_run(repeat('x', 6000))",
    "an agent with a number of 5,000 digits": (
        "INSERT INTO agent_configurations (user_id, agent_name, model, model_settings)"
        " VALUES (auth.uid(), 'p', 'x:y', jsonb_build_object('a', repeat('1', 5000)::numeric))"
    ),
    "an agent with a prompt of 1 MB": (
        "INSERT INTO agent_configurations (user_id, agent_name, model, system_prompt)"
        " VALUES (auth.uid(), 'p', 'x:y', repeat('x', 1000000))"
    ),
    "limits nested deep": (
        "INSERT INTO agent_configurations (user_id, agent_name, model, limits)"
        f" VALUES (auth.uid(), 'p', 'x:y', jsonb_build_object('a', '{NESTED}'::jsonb))"
    ),
    "a rule of 88 KB": (
        "INSERT INTO approval_rules (user_id, effect, tool, conditions)"
        " VALUES (auth.uid(), 'deny', 't', jsonb_build_array(repeat('x', 88000)))"
    ),
    "a zone that does not exist": "INSERT INTO user_settings (time_zone) VALUES ('Mars/Olympus')",
    "a backfill of the beginning of time": (
        "WITH s AS (INSERT INTO agent_schedules (name, agent_name, every_seconds)"
        " VALUES ('p', 'a', 60) RETURNING id)"
        " SELECT request_backfill(id, '{-infinity}') FROM s"
    ),
    "a note of 1 MB": (
        "INSERT INTO agent_schedules (name, agent_name, every_seconds, pause_note)"
        " VALUES ('p', 'a', 60, repeat('x', 1000000))"
    ),
}


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    return Workshop(database, owner, alice)


@pytest.mark.parametrize("what", WRITES)
async def test_the_database_refuses_what_would_stop_a_loop(database, alice, what):
    with pytest.raises((psycopg.errors.DataError, psycopg.errors.CheckViolation)):
        async with database.transaction() as conn:
            await conn.execute("SELECT set_config('role', 'authenticated', true)")
            claims = json.dumps({"sub": str(alice)})
            await conn.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
            await conn.execute(WRITES[what].encode())


async def test_each_persons_due_schedules_are_claimed_in_turn(database, owner, alice, bob):
    earlier = MONDAY_7 - timedelta(hours=1)
    await owner.execute(MANY_OF, [alice, earlier, earlier, 30])
    await owner.execute(MANY_OF, [bob, MONDAY_7, earlier, 2])

    async with database.transaction() as conn:
        claimed = await claim_due(conn, now=MONDAY_7, limit=4)

    assert [s.user_id for s in claimed] == [alice, bob, alice, bob]


async def test_each_persons_new_schedules_are_planned_in_turn(database, owner, alice, bob):
    await owner.execute(MANY_OF, [alice, None, MONDAY_7, 30])
    await owner.execute(MANY_OF, [bob, None, MONDAY_7, 2])

    async with database.transaction() as conn:
        claimed = await claim_unplanned(conn, limit=4)

    assert sorted(s.user_id for s in claimed) == sorted([alice, bob, alice, bob])


async def test_second_scheduler_takes_what_the_first_has_not(database, owner, alice):
    await owner.execute(MANY_OF, [alice, MONDAY_7, MONDAY_7, 5])

    async with database.transaction() as first, database.transaction() as second:
        taken = await claim_due(first, now=MONDAY_7, limit=3)
        left = await claim_due(second, now=MONDAY_7, limit=3)

    assert (len(taken), len(left)) == (3, 2)
    assert not {s.id for s in taken} & {s.id for s in left}


async def test_prompts_do_not_pass_through_the_scheduler(workshop):
    await workshop.due(MONDAY_7, prompt="as it was written")
    async with workshop.database.transaction() as conn:
        (claimed,) = await claim_due(conn, now=MONDAY_7, limit=1)
    assert claimed.prompt is None

    await workshop.scheduler().tick(MONDAY_7)

    assert (await workshop.row("agent_runs"))["prompt"] == "as it was written"
