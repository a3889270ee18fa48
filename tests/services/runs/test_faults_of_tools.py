"""What tools do that nobody expects of them becomes a message to the model; the run goes on."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import anyio
import pytest
from langchain_core.tools import tool

from tests.services.deciding import desk_of


def desk_with(workshop, *tools):
    """Return a desk whose agents have these tools, too."""
    registry = workshop.toolbox.registry()
    for made in tools:
        registry.register(made.name, lambda _context, made=made: made)
    desk = desk_of(workshop, registry=registry)
    desk.tools = (*desk.tools, *(made.name for made in tools))
    return desk


async def declare(workshop, name, tier="auto", *, read_only=True):
    await workshop.owner.execute(
        "INSERT INTO tools (name, default_tier, risk, read_only, brings_outside_text)"
        " VALUES (%s, %s, 'low', %s, false)",
        [name, tier, read_only],
    )


# A tool's own cancellation


async def let_out_that_of_a_task():
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await task


async def raise_it():
    raise asyncio.CancelledError("Cancelled via cancel scope 7f")


async def cancel_its_own_task():
    asyncio.current_task().cancel()
    await asyncio.sleep(60)


async def leave_a_scope_open():
    scope = anyio.CancelScope()
    scope.__enter__()
    scope.cancel()
    await asyncio.sleep(60)


async def leave_a_task_group_open():
    group = anyio.create_task_group()
    await group.__aenter__()

    async def fail():
        raise ConnectionError("the server has gone")

    group.start_soon(fail)
    await asyncio.sleep(60)


async def ask_to_end_the_process():
    sys.exit(3)


async def interrupt():
    raise KeyboardInterrupt


WAYS = [
    let_out_that_of_a_task,
    raise_it,
    cancel_its_own_task,
    leave_a_scope_open,
    leave_a_task_group_open,
    ask_to_end_the_process,
    interrupt,
]


def breaking(way) -> Any:
    @tool
    async def fetch() -> str:
        """Fetch something."""
        await way()
        return "fetched"

    return fetch


@pytest.mark.parametrize("way", WAYS)
async def test_tool_that_cancels_itself_is_a_message_and_the_run_goes_on(workshop, way):
    await declare(workshop, "fetch")
    desk = desk_with(workshop, breaking(way))
    steps = [{"calls": [{"tool": "fetch"}]}, {"calls": [{"tool": "look", "args": {"query": "b"}}]}]
    run = await desk.run_steps(steps)

    result = await desk.result(run)
    assert (result["status"], workshop.toolbox.calls) == ("success", [("look", "b")])
    said = result["result_content"].split(" / ")[0]
    assert any(word in said for word in ("Error", "SystemExit", "KeyboardInterrupt")), said
    steps = await workshop.rows("agent_run_steps", "model_step, call_index")
    assert [s["status"] for s in steps if s["kind"] == "tool"] == ["failed", "finished"]


@pytest.mark.parametrize("way", WAYS)
async def test_approved_tool_that_cancels_itself_has_failed(workshop, way):
    await declare(workshop, "fetch", "requires_approval", read_only=False)
    desk = desk_with(workshop, breaking(way))
    run = await desk.run({"tool": "fetch"}, mode="suspend")
    await desk.approve()
    await desk.work()

    assert (await desk.action())["status"] == "failed"
    assert (await desk.result(run))["status"] == "success"


@pytest.mark.parametrize("way", [cancel_its_own_task, raise_it])
async def test_reader_that_could_not_be_wrapped_and_cancels_itself_is_a_message(workshop, way):
    @tool
    async def fetch(config: str = "") -> str:
        """Fetch something."""
        await way()
        return "fetched"

    await declare(workshop, "fetch")
    run = await desk_with(workshop, fetch).run({"tool": "fetch"})

    result = await workshop.row("agent_execution_results")
    assert (result["run_id"], result["status"]) == (run, "success")
    assert "cancelled, by none but itself" in result["result_content"]
    outcomes = [row["outcome"] for row in await workshop.rows("audit_logs", "id")]
    assert outcomes == ["started", "failed"]


async def test_tool_whose_run_is_cancelled_ends_with_it(workshop):
    """Whoever cancels from outside still reaches the tool."""
    ended = asyncio.Event()

    async def wait():
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    await declare(workshop, "fetch", read_only=False)
    desk = desk_with(workshop, breaking(wait))
    running = asyncio.create_task(desk.run({"tool": "fetch"}))
    while not any(step["kind"] == "tool" for step in await workshop.rows("agent_run_steps")):
        await asyncio.sleep(0.02)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert ended.is_set()
