"""kill -9 between reading a mail and sending what it says: the next attempt asks all the same."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from rota.agents.models.building import ChatModels
from rota.domain.runs.run import Trigger
from tests.chaos.reading_attempt import POINTS, registry
from tests.services.approvals.test_outside_texts import EVIL, READ, ObedientServer, mailbox
from tests.services.deciding import desk_of
from tests.services.harness import Workshop
from tests.services.running import make_run

__all__ = ["mailbox"]  # a fixture

pytestmark = pytest.mark.kill


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(database, owner, alice, database_url, mailbox, tmp_path, point):
    workshop = Workshop(database, owner, alice)
    effects = tmp_path / "effects"
    await owner.execute(
        "INSERT INTO tools (name, default_tier, risk) VALUES ('post', 'auto', 'low')"
    )
    await workshop.agent(
        model="openai:gpt-4o-mini",
        model_settings={"endpoint": "local", "max_retries": 0},
        tools=["mail_search", "mail_get_message", "post"],
    )
    run = await make_run(workshop, trigger=Trigger.SCHEDULE)
    with ObedientServer() as server:
        arguments = [database_url, run.id, mailbox, server.url, effects, point]
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.reading_attempt", *map(str, arguments)
        )
        assert await child.wait() == -signal.SIGKILL
        desk = desk_of(
            workshop,
            registry=registry(mailbox, effects),
            models=ChatModels(endpoints={"local": server.url}),
        )
        for message in (mailbox / "cur").iterdir():  # what it read is in the journal, or nowhere
            message.unlink()
        await desk.service.execute_run(await desk.fetch(run.id))

    assert not effects.exists()
    action = await desk.action()
    assert (action["tool_name"], action["arguments"]["url"]) == ("post", EVIL)
    assert action["reason"].endswith(READ)
