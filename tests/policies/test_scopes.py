"""The scopes of a token hold in the database, whatever a route forgets."""

from __future__ import annotations

import asyncio

import pytest
from psycopg.rows import dict_row

from rota.domain.errors import InsufficientScopeError, RotaError
from rota.services.approvals.deputies import DeputyService
from rota.services.approvals.service import ApprovalService
from rota.services.notifications.service import NotificationService
from rota.store.database import act_as
from rota.store.errors import domain_errors
from rota.store.scopes import limited_to
from tests.services.harness import CIPHER, Workshop

ALL = frozenset({"read", "trigger", "manage", "decide"})

NEEDED = {
    "run": ("trigger", "SELECT request_run('watcher', 'Look.')"),
    "schedule run": ("trigger", "SELECT request_schedule_run(%(schedule)s)"),
    "retry": ("trigger", "SELECT request_retry(%(over)s)"),
    "cancel": ("trigger", "SELECT request_cancel(%(waiting)s)"),
    "backfill": (
        "trigger",
        "SELECT request_backfill(%(schedule)s, ARRAY['2026-01-01T00:00Z'::timestamptz])",
    ),
    "approve": ("decide", "SELECT decide_action(%(pending)s, 'approve')"),
    "refuse": ("decide", "SELECT decide_action(%(pending)s, 'refuse')"),
    "settle": ("decide", "SELECT settle_action(%(unknown)s, 'happened')"),
    "add a rule": (
        "decide",
        "INSERT INTO approval_rules (user_id, effect, tool) VALUES (auth.uid(), 'allow', 'send')",
    ),
    "remove rules": ("decide", "DELETE FROM approval_rules"),
    "pause all": ("manage", "SELECT pause_everything('away')"),
    "resume all": ("manage", "SELECT resume_everything()"),
    "edit a schedule": (
        "manage",
        "UPDATE agent_schedules SET prompt = 'x' WHERE id = %(schedule)s",
    ),
    "delete a schedule": ("manage", "DELETE FROM agent_schedules WHERE id = %(schedule)s"),
    "edit an agent": (
        "manage",
        "UPDATE agent_configurations SET description = 'x' WHERE user_id = auth.uid()",
    ),
    "set the zone": (
        "manage",
        "INSERT INTO user_settings (user_id, time_zone) VALUES (auth.uid(), 'UTC')",
    ),
    "make a calendar": (
        "manage",
        "INSERT INTO calendars (user_id, name, source) VALUES (auth.uid(), 'c', 'days')",
    ),
    "remove connections": ("manage", "DELETE FROM connections"),
}


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    await made.agent()
    return made


@pytest.fixture
async def ids(workshop, owner, alice):
    """What the statements are about: all of it is Alice's."""

    async def insert(statement):
        cursor = await owner.execute(statement, {"alice": alice})
        return (await cursor.fetchone())[0]

    run = (
        "INSERT INTO agent_runs (user_id, agent_name, trigger, status, finished_at)"
        " VALUES (%(alice)s, 'watcher', 'manual', {}, {}) RETURNING id"
    )
    action = (
        "INSERT INTO pending_actions"
        " (user_id, agent_name, tool_name, arguments, arguments_hash, status)"
        " VALUES (%(alice)s, 'watcher', 'send', '{{}}', '00', '{}') RETURNING id"
    )
    schedule = await workshop.schedule()
    return {
        "schedule": schedule.id,
        "waiting": await insert(run.format("'waiting'", "NULL")),
        "over": await insert(run.format("'finished'", "now()")),
        "pending": await insert(action.format("pending")),
        "unknown": await insert(action.format("unknown")),
    }


async def with_scopes(scopes, work):
    """Do something in a task of its own, as a request with a token of these scopes does."""

    async def within():
        limited_to(None if scopes is None else frozenset(scopes))
        return await work()

    return await asyncio.create_task(within())


async def execute(database, person, scopes, statement, ids):
    async def work():
        async with database.acting_as(person) as conn:
            with domain_errors():
                await conn.execute(statement, ids)

    await with_scopes(scopes, work)


@pytest.mark.parametrize("what", NEEDED)
async def test_what_needs_a_scope_is_refused_without_it_and_done_with_it(
    database, alice, ids, what
):
    scope, statement = NEEDED[what]
    with pytest.raises(InsufficientScopeError, match=f"`{scope}`") as refused:
        await execute(database, alice, ALL - {scope}, statement, ids)
    assert refused.value.scope == scope
    with pytest.raises(InsufficientScopeError):
        await execute(database, alice, {"read"}, statement, ids)
    with pytest.raises(InsufficientScopeError):
        await execute(database, alice, set(), statement, ids)

    await execute(database, alice, {scope}, statement, ids)


@pytest.mark.parametrize("what", NEEDED)
async def test_whoever_came_without_a_token_may_do_all(database, alice, ids, what):
    await execute(database, alice, None, NEEDED[what][1], ids)


async def test_token_that_reads_writes_nothing_at_all(database, alice, ids):
    statement = "UPDATE notifications SET read_at = now()"
    with pytest.raises(InsufficientScopeError, match="with the scope `read` alone"):
        await execute(database, alice, {"read"}, statement, ids)
    for way_out in ("SET TRANSACTION READ WRITE", "SET transaction_read_only = off"):
        with pytest.raises(RotaError):
            await execute(database, alice, {"read"}, f"{way_out}", ids)
    await execute(database, alice, {"read"}, "SELECT FROM agent_schedules", ids)


async def test_next_transaction_of_the_connection_writes_again(database, alice, ids):
    await execute(database, alice, {"read"}, "SELECT 1", ids)
    await execute(database, alice, None, NEEDED["run"][1], ids)
    await execute(database, alice, {"trigger"}, NEEDED["run"][1], ids)


async def test_deleting_a_schedule_cancels_its_runs_with_manage_alone(database, owner, alice, ids):
    await owner.execute(
        "UPDATE agent_runs SET schedule_id = %s WHERE id = %s", [ids["schedule"], ids["waiting"]]
    )
    await owner.execute(
        "INSERT INTO approval_rules (user_id, effect, tool, schedule_id)"
        " VALUES (%s, 'allow', 'send', %s)",
        [alice, ids["schedule"]],
    )

    await execute(database, alice, {"manage"}, NEEDED["delete a schedule"][1], ids)

    cursor = owner.cursor(row_factory=dict_row)
    await cursor.execute("SELECT status FROM agent_runs WHERE id = %s", [ids["waiting"]])
    assert (await cursor.fetchone())["status"] == "cancelled"


async def test_scopes_hold_where_the_backend_writes_for_a_request(database, owner, alice, bob, ids):
    await owner.execute("UPDATE pending_actions SET argument_schema = '{}'")
    approvals = ApprovalService(database, CIPHER, NotificationService(database))
    deputies = DeputyService(database)

    async def edit():
        await approvals.edit(alice, str(ids["pending"]), {"to": "x"}, via="api")

    async def appoint():
        await deputies.add(alice, bob, user_name="Alice", deputy_name="Bob")

    for work in (edit, appoint):
        with pytest.raises(InsufficientScopeError, match="`decide`"):
            await with_scopes({"read", "trigger", "manage"}, work)
    for work in (edit, appoint):
        await with_scopes({"read", "decide"}, work)


async def test_people_cannot_give_themselves_more(database, alice, ids):
    """The claim stands in a setting, which a statement of a person's can change: rota has none."""

    async def work():
        async with database.acting_as(alice) as conn:
            await act_as(conn, alice)  # what a service does a second time changes nothing
            with domain_errors():
                await conn.execute(NEEDED["approve"][1], ids)

    with pytest.raises(InsufficientScopeError):
        await with_scopes({"read", "trigger"}, work)


async def test_odd_claims_give_nothing(owner, alice):
    for claims in ('{"rota_scopes": null}', '{"rota_scopes": []}', '{"rota_scopes": "read"}'):
        cursor = await owner.execute(
            "SELECT set_config('request.jwt.claims', %s, false), rota.may('decide')", [claims]
        )
        cursor = await owner.execute("SELECT rota.may('decide')")
        assert await cursor.fetchone() == (False,), claims
    for claims in ("", "{}", '{"sub": "x"}'):
        await owner.execute("SELECT set_config('request.jwt.claims', %s, false)", [claims])
        cursor = await owner.execute("SELECT rota.may('decide')")
        assert await cursor.fetchone() == (True,), claims
