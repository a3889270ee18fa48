"""kill -9 at every step of an approved action: once, or unknown and asked, and never lost."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys

import pytest

from tests.chaos.one_attempt import POINTS, STORED, registry
from tests.services.deciding import desk_of, send
from tests.services.harness import Workshop

pytestmark = pytest.mark.kill


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made


@pytest.fixture
def effects(tmp_path):
    file = tmp_path / "effects"
    file.touch()
    return file


@pytest.fixture(scope="module")
def attempts():
    """The process that makes attempts, and lets each of them die."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.one_attempt"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.stdin.close()


async def die(attempts, *arguments):
    """Make an attempt in a process that dies at a point of it."""

    def ask():
        attempts.stdin.write(json.dumps([str(argument) for argument in arguments]) + "\n")
        attempts.stdin.flush()
        return attempts.stdout.readline()

    assert int(await asyncio.to_thread(ask)) == -signal.SIGKILL


@pytest.mark.parametrize("mode", ["queue", "suspend"])
@pytest.mark.parametrize("point", POINTS)
async def test_killed_at(workshop, attempts, database_url, effects, point, mode):
    begun, effect = POINTS[point]
    desk = desk_of(workshop, registry=registry(effects))
    desk.tools = ("send",)
    run_id = await desk.run(send("bob"), mode=mode)
    await desk.approve()
    (run,) = await desk.waiting_runs()

    await die(attempts, database_url, run.id, effects, point)
    assert len(effects.read_text().splitlines()) == effect

    again = await desk.fetch(run.id)
    if again.status != "finished":
        await desk.service.execute_run(again)
    await desk.work()
    await desk.times.look()

    is_certain = not begun or point in STORED
    action = await desk.action()
    assert action["status"] == ("succeeded" if is_certain else "unknown")
    assert len(effects.read_text().splitlines()) == (1 if is_certain else effect)
    asked = [
        row
        for row in await workshop.rows("notifications")
        if row["title"] == "Did send take effect?"
    ]
    assert len(asked) == (0 if is_certain else 1)
    assert {row["status"] for row in await workshop.rows("agent_runs")} == {"finished"}
    if mode == "suspend":
        content = (await desk.result(run_id))["result_content"]
        assert ("sent to bob" if is_certain else "unknown") in content


@pytest.mark.parametrize("point", ["begun", "after_the_effect", "before_the_outcome_is_stored"])
async def test_action_that_may_be_repeated_is_repeated(
    workshop, attempts, database_url, effects, point
):
    await workshop.declare("send", idempotent=True)
    desk = desk_of(workshop, registry=registry(effects))
    desk.tools = ("send",)
    await desk.run(send("bob"))
    await desk.approve()
    (run,) = await desk.waiting_runs()

    await die(attempts, database_url, run.id, effects, point)
    await desk.service.execute_run(await desk.fetch(run.id))

    assert (await desk.action())["status"] == "succeeded"
    assert len(effects.read_text().splitlines()) == (1 if point == "begun" else 2)
