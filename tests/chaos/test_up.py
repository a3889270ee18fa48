"""`rota up` keeps a scheduler and a worker as its children, and they end with it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from tests.services.harness import Workshop

pytestmark = [pytest.mark.kill, pytest.mark.timeout(240)]


@pytest.fixture
def up(database_url, alice, tmp_path):
    """Start `rota up` on the test's database."""
    started = []

    def start(**more):
        environment = os.environ | {
            "ROTA_DATABASE_URL": database_url,
            "ROTA_USER": "alice@example.com",
            "ROTA_DATA_DIR": str(tmp_path / "data"),
            "ROTA_SECRET_KEY": "00" * 32,
            **more,
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "rota", "up"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stderr.close()


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    return Workshop(database, owner, alice)


async def children(workshop, *, without=()):
    """Wait for both children, neither of them one of `without`; returns process ids by kind."""
    while True:
        rows = await workshop.rows("rota.processes", "started_at")
        found = {r["kind"]: r["pid"] for r in rows if r["pid"] not in without and lives(r["pid"])}
        if set(found) == {"scheduler", "worker"}:
            return found
        await asyncio.sleep(0.1)


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def gone(pids):
    while any(map(lives, pids)):
        await asyncio.sleep(0.1)


async def test_child_that_is_killed_is_started_again_and_said_so(workshop, up):
    process = up()
    for kind in ("scheduler", "worker"):
        before = await children(workshop)
        os.kill(before[kind], signal.SIGKILL)
        after = await children(workshop, without=[before[kind]])
        other = "worker" if kind == "scheduler" else "scheduler"
        assert after[other] == before[other]

    process.send_signal(signal.SIGTERM)
    _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    assert said.count("is started again") == 2
    await gone(after.values())


async def test_children_end_with_a_parent_that_is_killed(workshop, up):
    process = up()
    pids = await children(workshop)

    process.kill()

    await gone(pids.values())


async def test_child_that_a_person_has_to_see_to_ends_rota_up_with_its_exit_code(up):
    process = up(ROTA_TOOLS="mine=nowhere.at_all:tool")
    _, said = await asyncio.to_thread(process.communicate)

    assert process.returncode in {2, 6}
    assert "nowhere" in said
    assert "is started again" not in said
