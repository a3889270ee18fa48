"""Quotas: how much of what one person may have, whatever they write past rota."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from rota.domain.errors import ConflictError
from rota.domain.schedules.drafts import Draft
from rota.services.audit.checkpoints import Checkpoints
from rota.services.operations.retention import RetentionService
from rota.services.runs.batches import BATCH_SIZE
from rota.services.runs.service import RunService
from rota.services.schedules.service import NewSchedule
from rota.store.migrations import migrate, migrations
from rota.store.runs.intake import claim_runs
from tests.services.harness import CIPHER, Workshop, clock
from tests.services.running import make_run

MONDAY_7 = datetime(2026, 6, 1, 7, tzinfo=UTC)
SCHEDULES = (
    "INSERT INTO agent_schedules (name, agent_name, every_seconds)"
    " SELECT 's' || n, 'watcher', 60 FROM generate_series(1, {}) AS n"
)
RULE = (
    "INSERT INTO approval_rules (user_id, effect, tool, conditions)"
    " VALUES (auth.uid(), 'deny', 'x', %s)"
)


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    return Workshop(database, owner, alice)


async def acting(conn, person):
    """Make a session a person's, as PostgREST does."""
    await conn.execute("SELECT set_config('role', 'authenticated', false)")
    await conn.execute(
        "SELECT set_config('request.jwt.claims', %s, false)", [json.dumps({"sub": str(person)})]
    )
    return conn


@pytest.fixture
async def session(owner_url, alice):
    """A session of SQL that is Alice's."""
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as conn:
        yield await acting(conn, alice)


async def set_quota(workshop, **quotas):
    for name, value in quotas.items():
        await workshop.owner.execute(
            psycopg.sql.SQL(
                "INSERT INTO user_limits (user_id, {0}) VALUES (NULL, %s)"
                " ON CONFLICT (user_id) DO UPDATE SET {0} = excluded.{0}"
            ).format(psycopg.sql.Identifier(name)),
            [value],
        )


async def quotas_of(workshop, person):
    cursor = await workshop.owner.execute("SELECT * FROM rota.quotas_of(%s)", [person])
    return await cursor.fetchone()


async def count(workshop, table):
    return len(await workshop.rows(table))


async def test_a_persons_own_quota_goes_before_everybodys_and_that_before_what_rota_has(
    workshop, bob
):
    assert await quotas_of(workshop, bob) == (200, 10, 1_000, 500, 1_000_000, 10_000)

    await workshop.owner.execute(
        "INSERT INTO user_limits (user_id, max_schedules, max_rules, unlimited) VALUES"
        " (NULL, 5, 6, '{max_waiting_runs}'), (%s, 7, NULL, '{min_interval_seconds}')",
        [bob],
    )

    assert await quotas_of(workshop, bob) == (7, None, None, 6, 1_000_000, 10_000)
    assert await quotas_of(workshop, workshop.user) == (5, 10, None, 6, 1_000_000, 10_000)
    assert await quotas_of(workshop, None) == (5, 10, None, 6, 1_000_000, 10_000)


async def test_a_person_has_200_schedules_however_they_are_written(session, workshop, bob):
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="200 schedules"):
        await session.execute(SCHEDULES.format(20_000))
    assert await count(workshop, "agent_schedules") == 0

    await session.execute(SCHEDULES.format(200))
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="200 schedules"):
        await session.execute(SCHEDULES.format(1).replace("'s'", "'t'"))
    await session.execute("UPDATE agent_schedules SET prompt = 'x'")

    await workshop.schedule(user=bob)
    assert await count(workshop, "agent_schedules") == 201


@pytest.mark.parametrize(("setting", "value"), [("request.jwt.claims", ""), ("role", "none")])
async def test_session_that_changes_who_it_is_from_row_to_row_has_its_quota(
    workshop, owner_url, setting, value
):
    """A policy reads the claims once; what a trigger reads may differ from row to row."""
    await set_quota(workshop, max_schedules=2)
    await workshop.owner.execute("CREATE ROLE mere_member IN ROLE authenticated")
    try:
        async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as session:
            await session.execute("SET SESSION AUTHORIZATION mere_member")
            await acting(session, workshop.user)
            with pytest.raises(
                (psycopg.errors.ProgramLimitExceeded, psycopg.errors.InsufficientPrivilege)
            ):
                await session.execute(
                    "INSERT INTO agent_schedules (user_id, name, agent_name, every_seconds)"
                    " SELECT %s, 's' || n, CASE n WHEN 1 THEN 'a'"
                    " ELSE 'a' || left(set_config(%s, %s, false), 0) END, 60"
                    " FROM generate_series(1, 9) AS n",
                    [workshop.user, setting, value],
                )
    finally:
        await workshop.owner.execute("DROP ROLE mere_member")
    assert await workshop.rows("agent_schedules") == []


@pytest.mark.parametrize(
    "rule",
    [
        {"every_seconds": 9},
        {"cron": "* * * * * *"},
        {"cron": "*/5 * * * * *"},
        {"cron": "0,5 7 * * * *"},
        {"cron": "0-30 7 * * * *"},
        {"cron": "55 7 * * * *; 0 8 * * *"},
        {"cron": "*\u00a0* * * * *"},
        {"instants": [MONDAY_7, MONDAY_7 + timedelta(milliseconds=1)]},
    ],
)
async def test_no_schedule_fires_more_often_than_its_owners_quota(session, workshop, rule):
    ((column, value),) = rule.items()
    insert = f"INSERT INTO agent_schedules (name, agent_name, {column}) VALUES ('s', 'a', %s)"
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="every 10 seconds"):
        await session.execute(insert, [value])

    await session.execute(SCHEDULES.format(1))
    update = f"UPDATE agent_schedules SET every_seconds = NULL, {column} = %s"
    if column == "every_seconds":
        update = "UPDATE agent_schedules SET every_seconds = %s"
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="every 10 seconds"):
        await session.execute(update, [value])

    await workshop.owner.execute(
        "INSERT INTO user_limits (user_id, unlimited) VALUES (%s, '{min_interval_seconds}')",
        [workshop.user],
    )
    await session.execute(update, [value])


@pytest.mark.parametrize(
    "rule",
    [
        {"every_seconds": 10},
        {"cron": "* * * * *"},
        {"cron": "@daily"},
        {"cron": "*/10 * * * * *"},
        {"cron": "5,25 7 * * * *"},
        {"cron": "30 7 * * * *; 0 8 * * mon-fri; 0 8 1 * *"},
        {"instants": [MONDAY_7, MONDAY_7, MONDAY_7 + timedelta(seconds=10)]},
    ],
)
async def test_schedule_at_the_quota_is_taken(session, rule):
    ((column, value),) = rule.items()
    await session.execute(
        f"INSERT INTO agent_schedules (name, agent_name, {column}) VALUES ('s', 'a', %s)", [value]
    )


async def test_a_person_asks_for_no_more_runs_than_may_wait(session, workshop):
    await set_quota(workshop, max_waiting_runs=3)
    await session.execute("SELECT request_run('a')")
    schedule = await workshop.schedule()

    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="3 of your runs"):
        await session.execute("SELECT request_run('a') FROM generate_series(1, 5)")
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="3 of your runs"):
        await session.execute(
            "SELECT request_backfill(%s, '{2026-01-01Z, 2026-01-02Z, 2026-01-03Z}')", [schedule.id]
        )
    await session.execute(
        "SELECT request_backfill(%s, '{2026-01-01Z, 2026-01-02Z}')", [schedule.id]
    )

    await workshop.agent(name="a")
    with pytest.raises(ConflictError, match="3 of your runs may wait"):
        await RunService(workshop.database).request(workshop.user, "a")
    await workshop.owner.execute("UPDATE agent_runs SET status = 'cancelled'")
    await session.execute("SELECT request_run('a')")


async def test_fires_of_who_has_no_room_are_skipped_and_say_so(workshop, bob):
    await set_quota(workshop, max_waiting_runs=3)
    await make_run(workshop, not_before=MONDAY_7 + timedelta(days=9_999))
    for number in range(4):
        await workshop.due(MONDAY_7, name=f"s{number}", overlap_policy="cancel_other")
    await workshop.due(MONDAY_7, name="bobs", user=bob)

    await workshop.scheduler(ahead=0).tick(MONDAY_7)

    rows = await workshop.rows("schedule_occurrences")
    mine = [row for row in rows if row["user_id"] == workshop.user]
    assert sorted(row["outcome"] for row in mine) == ["fired", "fired", "skipped", "skipped"]
    assert {row["reason"] for row in mine if row["outcome"] == "skipped"} == {
        "its owner has the most waiting runs that are allowed (quota max_waiting_runs)"
    }
    assert [row["outcome"] for row in rows if row["user_id"] == bob] == ["fired"]


async def test_catch_up_of_all_takes_the_room_there_is(workshop):
    await set_quota(workshop, max_waiting_runs=3)
    await workshop.due(MONDAY_7 - timedelta(minutes=9), cron="* * * * *", catch_up="all")

    await workshop.scheduler(ahead=0).tick(MONDAY_7)

    outcomes = [row["outcome"] for row in await workshop.rows("schedule_occurrences", "fire_time")]
    assert outcomes == ["fired"] * 3 + ["skipped"] * 7


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
async def test_two_sessions_at_once_do_not_pass_the_quota(session, workshop, owner_url, level):
    await set_quota(workshop, max_schedules=3)
    await session.execute(SCHEDULES.format(2))
    async with await psycopg.AsyncConnection.connect(owner_url) as other:
        await acting(other, workshop.user)
        await other.commit()
        await other.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        await other.execute("SELECT FROM agent_schedules")  # what it sees is settled, or not
        async with session.transaction():
            await session.execute(SCHEDULES.format(1).replace("'s'", "'one'"))
            second = asyncio.create_task(other.execute(SCHEDULES.format(1).replace("'s'", "'two'")))
            await waiting(workshop, other)
        with pytest.raises(
            (psycopg.errors.ProgramLimitExceeded, psycopg.errors.SerializationFailure)
        ):
            await second

    assert await count(workshop, "agent_schedules") == 3


async def waiting(workshop, conn):
    """Return once a session waits for another one."""
    async with asyncio.timeout(60):
        while True:
            cursor = await workshop.owner.execute(
                "SELECT pg_blocking_pids(%s)", [conn.info.backend_pid]
            )
            if (await cursor.fetchone())[0]:
                return
            await asyncio.sleep(0.02)


async def test_who_holds_their_row_holds_up_nobody_else(session, workshop, owner_url, bob):
    """Not those who come after, nor the loops: neither their fires nor their results."""
    schedule = await workshop.due(MONDAY_7)
    run = await make_run(workshop, schedule_id=schedule.id)
    async with session.transaction():
        await session.execute(SCHEDULES.format(1))
        await session.execute("SELECT request_run('a')")
        await session.execute(RULE, ["[]"])

        async with await psycopg.AsyncConnection.connect(owner_url) as other:
            await other.execute("SET lock_timeout = '5s'")
            await acting(other, bob)
            await other.execute(SCHEDULES.format(1))
            await other.execute("SELECT request_run('a')")
            await other.execute(RULE, ["[]"])
            await other.commit()
        await workshop.scheduler().tick(MONDAY_7)
        outcome = await workshop.service().execute_run(run)
        await workshop.owner.execute("SET lock_timeout = '5s'")
        await workshop.owner.execute(
            "INSERT INTO rota.people (user_id, may_run) VALUES (%s, false)", [workshop.user]
        )

    assert outcome.status == "error"  # there is no such agent
    assert (await workshop.rows("schedule_occurrences"))[0]["outcome"] == "skipped"  # it runs


async def test_no_function_takes_an_advisory_lock_that_anybody_may_hold(workshop):
    cursor = await workshop.owner.execute(
        "SELECT proname FROM pg_proc WHERE pronamespace = 'rota'::regnamespace"
        " AND proname ~ '^bound_' AND prosrc ~ 'advisory'"
    )
    assert await cursor.fetchall() == []


async def test_rules_have_a_quota_of_their_number_and_of_their_bytes(session, workshop, database):
    await set_quota(workshop, max_rules=3, max_rule_bytes=1_000)
    await session.execute(RULE, [json.dumps(["x" * 400])])
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="1000 bytes"):
        await session.execute(RULE, [json.dumps(["\u00e9" * 300])])
    await session.execute(RULE, [json.dumps(["x" * 300])])
    await session.execute(RULE, ["[]"])
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="3 rules"):
        await session.execute(RULE, ["[]"])


async def test_499_rules_at_the_quota_of_bytes_take_little_memory(session, workshop):
    await workshop.agent()
    conditions = [{"arguments": "*", "test": "equals", "values": ["x" * 1_935]}]
    for _ in range(499):
        await session.execute(RULE, [json.dumps(conditions)])
    with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="1000000 bytes"):
        await session.execute(RULE, [json.dumps(["x" * 9_900])])
    runs = [(await make_run(workshop)).id for _ in range(BATCH_SIZE)]

    tracemalloc.start()
    try:
        async with workshop.database.transaction() as conn:
            claimed = await claim_runs(conn, runs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert [len(claimed[run].rules) for run in runs] == [499] * BATCH_SIZE
    assert peak < 3 * BATCH_SIZE * 1_000_000


async def test_the_oldest_notifications_beyond_the_quota_are_pruned(workshop, bob, owner_url):
    await set_quota(workshop, max_notifications=10)
    write = (
        "INSERT INTO notifications (user_id, category, title, created_at)"
        " SELECT %s, 'info', n::text, now() - make_interval(mins => n)"
        " FROM generate_series(1, %s) AS n"
    )
    await workshop.owner.execute(write, [workshop.user, 25])
    await workshop.owner.execute(write, [bob, 10])
    retention = RetentionService(workshop.database, Checkpoints(CIPHER), batch=4)
    prunable = await retention.count_prunable(clock())

    async with await psycopg.AsyncConnection.connect(owner_url) as holding:
        await acting(holding, workshop.user)
        await holding.execute("UPDATE notifications SET read_at = now() WHERE title = '25'")
        pruned = await retention.prune(clock())

    assert prunable.notifications == 15
    assert pruned.notifications == 14  # and nobody waited for the one that is held
    assert (await retention.prune(clock())).notifications == 1
    left = await workshop.rows("notifications")
    assert sorted(int(row["title"]) for row in left if row["user_id"] != bob) == [*range(1, 11)]
    assert len(left) == 20


async def test_nobody_hears_of_anothers_quota(session, workshop, bob):
    """Writing in another's name is refused alike, whether they have room or not."""
    await set_quota(workshop, max_schedules=1)
    insert = SCHEDULES.format(1).replace("(name", "(user_id, name").replace("SELECT", "SELECT %s,")
    for _ in range(2):
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            await session.execute(insert, [bob])
        await workshop.schedule(user=bob, name=f"n{_}")


async def test_what_is_beyond_a_quota_when_it_comes_stays(postgres_server, empty_database):
    url = postgres_server.owner_of(empty_database)
    files = migrations()
    index = next(i for i, m in enumerate(files) if m.version == "20261130000004")
    await migrate(url, shipped=files[:index])
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as conn:
        cursor = await conn.execute(
            "INSERT INTO auth.users (email) VALUES ('a@example.com') RETURNING id"
        )
        (person,) = await cursor.fetchone()
        await acting(conn, person)
        await conn.execute(SCHEDULES.format(201).replace("60", "1"))
        await conn.execute("RESET ROLE")

        await migrate(url)

        await acting(conn, person)
        await conn.execute("UPDATE agent_schedules SET prompt = 'x', is_active = false")
        await conn.execute("UPDATE agent_schedules SET is_active = true")
        cursor = await conn.execute(
            "SELECT count(*), min(every_seconds) FROM agent_schedules WHERE is_active"
        )
        assert await cursor.fetchone() == (201, 1)
        with pytest.raises(psycopg.errors.ProgramLimitExceeded):
            await conn.execute(SCHEDULES.format(1).replace("'s'", "'t'"))


async def test_limits_said_in_words_where_a_person_meets_them(workshop, database):
    from rota.services.schedules.service import ScheduleService

    await workshop.agent({"answer": "x"})
    schedules = ScheduleService(database, clock=clock)
    with pytest.raises(ConflictError, match="A schedule fires every 10 seconds at most"):
        await schedules.add(
            workshop.user,
            NewSchedule(name="fast", agent_name="watcher", draft=Draft(every="5s")),
        )
