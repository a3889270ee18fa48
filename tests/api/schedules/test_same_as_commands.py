"""HTTP says of schedules what --json says, and can do what each command can."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from rota.api.app import make_api
from rota.api.description import operations
from rota.cli.schedules import calendars, commands, pauses

ROUTES = {
    "schedules": {
        "add": "put_schedule",
        "backfill": "backfill_schedule",
        "calendar": "forecast_schedules",
        "edit": "patch_schedule",
        "list": "list_schedules",
        "pause": "pause_schedule",
        "preview": "preview_schedule",
        "remove": "delete_schedule",
        "resume": "resume_schedule",
        "run": "run_schedule",
        "show": "get_schedule",
        "why": "explain_schedule",
    },
    "calendars": {
        "add": "add_days_off",
        "import": "import_calendar",
        "list": "list_calendars",
        "remove": "delete_calendar",
        "show": "get_calendar",
    },
    "": {"pause": "put_pause", "resume": "delete_pause"},
}


@pytest.mark.parametrize(
    ("room", "group"),
    [("schedules", commands.group), ("calendars", calendars.group), ("", pauses.group)],
)
def test_each_command_has_an_operation(room, group):
    there = {one.name for one in operations(make_api(None, None))}
    assert set(group._entries) == set(ROUTES[room])
    assert set(ROUTES[room].values()) <= there


@pytest.fixture
def typed(database_url):
    """`await typed("schedules list")` is what Alice's command prints with --json."""

    def run(command):
        done = subprocess.run(
            [sys.executable, "-m", "rota", *command.split(), "--json"],
            env={
                **os.environ,
                "ROTA_DATABASE_URL": database_url,
                "ROTA_USER": "alice@example.com",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return json.loads(done.stdout)

    async def typed(command):
        return await asyncio.to_thread(run, command)

    return typed


async def test_lists_and_details_are_those_of_the_commands(hers, put, typed):
    await hers.put("/calendars/off", json={"days": [{"first": "2040-01-01", "summary": "New"}]})
    await put("noon", prompt="Look.", except_calendars=["off"], limits={"cost": "0.50"})
    await put("off", at=["2039-12-24 18:00"])
    await hers.post("/schedules/off/pause", json={"note": "later"})

    assert (await hers.get("/schedules")).json()["items"] == await typed("schedules list")
    shown = (await hers.get("/schedules/noon")).json()
    assert shown == await typed("schedules show noon")
    assert (await hers.get("/calendars")).json()["items"] == await typed("calendars list")
    assert (await hers.get("/calendars/off")).json() == await typed("calendars show off")
    ahead = (await hers.get("/forecast", params={"days": 3})).json()["items"]
    assert len(ahead) == 3
    assert ahead == await typed("schedules calendar --days 3")
    why = (await hers.get("/schedules/noon/why")).json()["explanations"]
    assert [one["verdict"] for one in why] == [
        one["verdict"] for one in await typed("schedules why noon")
    ]
