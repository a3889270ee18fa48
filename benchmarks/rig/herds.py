"""A herd: N schedules due at one instant, executed by rota's own processes, and what it cost."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg

from rig.agents import CALLABLES, NAME, SCRIPT, Kind
from rig.figures import percentile
from rig.processes import rota_processes, server_cpu_seconds, usage_of
from rig.server import Ground, add_person, settle

LEAD: Final = timedelta(seconds=2)
PATIENCE: Final = 600.0
_READY_WITHIN: Final = 60.0
_POLL: Final = 0.1
_LATER: Final = 1.0
"""Seconds after the last result within which what fires twice may do so."""

_FOLDER: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Herd:
    """What is to be due at once, and the processes that it is for. No group size: rota's own."""

    kind: Kind
    schedules: int
    workers: int
    concurrency: int
    group_size: int | None = None


@dataclass(frozen=True, slots=True)
class Cpu:
    """Milliseconds of CPU, of all processes of each sort together."""

    scheduler_ms: float
    workers_ms: float
    postgres_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class Counters:
    """What the system has used until now, or since a moment. CPU and `at` in seconds.

    Without /proc there is no CPU to be had, and `has_cpu` is False.
    """

    at: float
    scheduler: float
    workers: float
    postgres: float
    has_cpu: bool
    transaction_ids: float
    commits: float

    def since(self, earlier: Counters) -> Counters:
        """Return what was used from an earlier moment on."""
        return Counters(
            at=self.at - earlier.at,
            scheduler=self.scheduler - earlier.scheduler,
            workers=self.workers - earlier.workers,
            postgres=self.postgres - earlier.postgres,
            has_cpu=self.has_cpu and earlier.has_cpu,
            # Of the ids between two looks the earlier look's own is one.
            transaction_ids=self.transaction_ids - earlier.transaction_ids - 1,
            commits=self.commits - earlier.commits,
        )

    def without(self, idle: Counters) -> Counters:
        """Return what is left when what an idle system takes in that time is taken off."""
        share = self.at / idle.at
        return Counters(
            at=self.at,
            scheduler=self.scheduler - share * idle.scheduler,
            workers=self.workers - share * idle.workers,
            postgres=self.postgres - share * idle.postgres,
            has_cpu=self.has_cpu and idle.has_cpu,
            transaction_ids=self.transaction_ids - share * idle.transaction_ids,
            commits=self.commits - share * idle.commits,
        )

    def cpu_per_second(self) -> Cpu | None:
        """Return the CPU of each second."""
        return self.cpu_per(self.at)

    def cpu_per(self, count: float) -> Cpu | None:
        """Return the CPU of each of so many runs."""
        if not self.has_cpu:
            return None
        scheduler, workers, postgres = (
            1000 * part / count for part in (self.scheduler, self.workers, self.postgres)
        )
        return Cpu(
            scheduler_ms=round(scheduler, 2),
            workers_ms=round(workers, 2),
            postgres_ms=round(postgres, 2),
            total_ms=round(scheduler + workers + postgres, 2),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What became of a herd. `incomplete`: results without journal, notification or occurrence."""

    results: int
    lost: int
    duplicated: int
    errors: int
    incomplete: int
    seconds: float  # from the due instant to the commit of the last result
    lag_p50_ms: float
    lag_p99_ms: float

    @property
    def faults(self) -> int:
        return self.lost + self.duplicated + self.errors + self.incomplete


class RunningHerd:
    """A herd whose processes are up, warm and idle; `fire` makes it due."""

    def __init__(
        self,
        conn: psycopg.Connection[Any],
        place: Ground,
        herd: Herd,
        processes: Sequence[subprocess.Popen[bytes]],
    ) -> None:
        self._conn = conn
        self._place = place
        self._herd = herd
        self._scheduler, *self._workers = processes
        self._due: datetime | None = None

    def counters(self) -> Counters:
        """Look at what was used until now; the look itself takes one transaction id."""
        ids = _one(self._conn, "SELECT pg_current_xact_id()::text::bigint")
        commits = _one(
            self._conn,
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()",
        )
        own = self._conn.info.backend_pid
        postgres = server_cpu_seconds(self._place.pid, but=own) if self._place.pid else None
        scheduler = _cpu_of([self._scheduler])
        workers = _cpu_of(self._workers)
        has_cpu = None not in {postgres, scheduler, workers}
        return Counters(
            at=time.monotonic(),
            scheduler=scheduler or 0.0,
            workers=workers or 0.0,
            postgres=postgres or 0.0,
            has_cpu=has_cpu,
            transaction_ids=ids,
            commits=commits,
        )

    def fire(self) -> Counters:
        """Make the herd due, wait for all its results; returns what was used for them."""
        due = datetime.now(UTC) + LEAD
        with self._conn.transaction():
            self._conn.execute(
                "UPDATE agent_schedules SET next_fire_at = %s WHERE name LIKE 'herd-%%'", [due]
            )
            self._conn.execute("NOTIFY rota_wake, 'schedules'")
        self._due = due
        _sleep_until(due - LEAD / 10)
        before = self.counters()
        _sleep_until(due)
        _await(self._has_ended, PATIENCE, [self._scheduler, *self._workers])
        return self.counters().since(before)

    def found(self) -> Found:
        """Read what became of the herd."""
        time.sleep(_LATER)
        return _found(self._conn, self._due, self._herd.kind)

    def _has_ended(self) -> bool:
        results = _one(self._conn, "SELECT count(*) FROM agent_execution_results")
        if results < self._herd.schedules + _warm_up_of(self._herd):
            return False
        # A job is taken from the queue after its run has ended.
        return bool(_one(self._conn, "SELECT count(*) FROM rota.pgqueuer") == 0)


@contextmanager
def running_herd(place: Ground, herd: Herd) -> Iterator[RunningHerd]:
    """Start a scheduler and workers, let them do something, and seed a herd that is not due."""
    settings = {
        "ROTA_CONCURRENCY": str(herd.concurrency),
        "ROTA_CALLABLES": CALLABLES,
        "PYTHONPATH": str(_FOLDER),
    }
    if herd.group_size is not None:
        settings["ROTA_GROUP_SIZE"] = str(herd.group_size)
    parts = ("scheduler", *["worker"] * herd.workers)
    with (
        psycopg.connect(place.owner_url, autocommit=True) as conn,
        rota_processes(place.app_url, *parts, settings=settings) as processes,
    ):
        user = _seed_agent(conn, herd.kind)
        _await(lambda: _is_ready(conn, herd.workers), _READY_WITHIN, processes)
        warm_up = _warm_up_of(herd)
        _seed(conn, user, "warm", warm_up, datetime.now(UTC))
        _await(
            lambda: _one(conn, "SELECT count(*) FROM agent_execution_results") >= warm_up,
            PATIENCE,
            processes,
        )
        _seed(conn, user, "herd", herd.schedules, datetime.now(UTC) + timedelta(days=365))
        settle(conn)
        yield RunningHerd(conn, place, herd, processes)


def _warm_up_of(herd: Herd) -> int:
    """Return how many runs come first, so that statements are prepared and every worker has some.

    The bare agent that a herd is compared with is warm too.
    """
    return max(20, 2 * herd.workers * herd.concurrency)


def _seed_agent(conn: psycopg.Connection[Any], kind: Kind) -> Any:
    user = add_person(conn)
    is_scripted = kind is Kind.SCRIPTED
    conn.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
        " VALUES (%s, %s, %s, %s)",
        [user, NAME, kind.model, json.dumps(SCRIPT) if is_scripted else None],
    )
    if is_scripted:
        conn.execute(
            "INSERT INTO agent_tools (agent_id, tool_id) SELECT a.id, t.id"
            " FROM agent_configurations AS a, tools AS t"
            " WHERE a.agent_name = %s AND t.name = 'mail_search'",
            [NAME],
        )
    return user


def _seed(conn: psycopg.Connection[Any], user: Any, prefix: str, count: int, due: datetime) -> None:
    """Insert schedules that are due at an instant, and by their rule at New Year only."""
    conn.execute(
        "INSERT INTO agent_schedules (user_id, name, agent_name, cron, next_fire_at)"
        " SELECT %s, %s || '-' || n, %s, '0 0 1 1 *', %s FROM generate_series(1, %s) AS n",
        [user, prefix, NAME, due, count],
    )


def _is_ready(conn: psycopg.Connection[Any], workers: int) -> bool:
    """Return whether every process has said that it is alive, and listens."""
    row = conn.execute(
        """
        SELECT (SELECT count(*) FROM rota.processes WHERE kind = 'scheduler'),
               (SELECT count(*) FROM rota.processes WHERE kind = 'worker'),
               (SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND query ~* '^listen '
                  AND query !~ 'rota_probe')
        """
    ).fetchone()
    return row == (1, workers, 1 + workers)


def _await(
    condition: Callable[[], bool], seconds: float, processes: Sequence[subprocess.Popen[bytes]]
) -> None:
    """Wait for something that rota's processes do; raises RuntimeError where they cannot."""
    deadline = time.monotonic() + seconds
    while not condition():
        for process in processes:
            if process.poll() is not None:
                raise RuntimeError(f"a process of rota's ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"gave up after {seconds:.0f} s")
        time.sleep(_POLL)


def _found(conn: psycopg.Connection[Any], due: datetime | None, kind: Kind) -> Found:
    rows = conn.execute(
        """
        SELECT s.id, r.id, e.status,
               extract(epoch FROM r.started_at - %(due)s)::float8,
               extract(epoch FROM pg_xact_commit_timestamp(e.xmin) - %(due)s)::float8,
               (SELECT count(*) FROM schedule_occurrences AS o
                WHERE o.schedule_id = s.id AND o.run_id = r.id AND o.outcome = 'fired'),
               (SELECT count(*) FROM agent_run_steps AS t
                WHERE t.run_id = r.id AND t.status = 'finished'),
               (SELECT count(*) FROM notifications AS n WHERE n.run_id = r.id)
        FROM agent_schedules AS s
        LEFT JOIN agent_runs AS r ON r.schedule_id = s.id
        LEFT JOIN agent_execution_results AS e ON e.run_id = r.id
        WHERE s.name LIKE 'herd-%%'
        """,
        {"due": due},
    ).fetchall()
    done = [row for row in rows if row[2] is not None]
    if not done:
        raise RuntimeError("no schedule of the herd has a result")
    schedules = {row[0] for row in rows}
    lags = sorted(row[3] for row in done)
    return Found(
        results=len(done),
        lost=len(schedules - {row[0] for row in done}),
        duplicated=len(rows) - len(schedules),
        errors=sum(row[2] != "success" for row in done),
        incomplete=sum(tuple(row[5:]) != (1, kind.steps, 1) for row in done),
        seconds=max(row[4] for row in done),
        lag_p50_ms=round(1000 * percentile(lags, 0.5), 1),
        lag_p99_ms=round(1000 * percentile(lags, 0.99), 1),
    )


def _cpu_of(processes: Sequence[subprocess.Popen[bytes]]) -> float | None:
    used = [usage_of(process.pid) for process in processes]
    known = [usage.cpu_seconds for usage in used if usage is not None]
    return sum(known) if len(known) == len(used) else None


def _sleep_until(instant: datetime) -> None:
    time.sleep(max(0.0, (instant - datetime.now(UTC)).total_seconds()))


def _one(conn: psycopg.Connection[Any], query: Any) -> int:
    """Return the one number that a query finds."""
    row = conn.execute(query).fetchone()
    assert row is not None
    return int(row[0])
