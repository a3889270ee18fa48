"""kill -9 around a calendar's answer: the event is there once, and the next attempt says so."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime, timedelta

import pytest

from rota.domain.agents.calendar_accounts import CalDavAccount
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from tests.chaos.calendar_attempt import POINTS
from tests.chaos.sending_attempt import sending
from tests.loopback.radicale import PASSWORD, Radicale
from tests.services.deciding import desk_of
from tests.services.harness import Workshop, clock

pytestmark = pytest.mark.kill

DAY = str(datetime.now(UTC).date() + timedelta(days=30))
CALL = {"tool": "calendar_create_event", "args": {"title": "Dentist", "start": DAY}}


@pytest.fixture(scope="module")
def radicale():
    with Radicale() as server:
        server.calendar("home")
        yield server


@pytest.fixture
async def desk(database, owner, alice, radicale):
    radicale.clear()
    workshop = Workshop(database, owner, alice)
    account = CalDavAccount(f"{radicale.url}/", "alice", PASSWORD, radicale.authority)
    connections = ConnectionService(database, Cipher(bytes(32)), clock=clock)
    await connections.keep(alice, "caldav", account.as_secret(), account="alice")
    async with sending(workshop) as service:
        made = desk_of(workshop)
        made.service, made.tools = service, ("calendar_create_event",)
        yield made


async def ask(desk, mode):
    """Have an agent make the event; returns the run that is about to do it, not yet begun."""
    if mode == "unasked":
        await desk.workshop.declare("calendar_create_event", default_tier="auto")
        work, desk.work = desk.work, lambda: asyncio.sleep(0)  # it is left to the other process
        await desk.run(CALL)
        desk.work = work
    else:
        await desk.run(CALL, mode=mode)
        await desk.approve()
    (run,) = await desk.waiting_runs()
    return run


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("mode", ["queue", "suspend", "unasked"])
async def test_killed_at(desk, radicale, database_url, mode, point):
    run = await ask(desk, mode)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.calendar_attempt", database_url, str(run.id), point
    )
    assert await child.wait() == -signal.SIGKILL
    assert len(radicale.files()) == (point != "before_the_event")

    await desk.service.execute_run(await desk.fetch(run.id))
    await desk.work()

    assert len(radicale.files()) == 1
    assert "Made “Dentist”" in (await desk.result(run.id))["result_content"]
    if mode != "unasked":
        assert (await desk.action())["status"] == "succeeded"
