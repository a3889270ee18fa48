"""Two schedulers as processes, killed, stalled and cut off, on a server that is killed too.

After 2,000 occurrences each is there once, with one run, and no second is missing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import timedelta

import psycopg
import pytest

from benchmarks.rig.server import lift_quotas
from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import migrate

pytestmark = pytest.mark.kill

SCHEDULES = 80
OCCURRENCES = 2_000
SECOND = timedelta(seconds=1)


@pytest.fixture
def server(tmp_path):
    embedded = EmbeddedPostgres.open(tmp_path / "data")
    asyncio.run(migrate(embedded.owner_url))
    lift_quotas(embedded.owner_url)
    yield embedded
    embedded.destroy()


@pytest.fixture
def start(server):
    environment = os.environ | {"ROTA_DATABASE_URL": server.app_url, "ROTA_SECRET_KEY": "00" * 32}
    started = []

    def start():
        process = subprocess.Popen([sys.executable, "-m", "rota", "scheduler"], env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def connect(server):
    """Connect as the owner; the server may be on its way back."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return psycopg.connect(server.owner_url, autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def seed(server):
    with connect(server) as conn:
        row = conn.execute(
            "INSERT INTO auth.users (email) VALUES ('owner@localhost') RETURNING id"
        ).fetchone()
        conn.execute(
            "INSERT INTO agent_schedules (user_id, name, agent_name, cron, catch_up,"
            " overlap_policy) SELECT %s, 's' || n, 'a', '* * * * * *', 'all', 'allow_all'"
            " FROM generate_series(1, %s) AS n",
            [row[0], SCHEDULES],
        )


def occurrences(server):
    with connect(server) as conn:
        return conn.execute("SELECT count(*) FROM schedule_occurrences").fetchone()[0]


def cut_connections(server):
    with connect(server) as conn:
        conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


@pytest.mark.timeout(240)
def test_every_occurrence_is_there_once_whatever_happens_to_schedulers_and_server(server, start):
    first, second = start(), start()
    seed(server)
    while occurrences(server) < SCHEDULES:
        time.sleep(0.1)

    first.send_signal(signal.SIGKILL)
    time.sleep(2)
    second.send_signal(signal.SIGSTOP)  # now nobody is left
    time.sleep(3)
    third = start()
    time.sleep(3)
    second.send_signal(signal.SIGCONT)
    time.sleep(2)
    cut_connections(server)
    time.sleep(3)
    os.kill(server.pid, signal.SIGKILL)
    time.sleep(1)
    server.ensure_alive()
    start()
    time.sleep(2)
    third.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 90
    while occurrences(server) < OCCURRENCES and time.monotonic() < deadline:
        time.sleep(0.5)
    second.send_signal(signal.SIGTERM)

    with connect(server) as conn:
        gaps, kinds, without_one_run, total = conn.execute(
            """
            SELECT (SELECT count(*) FROM (
                        SELECT fire_time - lag(fire_time) OVER
                            (PARTITION BY schedule_id ORDER BY fire_time) AS step
                        FROM schedule_occurrences) AS steps
                    WHERE step <> interval '1 second'),
                   (SELECT array_agg(DISTINCT outcome) FROM schedule_occurrences),
                   (SELECT count(*) FROM schedule_occurrences AS o
                    WHERE (SELECT count(*) FROM agent_runs AS r
                           WHERE r.schedule_id = o.schedule_id
                             AND r.fire_time = o.fire_time) <> 1),
                   (SELECT count(*) FROM schedule_occurrences)
            """
        ).fetchone()
        runs = conn.execute("SELECT count(*) FROM agent_runs").fetchone()[0]
        schedules = conn.execute(
            "SELECT count(DISTINCT schedule_id) FROM schedule_occurrences"
        ).fetchone()[0]
    assert total >= OCCURRENCES
    assert (gaps, kinds, without_one_run) == (0, ["fired"], 0)
    assert schedules == SCHEDULES
    assert runs >= total  # a fire may have come between the two looks
