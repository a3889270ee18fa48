"""A database server of a benchmark's own: embedded, durable, reached by a Unix socket alone."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from rota.bootstrap.app import LOCAL_OWNER
from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import migrate

_DEADLOCKS: Final = 20


@dataclass(frozen=True, slots=True)
class Ground:
    """A running server with rota's schema. `owner_url` is a superuser's, `app_url` rota's own.

    `pid` is the server's first process; None where it cannot be told.
    """

    owner_url: str
    app_url: str
    pid: int | None

    def database(self, name: str) -> str:
        """Make an empty database beside rota's and return the owner's URL of it."""
        with psycopg.connect(self.owner_url, autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url_of(name)

    def url_of(self, database: str) -> str:
        """Return the owner's URL of another database of this server."""
        return urlunsplit(urlsplit(self.owner_url)._replace(path=f"/{database}"))


@contextmanager
def ground() -> Iterator[Ground]:
    """Run a server for the life of the block, then destroy it; SIGTERM ends the block too.

    It notes when each transaction committed, which costs a few bytes in memory per commit.
    """
    signal.signal(signal.SIGTERM, _leave)
    with tempfile.TemporaryDirectory(prefix="rota-bench-") as folder:
        server = EmbeddedPostgres.open(Path(folder) / "data")
        try:
            with psycopg.connect(server.owner_url, autocommit=True) as conn:
                conn.execute("ALTER SYSTEM SET track_commit_timestamp = on")
            server.close()
            server = EmbeddedPostgres.open(Path(folder) / "data")
            asyncio.run(migrate(server.owner_url))
            lift_quotas(server.owner_url)
            yield Ground(server.owner_url, server.app_url, server.pid)
        finally:
            server.destroy()


def open_to_all(url: str) -> None:
    """Let everybody of a database run agents."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("UPDATE rota.limits SET open_to_all = true")


def lift_quotas(url: str) -> None:
    """Let everybody of a database run agents, and have any number of runs wait."""
    open_to_all(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("INSERT INTO public.user_limits (unlimited) VALUES ('{max_waiting_runs}')")


def _leave(number: int, _frame: object) -> None:
    """Leave by an exception, so that whatever was started is ended."""
    sys.exit(128 + number)


def delete_people(conn: psycopg.Connection[Any], condition: str, person: Any) -> None:
    """Delete people whose runs may be under way; again where the worker's transaction came first.

    `condition` compares their id with `person`.
    """
    for _ in range(_DEADLOCKS):
        with suppress(psycopg.errors.DeadlockDetected):
            conn.execute(f"DELETE FROM auth.users WHERE id {condition} %s".encode(), [person])
            return
    raise RuntimeError(f"{_DEADLOCKS} deadlocks in a row")


def settle(conn: psycopg.Connection[Any]) -> None:
    """Do the housekeeping of what was just written, so that none of it falls into a measurement."""
    conn.execute("VACUUM (ANALYZE)")
    conn.execute("CHECKPOINT")


def add_person(conn: psycopg.Connection[Any]) -> Any:
    """Add the owner of the benchmark's schedules and return their id."""
    row = conn.execute(
        "INSERT INTO auth.users (email) VALUES (%s) RETURNING id", [LOCAL_OWNER]
    ).fetchone()
    assert row is not None
    return row[0]
