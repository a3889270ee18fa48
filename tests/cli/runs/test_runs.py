"""Runs from the command line: listed, shown step by step, followed, cancelled."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.cli.runs.texts import print_step
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.runs.steps import Step
from rota.services.runs.service import RunService
from rota.store.runs import rows as run_rows
from tests.services.harness import ANSWER, Workshop

LOOKS = {
    "steps": [{"calls": [{"tool": "look", "args": {"query": "sk-abcdefghijklmnop1234"}}]}],
    "answer": "Looked.\x1b[2J",
}


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made


@pytest.fixture
def rota(database_url, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


async def waiting_run(workshop, status="waiting", **columns):
    cursor = await workshop.owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger, status) VALUES (%s, 'watcher',"
        " 'manual', %s) RETURNING id",
        [columns.get("user", workshop.user), status],
    )
    return str((await cursor.fetchone())[0])


async def test_the_newest_run_is_shown_where_none_is_named(workshop, rota):
    with pytest.raises(NotFoundError, match="There are none yet"):
        await rota("runs", "show")
    await waiting_run(workshop)
    newest = await waiting_run(workshop)

    assert (await rota("runs", "show", "--json"))["id"] == newest


async def test_a_schedule_that_ran_before_its_first_fire_says_what_came_of_it(workshop, rota):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    assert "Last run   -" in await rota("schedules", "show", "morning")

    await workshop.service().execute(schedule)

    shown = await rota("schedules", "show", "morning")
    assert "Last run   success" in shown
    assert "None of its fire times has come yet." in shown
    told = await rota("schedules", "show", "morning", "--json")
    assert told["last_run"]["outcome"] == "success"


async def test_finished_run_is_shown_with_its_calls_secrets_replaced(workshop, rota):
    await workshop.declare("look", reaches_outside=False)  # else what looks like a key is held
    await workshop.agent(LOOKS, tools=["look"])
    schedule = await workshop.schedule(prompt="Look around.")
    outcome = await workshop.service().execute(schedule)

    said = await rota("runs", "show", str(outcome.run_id))

    assert said.startswith("morning: finished")
    assert "Prompt     Look around." in said
    assert "1     model scripted: finished" in said or "1     model " in said
    assert "1.0   tool look: finished" in said
    assert '{"query": "[redacted]"}' in said
    assert "\x1b" not in said
    assert "sk-abc" not in json.dumps(await rota("runs", "show", str(outcome.run_id), "--json"))
    followed = await rota("runs", "tail", str(outcome.run_id))
    assert followed.rstrip().endswith("finished, success.")


async def test_runs_are_listed_by_schedule_and_status(workshop, rota):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    outcome = await workshop.service().execute(schedule)
    other = await waiting_run(workshop)

    listed = await rota("runs", "list", "--json")
    of_schedule = await rota("runs", "list", "--schedule", "morning", "--json")
    waiting = await rota("runs", "list", "--status", "waiting", "--json")

    assert [run["id"] for run in listed] == [other, str(outcome.run_id)]
    assert [run["id"] for run in of_schedule] == [str(outcome.run_id)]
    assert [run["id"] for run in waiting] == [other]
    assert "manual" in await rota("runs", "list")
    with pytest.raises(InvalidInputError):
        await rota("runs", "list", "--status", "dreaming")


@pytest.mark.parametrize("status", ["waiting", "queued"])
async def test_run_that_has_not_begun_is_cancelled_at_once(workshop, rota, status):
    run = await waiting_run(workshop, status)

    assert "before it began" in await rota("runs", "cancel", run, "--note", "changed my mind")

    row = await workshop.row("agent_runs")
    assert (row["status"], row["cancel_reason"]) == ("cancelled", "changed my mind")
    with pytest.raises(ConflictError, match="is cancelled"):
        await rota("runs", "cancel", run)


async def test_run_under_way_is_asked_to_stop(workshop, rota):
    run = await waiting_run(workshop, "running")

    assert "The run is stopping" in await rota("runs", "cancel", run[:8])

    assert (await workshop.row("agent_runs"))["status"] == "running"
    assert "stopping" in await rota("runs", "list")
    async with workshop.database.connection() as conn:
        assert await run_rows.fetch_cancel_reason(conn, run) == "its owner asked for it"


async def test_strangers_run_is_not_found(workshop, rota, bob):
    run = await waiting_run(workshop, user=bob)
    for command in ("show", "cancel", "tail"):
        with pytest.raises(NotFoundError):
            await rota("runs", command, run)
    assert (await workshop.row("agent_runs"))["status"] == "waiting"


async def test_who_waits_for_a_cancelled_run_is_told(workshop, rota):
    from datetime import timedelta

    from rota.domain.ids import RunId

    run = await waiting_run(workshop)
    await rota("runs", "cancel", run)
    with pytest.raises(ConflictError, match="cancelled before it began"):
        await RunService(workshop.database).wait(
            workshop.user, RunId(run), limit=timedelta(seconds=5)
        )


def test_call_whose_arguments_were_changed_shows_what_it_ran_with(capsys):
    request = {"arguments": {"to": "bob"}, "ran_with": {"to": "eve"}}
    print_step(Step(1, 0, "tool", "send", "finished", datetime.now(UTC), request=request))

    assert capsys.readouterr().out.splitlines()[2:] == [
        '      {"to": "bob"}',
        '      changed before it was approved: {"to": "eve"}',
    ]
