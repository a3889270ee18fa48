"""A database of before the first release is recognised, wherever it lies, and left as it is."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest

from rota.bootstrap.app import Server, application
from rota.domain.errors import MigrationError
from rota.settings import Settings
from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import migrate, pending_migrations
from rota.store.statements import statement

BEFORE = ("20260216000000", "20260217000000", "20261123000000")
WHAT_TO_DO = r"before its first release.*new data directory.*new, empty database"


def of_before(url: str) -> None:
    """Book what the files of then were, as the runner of then did."""
    with psycopg.connect(url, autocommit=True) as conn:
        for role in ("anon", "authenticated", "service_role"):
            with suppress(psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
                conn.execute(f"CREATE ROLE {role} NOLOGIN NOINHERIT")  # of the whole cluster
        conn.execute(statement("create_schema_migrations"))
        for version in BEFORE:
            row = {"version": version, "name": f"{version}_as_then", "checksum": "0"}
            conn.execute(statement("book_migration"), row)


def of_before_by_supabase(url: str) -> None:
    """Book them as Supabase's CLI does, among the project's own."""
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA supabase_migrations")
        conn.execute("CREATE TABLE supabase_migrations.schema_migrations (version text)")
        for version in ("20250101000000", *BEFORE):
            conn.execute("INSERT INTO supabase_migrations.schema_migrations VALUES (%s)", [version])


def tables(url: str) -> list[tuple[str]]:
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"
            " AND relnamespace::regnamespace::text IN ('public', 'rota', 'auth') ORDER BY 1"
        ).fetchall()


@pytest.mark.parametrize("make", [of_before, of_before_by_supabase])
async def test_own_database_is_refused_and_left_alone(postgres_server, empty_database, make):
    url = postgres_server.owner_of(empty_database)
    make(url)
    before = tables(url)

    with pytest.raises(MigrationError, match=WHAT_TO_DO):
        await migrate(url)

    assert tables(url) == before


async def test_it_is_not_said_to_lack_files(postgres_server, empty_database):
    url = postgres_server.owner_of(empty_database)
    of_before(url)

    async with await psycopg.AsyncConnection.connect(url) as conn:
        with pytest.raises(MigrationError, match=WHAT_TO_DO):
            await pending_migrations(conn)


async def test_embedded_database_is_refused(tmp_path):
    settings = Settings(data_dir=tmp_path)
    with EmbeddedPostgres.open(tmp_path, durable=False) as embedded:
        of_before(embedded.owner_url)
        server = Server(embedded.owner_url, embedded.app_url, embedded)

        with pytest.raises(MigrationError, match=WHAT_TO_DO):
            async with application(settings, server):
                pass

        embedded.destroy()


async def test_projects_own_migrations_are_no_hindrance(postgres_server, empty_database):
    url = postgres_server.owner_of(empty_database)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE SCHEMA supabase_migrations")
        conn.execute("CREATE TABLE supabase_migrations.schema_migrations (version text)")
        conn.execute("INSERT INTO supabase_migrations.schema_migrations VALUES ('20261201000000')")

    assert (await migrate(url)).adopted == ()
