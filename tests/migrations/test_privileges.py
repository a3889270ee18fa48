"""What the request roles may do is the same on every server, and no more than is written down."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import migrate
from tests import supabase
from tests.postgres import on_database
from tests.privileges import document, privileges
from tests.schema import REFERENCE


def written() -> str:
    return (REFERENCE / "privileges.md").read_text(encoding="utf-8")


def test_nobody_holds_more_on_18_than_is_written_down(owner_url):
    assert document(owner_url) == written()


@pytest.mark.postgres15
async def test_nobody_holds_more_on_plain_15_than_is_written_down(plain15):
    plain15.execute("template1", "CREATE ROLE lister LOGIN CREATEROLE")
    with plain15.database("lister") as name:
        await migrate(plain15.url("lister", name))

        assert document(plain15.url("lister", name)) == written()


@pytest.mark.postgres15
async def test_nobody_holds_more_on_supabase_than_is_written_down(supabase_database):
    await migrate(supabase_database.owner_url)

    assert document(supabase_database.owner_url) == written()


@pytest.fixture
def supabase_on_18(tmp_path) -> Iterator[str]:
    """The URL of `postgres` on a server of the embedded binaries that is like Supabase's."""
    embedded = EmbeddedPostgres.open(tmp_path / "data", durable=False)
    try:
        with psycopg.connect(on_database(embedded.owner_url, "postgres"), autocommit=True) as conn:
            conn.execute("CREATE ROLE supabase_admin SUPERUSER")
            for statement in supabase.statements_of(supabase.ROLES):
                conn.execute(statement)
            conn.execute(supabase.FROM_16_ON)
            conn.execute("ALTER ROLE postgres PASSWORD 'x'")
            conn.execute("CREATE DATABASE app OWNER postgres")
        url = on_database(embedded.owner_url, "app")
        with psycopg.connect(url, autocommit=True) as conn:
            conn.execute(supabase.DATABASE)
        yield f"postgresql://postgres:x@{url.rpartition('@')[2]}"
    finally:
        embedded.destroy()


async def test_nobody_holds_more_on_supabase_on_18_than_is_written_down(supabase_on_18):
    """Its ALL has MAINTAIN too, and its `postgres` grants roles by ADMIN OPTION alone."""
    await migrate(supabase_on_18)

    assert document(supabase_on_18) == written()
    with psycopg.connect(supabase_on_18) as conn:
        row = conn.execute("SELECT pg_has_role('rota_backend', 'authenticated', 'SET')").fetchone()
        assert row == (True,)


def test_list_has_no_privilege_that_is_for_owners(owner_url):
    for_owners = ("TRIGGER", "REFERENCES", "MAINTAIN", "GRANT OPTION")
    for thing, of_roles in privileges(owner_url).items():
        assert set(of_roles) <= {"authenticated", "service_role"}, thing
        for words in of_roles.values():
            assert not any(word in words for word in for_owners), thing
            # PgQueuer empties its tables that way; they hold nothing that people own.
            assert "TRUNCATE" not in words or thing.startswith("table rota.pgqueuer"), thing
        if thing.startswith("sequence"):  # UPDATE is setval
            assert of_roles in ({}, {"service_role": "USAGE"}), thing


@pytest.mark.postgres15
async def test_anon_cannot_set_the_counters_that_decisions_need(supabase_database):
    await migrate(supabase_database.owner_url)
    with psycopg.connect(supabase_database.owner_url, autocommit=True) as conn:
        for role in ("anon", "authenticated", "service_role"):
            conn.execute(f"SET ROLE {role}")
            for sequence in ("audit_logs_id_seq", "schedule_changes_id_seq"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute(f"SELECT setval('public.{sequence}', 9223372036854775807)")


@pytest.mark.postgres15
async def test_service_role_cannot_have_a_trigger_run_as_whoever_writes(supabase_database):
    await migrate(supabase_database.owner_url)
    with psycopg.connect(supabase_database.owner_url, autocommit=True) as conn:
        conn.execute(
            "CREATE FUNCTION public.evil() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RETURN NEW; END$$"
        )
        conn.execute("SET ROLE service_role")
        for statement in (
            "CREATE TRIGGER evil BEFORE INSERT ON tools FOR EACH ROW EXECUTE FUNCTION evil()",
            "TRUNCATE public.notifications",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                conn.execute(statement)


@pytest.mark.postgres15
async def test_next_table_is_kept_to_the_backend_whatever_the_defaults_are(supabase_database):
    await migrate(supabase_database.owner_url)
    with psycopg.connect(supabase_database.owner_url, autocommit=True) as conn:
        conn.execute(
            "CREATE TABLE public.next (id bigint GENERATED ALWAYS AS IDENTITY, n bigserial)"
        )
        conn.execute("SELECT rota.keep_to_backend('public.next')")

    found = privileges(supabase_database.owner_url)

    assert found["table public.next"] == {"service_role": "SELECT, INSERT, UPDATE, DELETE"}
    assert found["sequence public.next_id_seq"] == {}
    assert found["sequence public.next_n_seq"] == {"service_role": "USAGE"}
