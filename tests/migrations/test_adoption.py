"""What Supabase's CLI applied of rota's files is adopted; what only has the number is refused."""

from __future__ import annotations

import dataclasses

import psycopg
import pytest

from rota.domain.errors import MigrationError
from rota.store.migrations import migrate, migrations
from tests.migrations.test_migrations import catalogue

CLI = (
    "CREATE SCHEMA supabase_migrations",
    "CREATE TABLE supabase_migrations.schema_migrations (version text NOT NULL PRIMARY KEY)",
)
CLI_SINCE_2023 = (
    *CLI,
    "ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN statements text[]",
    "ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN name text",
)
FIRST = migrations()[0]


@pytest.fixture
def conn(postgres_server, empty_database):
    with psycopg.connect(postgres_server.owner_of(empty_database), autocommit=True) as opened:
        yield opened


@pytest.fixture
def url(postgres_server, empty_database) -> str:
    return postgres_server.owner_of(empty_database)


def make_table(conn, statements) -> None:
    for statement in statements:
        conn.execute(statement)


def book(conn, version, name) -> None:
    conn.execute(
        "INSERT INTO supabase_migrations.schema_migrations (version, statements, name)"
        " VALUES (%s, ARRAY['SELECT 1'], %s)",
        [version, name],
    )


def push(conn, files=None) -> None:
    """Apply and book files as `supabase db push` does."""
    for migration in migrations() if files is None else files:
        conn.execute(migration.sql.encode())
        book(conn, migration.version, migration.name.partition("_")[2])


@pytest.mark.postgres15
async def test_what_supabases_cli_pushed_is_adopted_and_works_alike(supabase_database):
    with psycopg.connect(supabase_database.owner_url, autocommit=True) as conn:
        make_table(conn, CLI_SINCE_2023)
        push(conn)

    report = await migrate(supabase_database.owner_url)

    assert report.adopted == tuple(m.name for m in migrations())
    assert report.applied == ()
    assert (await migrate(supabase_database.owner_url)).already == report.adopted
    with psycopg.connect(supabase_database.backend_url) as conn:
        assert conn.execute("SET ROLE authenticated").statusmessage == "SET"


async def test_names_that_an_old_cli_did_not_keep_are_not_asked_for(url, conn):
    await migrate(url)
    expected = catalogue(url)
    conn.execute("DROP TABLE rota.schema_migrations")
    make_table(conn, CLI)
    for migration in migrations():
        conn.execute(
            "INSERT INTO supabase_migrations.schema_migrations VALUES (%s)", [migration.version]
        )

    report = await migrate(url)

    assert report.adopted == tuple(m.name for m in migrations())
    assert catalogue(url) == expected


async def test_what_the_cli_has_not_is_applied_after_what_it_has(url, conn):
    await migrate(url, shipped=migrations()[:11])
    conn.execute("DROP TABLE rota.schema_migrations")
    make_table(conn, CLI_SINCE_2023)
    for migration in migrations()[:11]:
        book(conn, migration.version, migration.name.partition("_")[2])

    report = await migrate(url)

    assert report.adopted == tuple(m.name for m in migrations()[:11])
    assert report.applied == tuple(m.name for m in migrations()[11:])


async def test_foreign_migration_of_the_same_number_is_refused_by_its_name(url, conn):
    make_table(conn, CLI_SINCE_2023)
    book(conn, FIRST.version, "shop")

    with pytest.raises(MigrationError, match=rf"{FIRST.version}_shop, which is not rota's"):
        await migrate(url)

    assert not [row for row in catalogue(url) if row[1].startswith("rota.")]


@pytest.mark.parametrize("table", [CLI, CLI_SINCE_2023])
async def test_booking_without_what_the_file_makes_is_refused(url, conn, table):
    make_table(conn, table)
    conn.execute(
        "INSERT INTO supabase_migrations.schema_migrations (version) VALUES (%s)", [FIRST.version]
    )

    with pytest.raises(MigrationError, match=r"rota\.keep_to_backend\(\), which that makes, is"):
        await migrate(url)

    assert not [row for row in catalogue(url) if row[1].startswith("rota.")]


async def test_what_a_later_file_drops_is_not_missed(url, conn):
    last = migrations()[-1]
    dropping = dataclasses.replace(
        last,
        version="20991231000000",
        name="20991231000000_drops",
        sql="DROP TABLE rota.marks;\nDROP FUNCTION IF EXISTS rota.announce_turn() CASCADE;\n",
    )
    files = (*migrations(), dropping)
    await migrate(url, shipped=files)
    conn.execute("DROP TABLE rota.schema_migrations")
    make_table(conn, CLI_SINCE_2023)
    for migration in files:
        book(conn, migration.version, migration.name.partition("_")[2])

    assert (await migrate(url, shipped=files)).adopted == tuple(m.name for m in files)
