"""`rota up` keeps a scheduler, a worker and a server as its children, and they end with it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress

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


async def children(workshop, *, without=(), kinds=frozenset({"scheduler", "worker", "server"})):
    """Wait for all children, none of them one of `without`; returns process ids by kind."""
    while True:
        rows = await workshop.rows("rota.processes", "started_at")
        found = {r["kind"]: r["pid"] for r in rows if r["pid"] not in without and lives(r["pid"])}
        if set(found) == kinds:
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
    for kind in ("scheduler", "worker", "server"):
        before = await children(workshop)
        os.kill(before[kind], signal.SIGKILL)
        after = await children(workshop, without=[before[kind]])
        assert {k: pid for k, pid in after.items() if k != kind} == {
            k: pid for k, pid in before.items() if k != kind
        }

    process.send_signal(signal.SIGTERM)
    _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    assert said.count("is started again") == 3
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


async def test_server_that_cannot_start_stops_neither_scheduler_nor_worker(workshop, up):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = up(ROTA_LISTEN=address)
        await children(workshop, kinds={"scheduler", "worker"})
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    assert f"Error: the server is not started. Another program listens on {address}." in said


async def test_without_a_named_address_the_next_free_port_is_taken(workshop, up):
    with ExitStack() as taken:
        with suppress(OSError):  # somebody has it already
            taken.enter_context(socket.create_server(("127.0.0.1", 7682)))
        process = up()
        await children(workshop)
    process.send_signal(signal.SIGTERM)
    _, said = await asyncio.to_thread(process.communicate)
    found = re.search(r"Port 7682 is taken: the server listens on 127.0.0.1:(\d+).", said)
    assert found is not None
    assert int(found[1]) != 7682
