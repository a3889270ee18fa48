"""A person who is removed while a worker has a run of theirs: it ends, and others' runs go on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys

import pytest

from tests.services.harness import Workshop

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300)]  # processes, one after another

LONG = {"steps": [{"sleep_ms": 1_000} for _ in range(20)], "answer": "done"}


def environment(url):
    return os.environ | {"ROTA_DATABASE_URL": url, "ROTA_SECRET_KEY": "00" * 32}


@pytest.fixture
def worker(database_url):
    process = subprocess.Popen(
        [sys.executable, "-m", "rota", "worker"], env=environment(database_url)
    )
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "rota", "scheduler"], env=environment(database_url)
    )
    yield process
    for one in (process, scheduler):
        with contextlib.suppress(ProcessLookupError):
            one.terminate()
        one.wait()


async def until(condition):
    async with asyncio.timeout(120):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
    return found


async def test_removal_under_a_running_worker(database, owner, owner_url, alice, bob, worker):
    hers = Workshop(database, owner, alice)
    his = Workshop(database, owner, bob)
    await hers.agent(LONG, name="long")
    await his.agent({"steps": [], "answer": "done"}, name="short")
    for workshop, agent in ((hers, "long"), (hers, "long"), (his, "short")):
        await owner.execute(
            "INSERT INTO agent_runs (user_id, agent_name, trigger) VALUES (%s, %s, 'manual')",
            [workshop.user, agent],
        )

    async def running():
        cursor = await owner.execute(
            "SELECT count(*) FROM agent_runs WHERE user_id = %s AND status = 'running'", [alice]
        )
        return await cursor.fetchone() == (2,)

    await until(running)
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "rota", "people", "remove", "alice@example.com", "--yes"],
        env=environment(owner_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Removed alice@example.com: agents 1, runs 2" in done.stdout

    cursor = await owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger) VALUES (%s, 'short', 'manual')"
        " RETURNING id",
        [bob],
    )
    (run_id,) = await cursor.fetchone()

    async def finished():
        cursor = await owner.execute(
            "SELECT status FROM agent_execution_results WHERE run_id = %s", [run_id]
        )
        return await cursor.fetchone()

    assert await until(finished) == ("success",)
    assert worker.poll() is None
    assert {row["user_id"] for row in await his.rows("agent_runs")} == {bob}
    assert {row["user_id"] for row in await his.rows("agent_execution_results")} == {bob}
