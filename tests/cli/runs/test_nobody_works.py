"""What is said where nobody is alive to run something, or where who is lacks its tool."""

from __future__ import annotations

import asyncio
import os

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from tests.services.harness import ANSWER, Workshop
from tests.services.running import make_run

LATER = "once you start `rota up`, or a scheduler and a worker."


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


async def test_a_worker_without_the_tool_says_so_and_what_to_do(workshop):
    await workshop.owner.execute(
        "INSERT INTO tools (name, read_only, default_tier) VALUES ('pay', true, 'auto')"
    )
    await workshop.agent(ANSWER, tools=["pay"])
    run = await make_run(workshop)

    outcome = await workshop.service().execute_run(run)

    assert outcome.content == (
        f"The agent has the tool 'pay', and the worker (pid {os.getpid()}) was started without it: "
        "set ROTA_TOOLS there and restart it, or take the tool from the agent."
    )


async def test_a_worker_without_the_callable_says_so_too(workshop):
    await workshop.agent(model="callable:report")
    outcome = await workshop.service().execute_run(await make_run(workshop))
    assert outcome.content == (
        f"No callable is registered as 'report': the worker (pid {os.getpid()}) was started without"
        " it: set ROTA_CALLABLES there and restart it."
    )


async def test_a_tool_that_is_pinned_has_to_be_registered_for_the_command(workshop, rota):
    result = await rota("tools", "declare", "pay", "--pin")
    assert result.exception is not None
    assert "set ROTA_TOOLS for this command" in str(result.exception)
