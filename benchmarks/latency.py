"""Due time to an agent's first step, on a system that is idle at each fire.

    scripts/bench latency --json --samples 2000

Starts a durable embedded PostgreSQL in a temporary directory, one `rota scheduler` and one `rota
worker` process. The schedules fall due one after another, a tenth of a second apart, at odd
fractions of a second. A sample is the `started_at` of a run's first model step minus the due time.
The floor is a bare NOTIFY and dequeue on the same server: PgQueuer, one process that enqueues, one
that takes jobs and does nothing. Exit status 1 if a fire is lost or doubled.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from rig.figures import Spread, machine, show
from rig.floor import measure_floor
from rig.processes import rota_processes
from rig.server import Ground, add_person, ground, settle

AGENT = "latency"
SCRIPT: dict[str, Any] = {"steps": [], "answer": "done"}
WARM_UP = 20
LEAD = timedelta(seconds=3)
PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Stages:
    """Due time to each stage; every one holds those before it."""

    fire_began: Spread  # the transaction that writes the occurrence
    fire_committed: Spread  # occurrence, run and job are durable, and NOTIFY goes out
    run_started: Spread  # a worker has claimed the run
    first_step: Spread  # the agent calls its model


@dataclass(frozen=True, slots=True)
class Latency:
    samples: int
    lost: int
    duplicated: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    floor_samples: int
    floor_p50_ms: float
    floor_p99_ms: float
    multiple_of_floor: float
    stages: Stages
    interval_ms: int
    python: str
    machine: str


@dataclass(frozen=True, slots=True)
class Fires:
    """What became of the series."""

    lost: int
    duplicated: int
    stages: Stages


def main() -> int:
    arguments = _arguments()
    interval = arguments.interval_ms / 1000
    half = max(1, (arguments.floor_samples or arguments.samples) // 2)
    with ground() as place:
        # Half of the floor before and half after: a busier minute of the machine touches both.
        before = measure_floor(place.database("floor_before"), _gaps(half, interval))
        fires = _fires(place, arguments.samples, interval)
        after = measure_floor(place.database("floor_after"), _gaps(half, interval))
    floor = Spread.of(before + after)
    step = fires.stages.first_step
    show(
        Latency(
            samples=step.samples,
            lost=fires.lost,
            duplicated=fires.duplicated,
            p50_ms=step.p50_ms,
            p99_ms=step.p99_ms,
            max_ms=step.max_ms,
            floor_samples=floor.samples,
            floor_p50_ms=floor.p50_ms,
            floor_p99_ms=floor.p99_ms,
            multiple_of_floor=round(step.p50_ms / floor.p50_ms, 2),
            stages=fires.stages,
            interval_ms=arguments.interval_ms,
            python=platform.python_version(),
            machine=machine(),
        ),
        as_json=arguments.json,
    )
    return 1 if fires.lost or fires.duplicated else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench latency", description=__doc__)
    parser.add_argument("--samples", type=int, default=2_000)
    parser.add_argument("--floor-samples", type=int, help="default: as many as --samples")
    parser.add_argument("--interval-ms", type=int, default=100, help="between two fires")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _gaps(count: int, interval: float) -> list[float]:
    return [interval + _odd(n).total_seconds() for n in range(count)]


def _odd(n: int) -> timedelta:
    """Return an odd offset of up to 20 ms, the same in each run."""
    return timedelta(microseconds=n * 7_919 % 20_011)


def _fires(place: Ground, samples: int, interval: float) -> Fires:
    with psycopg.connect(place.owner_url, autocommit=True) as conn:
        user = _seed_agent(conn)
        with rota_processes(place.app_url, "scheduler", "worker"):
            _warm_up(conn, user, interval)
            first = datetime.now(UTC) + LEAD
            dues = [first + timedelta(seconds=n * interval) + _odd(n) for n in range(samples)]
            _seed(conn, user, "series", dues)
            time.sleep((dues[-1] - datetime.now(UTC)).total_seconds())
            _await_steps(conn, "series", samples, PATIENCE)
            time.sleep(1.0)  # whatever fires twice may do so now
        return _measure(conn)


def _seed_agent(conn: psycopg.Connection[Any]) -> Any:
    user = add_person(conn)
    conn.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
        " VALUES (%s, %s, 'scripted:latency', %s)",
        [user, AGENT, json.dumps(SCRIPT)],
    )
    return user


def _seed(conn: psycopg.Connection[Any], user: Any, prefix: str, dues: Sequence[datetime]) -> None:
    """Insert a schedule for each due time; by their rule they are due again at New Year only."""
    conn.execute(
        "INSERT INTO agent_schedules (user_id, name, agent_name, cron, next_fire_at)"
        " SELECT %s, %s || '-' || n, %s, '0 0 1 1 *', due"
        " FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS d (due, n)",
        [user, prefix, AGENT, list(dues)],
    )


def _warm_up(conn: psycopg.Connection[Any], user: Any, interval: float) -> None:
    """Fire some schedules first: processes are up, modules loaded, statements prepared."""
    _seed(conn, user, "first", [datetime.now(UTC)])
    _await_steps(conn, "first", 1, PATIENCE)
    start = datetime.now(UTC) + timedelta(seconds=0.5)
    dues = [start + timedelta(seconds=n * interval) for n in range(WARM_UP)]
    _seed(conn, user, "warm", dues)
    _await_steps(conn, "warm", WARM_UP, PATIENCE)
    settle(conn)


def _await_steps(conn: psycopg.Connection[Any], prefix: str, count: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        row = conn.execute(
            "SELECT count(*) FROM agent_schedules AS s"
            " JOIN schedule_occurrences AS o ON o.schedule_id = s.id"
            " JOIN agent_run_steps AS t ON t.run_id = o.run_id"
            " WHERE s.name LIKE %s || '-%%' AND t.model_step = 1 AND t.call_index = -1",
            [prefix],
        ).fetchone()
        if row is not None and row[0] >= count:
            return
        time.sleep(0.2)
    print(f"gave up after {patience:.0f} s", file=sys.stderr)


def _measure(conn: psycopg.Connection[Any]) -> Fires:
    """Read what became of the series. The due time is the occurrence's, as it was seeded."""
    rows = conn.execute(
        """
        SELECT s.id,
               extract(epoch FROM o.created_at - o.fire_time)::float8,
               extract(epoch FROM pg_xact_commit_timestamp(o.xmin) - o.fire_time)::float8,
               extract(epoch FROM r.started_at - o.fire_time)::float8,
               extract(epoch FROM t.started_at - o.fire_time)::float8
        FROM agent_schedules AS s
        LEFT JOIN schedule_occurrences AS o ON o.schedule_id = s.id AND o.outcome = 'fired'
        LEFT JOIN agent_runs AS r ON r.id = o.run_id
        LEFT JOIN agent_run_steps AS t
            ON t.run_id = r.id AND t.model_step = 1 AND t.call_index = -1
        WHERE s.name LIKE 'series-%'
        """
    ).fetchall()
    done = [row for row in rows if row[4] is not None]
    if not done:
        raise RuntimeError("no fire led to an agent's first step")
    schedules = {row[0] for row in done}
    runs = conn.execute(
        "SELECT count(*) FROM agent_runs AS r JOIN agent_schedules AS s ON s.id = r.schedule_id"
        " WHERE s.name LIKE 'series-%'"
    ).fetchone()
    assert runs is not None
    return Fires(
        lost=len({row[0] for row in rows} - schedules),
        duplicated=max(len(rows), runs[0]) - len({row[0] for row in rows}),
        stages=Stages(*(Spread.of([row[n] for row in done]) for n in range(1, 5))),
    )


if __name__ == "__main__":
    sys.exit(main())
