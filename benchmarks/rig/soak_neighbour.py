"""A hostile neighbour of the soak: another person, in a session of SQL, who means no good.

What they write, lock and send must cost the person whose schedules are counted nothing. In the end
they are removed, in the midst of their runs, with all that they have.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
from typing import Any, Final

import psycopg

from rig.server import delete_people
from rota.store.embedded.server import EmbeddedPostgres

_PAUSE: Final = 0.3
_HELD: Final = 2.0
"""Seconds that what they lock stays locked."""

_JUNK: Final = '{"a": [[[[[[[[[[1e300, "' + "x" * 50_000 + '"]]]]]]]]]]}'

_ACTS: Final[dict[str, tuple[str, ...]]] = {
    "writes schedules of no agent, large and quick": (
        (
            "INSERT INTO agent_schedules (name, agent_name, every_seconds, prompt, options,"
            " overlap_policy, catch_up) SELECT gen_random_uuid()::text, 'nobody', 10,"
            f" repeat('x', 100000), '{_JUNK}', 'allow_all', 'all' FROM generate_series(1, 10)"
        ),
    ),
    "writes a rule for a time that does not come, in a zone that Python does not know": (
        (
            "INSERT INTO user_settings (time_zone) VALUES ('FOO+3')"
            " ON CONFLICT (user_id) DO UPDATE SET time_zone = 'FOO+3'"
        ),
        (
            "INSERT INTO agent_schedules (name, agent_name, cron)"
            " VALUES (gen_random_uuid()::text, 'nobody', '0 0 31 2 *'),"
            " (gen_random_uuid()::text, 'nobody', '* * * * *')"
        ),
    ),
    "asks for runs": (
        "SELECT request_run('nobody', repeat('y', 90000)) FROM generate_series(1, 20)",
    ),
    "asks for runs of their schedules, under each policy": (
        "SELECT request_schedule_run(id, overlap => 'cancel_other') FROM agent_schedules LIMIT 5",
    ),
    "locks their rows, and every number that somebody else may lock by": (
        "SELECT FROM agent_schedules FOR UPDATE",
        "SELECT FROM agent_configurations FOR UPDATE",
        "SELECT pg_advisory_lock(objid) FROM pg_locks WHERE locktype = 'advisory'",
        f"SELECT pg_sleep({_HELD})",
    ),
    "sends junk on rota's channels": (
        (
            "SELECT pg_notify('rota_queue', E'\\x1b[2J' || repeat('junk', 100))"
            " FROM generate_series(1, 200)"
        ),
        "SELECT pg_notify('rota_wake', n::text) FROM generate_series(1, 200) AS n",
    ),
    "edits, pauses and resumes": (
        "UPDATE agent_schedules SET every_seconds = every_seconds + 1, is_active = NOT is_active",
    ),
    "deletes schedules with runs under way": (
        "DELETE FROM agent_schedules WHERE id IN (SELECT id FROM agent_schedules LIMIT 8)",
    ),
    "cancels what runs": ("SELECT request_cancel(id) FROM agent_runs WHERE finished_at IS NULL",),
}


class Neighbour:
    """One more person, whose session goes on until they leave."""

    def __init__(self, server: EmbeddedPostgres, seed: int) -> None:
        self._server = server
        self._random = random.Random(seed)
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self.acts = 0
        with psycopg.connect(server.owner_url, autocommit=True) as conn:
            row = conn.execute("INSERT INTO auth.users DEFAULT VALUES RETURNING id").fetchone()
        assert row is not None
        self._id = row[0]

    def move_in(self) -> None:
        self._thread.start()

    def leave(self, conn: psycopg.Connection[Any]) -> None:
        """Stop, and be removed with everything; `conn` is the owner's."""
        self._gone.set()
        self._thread.join()
        delete_people(conn, "=", self._id)

    def _live(self) -> None:
        while not self._gone.is_set():
            with contextlib.suppress(psycopg.Error):  # refused, or the server is away: go on
                self._act()
            self._gone.wait(_PAUSE)

    def _act(self) -> None:
        claims = json.dumps({"sub": str(self._id), "role": "authenticated"})
        with psycopg.connect(self._server.app_url, connect_timeout=5) as conn:
            conn.execute("SELECT set_config('role', 'authenticated', false)")
            conn.execute("SELECT set_config('request.jwt.claims', %s, false)", [claims])
            for statement in _ACTS[self._random.choice(list(_ACTS))]:
                conn.execute(statement.encode())
        self.acts += 1
