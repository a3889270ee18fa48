"""Calls stop waiting: their time is over, their run is cancelled, or another asks for the same."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from rota.domain.errors import (
    ConflictError,
)
from tests.services.deciding import desk_of, let_time_be_over, outcome_of, send
from tests.services.running import make_run


@pytest.fixture
async def desk(workshop):
    return desk_of(workshop)


# Time


async def test_expired_action_is_not_approved(desk):
    await desk.run(send("bob"))
    await let_time_be_over(desk)

    with pytest.raises(ConflictError, match="The request has expired"):
        await desk.approve()

    assert await desk.times.look() == 1
    assert (await desk.action())["status"] == "expired"
    assert await desk.times.look() == 0
    assert desk.sent == []
    assert (await desk.decisions())[-1] == ("expired", "not_run")


async def test_approval_at_the_instant_of_expiry_has_one_winner(desk):
    await desk.run(*[send(f"bob{n}") for n in range(8)])
    actions = await desk.actions()
    await desk.workshop.owner.execute(
        "UPDATE pending_actions SET expires_at = clock_timestamp() + interval '150 ms'"
    )

    async def expire():
        while [a for a in await desk.actions() if a["status"] == "pending"]:
            await desk.times.look()

    async def approve(n, action):
        await asyncio.sleep(0.1 + n * 0.012)
        return await outcome_of(desk.approve(action))

    said, _ = await asyncio.gather(
        asyncio.gather(*(approve(n, action) for n, action in enumerate(actions))), expire()
    )
    await desk.work()

    after = await desk.actions()
    for word, action in zip(said, after, strict=True):
        assert action["status"] == ("succeeded" if word == "approved" else "expired")
    assert len(desk.sent) == said.count("approved")


async def test_owner_is_warned_before_an_action_expires_and_told_when_it_has(desk):
    await desk.run(send("bob"), send("eve"))
    before = len(await desk.workshop.rows("notifications"))
    await desk.workshop.owner.execute(
        "UPDATE pending_actions SET created_at = now() - interval '23 hours',"
        " expires_at = now() + interval '1 hour'"
    )

    await desk.times.look()
    await desk.times.look()  # said once
    for action in await desk.actions():
        await let_time_be_over(desk, action=action)
    await desk.times.look()
    await desk.times.look()

    rows = (await desk.workshop.rows("notifications", "created_at"))[before:]
    assert [row["title"] for row in rows] == [
        "2 requests for approval will expire soon",
        "2 requests for approval expired",
    ]
    assert "send, asked for by watcher" in rows[0]["body"]


async def test_action_waits_as_long_as_its_schedule_says(desk):
    await desk.run(send("bob"), options={"approvals_expire": 3600})
    action = await desk.action()
    assert (action["expires_at"] - action["created_at"]).total_seconds() == 3600


async def test_action_waits_for_a_day_where_nothing_is_said(desk):
    await desk.run(send("bob"))
    action = await desk.action()
    assert (action["expires_at"] - action["created_at"]).total_seconds() == 24 * 3600


async def test_owner_is_reminded_once_of_what_waits_for_long(desk):
    await desk.run(send("bob"), send("eve"), options={"approvals_remind": 3600})
    before = len(await desk.workshop.rows("notifications"))
    await desk.times.look()
    assert len(await desk.workshop.rows("notifications")) == before

    await desk.workshop.owner.execute("UPDATE pending_actions SET remind_at = now()")
    await desk.times.look()
    await desk.times.look()

    (told,) = (await desk.workshop.rows("notifications", "created_at"))[before:]
    assert told["title"] == "2 requests for approval still waiting"


# Cancelled


async def test_cancelled_run_asks_for_nothing_any_more(desk):
    desk.workshop.toolbox.gate = asyncio.Event()
    await desk.workshop.agent(
        {"steps": [{"calls": [send("bob")]}, {"calls": [{"tool": "wait"}]}], "answer": "x"},
        tools=["send", "wait"],
    )
    run = await make_run(desk.workshop)
    working = asyncio.create_task(desk.work())
    async with asyncio.timeout(10):
        while ("wait", None) not in desk.workshop.toolbox.calls:
            await asyncio.sleep(0.01)
    async with desk.workshop.database.acting_as(desk.workshop.user) as conn:
        await conn.execute("SELECT public.request_cancel(%s)", [run.id])
    desk.workshop.toolbox.gate.set()
    await working

    assert (await desk.action())["status"] == "withdrawn"
    with pytest.raises(ConflictError, match="withdrawn"):
        await desk.approve()
    assert desk.sent == []


async def test_approved_action_is_cancelled_before_it_begins(desk):
    await desk.run(send("bob"))
    await desk.approve()
    (run,) = await desk.waiting_runs()

    async with desk.workshop.database.acting_as(desk.workshop.user) as conn:
        await conn.execute("SELECT public.request_cancel(%s)", [run.id])

    assert await desk.work() == []
    assert (await desk.action())["status"] == "withdrawn"
    assert desk.sent == []


async def test_retry_that_asks_for_the_same_takes_the_place_of_what_waits(desk):
    """Else a person who says yes to both has sent it twice."""
    run_id = await desk.run(send("bob"), send("eve"))
    first, second = await desk.actions()
    await desk.refuse(second)
    async with desk.workshop.database.acting_as(desk.workshop.user) as conn:
        await conn.execute("SELECT public.request_retry(%s)", [run_id])
    await desk.work()

    statuses = {a["id"]: a["status"] for a in await desk.actions()}
    assert statuses.pop(first["id"]) == "withdrawn"
    assert statuses.pop(second["id"]) == "refused"
    assert sorted(statuses.values()) == ["pending", "pending"]
    await desk.decide_all([str(i) for i in statuses], "approve")
    await desk.work()
    assert sorted(desk.sent) == ["bob", "eve"]


async def test_run_of_an_action_is_not_retried(desk):
    await desk.run(send("bob"))
    await desk.approve()
    (run,) = await desk.waiting_runs()
    await desk.work()
    with pytest.raises(psycopg.errors.ObjectInUse):
        async with desk.workshop.database.acting_as(desk.workshop.user) as conn:
            await conn.execute("SELECT public.request_retry(%s)", [run.id])
