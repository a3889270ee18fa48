"""Admission: what a look costs, what a herd costs, and how fast the queue is kept filled.

    scripts/bench admission --json

On a durable embedded PostgreSQL: the look at the waiting runs of one person with 100,000 of them;
herds of schedules due at one instant, fired and admitted by one scheduler; and a scheduler's loop
beside a process that ends runs as fast as it can take them, doing nothing else. Exit status 1 if a
run was queued twice or not at all.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import statistics
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from rig.figures import machine, show
from rig.server import Ground, add_person, ground, settle

from rota.engine.admission import admit
from rota.services.notifications.incidents import IncidentService
from rota.services.notifications.service import NotificationService
from rota.services.operations.scheduler_loop import SchedulerLoop
from rota.services.schedules.firing import Scheduler
from rota.store.database import Database

WAITING = 100_000
HERDS = (1_000, 10_000)
ENDED = 40_000
LOOKS = 7
DUE = datetime(2026, 3, 2, 7, tzinfo=UTC)


@dataclass(frozen=True)
class Admission:
    waiting: int
    look_at_full_queue_ms: float
    look_at_limit_ms: float
    look_that_admits_1000_ms: float
    herds: dict[str, dict[str, float]]
    ended: int
    ended_per_second: float
    scheduler_cpu_share: float
    lost_or_doubled: int
    machine: str


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench admission", description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with ground() as ours, psycopg.connect(ours.owner_url, autocommit=True) as conn:
        user = add_person(conn)
        full, limited, admitting = _looks(ours, conn, user)
        herds = {str(size): _herd(ours, conn, user, size) for size in HERDS}
        per_second, share, wrong = _stream(ours, conn, user)
    figures = Admission(
        waiting=WAITING,
        look_at_full_queue_ms=full,
        look_at_limit_ms=limited,
        look_that_admits_1000_ms=admitting,
        herds=herds,
        ended=ENDED,
        ended_per_second=per_second,
        scheduler_cpu_share=share,
        lost_or_doubled=wrong,
        machine=machine(),
    )
    show(figures, as_json=arguments.json)
    return 1 if wrong else 0


def _looks(ours: Ground, conn: psycopg.Connection[Any], user: Any) -> tuple[float, float, float]:
    _forget(conn)
    _add_schedules(conn, user, WAITING, active=False)
    conn.execute(
        "INSERT INTO agent_runs (user_id, schedule_id, agent_name, trigger, is_serial, fire_time)"
        " SELECT user_id, id, 'a', 'schedule', true, now() FROM agent_schedules"
    )
    settle(conn)

    async def look() -> list[float]:
        samples = []
        async with Database(ours.app_url).opened() as database:
            for _ in range(LOOKS):
                async with database.transaction() as held:
                    began = time.perf_counter()
                    await admit(held)
                    samples.append(time.perf_counter() - began)
        return samples

    admitting, *full = asyncio.run(look())
    conn.execute("UPDATE user_limits SET max_concurrency = 10")
    limited = asyncio.run(look())
    return _ms(statistics.median(full)), _ms(statistics.median(limited)), _ms(admitting)


def _herd(ours: Ground, conn: psycopg.Connection[Any], user: Any, size: int) -> dict[str, float]:
    _forget(conn)
    _add_schedules(conn, user, size, active=True)
    settle(conn)

    async def fire() -> tuple[float, float]:
        async with Database(ours.app_url).opened() as database:
            scheduler = _scheduler(database)
            began = time.perf_counter()
            await scheduler.tick(DUE)
            fired = time.perf_counter() - began
            admitting = 0.0
            waiting = True
            while waiting:
                conn.execute("UPDATE agent_runs SET status = 'running' WHERE status = 'queued'")
                conn.execute("DELETE FROM rota.pgqueuer")
                began = time.perf_counter()
                async with database.transaction() as held:
                    waiting = (await admit(held)).runs_waiting
                admitting += time.perf_counter() - began
            return fired, admitting

    fired, admitting = asyncio.run(fire())
    return {
        "tick_seconds": round(fired, 3),
        "rest_of_admission_seconds": round(admitting, 3),
        "ms_per_run": round((fired + admitting) * 1000 / size, 3),
    }


def _stream(ours: Ground, conn: psycopg.Connection[Any], user: Any) -> tuple[float, float, int]:
    """Let a scheduler's loop feed a process that ends runs at once."""
    _forget(conn)
    conn.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger)"
        " SELECT %s, 'a', 'schedule' FROM generate_series(1, %s)",
        [user, ENDED],
    )
    settle(conn)
    taker = multiprocessing.get_context("spawn").Process(target=_end_runs, args=(ours.owner_url,))

    async def feed() -> tuple[float, float]:
        async with Database(ours.app_url).opened() as database:
            loop = SchedulerLoop(database, _scheduler(database), clock=lambda: datetime.now(UTC))
            stop = asyncio.Event()
            began, cpu = time.perf_counter(), time.process_time()
            running = asyncio.create_task(loop.run(stop))
            taker.start()
            await asyncio.to_thread(taker.join)
            took = time.perf_counter() - began
            used = time.process_time() - cpu
            stop.set()
            await running
            return took, used

    took, used = asyncio.run(feed())
    wrong = _count(
        conn,
        "SELECT abs(count(*) - count(DISTINCT job_id)) + abs(count(*) - %s)"
        " FROM rota.pgqueuer_log WHERE status = 'queued'",
        ENDED,
    )
    return round(ENDED / took, 1), round(used / took, 2), wrong


def _end_runs(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        ended = 0
        while ended < ENDED:
            taken = conn.execute(
                "WITH jobs AS (DELETE FROM rota.pgqueuer WHERE id IN ("
                " SELECT id FROM rota.pgqueuer WHERE entrypoint = 'rota.run' AND status = 'queued'"
                " ORDER BY priority DESC, id LIMIT 100 FOR UPDATE SKIP LOCKED)"
                " RETURNING dedupe_key) UPDATE agent_runs SET status = 'running'"
                " WHERE id IN (SELECT dedupe_key::uuid FROM jobs) RETURNING id"
            ).fetchall()
            if taken:
                conn.execute(
                    "UPDATE agent_runs SET status = 'finished', finished_at = now()"
                    " WHERE id = ANY (%s)",
                    [[row[0] for row in taken]],
                )
                ended += len(taken)
            else:
                time.sleep(0.001)


def _add_schedules(conn: psycopg.Connection[Any], user: Any, count: int, *, active: bool) -> None:
    conn.execute(
        "INSERT INTO agent_schedules (user_id, name, agent_name, cron, is_active, plan_from,"
        " next_fire_at) SELECT %s, 's' || n, 'a', '0 7 * * *', %s, '2026-01-01Z',"
        " CASE WHEN %s THEN %s::timestamptz END FROM generate_series(1, %s) AS n",
        [user, active, active, DUE, count],
    )


def _forget(conn: psycopg.Connection[Any]) -> None:
    conn.execute("TRUNCATE agent_runs CASCADE")
    conn.execute("TRUNCATE rota.pgqueuer, rota.pgqueuer_log")
    conn.execute("DELETE FROM agent_schedules")
    conn.execute("UPDATE user_limits SET max_concurrency = NULL")


def _scheduler(database: Database) -> Scheduler:
    notifications = NotificationService(database)
    return Scheduler(database, notifications, IncidentService(database, notifications))


def _count(conn: psycopg.Connection[Any], query: str, *values: Any) -> int:
    row = conn.execute(query, values).fetchone()
    assert row is not None
    return int(row[0])


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


if __name__ == "__main__":
    sys.exit(main())
