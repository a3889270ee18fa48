"""The runner: twice, at once, half-way, on foreign ground."""

from __future__ import annotations

import asyncio
import dataclasses
import re

import psycopg
import pytest
from pgqueuer.adapters.persistence import qb

from rota.domain.errors import MigrationError, StatementError, UnavailableError
from rota.engine.queue import queue_settings
from rota.store.migrations import migrate, migrations

CATALOGUE = """
SELECT 'column', table_schema || '.' || table_name || '.' || column_name,
       concat_ws(' ', data_type, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema IN ('public', 'rota')
UNION ALL
SELECT 'index', schemaname || '.' || indexname, indexdef FROM pg_indexes
WHERE schemaname IN ('public', 'rota')
UNION ALL
SELECT 'policy', tablename || '.' || policyname, concat_ws(' ', cmd, roles::text, qual, with_check)
FROM pg_policies
UNION ALL
SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace::regnamespace::text IN ('public', 'rota')
UNION ALL
SELECT 'trigger', tgrelid::regclass || '.' || tgname, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', oid::regprocedure::text, concat_ws(' ', prosrc, proacl::text)
FROM pg_proc WHERE pronamespace::regnamespace::text IN ('public', 'rota')
UNION ALL
SELECT 'grant', relnamespace::regnamespace || '.' || relname, relacl::text
FROM pg_class WHERE relnamespace::regnamespace::text IN ('public', 'rota')
ORDER BY 1, 2, 3
"""


@pytest.fixture
def url(postgres_server, empty_database) -> str:
    return postgres_server.owner_of(empty_database)


def catalogue(url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(url, autocommit=True) as conn:
        return conn.execute(CATALOGUE).fetchall()


def execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)


async def test_applying_twice_changes_nothing(url):
    first = await migrate(url)
    before = catalogue(url)

    second = await migrate(url)

    assert first.applied == tuple(m.name for m in migrations())
    assert (second.applied, second.already) == ((), first.applied)
    assert catalogue(url) == before


async def test_two_runners_at_once_are_safe(url):
    reports = await asyncio.gather(*(migrate(url) for _ in range(3)))

    assert sorted(len(r.applied) for r in reports) == [0, 0, len(migrations())]


async def test_the_specs_two_files_are_there_by_name():
    names = {m.name for m in migrations()}

    assert "20260217000000_agent_execution_results" in names
    assert "20260217000003_configure_orchestrator_agent" in names


async def test_first_schema_makes_each_thing_once():
    """Later files may replace what these made: a database in use is brought up by them."""
    first = [m for m in migrations() if m.version <= "20260217000006"]
    made = [
        f"{kind} {name}"
        for migration in first
        for kind, name in re.findall(
            r"^CREATE (?:OR REPLACE )?(?:UNIQUE )?(?:UNLOGGED )?(FUNCTION|TABLE|VIEW|INDEX) "
            r"([\w.]+)",
            migration.sql,
            re.MULTILINE,
        )
    ]

    assert "FUNCTION public.decide_action" in made
    assert sorted(made) == sorted(set(made))
    # Two tables refer to each other's rows; one of the keys can only come later.
    changed = {
        table
        for migration in first
        for table in re.findall(r"^(?:DROP|ALTER) \w+ ([\w.]+)", migration.sql, re.MULTILINE)
    }
    assert changed == {"public.schedule_occurrences", "public.agent_runs"}


async def test_nobody_but_the_backend_executes_functions_of_rota(owner):
    cursor = await owner.execute(
        "SELECT DISTINCT p.proname::text FROM pg_proc AS p"
        " CROSS JOIN unnest(ARRAY['anon', 'authenticated']) AS client"
        " WHERE p.pronamespace = 'rota'::regnamespace"
        " AND has_function_privilege(client, p.oid, 'EXECUTE')"
    )
    # A table's checks, and the conditions of its triggers, are executed as whoever writes the row.
    assert {name for (name,) in await cursor.fetchall()} == {
        "is_bounded_json",
        "may",
        "writes_as_person",
    }


async def test_files_are_plain_sql():
    for migration in migrations():
        code = "\n".join(line.split("--")[0] for line in migration.sql.splitlines()).upper()
        assert "COMMIT;" not in code
        assert "BEGIN;" not in code
        assert "CONCURRENTLY" not in code
        assert "CREATE EXTENSION" not in code


async def test_table_that_rota_did_not_make_is_refused_and_left_alone(url):
    execute(url, "CREATE TABLE public.notifications (mine text)")

    with pytest.raises(MigrationError, match=r"public\.notifications"):
        await migrate(url)

    assert [row[1] for row in catalogue(url) if row[0] == "column"] == ["public.notifications.mine"]


async def test_file_edited_after_it_was_applied_is_refused(url):
    await migrate(url)
    edited = [dataclasses.replace(m, sql=m.sql + "\n-- more") for m in migrations()]

    with pytest.raises(MigrationError, match="changed after it was applied"):
        await migrate(url, shipped=edited)


async def test_failing_file_leaves_nothing_half_done(url):
    broken = [*migrations()[:2], dataclasses.replace(migrations()[2], sql="SELECT 1; SELEKT")]

    with pytest.raises(StatementError, match="SELEKT"):
        await migrate(url, shipped=broken)

    assert catalogue(url) == []


async def test_role_without_rights_is_told_what_to_do(postgres_server, empty_database):
    with pytest.raises(MigrationError, match="rota migrate"):
        await migrate(postgres_server.backend_of(empty_database))


async def test_server_that_does_not_answer_is_unavailable():
    with pytest.raises(UnavailableError):
        await migrate("postgresql://nobody@127.0.0.1:1/none")


async def test_queue_is_what_the_installed_pgqueuer_would_create(
    postgres_server, migrated_database
):
    def queue_part(name: str) -> list[tuple[str, ...]]:
        return [
            row[:2]
            if row[0] in {"grant", "function"}
            # Ours announces only while there is room.
            else tuple(re.sub(r" WHEN \(.*queue_usage.*?\) EXECUTE", " EXECUTE", p) for p in row)
            for row in catalogue(postgres_server.owner_of(name))
            if "pgqueuer" in row[1] and row[0] != "policy"
        ]

    with postgres_server.database() as other:
        url = postgres_server.owner_of(other)
        settings = queue_settings()
        install = qb.QueryBuilderEnvironment(settings=settings).build_install_query()
        execute(url, install)
        assert queue_part(migrated_database) == queue_part(other)
        body = "SELECT prosrc FROM pg_proc WHERE proname = 'fn_pgqueuer_changed'"
        with (
            psycopg.connect(url) as fresh,
            psycopg.connect(postgres_server.owner_of(migrated_database)) as ours,
        ):
            assert ours.execute(body).fetchall() == fresh.execute(body).fetchall()


async def test_connection_that_breaks_in_the_middle_is_unavailable_and_leaves_all_as_it_was(url):
    await migrate(url)
    before = catalogue(url)
    first = migrations()[0]
    cut_off = dataclasses.replace(
        first,
        version="20991231000000",
        name="20991231000000_cut_off",
        sql="CREATE TABLE public.half (id int); SELECT pg_terminate_backend(pg_backend_pid())",
    )

    with pytest.raises(UnavailableError, match="went away"):
        await migrate(url, shipped=[*migrations(), cut_off])

    assert catalogue(url) == before
