"""What is said where nobody is alive to run something, or where who is lacks its tool."""

from __future__ import annotations

import asyncio
import os
import socket
import threading

import pytest
from typer.testing import CliRunner

from rota.cli import output
from rota.cli.main import app
from tests.services.harness import ANSWER, Workshop
from tests.services.running import make_run

BOTH = "`rota scheduler` and `rota worker`"
LATER = "once you start `rota up`, or a scheduler and a worker."

HERE = f"{socket.gethostname()}:{os.getpid()}"


@pytest.fixture
async def workshop(database, owner, alice):
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made


@pytest.fixture
def rota(database_url, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    async def run(*arguments):
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)

    return run


async def somebody_is_alive(workshop):
    await workshop.owner.execute(
        "INSERT INTO rota.processes (id, kind, host, pid, version) SELECT gen_random_uuid(), kind,"
        " 'here', 1, '1' FROM unnest('{scheduler,worker}'::text[]) AS kind"
    )


@pytest.mark.parametrize("alive", [False, True])
@pytest.mark.parametrize("command", ["run watcher", "schedules run morning", "schedules backfill"])
async def test_that_nobody_runs_it_is_said_only_where_nobody_does(workshop, rota, command, alive):
    await workshop.agent(ANSWER)
    await workshop.schedule()
    words = command.split()
    if "backfill" in words:
        words += ["morning", "--from", "2026-03-02", "--to", "2026-03-03"]
    else:
        words.append("--no-wait")
    if alive:
        await somebody_is_alive(workshop)

    result = await rota(*words)

    assert result.exit_code == 0, result.output
    assert (LATER in result.output) is not alive


@pytest.mark.parametrize(
    ("gone", "advice"),
    [
        ("{worker}", "no worker is running. Start `rota up`, or `rota worker`."),
        (
            "{scheduler,worker}",
            f"no scheduler and no worker is running. Start `rota up`, or {BOTH}.",
        ),
    ],
)
async def test_who_waits_for_a_run_is_told_when_its_worker_is_gone(
    workshop, rota, monkeypatch, gone, advice
):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    await somebody_is_alive(workshop)
    said: list[str] = []
    is_told = threading.Event()
    monkeypatch.setattr(output, "warn", lambda text: (said.append(text), is_told.set()))

    command = asyncio.create_task(rota("schedules", "run", "morning"))
    async with asyncio.timeout(60):
        while not await runs_of(workshop, schedule):
            await asyncio.sleep(0.05)
        assert not said
        await workshop.owner.execute(
            "UPDATE rota.processes SET seen_at = now() - interval '40 seconds'"
            " WHERE kind = ANY (%s::text[])",
            [gone],
        )
        await asyncio.to_thread(is_told.wait, 50)
        await workshop.owner.execute("UPDATE agent_runs SET status = 'cancelled'")
        await command

    assert said == [f"The run waits: {advice}"]


async def runs_of(workshop, schedule):
    found = await workshop.owner.execute(
        "SELECT id FROM agent_runs WHERE schedule_id = %s", [schedule.id]
    )
    return await found.fetchall()


@pytest.mark.parametrize("alive", [False, True])
async def test_a_refused_second_run_says_that_no_worker_is_running(workshop, rota, alive):
    await workshop.agent(ANSWER)
    await workshop.schedule()
    await rota("schedules", "run", "morning", "--no-wait")
    if alive:
        await somebody_is_alive(workshop)

    refused = str((await rota("schedules", "run", "morning", "--no-wait")).exception)

    assert refused.startswith("A run of this schedule is under way or waits")
    assert ("No worker is running" in refused) is not alive


async def test_a_worker_without_the_tool_says_so_and_what_to_do(workshop):
    await workshop.owner.execute(
        "INSERT INTO tools (name, read_only, default_tier) VALUES ('pay', true, 'auto')"
    )
    await workshop.agent(ANSWER, tools=["pay"])
    run = await make_run(workshop)

    outcome = await workshop.service().execute_run(run)

    assert outcome.content == (
        f"The agent has the tool 'pay', and the worker {HERE} was started without it: "
        "set ROTA_TOOLS there and restart it, or take the tool from the agent."
    )


async def test_a_worker_without_the_callable_says_so_too(workshop):
    await workshop.agent(model="callable:report")
    outcome = await workshop.service().execute_run(await make_run(workshop))
    assert outcome.content == (
        f"No callable is registered as 'report': the worker {HERE} was started without "
        "it: set ROTA_CALLABLES there and restart it."
    )


async def test_a_tool_that_is_pinned_has_to_be_registered_for_the_command(workshop, rota):
    result = await rota("tools", "declare", "pay", "--pin")
    assert result.exception is not None
    assert "set ROTA_TOOLS for this command" in str(result.exception)
