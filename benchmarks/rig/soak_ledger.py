"""What the soak knows of every run, call and attempt beside what rota itself writes.

The database notes by triggers who took a run, and which steps were finished by which attempt; the
tools write lines of their own (see `soak_tools`). The two are compared when all is over.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import psycopg

from rig import soak_tools
from rig.server import add_person

EVERY: Final = 8
"""Seconds between two fires of a schedule."""

CALL: Final = "{{ prompt }}"
SCRIPT: Final[Mapping[str, Any]] = {
    "steps": [
        {
            "calls": [
                {"tool": "soak_look", "args": {"call": f"{CALL}/a"}},
                {"tool": "soak_slow_look", "args": {"call": f"{CALL}/b"}},
            ]
        },
        {"calls": [{"tool": "soak_effect", "args": {"call": f"{CALL}/c"}}]},
        {"calls": [{"tool": "soak_block", "args": {"call": f"{CALL}/d"}}], "sleep_ms": 300},
        {"calls": [{"tool": "soak_look", "args": {"call": f"{CALL}/e"}}]},
        {"calls": [{"tool": "soak_effect", "args": {"call": f"{CALL}/f"}}], "sleep_ms": 200},
        {"sleep_ms": 400},
    ],
    "answer": "{{ results | length }} calls",
}
ANSWERS: Final = ("6 calls", "done")
TOOLS: Final[Mapping[str, tuple[str, bool]]] = {
    # name: (function of soak_tools, reads only)
    "soak_look": ("look", True),
    "soak_slow_look": ("slow_look", True),
    "soak_effect": ("effect", False),
    "soak_block": ("block", True),
}

_LEDGER: Final = """
CREATE SCHEMA soak;
CREATE TABLE soak.claims (run_id uuid, attempt integer, process text, at timestamptz);
CREATE TABLE soak.finished (run_id uuid, kind text, call text, attempt integer);
CREATE TABLE soak.repeated (run_id uuid, model_step integer, call_index integer, call text,
                            attempt integer);

-- A run's prompt is its own id, so that every call can say whose it is.
CREATE FUNCTION soak.name_run() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    NEW.prompt := NEW.id;
    RETURN NEW;
END $$;
CREATE TRIGGER soak_name BEFORE INSERT ON public.agent_runs
    FOR EACH ROW EXECUTE FUNCTION soak.name_run();

CREATE FUNCTION soak.note_claim() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    INSERT INTO soak.claims
    VALUES (NEW.id, NEW.attempt, current_setting('soak.process', true), clock_timestamp());
    RETURN NULL;
END $$;
CREATE TRIGGER soak_claim AFTER UPDATE OF attempt ON public.agent_runs
    FOR EACH ROW WHEN (OLD.attempt <> NEW.attempt) EXECUTE FUNCTION soak.note_claim();

CREATE FUNCTION soak.note_step() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
    IF NEW.status = 'finished' THEN
        INSERT INTO soak.finished
        VALUES (NEW.run_id, NEW.kind, NEW.request #>> '{arguments,call}', NEW.attempt);
    END IF;
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO soak.repeated
        SELECT NEW.run_id, NEW.model_step, NEW.call_index, NEW.request #>> '{arguments,call}',
               NEW.attempt
        WHERE OLD.status = 'finished' AND OLD.attempt <> NEW.attempt
          AND NEW.kind <> 'callable'; -- a callable is called again by each attempt, as promised
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER soak_step AFTER INSERT OR UPDATE ON public.agent_run_steps
    FOR EACH ROW EXECUTE FUNCTION soak.note_step();
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """What came of it; CONTRIBUTING.md says what each figure means."""

    lost: int
    duplicated: int
    repeated_side_effects: int
    repeated_flushed_steps: int
    unrecorded_effects: int
    wrong_answers: int
    stuck: int
    occurrences: int
    results: int
    repeated_unflushed_steps: int
    unknown: int
    errors: int
    attempts_beyond_the_first: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line that a tool wrote. `made_at` and `at` are seconds of the machine's clock."""

    call: str
    process: str
    made_at: float
    at: float

    @property
    def run_id(self) -> str:
        return self.call.partition("/")[0]


def prepare(conn: psycopg.Connection[Any]) -> Any:
    """Write person, tools, agents and the ledger's triggers; returns the person's id."""
    user = add_person(conn)
    for name, (_, reads) in TOOLS.items():
        conn.execute(
            "INSERT INTO tools (name, read_only, default_tier, brings_outside_text)"
            " VALUES (%s, %s, 'auto', false)",
            [name, reads],
        )
    for name, model, script in (
        ("scripted", "scripted:soak", json.dumps(SCRIPT)),
        ("errand", "callable:errand", None),
    ):
        conn.execute(
            "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
            " VALUES (%s, %s, %s, %s)",
            [user, name, model, script],
        )
    conn.execute(
        "INSERT INTO agent_tools (agent_id, tool_id) SELECT a.id, t.id"
        " FROM agent_configurations AS a, tools AS t"
        " WHERE a.user_id = %s AND t.name LIKE 'soak%%'",
        [user],
    )
    conn.execute(_LEDGER)
    return user


def add_schedules(
    conn: psycopg.Connection[Any], user: Any, schedules: int, *, ends_at: datetime
) -> None:
    """Add schedules that fire every `EVERY` seconds, one a little after the other."""
    conn.execute(
        "INSERT INTO agent_schedules (user_id, name, agent_name, prompt, every_seconds, anchor_at,"
        " ends_at, catch_up, overlap_policy)"
        " SELECT %(user)s, 'soak-' || n, CASE WHEN n %% 4 = 0 THEN 'errand' ELSE 'scripted' END,"
        " 'replaced', %(every)s,"
        " now() + make_interval(secs => 1 + n * %(every)s::float8 / %(schedules)s), %(ends_at)s,"
        " 'all', 'allow_all' FROM generate_series(1, %(schedules)s) AS n",
        {"user": user, "every": EVERY, "schedules": schedules, "ends_at": ends_at},
    )


def is_settled(conn: psycopg.Connection[Any]) -> bool:
    """Return whether nothing is due, under way, or to be told of any more."""
    row = conn.execute(
        """
        SELECT NOT EXISTS (SELECT FROM agent_schedules WHERE completed_at IS NULL)
           AND NOT EXISTS (SELECT FROM agent_runs
                           WHERE status IN ('waiting', 'queued', 'running'))
           AND NOT EXISTS (SELECT FROM agent_execution_results AS r WHERE NOT EXISTS (
                           SELECT FROM notifications AS n WHERE n.run_id = r.run_id))
        """
    ).fetchone()
    return row is not None and bool(row[0])


@dataclass(frozen=True, slots=True)
class State:
    """How far it is."""

    fired: int
    attempts: int
    over: int

    def __str__(self) -> str:
        return f"{self.over} of {self.fired} runs are over, after {self.attempts} attempts"


def state(conn: psycopg.Connection[Any]) -> State:
    """Return how far it is."""
    row = conn.execute(
        "SELECT count(*), coalesce(sum(attempt), 0),"
        " count(*) FILTER (WHERE finished_at IS NOT NULL) FROM agent_runs"
    ).fetchone()
    assert row is not None
    return State(*map(int, row))


def count(conn: psycopg.Connection[Any], folder: Path) -> Counts:
    """Count what came of it, once every process has ended."""
    looks, effects = _lines(folder / soak_tools.LOOKS), _lines(folder / soak_tools.EFFECTS)
    flushed, unflushed = _repeated_steps(conn, looks)
    lost, duplicated, stuck = _fires(conn)
    missing, unrecorded = _unmatched(conn, effects)
    rest = conn.execute(
        """
        SELECT (SELECT count(*) FROM schedule_occurrences WHERE outcome = 'fired'),
               (SELECT count(*) FROM agent_execution_results),
               (SELECT count(*) FROM agent_run_steps
                WHERE name = 'soak_effect' AND status IN ('unknown', 'started')),
               (SELECT count(*) FROM agent_execution_results WHERE status <> 'success'),
               (SELECT count(*) FROM agent_execution_results
                WHERE status = 'success' AND result_content <> ALL (%s)),
               (SELECT coalesce(sum(attempt - 1), 0) FROM agent_runs WHERE attempt > 1)
        """,
        [list(ANSWERS)],
    ).fetchone()
    assert rest is not None
    occurrences, results, unknown, errors, wrong, more = map(int, rest)
    return Counts(
        occurrences=occurrences,
        results=results,
        lost=lost + missing,
        duplicated=duplicated,
        repeated_side_effects=len(effects) - len({line.call for line in effects}),
        repeated_flushed_steps=len(flushed),
        repeated_unflushed_steps=unflushed,
        unrecorded_effects=unrecorded,
        wrong_answers=wrong,
        unknown=unknown,
        errors=errors,
        stuck=stuck,
        attempts_beyond_the_first=more,
    )


def what_was_found(conn: psycopg.Connection[Any], folder: Path) -> list[str]:
    """Return which calls were repeated and which runs are not over, and why others failed."""
    looks, effects = _lines(folder / soak_tools.LOOKS), _lines(folder / soak_tools.EFFECTS)
    flushed, _ = _repeated_steps(conn, looks)
    had = Counter(line.call for line in effects)
    again = {call for call, times in had.items() if times > 1} | {call for call, _ in flushed}
    found = [f"{line}" for line in (*looks, *effects) if line.call in again]
    found += [f"attempt {attempt} did again: {call}" for call, attempt in sorted(flushed)]
    found += [
        f"not over: {row}"
        for row in conn.execute(
            "SELECT id::text, status, attempt, fire_time::text FROM agent_runs"
            " WHERE status IN ('waiting', 'queued', 'running')"
        ).fetchall()
    ]
    return found + [
        f"{row[0]} runs, {row[1]} of them with a call of unknown outcome: {row[2]}"
        for row in conn.execute(
            """
            SELECT count(*), count(*) FILTER (WHERE EXISTS (
                       SELECT FROM agent_run_steps AS s
                       WHERE s.run_id = r.run_id AND s.status IN ('unknown', 'started'))),
                   left(regexp_replace(result_content, '[0-9a-f-]{36}', '...', 'g'), 300) AS why
            FROM agent_execution_results AS r WHERE status <> 'success'
            GROUP BY why ORDER BY 1 DESC LIMIT 20
            """
        ).fetchall()
    ]


def _fires(conn: psycopg.Connection[Any]) -> tuple[int, int, int]:
    """Count what is lost, what is there twice, and what is not over."""
    row = conn.execute(
        """
        WITH expected AS (
            SELECT s.id AS schedule_id, fire_time
            FROM agent_schedules AS s,
                 generate_series(s.anchor_at, s.ends_at,
                                 make_interval(secs => s.every_seconds)) AS fire_time
        )
        SELECT (SELECT count(*) FROM expected AS e WHERE NOT EXISTS (
                    SELECT FROM schedule_occurrences AS o JOIN agent_execution_results AS r
                        ON r.run_id = o.run_id
                    WHERE (o.schedule_id, o.fire_time) = (e.schedule_id, e.fire_time)))
               + (SELECT count(*) FROM agent_execution_results AS r WHERE NOT EXISTS (
                    SELECT FROM notifications AS n WHERE n.run_id = r.run_id)),
               (SELECT count(*) FROM schedule_occurrences AS o
                WHERE (o.schedule_id, o.fire_time) NOT IN (SELECT * FROM expected))
               + (SELECT count(*) - count(DISTINCT (schedule_id, fire_time)) FROM agent_runs)
               + (SELECT count(*) - count(DISTINCT run_id) FROM agent_execution_results)
               + (SELECT count(*) - count(DISTINCT run_id) FROM notifications
                  WHERE run_id IS NOT NULL),
               (SELECT count(*) FROM agent_runs WHERE status IN ('waiting', 'queued', 'running'))
               + (SELECT count(*) FROM agent_schedules WHERE completed_at IS NULL)
        """
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


def _lines(path: Path) -> Sequence[Line]:
    if not path.exists():
        return ()
    return sorted(_read(path), key=lambda line: line.at)


def _read(path: Path) -> Iterator[Line]:
    for text in path.read_text().splitlines():
        call, process, made_at, at = text.split()
        yield Line(call, process, float(made_at), float(at))


def _repeated_steps(
    conn: psycopg.Connection[Any], looks: Sequence[Line]
) -> tuple[set[tuple[str, int]], int]:
    """Return what a later attempt did again though an earlier answer was durable.

    Each with the attempt that did it; and how often something else was done again.

    What an attempt has flushed is durable before a later one begins: the lock on the run's row
    orders them. So no clock is asked, except for which of a process's own attempts it was.
    """
    claims: dict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for run_id, attempt, process, at in conn.execute(
        "SELECT run_id::text, attempt, process, extract(epoch FROM at)::float8 FROM soak.claims"
    ):
        claims[run_id, process].append((at, attempt))
    by_call = conn.execute(
        "SELECT call, min(attempt) FROM soak.finished WHERE kind = 'tool' GROUP BY call"
    )
    finished_by: dict[str, int] = dict(by_call.fetchall())
    # A reader that ran again shows in its lines, and, if its attempt lived on, in the journal too.
    flushed = set(
        conn.execute(
            "SELECT coalesce(call, run_id || '/' || model_step || '/' || call_index), attempt"
            " FROM soak.repeated"
        ).fetchall()
    )
    seen: set[str] = set()
    unflushed = 0
    for line in looks:
        made_by = [a for at, a in claims[line.run_id, line.process] if at <= line.made_at]
        if not made_by:
            raise RuntimeError(f"nobody took the run of {line}")
        attempt = max(made_by)
        if finished_by.get(line.call, attempt) < attempt:
            flushed.add((line.call, attempt))
        elif line.call in seen:
            unflushed += 1
        seen.add(line.call)
    return flushed, unflushed


def _unmatched(conn: psycopg.Connection[Any], effects: Sequence[Line]) -> tuple[int, int]:
    """Count effects that the journal calls finished and nobody had, and those that it lacks."""
    rows = conn.execute(
        "SELECT request #>> '{arguments,call}', status FROM agent_run_steps"
        " WHERE name = 'soak_effect'"
    ).fetchall()
    had = {line.call for line in effects}
    missing = {call for call, status in rows if status == "finished"} - had
    return len(missing), len(had - {call for call, _ in rows})
