"""The orchestrator that the migration makes, end to end: Anthropic's and Gmail's protocols on
loopback, the real clients, a sealed token, real rows."""

from __future__ import annotations

import httpx
import pytest

from rota.agents.models.building import ChatModels
from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.domain.runs.run import ResultStatus
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from rota.services.schedules.service import ScheduleService
from tests.loopback.anthropic import AnthropicServer
from tests.loopback.gmail import Failure, GmailServer
from tests.loopback.model_server import Fails, Says
from tests.services.harness import clock

RAW = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>\r\nTo: me@example.com\r\n"
    b"Subject: Invoice due\r\nDate: Mon, 02 Mar 2026 06:00:00 +0100\r\n\r\nPlease pay by noon.\r\n"
)


@pytest.fixture
def gmail():
    with GmailServer() as server:
        yield server


@pytest.fixture
async def execute(workshop, database, gmail, monkeypatch):
    connections = ConnectionService(database, Cipher(bytes(32)), clock=clock)

    async def run(*replies, token="good-token", keys=None):
        if token:
            await connections.keep(workshop.user, "gmail", token)
        await workshop.owner.execute(
            "INSERT INTO user_channels (user_id, channel, address) VALUES (%s, 'telegram', '1')",
            [workshop.user],
        )
        row = await workshop.row("agent_schedules")  # AC-8: made by linking Telegram
        from rota.store.schedules import rows as schedule_rows

        async with database.connection() as conn:
            schedule = await schedule_rows.fetch_schedule(conn, row["id"])
        with AnthropicServer(*replies) as anthropic:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", anthropic.url)
            async with httpx.AsyncClient() as http:

                def context(user_id, now):
                    return ToolContext(
                        user_id,
                        now,
                        lambda service: connections.secret(user_id, service),
                        lambda: None,
                        http,
                        {"gmail": gmail.url},
                        lambda name: connections.using(user_id, name),
                        lambda gives: connections.connected(user_id, gives),
                    )

                service = workshop.service(
                    registry=builtin_tools(),
                    tool_context=context,
                    models=ChatModels(api_keys={"anthropic": "test-key"} if keys is None else keys),
                )
                return await service.execute(schedule), anthropic.requests

    return run


async def test_briefing_reads_gmail_and_reaches_its_owner(workshop, gmail, execute):
    key = gmail.add(RAW)

    outcome, asked = await execute(
        Says("", (("gmail_search", {"query": "newer_than:1d"}),)),
        Says("", (("gmail_get_message", {"message_id": key}),)),
        Says("One thing today: Jürgen's invoice is due at noon."),
    )

    assert outcome.status is ResultStatus.SUCCESS
    assert outcome.content == "One thing today: Jürgen's invoice is due at noon."
    assert "Please pay by noon." in str(asked[2].body)
    assert "Jürgen" in str(asked[2].body)
    assert asked[0].body["model"].startswith("claude-sonnet")
    assert {t["name"] for t in asked[0].body["tools"]} == {"gmail_search", "gmail_get_message"}
    assert "You may only read" in str(asked[0].body["system"])
    assert outcome.metadata["tokens"]["input"] > 0
    assert outcome.pending_actions_created == 0
    (notification,) = await workshop.rows("notifications")
    assert notification["category"] == "heartbeat"
    assert [r["decision"] for r in await workshop.rows("audit_logs")] == ["allowed", "allowed"]
    assert "good-token" not in str(await workshop.rows("agent_run_steps"))


@pytest.mark.parametrize(
    ("token", "keys", "said"),
    [(None, None, "connections add gmail"), ("good-token", {}, "ANTHROPIC_API_KEY")],
)
async def test_what_is_missing_is_said_once_and_the_schedule_pauses(
    workshop, execute, token, keys, said
):
    outcome, _ = await execute(
        Says("", (("gmail_search", {"query": ""}),)), Says("?"), token=token, keys=keys
    )

    assert outcome.status is ResultStatus.ERROR
    assert said in outcome.content
    (notification,) = await workshop.rows("notifications")
    assert notification["category"] == "error"
    assert said in notification["body"]
    assert (await workshop.row("agent_schedules"))["is_active"] is False


async def test_schedule_that_lacked_a_connection_goes_on_when_it_is_there(
    workshop, execute, database, bob
):
    await execute(Says("", (("gmail_search", {"query": ""}),)), Says("?"), token=None)
    schedules = ScheduleService(database, clock=clock)
    row = await workshop.row("agent_schedules")
    assert row["is_active"] is False

    assert await schedules.resume_after_setup(workshop.user, "connection:imap") == ()
    assert await schedules.resume_after_setup(bob, "connection:gmail") == ()
    await schedules.pause(workshop.user, row["name"], "On holiday")  # a person's pause
    assert await schedules.resume_after_setup(workshop.user, "connection:gmail") == ()
    await workshop.owner.execute("UPDATE agent_schedules SET pause_note = rota_pause_note")

    [resumed] = await schedules.resume_after_setup(workshop.user, "connection:gmail")
    assert resumed.name == row["name"]
    assert (await workshop.row("agent_schedules"))["is_active"] is True


async def test_key_that_the_provider_refuses_pauses_too(workshop, execute):
    outcome, _ = await execute(Fails(401, "authentication_error"))

    assert outcome.status is ResultStatus.ERROR
    assert outcome.metadata["error_kind"] == "authentication"
    assert (await workshop.row("agent_schedules"))["is_active"] is False


async def test_gmail_that_is_down_is_a_message_to_the_model(workshop, gmail, execute):
    gmail.always = Failure(500, headers={"Retry-After": "0"})

    outcome, asked = await execute(
        Says("", (("gmail_search", {"query": ""}),)), Says("Gmail cannot be reached today.")
    )

    assert outcome.status is ResultStatus.SUCCESS
    (told,) = asked[1].body["messages"][-1]["content"]
    assert told["is_error"] is True
    assert "Gmail" in str(told["content"])
    assert (await workshop.row("agent_schedules"))["is_active"] is True
