"""Alice, Bob and nobody: what each may see and touch of what is Alice's, table by table.

Tables and columns come from the catalogue, so a new one without its line here fails.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from psycopg import sql

from rota.store.database import Database

DENIED = psycopg.errors.InsufficientPrivilege


@dataclass(frozen=True)
class Expected:
    """What the owner of a row may do past rota; nobody else may do anything."""

    selects: bool = True
    inserts: frozenset[str] = frozenset()
    updates: frozenset[str] = frozenset()
    deletes: bool = False
    hidden: frozenset[str] = frozenset()  # columns that not even the owner reads
    everybody_reads: bool = False
    key: str = "id"
    new: dict[str, Any] = field(default_factory=dict)  # a row that she may insert


AGENT = frozenset(
    "agent_name description model model_settings system_prompt script max_steps is_active limits"
    " fallback_models max_concurrency".split()
)
SCHEDULE = frozenset(
    "name agent_name prompt cron time_zone result_category catch_up_window_seconds is_active"
    " pause_note every_seconds anchor_at instants dst_gap dst_overlap starts_at ends_at max_runs"
    " jitter_seconds active_hours active_days excluded_days overlap_policy catch_up"
    " pause_after_failures options".split()
)
RULE = frozenset(
    "user_id effect tool agent_name schedule_id attendance conditions risk note tool_version"
    " expires_at uses_left from_action".split()
)
TABLES: dict[str, Expected] = {
    "agent_configurations": Expected(
        inserts=AGENT | {"user_id"},
        updates=AGENT,
        deletes=True,
        new={"agent_name": "other", "model": "scripted:x"},
    ),
    "tools": Expected(everybody_reads=True),
    "agent_tools": Expected(
        inserts=frozenset({"agent_id", "tool_id", "position", "is_active"}),
        updates=frozenset({"position", "is_active"}),
        deletes=True,
        key="agent_id",
    ),
    "user_tool_preferences": Expected(
        inserts=frozenset({"user_id", "tool_id", "preference"}),
        updates=frozenset({"preference"}),
        deletes=True,
        key="tool_id",
    ),
    "approval_rules": Expected(inserts=RULE, deletes=True, new={"effect": "allow", "tool": "t"}),
    "user_settings": Expected(
        inserts=frozenset({"user_id", "time_zone"}),
        updates=frozenset({"time_zone"}),
        key="user_id",
    ),
    "pauses": Expected(),
    "agent_versions": Expected(),
    "applied_files": Expected(
        inserts=frozenset({"user_id", "hashes", "applied_at"}),
        updates=frozenset({"hashes", "applied_at"}),
        deletes=True,
        key="user_id",
    ),
    "person_events": Expected(),
    "result_texts": Expected(key="result_id"),
    "user_limits": Expected(key="user_id"),
    "agent_schedules": Expected(
        inserts=SCHEDULE | {"user_id"},
        updates=SCHEDULE,
        deletes=True,
        new={"name": "other", "agent_name": "a", "cron": "0 7 * * *"},
    ),
    "schedule_changes": Expected(),
    "incidents": Expected(),
    "calendars": Expected(
        inserts=frozenset({"user_id", "name", "source", "covers_until"}),
        updates=frozenset({"name", "source", "covers_until"}),
        deletes=True,
        new={"name": "other"},
    ),
    "calendar_days": Expected(
        inserts=frozenset({"calendar_id", "user_id", "first_day", "last_day", "summary"}),
        updates=frozenset({"summary"}),
        deletes=True,
        key="calendar_id",
    ),
    "schedule_calendars": Expected(
        inserts=frozenset({"schedule_id", "calendar_id", "user_id"}),
        deletes=True,
        key="schedule_id",
    ),
    "agent_runs": Expected(),
    "schedule_occurrences": Expected(key="schedule_id"),
    "agent_run_steps": Expected(key="run_id"),
    "agent_execution_results": Expected(),
    "usage_days": Expected(key="user_id"),
    "notifications": Expected(updates=frozenset({"read_at"})),
    "user_channels": Expected(deletes=True),
    "pending_actions": Expected(
        hidden=frozenset({"sealed_arguments", "executing_token", "proposed_hash"})
    ),
    "approval_deputies": Expected(key="user_id"),
    "audit_logs": Expected(),
    "audit_chains": Expected(),
    "audit_blocks": Expected(key="chain_id"),
    "audit_checkpoints": Expected(key="chain_id"),
    "model_prices": Expected(everybody_reads=True, key="model"),
    "connections": Expected(
        deletes=True,
        hidden=frozenset({"secret", "key_id", "refresh_at", "lease_holder", "lease_until", "told"}),
    ),
}
every_table = pytest.mark.parametrize("table", TABLES)


@pytest.fixture
async def rows(owner, alice) -> dict[str, Any]:
    """One row of Alice's in every table; returns the value of each table's key column."""

    async def insert(statement: str, *values: Any) -> Any:
        row = await (await owner.execute(statement, values)).fetchone()
        return row[0]

    agent = await insert(
        "INSERT INTO agent_configurations (user_id, agent_name, model)"
        " VALUES (%s, 'a', 'scripted:x') RETURNING id",
        alice,
    )
    tool = await insert("INSERT INTO tools (name) VALUES ('t') RETURNING id")
    schedule = await insert(
        "INSERT INTO agent_schedules (user_id, name, agent_name, cron)"
        " VALUES (%s, 's', 'a', '0 7 * * *') RETURNING id",
        alice,
    )
    run = await insert(
        "INSERT INTO agent_runs (user_id, schedule_id, agent_name, trigger)"
        " VALUES (%s, %s, 'a', 'manual') RETURNING id",
        alice,
        schedule,
    )
    await owner.execute("UPDATE agent_schedules SET cron = '0 8 * * *' WHERE id = %s", [schedule])
    carl = await insert("INSERT INTO auth.users (email) VALUES ('carl@example.com') RETURNING id")
    chain = await insert("INSERT INTO audit_chains (user_id) VALUES (%s) RETURNING id", alice)
    calendar, kept = [
        await insert("INSERT INTO calendars (user_id, name) VALUES (%s, %s) RETURNING id", alice, n)
        for n in ("free", "kept")
    ]
    result = await insert(
        "INSERT INTO agent_execution_results (user_id, run_id, agent_name, status,"
        " execution_duration_ms) VALUES (%s, %s, 'a', 'success', 1) RETURNING id",
        alice,
        run,
    )
    return {
        "schedule_changes": await insert("SELECT id FROM schedule_changes"),
        "incidents": await insert(
            "INSERT INTO incidents (user_id, kind) VALUES (%s, 'missed_fires') RETURNING id", alice
        ),
        "calendars": calendar,
        "calendar_days": await insert(
            "INSERT INTO calendar_days (calendar_id, user_id, first_day, last_day)"
            " VALUES (%s, %s, now(), now()) RETURNING calendar_id",
            calendar,
            alice,
        ),
        "schedule_calendars": await insert(
            "INSERT INTO schedule_calendars (schedule_id, calendar_id, user_id)"
            " VALUES (%s, %s, %s) RETURNING schedule_id",
            schedule,
            kept,
            alice,
        ),
        "agent_configurations": agent,
        "tools": tool,
        "agent_tools": await insert(
            "INSERT INTO agent_tools (agent_id, tool_id) VALUES (%s, %s) RETURNING agent_id",
            agent,
            tool,
        ),
        "user_tool_preferences": await insert(
            "INSERT INTO user_tool_preferences (user_id, tool_id, preference)"
            " VALUES (%s, %s, 'auto') RETURNING tool_id",
            alice,
            tool,
        ),
        "approval_rules": await insert(
            "INSERT INTO approval_rules (user_id, effect, tool, schedule_id)"
            " VALUES (%s, 'allow', 't', %s) RETURNING id",
            alice,
            schedule,
        ),
        "user_settings": await insert(
            "INSERT INTO user_settings (user_id) VALUES (%s) RETURNING user_id", alice
        ),
        "user_limits": await insert(
            "INSERT INTO user_limits (user_id, max_concurrency) VALUES (%s, 3) RETURNING user_id",
            alice,
        ),
        "agent_versions": await insert(
            "INSERT INTO agent_versions (user_id, agent_name, version, change, configuration,"
            " by_owner) VALUES (%s, 'other', 1, 'created', '{}', true) RETURNING id",
            alice,
        ),
        "applied_files": await insert(
            "INSERT INTO applied_files (user_id) VALUES (%s) RETURNING user_id", alice
        ),
        "pauses": await insert(
            "INSERT INTO pauses (user_id, starts_at) VALUES (%s, now()) RETURNING id", alice
        ),
        "agent_schedules": schedule,
        "agent_runs": run,
        "person_events": await insert("SELECT id FROM person_events WHERE kind = 'run'"),
        "schedule_occurrences": await insert(
            "INSERT INTO schedule_occurrences (schedule_id, fire_time, user_id, outcome)"
            " VALUES (%s, now(), %s, 'missed') RETURNING schedule_id",
            schedule,
            alice,
        ),
        "agent_run_steps": await insert(
            "INSERT INTO agent_run_steps (run_id, model_step, call_index, user_id, kind, name,"
            " status, attempt, started_at) VALUES (%s, 1, -1, %s, 'model', 'm', 'finished', 1,"
            " now()) RETURNING run_id",
            run,
            alice,
        ),
        "usage_days": await insert(
            "INSERT INTO usage_days (user_id, day, input_tokens) VALUES (%s, '2026-11-23', 7)"
            " RETURNING user_id",
            alice,
        ),
        "agent_execution_results": result,
        "result_texts": await insert(
            "INSERT INTO result_texts (result_id, user_id, content)"
            " VALUES (%s, %s, repeat('x', 50001)) RETURNING result_id",
            result,
            alice,
        ),
        "notifications": await insert(
            "INSERT INTO notifications (user_id, category, title) VALUES (%s, 'info', 't')"
            " RETURNING id",
            alice,
        ),
        "user_channels": await insert(
            "INSERT INTO user_channels (user_id, channel, address) VALUES (%s, 'mail', 'a')"
            " RETURNING id",
            alice,
        ),
        "pending_actions": await insert(
            "INSERT INTO pending_actions (user_id, agent_name, tool_name, arguments,"
            " arguments_hash) VALUES (%s, 'a', 't', '{}', 'x') RETURNING id",
            alice,
        ),
        "audit_logs": await insert(
            "INSERT INTO audit_logs (user_id, agent_name, tool_name, tier, decision, outcome,"
            " arguments_hash, called_at) VALUES (%s, 'a', 't', 'auto', 'allowed', 'succeeded',"
            " 'x', now()) RETURNING id",
            alice,
        ),
        "approval_deputies": await insert(
            "INSERT INTO approval_deputies (user_id, deputy_id, user_name, deputy_name)"
            " VALUES (%s, %s, 'alice', 'carl') RETURNING user_id",
            alice,
            carl,
        ),
        "audit_chains": chain,
        "audit_blocks": await insert(
            "INSERT INTO audit_blocks (chain_id, seq, previous, hash, row_ids, contents, digests,"
            " sealed_at) VALUES (%s, 1, sha256('a'), sha256('b'), '{}', '', '', now())"
            " RETURNING chain_id",
            chain,
        ),
        "audit_checkpoints": await insert(
            "INSERT INTO audit_checkpoints (chain_id, through_seq, hash, row_count, sealed_at,"
            " pruned_at, key_id, signature) VALUES (%s, 1, sha256('a'), 1, now(), now(), 'k',"
            " sha256('b')) RETURNING chain_id",
            chain,
        ),
        "model_prices": await insert(
            "INSERT INTO model_prices (model, input_usd, output_usd) VALUES ('a:b', 1, 2)"
            " RETURNING model"
        ),
        "connections": await insert(
            "INSERT INTO connections (user_id, name, service, secret, key_id)"
            " VALUES (%s, 'gmail', 'gmail', 'x', 'k') RETURNING id",
            alice,
        ),
    }


async def columns_of(owner, table: str) -> dict[str, str]:
    cursor = await owner.execute(
        "SELECT column_name, udt_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = %s",
        [table],
    )
    return dict(await cursor.fetchall())


def mine(table: str, key: str, what: str) -> sql.Composed:
    return sql.SQL(what + " WHERE {} = %s").format(sql.Identifier(table), sql.Identifier(key))


async def attempt(database: Database, who: Any, statement: Any, values: Any = None) -> Any:
    """Run a statement as somebody (None: the anonymous role); returns rows, or the count."""
    if who is None:
        async with database.transaction() as conn:
            await conn.execute("SET LOCAL ROLE anon")
            return (await conn.execute(statement, values)).rowcount
    async with database.acting_as(who) as conn:
        return (await conn.execute(statement, values)).rowcount


async def test_every_table_has_its_line(owner):
    cursor = await owner.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")

    assert {name for (name,) in await cursor.fetchall()} == set(TABLES)


@every_table
async def test_owner_reads_her_row_and_only_what_is_not_hidden(database, owner, rows, alice, table):
    expected = TABLES[table]
    for column in await columns_of(owner, table):
        statement = sql.SQL("SELECT {} FROM {} WHERE {} = %s").format(
            sql.Identifier(column), sql.Identifier(table), sql.Identifier(expected.key)
        )
        if column in expected.hidden:
            with pytest.raises(DENIED):
                await attempt(database, alice, statement, [rows[table]])
        else:
            assert await attempt(database, alice, statement, [rows[table]]) == 1


@every_table
async def test_stranger_sees_and_touches_nothing(database, owner, rows, bob, table):
    expected = TABLES[table]
    key = sql.Identifier(expected.key)
    seen = await attempt(
        database,
        bob,
        sql.SQL("SELECT {} FROM {} WHERE {} = %s").format(key, sql.Identifier(table), key),
        [rows[table]],
    )
    assert seen == (1 if expected.everybody_reads else 0)
    for column in expected.updates:
        changed = await attempt(
            database,
            bob,
            sql.SQL("UPDATE {} SET {} = {} WHERE {} = %s").format(
                sql.Identifier(table), sql.Identifier(column), sql.Identifier(column), key
            ),
            [rows[table]],
        )
        assert changed == 0
    delete = mine(table, expected.key, "DELETE FROM {}")
    if expected.deletes:
        assert await attempt(database, bob, delete, [rows[table]]) == 0
    else:
        with pytest.raises(DENIED):
            await attempt(database, bob, delete, [rows[table]])
    count = await (
        await owner.execute(mine(table, expected.key, "SELECT count(*) FROM {}"), [rows[table]])
    ).fetchone()
    assert count[0] == 1


@every_table
@pytest.mark.parametrize(
    "verb", ["SELECT 1 FROM {}", "DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES"]
)
async def test_nobody_signed_in_is_refused(database, rows, table, verb):
    with pytest.raises(DENIED):
        await attempt(database, None, sql.SQL(verb).format(sql.Identifier(table)))


@every_table
async def test_signed_in_without_a_name_sees_nothing_of_anybodys(database, rows, table):
    expected = TABLES[table]
    async with database.transaction() as conn:
        await conn.execute("SET LOCAL ROLE authenticated")
        await conn.execute("SELECT set_config('request.jwt.claims', '', true)")
        cursor = await conn.execute(
            sql.SQL("SELECT {0} FROM {1} WHERE {0} = %s").format(
                sql.Identifier(expected.key), sql.Identifier(table)
            ),
            [rows[table]],
        )
        assert cursor.rowcount == (1 if expected.everybody_reads else 0)


@every_table
async def test_owner_writes_the_columns_meant_for_her_and_no_other(
    database, owner, rows, alice, table
):
    expected = TABLES[table]
    for column in await columns_of(owner, table):
        update = sql.SQL("UPDATE {0} SET {1} = {1} WHERE {2} = %s").format(
            sql.Identifier(table), sql.Identifier(column), sql.Identifier(expected.key)
        )
        if column in expected.updates:
            assert await attempt(database, alice, update, [rows[table]]) == 1, column
        else:
            forbidden = sql.SQL("UPDATE {} SET {} = DEFAULT WHERE {} = %s").format(
                sql.Identifier(table), sql.Identifier(column), sql.Identifier(expected.key)
            )
            with pytest.raises(DENIED):
                await attempt(database, alice, forbidden, [rows[table]])
        if column not in expected.inserts:
            with pytest.raises(DENIED):
                await attempt(
                    database,
                    alice,
                    sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE VALUES (NULL)").format(
                        sql.Identifier(table), sql.Identifier(column)
                    ),
                )


@pytest.mark.parametrize("table", [t for t, e in TABLES.items() if e.new])
async def test_owner_inserts_for_herself_and_nobody_for_her(database, rows, alice, bob, table):
    new = TABLES[table].new

    def insert(user):
        names = ["user_id", *new]
        return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join([sql.Literal(str(user)), *map(sql.Literal, new.values())]),
        )

    assert await attempt(database, alice, insert(alice)) == 1
    with pytest.raises(DENIED):
        await attempt(database, bob, insert(alice))


@pytest.mark.parametrize("table", [t for t, e in TABLES.items() if e.deletes])
async def test_owner_deletes_what_is_hers(database, rows, alice, table):
    delete = mine(table, TABLES[table].key, "DELETE FROM {}")

    assert await attempt(database, alice, delete, [rows[table]]) == 1


async def test_shared_agents_are_read_by_all_and_written_by_none(database, alice):
    shared = "SELECT id FROM agent_configurations WHERE user_id IS NULL"
    assert await attempt(database, alice, shared) == 1
    assert await attempt(database, alice, "SELECT 1 FROM agent_tools") == 2
    for statement in (
        "UPDATE agent_configurations SET system_prompt = 'x' WHERE user_id IS NULL",
        "DELETE FROM agent_configurations WHERE user_id IS NULL",
        "DELETE FROM agent_tools",
    ):
        assert await attempt(database, alice, statement) == 0
    with pytest.raises(DENIED):
        await attempt(
            database,
            alice,
            "INSERT INTO agent_configurations (user_id, agent_name, model)"
            " VALUES (NULL, 'mine', 'scripted:x')",
        )


async def test_scripts_are_written_by_the_operator_only(database, owner, rows, alice):
    insert = (
        "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
        " VALUES (auth.uid(), 'b', 'scripted:x', '{\"answer\": \"hi\"}')"
    )
    update = (
        """UPDATE agent_configurations SET script = '{"answer": "ho"}' WHERE agent_name = 'b'"""
    )
    with pytest.raises(DENIED, match="operator"):
        await attempt(database, alice, insert)

    async with database.acting_as(alice, is_operator=True) as conn:
        await conn.execute(insert)

    with pytest.raises(DENIED, match="operator"):
        await attempt(database, alice, update)
    kept = "UPDATE agent_configurations SET script = script, description = 'x'"
    assert await attempt(database, alice, kept) == 2
    assert await attempt(database, alice, "UPDATE agent_configurations SET script = NULL") == 2
    await owner.execute(insert.replace("auth.uid(), 'b'", "NULL, 'shared'"))


async def test_everybodys_limits_are_read_by_all_and_limits_written_by_none(
    database, rows, alice, bob
):
    async with database.transaction() as conn:
        await conn.execute("INSERT INTO user_limits (max_concurrency) VALUES (2)")
    assert await attempt(database, alice, "SELECT max_concurrency FROM user_limits") == 2
    assert await attempt(database, bob, "SELECT max_concurrency FROM user_limits") == 1
    for statement in (
        "INSERT INTO user_limits (user_id, max_concurrency) VALUES (auth.uid(), 1000)",
        "UPDATE user_limits SET max_concurrency = NULL",
        "DELETE FROM user_limits",
        "UPDATE rota.limits SET max_concurrency = NULL",
        "SELECT rota.limits_of(auth.uid())",
    ):
        with pytest.raises(DENIED):
            await attempt(database, alice, statement)


async def test_tools_are_not_linked_to_somebody_elses_agent(database, owner, rows, bob):
    tool = await (await owner.execute("SELECT id FROM tools WHERE name = 'mail_search'")).fetchone()
    with pytest.raises(DENIED):
        await attempt(
            database,
            bob,
            "INSERT INTO agent_tools (agent_id, tool_id) VALUES (%s, %s)",
            [rows["agent_configurations"], tool[0]],
        )


async def test_run_now_is_for_ones_own_schedules(database, owner, rows, alice, bob):
    ask = "SELECT request_schedule_run(%s, NULL, 'allow_all')"
    await attempt(database, alice, ask, [rows["agent_schedules"]])
    with pytest.raises(psycopg.errors.NoDataFound):
        await attempt(database, bob, ask, [rows["agent_schedules"]])
    with pytest.raises(DENIED):
        await attempt(database, None, ask, [rows["agent_schedules"]])
    backfill = "SELECT request_backfill(%s, ARRAY[now() - interval '1 day'])"
    with pytest.raises(psycopg.errors.NoDataFound):
        await attempt(database, bob, backfill, [rows["agent_schedules"]])
    with pytest.raises(DENIED):
        await attempt(database, None, backfill, [rows["agent_schedules"]])
    cancel = "SELECT request_cancel(%s)"
    with pytest.raises(psycopg.errors.NoDataFound):
        await attempt(database, bob, cancel, [rows["agent_runs"]])
    with pytest.raises(DENIED):
        await attempt(database, None, cancel, [rows["agent_runs"]])
    with pytest.raises(DENIED):
        await attempt(database, None, "SELECT request_run('a')")
    async with database.transaction() as conn:
        await conn.execute("SET LOCAL ROLE authenticated")
        with pytest.raises(DENIED):
            await conn.execute("SELECT request_run('a')")
    cursor = await owner.execute(
        "SELECT status, trigger, user_id FROM agent_runs ORDER BY created_at"
    )
    assert (await cursor.fetchall())[-1] == ("waiting", "manual", alice)


async def test_identity_ends_with_its_transaction(database, rows, alice):
    async with database.acting_as(alice) as conn:
        assert (await (await conn.execute("SELECT current_user")).fetchone())[0] == "authenticated"
        pid = conn.info.backend_pid
    async with database.connection() as conn:
        row = await (
            await conn.execute(
                "SELECT current_user, current_setting('request.jwt.claims', true), pg_backend_pid()"
            )
        ).fetchone()
    assert row[0] == "rota_backend"
    assert not row[1]
    assert row[2] == pid


async def test_backend_is_no_superuser_and_owns_nothing(database):
    async with database.connection() as conn:
        row = await (
            await conn.execute(
                "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles"
                " WHERE rolname = current_user"
            )
        ).fetchone()
        owned = await (
            await conn.execute(
                "SELECT count(*) FROM pg_class WHERE relowner = current_user::regrole"
            )
        ).fetchone()
    assert row == (False, False, False, False)
    assert owned == (0,)


async def test_catalogue_holds_no_hole(owner):
    """Row-level security everywhere, policies for named roles, nothing for PUBLIC or anon."""

    async def names(query: str) -> list[Any]:
        return [row[0] for row in await (await owner.execute(query)).fetchall()]

    assert not await names(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'p') AND NOT relrowsecurity"
    )
    assert not await names(
        "SELECT polname FROM pg_policy WHERE 0 = ANY (polroles)"  # 0 is PUBLIC
    )
    assert not await names(
        "SELECT table_name FROM information_schema.role_table_grants"
        " WHERE table_schema IN ('public', 'rota') AND grantee IN ('PUBLIC', 'anon')"
    )
    assert not await names(
        "SELECT p.oid::regprocedure::text FROM pg_proc AS p, unnest(ARRAY['anon', 'PUBLIC']) AS r"
        " WHERE p.pronamespace IN ('public'::regnamespace, 'rota'::regnamespace)"
        " AND CASE r WHEN 'anon' THEN has_function_privilege('anon', p.oid, 'EXECUTE')"
        " ELSE p.proacl IS NULL OR p.proacl::text LIKE '%{=X%' OR p.proacl::text LIKE '%,=X%' END"
    )
    assert await names("SELECT has_schema_privilege('authenticated', 'rota', 'USAGE')") == [False]
    assert await names("SELECT has_schema_privilege('anon', 'rota', 'USAGE')") == [False]


async def test_audit_log_is_append_only_for_the_backend(database, rows):
    for statement in (
        "UPDATE audit_logs SET detail = 'x'",
        "UPDATE audit_logs SET user_id = NULL",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logs",
        "UPDATE audit_blocks SET hash = previous",
        "DELETE FROM audit_blocks",
        "TRUNCATE audit_blocks",
        "UPDATE audit_chains SET user_id = NULL",
        "UPDATE audit_chains SET salt = gen_random_uuid()",
        "DELETE FROM audit_chains",
        "INSERT INTO audit_checkpoints SELECT * FROM audit_checkpoints",
        "UPDATE audit_checkpoints SET row_count = 0",
        "DELETE FROM audit_checkpoints",
        "UPDATE rota.audit_sealed SET audit_id = 0",
        "DELETE FROM rota.audit_sealed",
        "DELETE FROM rota.audit_cursor",
    ):
        async with database.connection() as conn:
            with pytest.raises(DENIED):
                await conn.execute(statement)


async def test_nobody_but_the_backend_seals_or_prunes_the_audit_log(database, rows, alice, bob):
    for statement in (
        "SELECT rota.prune_audit(gen_random_uuid(), 1, 1, now(), 'k', sha256('x'))",
        "SELECT * FROM rota.audit_cursor",
        "INSERT INTO rota.audit_sealed (audit_id) VALUES (1)",
        "INSERT INTO audit_blocks SELECT * FROM audit_blocks",
        "INSERT INTO audit_logs OVERRIDING SYSTEM VALUE SELECT * FROM audit_logs",
        "INSERT INTO audit_chains (user_id) VALUES (auth.uid())",
    ):
        for who in (alice, bob, None):
            with pytest.raises(DENIED):
                await attempt(database, who, statement)


async def test_claims_that_are_no_json_let_nobody_in(database, alice):
    async with database.transaction() as conn:
        await conn.execute("SELECT set_config('role', 'authenticated', true)")
        await conn.execute("SELECT set_config('request.jwt.claims', %s, true)", [json.dumps({})])
        cursor = await conn.execute("SELECT auth.uid()")
        assert (await cursor.fetchone())[0] is None
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        async with database.transaction() as conn:
            await conn.execute(
                "SELECT set_config('request.jwt.claims', %s, true)",
                [json.dumps({"sub": f"{uuid.uuid4()}' OR true"})],
            )
            await conn.execute("SELECT auth.uid()")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("starts_at", "infinity"),
        ("starts_at", "0044-03-15 BC"),
        ("ends_at", "-infinity"),
        ("anchor_at", "infinity"),
        ("instants", "{infinity}"),
        ("instants", "{NULL}"),
        ("instants", "{{2030-01-01},{2031-01-01}}"),
        ("instants", "{}"),
        ("active_hours", "8-9," * 1_000),
        ("excluded_days", "2030-01-01," * 1_000),
        ("every_seconds", "0"),
    ],
)
async def test_nobody_writes_past_rota_what_would_stop_a_scheduler(
    database, rows, alice, column, value
):
    statement = sql.SQL("UPDATE agent_schedules SET {} = %s, cron = {} WHERE id = %s").format(
        sql.Identifier(column),
        sql.SQL("NULL" if column in {"instants", "every_seconds"} else "cron"),
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        await attempt(database, alice, statement, [value, rows["agent_schedules"]])


@pytest.mark.parametrize(
    ("first", "last"),
    [("2030-01-01", "infinity"), ("-infinity", "2030-01-01"), ("0044-03-15 BC", "2030-01-01")],
)
async def test_nobody_writes_past_rota_a_day_off_that_would_stop_a_scheduler(
    database, rows, alice, first, last
):
    statement = (
        "INSERT INTO calendar_days (calendar_id, first_day, last_day)"
        " VALUES (%s, %s::date, %s::date)"
    )
    with pytest.raises(psycopg.errors.CheckViolation):
        await attempt(database, alice, statement, [rows["calendars"], first, last])


@pytest.mark.parametrize("value", ["infinity", "-infinity", "0044-03-15 BC"])
async def test_nobody_writes_past_rota_a_calendar_that_cannot_be_listed(
    database, rows, alice, value
):
    statement = "UPDATE calendars SET covers_until = %s::date WHERE id = %s"
    with pytest.raises(psycopg.errors.CheckViolation):
        await attempt(database, alice, statement, [value, rows["calendars"]])


async def test_rules_of_the_operator_are_read_by_whom_they_are_for_and_written_by_none(
    database, owner, alice, bob
):
    await owner.execute(
        "INSERT INTO approval_rules (effect, tool, for_user) VALUES ('deny', 'a', NULL),"
        " ('deny', 'b', %s)",
        [alice],
    )
    assert await attempt(database, alice, "SELECT 1 FROM approval_rules") == 2
    assert await attempt(database, bob, "SELECT 1 FROM approval_rules") == 1
    assert await attempt(database, alice, "DELETE FROM approval_rules") == 0
    for statement in (
        "UPDATE approval_rules SET effect = 'allow'",
        "INSERT INTO approval_rules (effect, tool) VALUES ('allow', '*')",
        "INSERT INTO approval_rules (user_id, effect, tool) VALUES (NULL, 'allow', '*')",
        "INSERT INTO approval_rules (effect, tool, for_user) VALUES ('allow', '*', auth.uid())",
    ):
        with pytest.raises(DENIED):
            await attempt(database, alice, statement)


async def test_a_rule_cannot_name_somebody_elses_schedule(database, rows, alice, bob):
    insert = (
        "INSERT INTO approval_rules (user_id, effect, tool, schedule_id)"
        " VALUES (auth.uid(), 'deny', 't', %s)"
    )
    assert await attempt(database, alice, insert, [rows["agent_schedules"]]) == 1
    with pytest.raises(DENIED):
        await attempt(database, bob, insert, [rows["agent_schedules"]])


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("expires_at", "infinity"),
        ("expires_at", "12026-01-01Z"),
        ("conditions", "{}"),
        ("conditions", "null"),
        ("uses_left", -1),
        ("tool", "a b"),
        ("tool", "*x"),
        ("attendance", "never"),
    ],
)
async def test_a_rule_holds_nothing_that_stops_a_worker(database, alice, column, value):
    statement = sql.SQL(
        "INSERT INTO approval_rules (user_id, effect, {0}) VALUES (auth.uid(), 'allow', %s)"
        if column == "tool"
        else "INSERT INTO approval_rules (user_id, effect, tool, {0})"
        " VALUES (auth.uid(), 'allow', 't', %s)"
    ).format(sql.Identifier(column))

    with pytest.raises(psycopg.errors.CheckViolation):
        await attempt(database, alice, statement, [value])
