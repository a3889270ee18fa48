"""An empty list says what its filters leave out, and does not tell that there is nothing."""

from __future__ import annotations

import asyncio

import pytest
from typer.testing import CliRunner

from rota.cli.filters import empty_list
from rota.cli.main import app
from tests.services.harness import ANSWER, Workshop
from tests.services.running import make_run

LOOKS = {"steps": [{"calls": [{"tool": "look", "args": {}}]}], "answer": "Looked."}


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
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        assert result.exception is None, result.exception
        return result.stdout

    return run


async def test_filters_say_what_they_leave_out(workshop, rota):
    await workshop.agent(LOOKS, tools=["look"])
    await workshop.schedule(name="idle")
    for _ in range(2):
        await workshop.service().execute_run(await make_run(workshop))
    await rota("notifications", "read", "--all")

    for command, said in {
        "runs list --schedule idle": "None of the 2 runs is of the schedule idle.",
        "runs list --status waiting": "None of the 2 runs is waiting.",
        "runs list --schedule idle --status waiting": "None of the 2 runs is of the schedule idle "
        "and waiting.",
        "results list --agent other": "None of the 2 results is from other.",
        "results list --status error": "None of the 2 results is of status error.",
        "notifications list --unread": "None of the 2 notifications is unread.",
        "audit list --tool send": "None of the 2 entries is of the tool send.",
        "audit list --since 8999-01-01": "None of the 2 entries is since 8999-01-01.",
    }.items():
        assert await rota(*command.split()) == f"{said}\n", command
    assert await rota("runs", "list", "--status", "waiting", "--json") == "[]\n"


async def test_where_nothing_is_there_that_is_said(workshop, rota):
    await workshop.agent(ANSWER)
    await workshop.schedule(name="idle")
    for command in ("runs list --schedule idle", "runs list"):
        assert (await rota(*command.split())).startswith("There are no runs yet.")
    assert (await rota("results", "list", "--status", "error")).startswith("There are no results")
    assert await rota("notifications", "list", "--unread") == "There are no notifications.\n"
    assert await rota("audit", "list", "--tool", "look") == "There is no entry.\n"


def test_one_and_many_are_told_as_such():
    assert empty_list("runs", 1, ["waiting"], nothing_there="-") == (
        "There is one, and it is not waiting."
    )
    many = empty_list("runs", 1_000, [None, "waiting"], nothing_there="-")
    assert many == "None of the 1,000 or more runs is waiting."
    assert empty_list("runs", 5, [None, None], nothing_there="-") == "-"
