"""A call of which nobody knows whether it was done is settled by its owner."""

from __future__ import annotations

import asyncio

import pytest

from rota.domain.errors import (
    ConflictError,
)
from tests.services.deciding import desk_of


@pytest.fixture
async def desk(workshop):
    return desk_of(workshop)


@pytest.fixture
async def unknown(desk):
    """An action whose tool was still running when it had to answer."""
    await desk.workshop.declare(
        "wait",
        default_tier="requires_approval",
        read_only=False,
        idempotent=False,
        timeout_seconds=1,
    )
    desk.workshop.toolbox.gate = asyncio.Event()
    await desk.run({"tool": "wait"})
    await desk.approve()
    (outcome,) = await desk.work()
    assert outcome.status == "error"
    assert (await desk.action())["status"] == "unknown"
    return await desk.action()


async def test_owner_is_asked_what_became_of_an_unknown_action(desk, unknown):
    titles = [row["title"] for row in await desk.workshop.rows("notifications", "created_at")]
    assert any("wait" in title or "unknown" in title for title in titles), titles
    assert [a.id for a in await desk.approvals.list_actions(desk.workshop.user)] == [unknown["id"]]


@pytest.mark.parametrize(("said", "after"), [("happened", "succeeded"), ("did_not", "failed")])
async def test_owner_settles_an_unknown_action(desk, unknown, said, after):
    await desk.settle(said)
    assert (await desk.action())["status"] == after
    assert await desk.work() == []
    with pytest.raises(ConflictError):
        await desk.settle("again")


async def test_owner_has_an_unknown_action_done_again(desk, unknown):
    desk.workshop.toolbox.gate.set()

    await desk.settle("again")
    (outcome,) = await desk.work()

    assert outcome.status == "success"
    assert (await desk.action())["status"] == "succeeded"
    assert desk.workshop.toolbox.calls.count(("wait", None)) == 2


async def test_unknown_action_is_never_repeated_by_itself(desk, unknown):
    desk.workshop.toolbox.gate.set()
    for _ in range(3):
        await desk.times.look()
        await desk.work()
    assert desk.workshop.toolbox.calls.count(("wait", None)) == 1
