"""A server for the tests, and a fresh database for each of them."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from rota.domain.errors import ConflictError
from rota.store.embedded import EmbeddedPostgres

OWN_SERVER = "ROTA_TEST_POSTGRES_URL"
"""A superuser's URL on a server to use instead of the embedded one."""

_BACKEND_PASSWORD = "backend"


@dataclass(frozen=True)
class TestServer:
    """A running server: URLs of a superuser and of rota's own role, on any of its databases."""

    __test__ = False

    owner_url: str
    app_url: str

    def owner_of(self, database: str) -> str:
        return on_database(self.owner_url, database)

    def backend_of(self, database: str) -> str:
        return on_database(self.app_url, database)

    def create(self, database: str, *, template: str | None = None) -> None:
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database))
        if template is not None:
            # By way of the log, the default, it takes three times as long.
            copied = sql.SQL(" TEMPLATE {} STRATEGY file_copy")
            statement += copied.format(sql.Identifier(template))
        self._execute(statement)

    def drop(self, database: str) -> None:
        self._execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database))
        )

    @contextmanager
    def database(self, *, template: str | None = None) -> Iterator[str]:
        """Make a database with a name of its own for the life of the block."""
        name = f"test_{secrets.token_hex(6)}"
        self.create(name, template=template)
        try:
            yield name
        finally:
            self.drop(name)

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.owner_of("postgres"), autocommit=True) as conn:
            conn.execute(statement)


def on_database(url: str, database: str) -> str:
    """Return the URL with another database's name."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


@contextmanager
def server(folder: Path) -> Iterator[TestServer]:
    """Start, or share with other test processes, one server without durability."""
    own = os.environ.get(OWN_SERVER)
    if own:
        yield TestServer(own, _with_backend_role(own))
        return
    embedded = EmbeddedPostgres.open(folder / "postgres", durable=False)
    try:
        yield TestServer(embedded.owner_url, embedded.app_url)
    finally:
        try:
            embedded.destroy()
        except ConflictError:  # another test process still uses it: the last one destroys it
            embedded.close()


def _with_backend_role(owner_url: str) -> str:
    with psycopg.connect(owner_url, autocommit=True) as conn:
        with suppress(psycopg.errors.DuplicateObject):
            conn.execute("CREATE ROLE rota_backend LOGIN")
        conn.execute(f"ALTER ROLE rota_backend PASSWORD '{_BACKEND_PASSWORD}'")
    parts = urlsplit(owner_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"rota_backend:{_BACKEND_PASSWORD}@{host}"))
