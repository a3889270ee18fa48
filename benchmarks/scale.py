"""The cost of a tick, and of waiting, as the table of schedules grows.

    scripts/bench scale --json --sizes 1000,100000,1000000

For each size a server of its own: that many schedules, 1,000 of them due at one instant and strewn
over the table, the rest spread over the coming year. The scheduler runs in this process and fires
the 1,000, several times over. Rows read are the server's own count for `agent_schedules`, taken in
one more repetition that is not timed. Then, at the largest size, a `rota scheduler` process with
nothing due: its CPU time, its memory, the transactions of the whole database. Exit status 1 if a
fire is lost or doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import platform
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from rig.figures import machine, show
from rig.processes import rota_processes, usage_of
from rig.server import Ground, add_person, ground, settle

from rota.services.notifications.incidents import IncidentService
from rota.services.notifications.service import NotificationService
from rota.services.schedules.firing import Scheduler
from rota.store.database import Database

DUE = 1_000
YEAR = timedelta(days=365)
SETTLING = 12.0
"""Seconds after which an idle connection has surely reported its statistics (PostgreSQL: 10)."""


@dataclass(frozen=True, slots=True)
class Faults:
    lost: int
    duplicated: int


@dataclass(frozen=True, slots=True)
class Size:
    schedules: int
    due: int
    lost: int
    duplicated: int
    best_seconds: float
    median_seconds: float
    seconds: list[float]
    rows_read: int
    seed_seconds: float


@dataclass(frozen=True, slots=True)
class Idle:
    """A `rota scheduler` process with nothing due."""

    schedules: int
    seconds: float
    cpu_seconds: float | None  # None where the system has no /proc
    cpu_percent: float | None
    rss_mb: float | None
    transactions_per_minute: float


@dataclass(frozen=True, slots=True)
class Scale:
    sizes: list[Size]
    flatness: float
    idle: Idle | None
    python: str
    machine: str


def main() -> int:
    arguments = _arguments()
    sizes: list[Size] = []
    idle: Idle | None = None
    wanted = sorted(arguments.sizes)
    for count in wanted:
        with ground() as place:
            sizes.append(_size(place, count, arguments.repetitions))
            if count == wanted[-1] and arguments.idle_seconds > 0:
                idle = _idle(place, count, arguments.idle_seconds)
    best = [size.best_seconds for size in sizes]
    show(
        Scale(
            sizes=sizes,
            flatness=round(max(best) / min(best), 2),
            idle=idle,
            python=platform.python_version(),
            machine=machine(),
        ),
        as_json=arguments.json,
    )
    return 1 if any(size.lost or size.duplicated for size in sizes) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench scale", description=__doc__)
    parser.add_argument("--sizes", type=_sizes, default=[1_000, 100_000, 1_000_000])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--idle-seconds", type=float, default=60.0, help="0: leave that part out")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _sizes(text: str) -> list[int]:
    sizes = [int(part) for part in text.split(",")]
    if any(size < DUE or size % DUE for size in sizes):
        raise argparse.ArgumentTypeError(f"sizes are multiples of {DUE}")
    return sizes


def _size(place: Ground, count: int, repetitions: int) -> Size:
    with psycopg.connect(place.owner_url, autocommit=True) as conn:
        began = time.perf_counter()
        _seed(conn, count)
        seeded = time.perf_counter() - began
        seconds, faults = asyncio.run(_repeat(conn, place.app_url, repetitions))
        rows_read, counted = asyncio.run(_count_rows(conn, place.app_url))
        _forget_runs(conn)  # a scheduler with runs to admit would not be idle
    return Size(
        schedules=count,
        due=DUE,
        lost=sum(fault.lost for fault in [*faults, counted]),
        duplicated=sum(fault.duplicated for fault in [*faults, counted]),
        best_seconds=round(min(seconds), 3),
        median_seconds=round(statistics.median(seconds), 3),
        seconds=[round(value, 3) for value in seconds],
        rows_read=rows_read,
        seed_seconds=round(seeded, 1),
    )


def _seed(conn: psycopg.Connection[Any], count: int) -> None:
    """Insert the schedules, none of them due yet.

    As a replica: without the triggers' NOTIFY and the foreign keys' look-ups, a row at a time.
    """
    user = add_person(conn)
    conn.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model)"
        " VALUES (%s, 'scale', 'scripted:scale')",
        [user],
    )
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(
            """
            INSERT INTO agent_schedules (user_id, name, agent_name, cron, next_fire_at)
            SELECT %(user)s, 'scale-' || n, 'scale', '0 0 1 1 *',
                   %(start)s::timestamptz + %(year)s * (n::float8 / %(count)s)
            FROM generate_series(1, %(count)s) AS n
            """,
            {
                "user": user,
                # Far enough away that nothing of it falls due while this runs.
                "start": datetime.now(UTC) + timedelta(days=1),
                "year": YEAR,
                "count": count,
            },
        )
        conn.execute(
            "CREATE TABLE rota.bench_due AS SELECT id FROM ("
            " SELECT id, substr(name, 7)::integer AS n FROM agent_schedules) AS s"
            " WHERE n %% %s = 0",
            [count // DUE],
        )
    settle(conn)


async def _repeat(
    conn: psycopg.Connection[Any], url: str, repetitions: int
) -> tuple[list[float], list[Faults]]:
    """Make the 1,000 due and fire them, as often; returns the seconds that each time took."""
    seconds: list[float] = []
    faults: list[Faults] = []
    async with _scheduler(url) as scheduler:
        for _ in range(repetitions):
            due = _make_due(conn)
            gc.collect()
            began = time.perf_counter()
            await _fire_all(scheduler, due)
            seconds.append(time.perf_counter() - began)
            faults.append(_faults(conn, due))
    return seconds, faults


async def _count_rows(conn: psycopg.Connection[Any], url: str) -> tuple[int, Faults]:
    """Make the 1,000 due and fire them once; returns the rows of `agent_schedules` read for it."""
    due = _make_due(conn)
    before = _rows_read(conn)
    async with _scheduler(url) as scheduler:
        await _fire_all(scheduler, due)
    _await_gone(conn)
    return _rows_read(conn) - before, _faults(conn, due)


@asynccontextmanager
async def _scheduler(url: str) -> AsyncIterator[Scheduler]:
    """Wire a scheduler as rota does, with connections of its own."""
    database = Database(url)
    async with database.opened():
        notifications = NotificationService(database)
        yield Scheduler(database, notifications, IncidentService(database, notifications))


async def _fire_all(scheduler: Scheduler, now: datetime) -> None:
    fired = 0
    while fired < DUE:
        tick = await scheduler.tick(now)
        if not tick.fired:
            return
        fired += tick.fired


def _make_due(conn: psycopg.Connection[Any]) -> datetime:
    """Make the 1,000 due now, as if they had never fired."""
    _forget_runs(conn)
    due = datetime.now(UTC)
    conn.execute(
        "UPDATE agent_schedules AS s SET next_fire_at = %s FROM rota.bench_due AS d"
        " WHERE s.id = d.id",
        [due],
    )
    # So that each repetition finds what the first one found.
    conn.execute("VACUUM schedule_occurrences, agent_runs, agent_schedules")
    conn.execute("SELECT pg_stat_force_next_flush()")
    return due


def _forget_runs(conn: psycopg.Connection[Any]) -> None:
    conn.execute("DELETE FROM schedule_occurrences")
    conn.execute("DELETE FROM agent_runs")


def _faults(conn: psycopg.Connection[Any], due: datetime) -> Faults:
    row = conn.execute(
        "SELECT count(DISTINCT o.schedule_id), count(*) FROM rota.bench_due AS d"
        " JOIN schedule_occurrences AS o ON o.schedule_id = d.id AND o.fire_time = %s"
        " JOIN agent_runs AS r ON r.schedule_id = d.id"
        " WHERE o.outcome = 'fired'",
        [due],
    ).fetchone()
    assert row is not None
    return Faults(lost=DUE - row[0], duplicated=row[1] - row[0])


def _rows_read(conn: psycopg.Connection[Any]) -> int:
    """Return the rows of `agent_schedules` that were ever read, as far as was reported."""
    row = conn.execute(
        "SELECT coalesce(idx_tup_fetch, 0) + coalesce(seq_tup_read, 0) FROM pg_stat_user_tables"
        " WHERE schemaname = 'public' AND relname = 'agent_schedules'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def _await_gone(conn: psycopg.Connection[Any]) -> None:
    """Wait until the scheduler's connections have ended: they report their statistics then."""
    deadline = time.monotonic() + SETTLING
    while time.monotonic() < deadline:
        row = conn.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
        if row == (0,):
            return
        time.sleep(0.05)


def _idle(place: Ground, count: int, seconds: float) -> Idle:
    """Measure a scheduler that waits, from another database, so that nothing of ours counts."""
    with (
        psycopg.connect(place.url_of("postgres"), autocommit=True) as conn,
        rota_processes(place.app_url, "scheduler") as (process,),
    ):
        time.sleep(SETTLING)
        transactions, used = _transactions(conn), usage_of(process.pid)
        began = time.monotonic()
        time.sleep(seconds)
        took = time.monotonic() - began
        transactions, now_used = _transactions(conn) - transactions, usage_of(process.pid)
        if process.poll() is not None:
            raise RuntimeError(f"the scheduler ended with status {process.returncode}")
    cpu = now_used.cpu_seconds - used.cpu_seconds if used and now_used else None
    return Idle(
        schedules=count,
        seconds=round(took, 1),
        cpu_seconds=round(cpu, 2) if cpu is not None else None,
        cpu_percent=round(100 * cpu / took, 2) if cpu is not None else None,
        rss_mb=round(now_used.rss_mb, 1) if now_used else None,
        transactions_per_minute=round(transactions * 60 / took, 1),
    )


def _transactions(conn: psycopg.Connection[Any]) -> int:
    row = conn.execute("SELECT xact_commit FROM pg_stat_database WHERE datname = 'rota'").fetchone()
    assert row is not None
    return int(row[0])


if __name__ == "__main__":
    sys.exit(main())
