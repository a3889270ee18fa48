"""A backup that is made while rota works is of one moment, and rota goes on from it elsewhere."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import zipfile
from contextlib import contextmanager

import psycopg
import pytest

from rota.sample import sample_mailbox_path
from rota.store.embedded.server import EmbeddedPostgres
from tests.postgres import on_database
from tests.services.harness import Workshop

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300)]  # processes and servers, one by one

SEARCH = {"calls": [{"tool": "mail_search", "args": {"query": "invoice"}}]}
ANSWER = {"answer": "{{ results[0] | length }} found"}
SLOW, QUICK = {"steps": [SEARCH, {"sleep_ms": 6_000}], **ANSWER}, {"steps": [SEARCH], **ANSWER}
LEFT = "SELECT count(*) FROM agent_runs WHERE status NOT IN ('finished', 'cancelled')"
CANCELLED = "SELECT count(*) FROM agent_runs WHERE status = 'cancelled'"
SUCCEEDED = "SELECT count(*) FROM agent_execution_results WHERE status = 'success'"
BROKEN = """
    SELECT (SELECT count(*) FROM agent_runs AS r WHERE r.status = 'finished' AND 1 <> (
                SELECT count(*) FROM agent_execution_results AS e WHERE e.run_id = r.id)),
           (SELECT count(*) FROM schedule_occurrences WHERE outcome = 'run' AND run_id IS NULL),
           (SELECT count(*) FROM agent_execution_results AS e
            WHERE NOT EXISTS (SELECT FROM notifications AS n WHERE n.run_id = e.run_id))
"""


def environment(url, **more):
    return os.environ | {
        "ROTA_DATABASE_URL": url,
        "ROTA_USER": "alice@example.com",
        "ROTA_MAIL": str(sample_mailbox_path()),
        "ROTA_SECRET_KEY": "00" * 32,
        **more,
    }


async def rota(url, *arguments):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rota", *arguments),
        env=environment(url),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    return said.decode()


@contextmanager
def working(url):
    """Run a scheduler and a worker for the life of the block."""
    started = [
        subprocess.Popen([sys.executable, "-m", "rota", kind], env=environment(url))
        for kind in ("scheduler", "worker")
    ]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
            process.wait()


async def until_nothing_is_left(url):
    async with (
        await psycopg.AsyncConnection.connect(url, autocommit=True) as conn,
        asyncio.timeout(200),
    ):
        while await (await conn.execute(LEFT)).fetchone() != (0,):
            await asyncio.sleep(0.1)


@pytest.fixture
def fresh_server(tmp_path):
    server = EmbeddedPostgres.open(tmp_path / "data", durable=False)
    with psycopg.connect(on_database(server.owner_url, "postgres"), autocommit=True) as conn:
        conn.execute("CREATE DATABASE moved")
    yield server
    server.destroy()


@pytest.mark.parametrize("goes_on", [True, False])
async def test_backup_under_load_is_of_one_moment_and_work_goes_on_from_it_or_is_cancelled(
    goes_on, database, owner, owner_url, database_url, alice, fresh_server, tmp_path
):
    workshop = Workshop(database, owner, alice)
    await workshop.agent(SLOW, name="slow", tools=["mail_search"])
    await workshop.agent(QUICK, name="quick", tools=["mail_search"])
    for number in range(40):
        agent = "slow" if number % 2 else "quick"
        await workshop.schedule(agent, name=f"s{number}", every_seconds=86_400)
    with working(database_url):
        await owner.execute("UPDATE agent_schedules SET next_fire_at = now()")
        async with asyncio.timeout(200):
            while len(await workshop.rows("agent_execution_results")) < 3:
                await asyncio.sleep(0.05)
        await rota(owner_url, "backup", str(tmp_path / "a.zip"))
        finished_by_then = len(await workshop.rows("agent_execution_results"))

    target = on_database(fresh_server.owner_url, "moved")
    worked = on_database(fresh_server.app_url, "moved")
    await rota(target, "restore", str(tmp_path / "a.zip"), *(["--go-on"] if goes_on else []))
    with psycopg.connect(target) as conn:
        kept = conn.execute(SUCCEEDED).fetchone()
        assert conn.execute(BROKEN).fetchone() == (0, 0, 0)
        (left,) = conn.execute(LEFT).fetchone()
        cancelled = conn.execute(CANCELLED).fetchone()
    assert 3 <= kept[0] <= finished_by_then
    assert left + cancelled[0] > 0  # or nothing was shown
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.testzip() is None

    await rota(worked, "audit", "verify")
    with working(worked):
        await until_nothing_is_left(target)
    with psycopg.connect(target) as conn:
        assert conn.execute(BROKEN).fetchone() == (0, 0, 0)
        succeeded = conn.execute(SUCCEEDED).fetchone()
        (runs,) = conn.execute("SELECT count(*) FROM agent_runs").fetchone()
        assert succeeded == ((runs,) if goes_on else kept)  # nothing was done again, or all
    await rota(worked, "audit", "verify")
    assert '"fail"' not in await rota(worked, "doctor", "--json")
