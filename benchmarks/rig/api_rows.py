"""Rows for the benchmark of the HTTP API: runs with results and steps, schedules, notifications."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from rig.server import add_person, settle

_STEPS_OF = 2_000
"""So many runs, the newest ones, have a journal."""


@dataclass(frozen=True, slots=True)
class Scene:
    """Whose rows they are, and a few to ask for."""

    person: UUID
    run: UUID
    schedule: str


def seed(conn: psycopg.Connection[Any], *, runs: int, schedules: int, notifications: int) -> Scene:
    """Insert one person's rows, and twice as many runs of two others around them.

    As a replica: without triggers and without the foreign keys' look-ups, a row at a time.
    """
    person: UUID = add_person(conn)
    with conn.transaction():
        conn.execute("SET LOCAL session_replication_role = replica")
        conn.execute(
            "INSERT INTO auth.users (email) VALUES ('second@example.com'), ('third@example.com')"
        )
        sizes = {"runs": runs, "schedules": schedules, "notifications": notifications}
        for statement in _STATEMENTS:
            conn.execute(statement, {"person": person, "steps_of": _STEPS_OF, **sizes})
    settle(conn)
    run = conn.execute(
        "SELECT id FROM agent_runs WHERE user_id = %s ORDER BY created_at DESC LIMIT 1", [person]
    ).fetchone()
    assert run is not None
    return Scene(person, run[0], "schedule-1")


_STATEMENTS = (
    """
    INSERT INTO agent_configurations (user_id, agent_name, model)
    SELECT u.id, 'agent-' || n, 'scripted:bench'
    FROM auth.users AS u, generate_series(1, 10) AS n
    """,
    """
    INSERT INTO agent_schedules (user_id, name, agent_name, cron, prompt, next_fire_at)
    SELECT %(person)s, 'schedule-' || n, 'agent-' || 1 + n %% 10, '0 7 * * *', 'What is new?',
           now() + interval '1 day' + n * interval '1 second'
    FROM generate_series(1, %(schedules)s) AS n
    """,
    """
    INSERT INTO agent_runs
        (user_id, schedule_id, agent_name, prompt, trigger, status, attempt, fencing_token,
         created_at, queued_at, started_at, finished_at, fire_time, snapshot)
    SELECT u.id, s.id, 'agent-' || 1 + n %% 10, 'What is new since yesterday?',
           CASE WHEN n %% 5 = 0 THEN 'manual' ELSE 'schedule' END,
           CASE WHEN n %% 1000 = 7 THEN 'cancelled' ELSE 'finished' END, 1, n, at, at, at, at,
           CASE WHEN n %% 5 = 0 THEN NULL ELSE at END, '{"model": "scripted:bench"}'
    FROM generate_series(1, %(runs)s) AS n
    CROSS JOIN auth.users AS u
    CROSS JOIN LATERAL (SELECT now() - n * interval '10 seconds' AS at) AS a
    LEFT JOIN agent_schedules AS s
        ON u.id = %(person)s AND n %% 5 <> 0 AND s.name = 'schedule-' || 1 + n %% %(schedules)s
    """,
    """
    INSERT INTO agent_execution_results
        (user_id, schedule_id, run_id, agent_name, prompt, result_content, status,
         execution_duration_ms, metadata, created_at)
    SELECT user_id, schedule_id, id, agent_name, prompt,
           'Three mails came in: an invoice of shop-' || fencing_token %% 1000
           || ', a reminder of meeting-' || fencing_token || ', and a newsletter. '
           || repeat('Nothing of it has to be done before tomorrow at noon. ', 10),
           CASE WHEN fencing_token %% 200 = 3 THEN 'error'
                WHEN fencing_token %% 50 = 1 THEN 'partial' ELSE 'success' END,
           1234, jsonb_build_object('tokens', jsonb_build_object('input', 1200, 'output', 80),
                 'cost_usd', '0.0034', 'model_calls', 2, 'tool_calls', 1, 'attempt', 1,
                 'trigger', trigger, 'wall_ms', 1234, 'session_id', session_id), finished_at
    FROM agent_runs WHERE status = 'finished'
    """,
    """
    INSERT INTO agent_run_steps
        (run_id, model_step, call_index, user_id, kind, name, status, attempt, request, response,
         usage, cost_usd, started_at, finished_at)
    SELECT r.id, 1 + n / 2, CASE WHEN n %% 2 = 0 THEN -1 ELSE 0 END, r.user_id,
           CASE WHEN n %% 2 = 0 THEN 'model' ELSE 'tool' END,
           CASE WHEN n %% 2 = 0 THEN 'scripted:bench' ELSE 'mail_search' END, 'finished', 1,
           '{"arguments": {"query": "from:shop"}}', '{"data": {"content": "Three mails."}}',
           CASE WHEN n %% 2 = 0 THEN '{"input_tokens": 600, "output_tokens": 40}'::jsonb END,
           CASE WHEN n %% 2 = 0 THEN 0.0017 END, r.started_at, r.finished_at
    FROM (SELECT * FROM agent_runs WHERE user_id = %(person)s
          ORDER BY created_at DESC LIMIT %(steps_of)s) AS r, generate_series(0, 6) AS n
    """,
    """
    INSERT INTO notifications (user_id, category, title, body, created_at)
    SELECT %(person)s, 'agent_result', 'A result', 'Three mails came in.',
           now() - n * interval '1 minute'
    FROM generate_series(1, %(notifications)s) AS n
    """,
)
