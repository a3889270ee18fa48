"""What neighbours cost: due time to first step of one person's schedules, beside others.

    scripts/bench neighbours --json

Starts a durable embedded PostgreSQL in a temporary directory, one `rota scheduler` and one `rota
worker`. One person's schedules fall due one after another, at odd fractions of a second, while
nobody else is there (before and after everything else); beside 200 people with a schedule each
minute; beside a herd of 10,000 waiting runs of twenty people; and beside one person at the edge of
every quota. `ratio` is a 99th percentile over that of the empty system. Exit status 1 if a fire of
the one person is lost.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg
from rig.figures import Spread, machine, show
from rig.processes import rota_processes
from rig.server import add_person, delete_people, ground, settle

AGENT: Final = "neighbour"
SCRIPT: Final[dict[str, Any]] = {"steps": [], "answer": "done"}
WARM_UP: Final = 20
LEAD: Final = timedelta(seconds=3)
PATIENCE: Final = 120.0
HERD_PEOPLE: Final = 20
LONGEST_PROMPT: Final = 100_000
LONGEST_SYSTEM_PROMPT: Final = 200_000

Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Beside:
    """How late one person's fires began beside certain neighbours."""

    neighbours: str
    lag: Spread
    lost: int
    ratio: float


@dataclass(frozen=True, slots=True)
class Neighbours:
    empty: Spread
    beside: list[Beside]
    worst_ratio: float
    python: str
    machine: str


def main() -> int:
    arguments = _arguments()
    settings: dict[str, tuple[str, Callable[[Connection], None]]] = {
        "people": (
            f"{arguments.people} people with a schedule each minute",
            lambda conn: _crowd(conn, arguments.people),
        ),
        "herd": (f"{arguments.runs} waiting runs", lambda conn: _herd(conn, arguments.runs)),
        "hostile": ("one person at the edge of every quota", _hostile),
    }
    found: dict[str, tuple[Spread, int]] = {}
    with ground() as place, psycopg.connect(place.owner_url, autocommit=True) as conn:
        _add_agent(conn)
        victim = add_person(conn)
        with rota_processes(place.app_url, "scheduler", "worker"):
            _series(conn, victim, "warm", WARM_UP, arguments.interval_ms)
            empty = [*_lags(conn, victim, "before", arguments)[0]]
            for name, (_, move_in) in settings.items():
                if arguments.only not in (None, name):
                    continue
                with _moved_in(conn, victim, move_in):
                    lags, lost = _lags(conn, victim, name, arguments)
                found[name] = (Spread.of(lags), lost)
            empty += _lags(conn, victim, "after", arguments)[0]
    alone = Spread.of(empty)
    beside = [
        Beside(settings[name][0], lag, lost, round(lag.p99_ms / alone.p99_ms, 2))
        for name, (lag, lost) in found.items()
    ]
    show(
        Neighbours(
            empty=alone,
            beside=beside,
            worst_ratio=max(one.ratio for one in beside),
            python=platform.python_version(),
            machine=machine(),
        ),
        as_json=arguments.json,
    )
    return 1 if any(one.lost for one in beside) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench neighbours", description=__doc__)
    parser.add_argument("--samples", type=int, default=150, help="of each part")
    parser.add_argument("--interval-ms", type=int, default=500, help="between two fires")
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--only", choices=("people", "herd", "hostile"), help="these neighbours")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def _add_agent(conn: Connection) -> None:
    """Add an agent that all share."""
    conn.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
        " VALUES (NULL, %s, 'scripted:neighbour', %s)",
        [AGENT, json.dumps(SCRIPT)],
    )


def _lags(
    conn: Connection, victim: Any, name: str, arguments: argparse.Namespace
) -> tuple[list[float], int]:
    """Fire a series; returns the seconds from each due time to the first step, and the lost."""
    _series(conn, victim, name, arguments.samples, arguments.interval_ms)
    rows = conn.execute(_LAGS, [victim, f"{name}-%"]).fetchall()
    lags = [row[0] for row in rows if row[0] is not None]
    return lags, arguments.samples - len(lags)


def _series(conn: Connection, victim: Any, name: str, samples: int, interval_ms: int) -> None:
    first = datetime.now(UTC) + LEAD
    dues = [
        first + timedelta(milliseconds=n * interval_ms, microseconds=n * 7_919 % 20_011)
        for n in range(samples)
    ]
    conn.execute(
        "INSERT INTO agent_schedules (user_id, name, agent_name, cron, next_fire_at)"
        " SELECT %s, %s || '-' || n, %s, '0 0 1 1 *', due"
        " FROM unnest(%s::timestamptz[]) WITH ORDINALITY AS d (due, n)",
        [victim, name, AGENT, dues],
    )
    time.sleep((dues[-1] - datetime.now(UTC)).total_seconds())
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        rows = conn.execute(_LAGS, [victim, f"{name}-%"]).fetchall()
        if all(row[0] is not None for row in rows):
            break
        time.sleep(0.5)
    conn.execute("UPDATE agent_schedules SET is_active = false WHERE user_id = %s", [victim])


@contextmanager
def _moved_in(
    conn: Connection, victim: Any, move_in: Callable[[Connection], None]
) -> Iterator[None]:
    """Have neighbours for the life of the block, and none of them after it."""
    move_in(conn)
    settle(conn)
    try:
        yield
    finally:
        delete_people(conn, "<>", victim)
        settle(conn)


def _people(conn: Connection, count: int) -> list[Any]:
    rows = conn.execute(
        "INSERT INTO auth.users (email) SELECT gen_random_uuid() || '@example.com'"
        " FROM generate_series(1, %s) RETURNING id",
        [count],
    ).fetchall()
    return [row[0] for row in rows]


def _crowd(conn: Connection, people: int) -> None:
    conn.execute(
        "INSERT INTO agent_schedules (user_id, name, agent_name, cron)"
        " SELECT u, 'each minute', %s, '* * * * *' FROM unnest(%s::uuid[]) AS u",
        [AGENT, _people(conn, people)],
    )


def _herd(conn: Connection, runs: int) -> None:
    people = _people(conn, HERD_PEOPLE)
    conn.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger)"
        " SELECT (%s::uuid[])[1 + n %% %s], %s, 'manual' FROM generate_series(1, %s) AS n",
        [people, HERD_PEOPLE, AGENT, runs],
    )


def _hostile(conn: Connection) -> None:
    """Fill every quota of one person, with rows as large and rules as quick as they may be."""
    (person,) = _people(conn, 1)
    row = conn.execute("SELECT * FROM rota.quotas_of(%s)", [person])
    names = [column.name for column in row.description or ()]
    quota = dict(zip(names, row.fetchone() or (), strict=True))
    own = f"{AGENT}-own"
    conn.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model, script, system_prompt)"
        " VALUES (%s, %s, 'scripted:neighbour', %s, repeat('x', %s))",
        [person, own, json.dumps(SCRIPT), LONGEST_SYSTEM_PROMPT],
    )
    conn.execute(
        "INSERT INTO agent_schedules (user_id, name, agent_name, every_seconds, prompt)"
        " SELECT %s, 'n' || n, %s, %s, repeat('x', %s) FROM generate_series(1, %s) AS n",
        [person, own, quota["min_interval_seconds"], LONGEST_PROMPT, quota["max_schedules"]],
    )
    conn.execute(
        "INSERT INTO approval_rules (user_id, effect, tool, conditions)"
        " SELECT %s, 'deny', 't', jsonb_build_array(repeat('x', %s)) FROM generate_series(1, %s)",
        [person, quota["max_rule_bytes"] // quota["max_rules"] - 10, quota["max_rules"]],
    )
    conn.execute(
        "INSERT INTO agent_runs (user_id, agent_name, prompt, trigger)"
        " SELECT %s, %s, repeat('x', %s), 'manual' FROM generate_series(1, %s)",
        [person, own, LONGEST_PROMPT, quota["max_waiting_runs"]],
    )


_LAGS: Final = """
    SELECT extract(epoch FROM t.started_at - o.fire_time)::float8
    FROM agent_schedules AS s
    LEFT JOIN schedule_occurrences AS o ON o.schedule_id = s.id AND o.outcome = 'fired'
    LEFT JOIN agent_run_steps AS t
        ON t.run_id = o.run_id AND t.model_step = 1 AND t.call_index = -1
    WHERE s.user_id = %s AND s.name LIKE %s
"""


if __name__ == "__main__":
    sys.exit(main())
