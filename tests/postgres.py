"""A server for the tests, and a database for each of them that is as good as new."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from rota.domain.errors import ConflictError
from rota.store.embedded.server import EmbeddedPostgres

OWN_SERVER = "ROTA_TEST_POSTGRES_URL"
"""A superuser's URL on a server to use instead of the embedded one."""

_BACKEND_PASSWORD = "backend"

_MOST_USES = 50
"""Tests that use a database before it is dropped: what they deleted stays in its files."""

_SCHEMAS = "nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'"

_TABLES = f"""
    SELECT c.oid::regclass::text, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum)
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
         AND a.attgenerated = ''
    WHERE c.relkind = 'r' AND {_SCHEMAS}
    GROUP BY c.oid
    ORDER BY 1
"""
_SEQUENCES = """
    SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value),
           last_value IS NOT NULL
    FROM pg_sequences
"""
_SHAPE = f"""
    WITH own AS (SELECT oid FROM pg_namespace WHERE {_SCHEMAS})
    SELECT md5(concat_ws('|',
        (SELECT string_agg(concat_ws(',', oid, relname, relacl, relrowsecurity, reloptions), ';'
                           ORDER BY oid)
         FROM pg_class WHERE relnamespace IN (TABLE own)),
        (SELECT string_agg(concat_ws(',', attrelid, attnum, attname, atttypid, attnotnull,
                                     atthasdef, attacl), ';' ORDER BY attrelid, attnum)
         FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
         WHERE c.relnamespace IN (TABLE own)),
        (SELECT string_agg(concat_ws(',', oid, proacl, md5(prosrc), proconfig), ';' ORDER BY oid)
         FROM pg_proc WHERE pronamespace IN (TABLE own)),
        (SELECT string_agg(concat_ws(',', oid, tgenabled), ';' ORDER BY oid) FROM pg_trigger),
        (SELECT string_agg(oid::text, ';' ORDER BY oid) FROM pg_constraint),
        (SELECT string_agg(oid::text, ';' ORDER BY oid) FROM pg_policy),
        (SELECT string_agg(concat_ws(',', oid, nspname, nspacl), ';' ORDER BY oid)
         FROM pg_namespace),
        (SELECT string_agg(extname, ';' ORDER BY extname) FROM pg_extension),
        (SELECT string_agg(setconfig::text, ';') FROM pg_db_role_setting AS s
         JOIN pg_database AS d ON d.oid = s.setdatabase WHERE d.datname = current_database())))
"""


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

    def lender(self, template: str) -> Lender:
        """Return what lends copies of a database, one after the other."""
        return Lender(self, template)

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.owner_of("postgres"), autocommit=True) as conn:
            conn.execute(statement)


@dataclass
class Lender:
    """Lends databases to tests, and cleans what they give back: making one takes far longer.

    A database comes back with the rows and sequences of its template. One that a test changed the
    shape of (tables, functions, triggers, rights) is dropped instead.
    """

    server: TestServer
    template: str
    _idle: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        with self._connect(self.template) as conn:
            self._tables = conn.execute(_TABLES).fetchall()
            self._sequences = conn.execute(_SEQUENCES).fetchall()
            self._shape = _one(conn, _SHAPE)
            self._rows = {
                table: rows
                for table, columns in self._tables
                if (rows := _rows(conn, table, columns))
            }

    @contextmanager
    def database(self) -> Iterator[str]:
        """Lend a database for the life of the block."""
        name, uses = self._idle.pop() if self._idle else (self._new(), 0)
        try:
            yield name
        finally:
            if uses < _MOST_USES and self._clean(name):
                self._idle.append((name, uses + 1))
            else:
                self.server.drop(name)

    def close(self) -> None:
        """Drop all of them."""
        for name, _ in self._idle:
            self.server.drop(name)

    def _new(self) -> str:
        name = f"test_{secrets.token_hex(6)}"
        self.server.create(name, template=self.template)
        return name

    def _connect(self, name: str) -> psycopg.Connection[TupleRow]:
        return psycopg.connect(self.server.owner_of(name))

    def _clean(self, name: str) -> bool:
        """Make a database like new; False where that takes more than other rows."""
        try:
            with self._connect(name) as conn:
                conn.execute(
                    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
                if _one(conn, _SHAPE) != self._shape:
                    return False
                conn.execute("SET LOCAL session_replication_role = replica")  # no triggers
                conn.execute(";".join(f"DELETE FROM {table}" for table, _ in self._tables))
                for table, columns in self._tables:
                    if table in self._rows:
                        with conn.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                            copy.write(self._rows[table])
                for sequence in self._sequences:
                    conn.execute("SELECT setval(%s, %s, %s)", sequence)
        except psycopg.OperationalError:  # the test has stopped the server, or cut it off
            return False
        return True


def _one(conn: psycopg.Connection[TupleRow], query: str) -> str:
    row = conn.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def _rows(conn: psycopg.Connection[TupleRow], table: str, columns: str) -> bytes:
    with conn.cursor().copy(f"COPY {table} ({columns}) TO STDOUT") as copy:
        return b"".join(bytes(part) for part in copy)


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
