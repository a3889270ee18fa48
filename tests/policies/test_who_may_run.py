"""Who may run agents is the operator's to say: nobody does by having signed up."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.agents.people import MAY_NOT_RUN
from rota.domain.errors import InvalidInputError, NotFoundError, SetupRequiredError
from rota.services.agents.people import PeopleService
from rota.services.runs.service import RunService
from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import migrate, migrations
from tests.services.harness import ANSWER, Workshop
from tests.services.running import fetch_run, make_run

MONDAY_7 = datetime(2026, 6, 1, 7, tzinfo=UTC)
SCHEDULE = (
    "INSERT INTO agent_schedules (name, agent_name, cron) VALUES ('s', 'watcher', '0 7 * * *')"
)


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    """Where nobody is allowed by default."""
    await owner.execute("UPDATE rota.limits SET open_to_all = false")
    return Workshop(database, owner, alice)


@pytest.fixture
def people(database) -> PeopleService:
    return PeopleService(database)


@pytest.fixture
def rota(database_url, monkeypatch):
    """The operator's terminal."""
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


async def writing(workshop, statement, *parameters):
    """Write as Alice does through PostgREST."""
    async with workshop.database.acting_as(workshop.user) as conn:
        cursor = await conn.execute(statement, parameters)
        return await cursor.fetchall() if cursor.description else []


async def may_run(workshop, person):
    cursor = await workshop.owner.execute("SELECT rota.may_run_agents(%s)", [person])
    return (await cursor.fetchone())[0]


async def test_database_is_closed_until_it_is_opened(postgres_server, empty_database):
    await migrate(postgres_server.owner_of(empty_database))

    with psycopg.connect(postgres_server.owner_of(empty_database)) as conn:
        conn.execute("INSERT INTO auth.users (email) VALUES ('new@example.com')")
        query = "SELECT rota.may_run_agents(id) FROM auth.users"
        assert conn.execute(query).fetchall() == [(False,)]
        conn.execute("UPDATE rota.limits SET open_to_all = true")
        assert conn.execute(query).fetchall() == [(True,)]


async def test_who_ran_agents_before_there_was_leave_goes_on(postgres_server, empty_database):
    url = postgres_server.owner_of(empty_database)
    files = migrations()
    index = next(i for i, m in enumerate(files) if m.version == "20261130000004")
    await migrate(url, shipped=files[:index])
    with psycopg.connect(url, autocommit=True) as conn:
        for name in ("schedules", "runs", "nothing"):
            conn.execute("INSERT INTO auth.users (email) VALUES (%s)", [name])
        of = "SELECT id, 'a', {} FROM auth.users WHERE email = '{}'"
        conn.execute(
            "INSERT INTO agent_schedules (user_id, agent_name, name, cron) "
            + of.format("'s', '0 7 * * *'", "schedules")
        )
        conn.execute(
            "INSERT INTO agent_runs (user_id, agent_name, trigger) " + of.format("'manual'", "runs")
        )

        await migrate(url)

        assert conn.execute(
            "SELECT email, rota.may_run_agents(id) FROM auth.users ORDER BY email"
        ).fetchall() == [("nothing", False), ("runs", True), ("schedules", True)]


@pytest.mark.parametrize(
    "ask",
    [
        "SELECT request_run('watcher')",
        "SELECT request_schedule_run(%(schedule)s)",
        "SELECT request_backfill(%(schedule)s, '{2026-05-01 07:00Z}')",
        "SELECT request_retry(%(run)s)",
        SCHEDULE,
        "UPDATE agent_schedules SET is_active = true WHERE id = %(schedule)s",
    ],
)
async def test_who_may_not_run_agents_cannot_ask_for_it(workshop, people, ask):
    schedule = await workshop.schedule(is_active=False)
    run = await make_run(workshop, status="finished")

    async def asked():
        async with workshop.database.acting_as(workshop.user) as conn:
            await conn.execute(ask, {"schedule": schedule.id, "run": run.id})

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="rota people allow"):
        await asked()

    await people.set([workshop.user], may_run=True)
    await asked()


async def test_refusal_says_what_to_do_and_not_that_the_schedule_is_anothers(workshop):
    schedule = await workshop.schedule(is_active=False)
    runs = RunService(workshop.database)

    with pytest.raises(SetupRequiredError, match="rota people allow"):
        await runs.request_schedule(workshop.user, schedule.id)


async def test_schedule_that_does_not_fire_is_anybodys_to_write(workshop):
    await writing(workshop, SCHEDULE.replace("cron", "is_active, cron").replace("'0", "false, '0"))

    assert not (await workshop.row("agent_schedules"))["is_active"]


async def test_run_of_who_may_not_run_agents_ends_before_anything_is_spent(workshop):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    run = await make_run(workshop, schedule_id=schedule.id)

    outcome = await workshop.service().execute_run(run)

    assert outcome.status == "error"
    assert outcome.content.startswith(MAY_NOT_RUN)
    assert outcome.metadata["setup_required"] == "permission"
    assert await workshop.rows("agent_run_steps") == []
    assert await workshop.rows("usage_days") == []
    assert (await workshop.row("agent_schedules"))["pause_note"] == MAY_NOT_RUN


async def test_approved_action_of_who_may_not_run_agents_any_more_has_failed(workshop):
    await workshop.declare_tools()
    await workshop.agent(ANSWER, tools=["send"])
    cursor = await workshop.owner.execute(
        "INSERT INTO pending_actions (user_id, agent_name, tool_name, arguments, arguments_hash)"
        " VALUES (%s, 'watcher', 'send', '{\"to\": \"bob\"}', 'x') RETURNING id",
        [workshop.user],
    )
    (action,) = await cursor.fetchone()
    await writing(workshop, "SELECT decide_action(%s, 'approve')", action)
    (run,) = await workshop.rows("agent_runs")

    await workshop.service().execute_run(await fetch(workshop, run["id"]))

    action = await workshop.row("pending_actions")
    assert (action["status"], action["result"]) == ("failed", MAY_NOT_RUN)
    assert workshop.toolbox.calls == []


async def fetch(workshop, run_id):
    async with workshop.database.connection() as conn:
        return await fetch_run(conn, run_id)


async def test_due_schedules_of_who_may_not_run_agents_are_paused_and_they_are_told_once(
    workshop, people, bob
):
    for name, minutes in (("one", 0), ("two", 0), ("later", 5)):
        await workshop.due(MONDAY_7 + timedelta(minutes=minutes), name=name)
    await workshop.due(MONDAY_7, name="bobs", user=bob)
    await people.set([bob], may_run=True)

    for minutes in (0, 5):
        await workshop.scheduler().tick(MONDAY_7 + timedelta(minutes=minutes))

    found = {row["name"]: row for row in await workshop.rows("agent_schedules")}
    assert {name: row["is_active"] for name, row in found.items()} == {
        "one": False,
        "two": False,
        "later": False,
        "bobs": True,
    }
    assert found["one"]["pause_note"] == MAY_NOT_RUN
    assert [run["user_id"] for run in await workshop.rows("agent_runs")] == [bob]
    told = await workshop.row("notifications")
    assert told["user_id"] == workshop.user
    assert MAY_NOT_RUN in told["body"]


async def test_who_is_denied_again_is_told_again(workshop, people):
    for _ in range(2):
        await people.set([workshop.user], may_run=True)
        await workshop.owner.execute(
            "UPDATE agent_schedules SET name = name || 'x'",
        )
        await workshop.due(MONDAY_7)
        await people.set([workshop.user], may_run=False)
        await workshop.scheduler().tick(MONDAY_7)

    assert len(await workshop.rows("notifications")) == 2


async def test_operator_allows_and_denies_people(workshop, rota, bob):
    assert await rota("people", "list", "--json") == [
        {"user_id": None, "email": None, "may_run": False}
    ]

    await rota("people", "allow", "alice@example.com", str(bob))
    assert await may_run(workshop, workshop.user)
    await rota("people", "refuse", "bob@example.com")
    assert not await may_run(workshop, bob)
    await rota("people", "allow", "--everybody")
    assert not await may_run(workshop, bob)

    shown = await rota("people", "list", "--json")
    assert [(p["email"], p["may_run"]) for p in shown] == [
        (None, True),
        ("alice@example.com", True),
        ("bob@example.com", False),
    ]
    said = (await rota("people", "list")).splitlines()
    assert [line.split()[-1] for line in said] == ["AGENTS", "yes", "yes", "no"]

    await rota("people", "refuse", "--everybody")
    assert await may_run(workshop, workshop.user)


async def test_operator_names_somebody_who_is_there(workshop, rota):
    with pytest.raises(NotFoundError, match="nobody@"):
        await rota("people", "allow", "alice@example.com", "nobody@example.com")
    assert await workshop.rows("rota.people") == []
    for arguments in ([], ["--everybody", "alice@example.com"]):
        with pytest.raises(InvalidInputError, match="Name one or more people"):
            await rota("people", "allow", *arguments)


def test_embedded_server_is_open_to_all_and_stays_so(tmp_path):
    def rota(*arguments):
        return CliRunner().invoke(app, [*arguments, "--data-dir", str(tmp_path)])

    with EmbeddedPostgres.open(tmp_path, durable=False) as embedded:
        shown = rota("people", "list", "--json")
        denied = rota("people", "refuse", "--everybody")
        embedded.destroy()

    assert [one["may_run"] for one in json.loads(shown.stdout)] == [True]
    assert isinstance(denied.exception, InvalidInputError)


async def test_nobody_says_of_themselves_that_they_may(workshop):
    for statement in (
        "INSERT INTO rota.people (user_id, may_run) VALUES (auth.uid(), true)",
        "UPDATE rota.limits SET open_to_all = true",
        "SELECT rota.may_run_agents(auth.uid())",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await writing(workshop, statement)


async def test_heartbeat_is_made_when_who_has_telegram_is_allowed(workshop, people, bob):
    link = "INSERT INTO user_channels (user_id, channel, address) VALUES (%s, 'telegram', %s)"
    await workshop.owner.execute(link, [workshop.user, "1"])
    await workshop.owner.execute(link, [bob, "2"])
    assert await workshop.rows("agent_schedules") == []

    await people.set([workshop.user], may_run=True)
    assert [s["user_id"] for s in await workshop.rows("agent_schedules")] == [workshop.user]

    await people.set_everybody(may_run=True)
    schedules = await workshop.rows("agent_schedules")
    assert {s["user_id"] for s in schedules} == {workshop.user, bob}
    assert {s["name"] for s in schedules} == {"morning-heartbeat"}
