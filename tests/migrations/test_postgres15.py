"""On a PostgreSQL 15 server: as Supabase is built (a non-superuser owner, a foreign schema `auth`,
default privileges for everybody), and plain with an owner that may create roles."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rota.domain.ids import UserId
from rota.store.database import Database
from rota.store.migrations import migrate, migrations

BINARIES = Path("/usr/lib/postgresql/15/bin")
SUPABASE = """
CREATE ROLE anon NOLOGIN NOINHERIT;
CREATE ROLE authenticated NOLOGIN NOINHERIT;
CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
CREATE ROLE supabase_auth_admin NOLOGIN NOINHERIT CREATEROLE;
CREATE ROLE postgres LOGIN NOSUPERUSER CREATEROLE CREATEDB BYPASSRLS;
CREATE ROLE rota_backend LOGIN;
GRANT anon, authenticated, service_role TO postgres;
GRANT anon, authenticated, service_role TO rota_backend;
"""
SUPABASE_DATABASE = """
GRANT ALL ON SCHEMA public TO postgres, anon, authenticated, service_role;
CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
CREATE TABLE auth.users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text);
ALTER TABLE auth.users OWNER TO supabase_auth_admin;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
    SELECT coalesce(nullif(current_setting('request.jwt.claim.sub', true), ''),
        (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'))::uuid $$;
ALTER FUNCTION auth.uid() OWNER TO supabase_auth_admin;
GRANT USAGE ON SCHEMA auth TO postgres, anon, authenticated, service_role;
GRANT ALL ON auth.users TO postgres;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
"""

pytestmark = pytest.mark.postgres15


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A superuser's URL (role `admin`) on a PostgreSQL 15 of our own, on a socket."""
    if not (BINARIES / "postgres").is_file():
        reason = f"no PostgreSQL 15 in {BINARIES}"
        if os.environ.get("ROTA_REQUIRE_POSTGRES15"):
            pytest.fail(reason)
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="rota-pg15-"))
    account = ["runuser", "-u", _account(), "--"] if os.geteuid() == 0 else []
    if account:
        os.chown(folder, *pwd.getpwnam(_account())[2:4])
    data = folder / "data"
    initdb = [BINARIES / "initdb", "-D", data, "-U", "admin", "-A", "trust", "--no-sync"]
    subprocess.run([*account, *initdb], check=True, capture_output=True)
    options = f"-F -c listen_addresses='' -c unix_socket_directories={folder}"
    control = [*account, BINARIES / "pg_ctl", "-D", data, "-w"]
    start = [*control, "-o", options, "-l", folder / "log", "start"]
    subprocess.run(start, check=True, capture_output=True)
    try:
        yield f"postgresql://admin@/template1?host={folder}"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True)
        shutil.rmtree(folder)


def _account() -> str:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


def as_role(url: str, role: str, database: str) -> str:
    return url.replace("//admin@/template1", f"//{role}@/{database}")


@pytest.fixture(scope="module")
def supabase(server) -> str:
    with psycopg.connect(server, autocommit=True) as conn:
        for statement in SUPABASE.strip().split(";"):
            if statement.strip():
                conn.execute(statement)
        conn.execute("CREATE DATABASE app OWNER postgres")
    with psycopg.connect(as_role(server, "admin", "app"), autocommit=True) as conn:
        conn.execute(SUPABASE_DATABASE)
    return server


async def test_server_is_15_and_its_owner_no_superuser(supabase):
    with psycopg.connect(as_role(supabase, "postgres", "app")) as conn:
        assert conn.info.server_version // 10_000 == 15
        row = conn.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        assert row == (False,)


async def test_supabase_is_migrated_twice_by_its_owner(supabase):
    owner = as_role(supabase, "postgres", "app")

    first = await migrate(owner)
    second = await migrate(owner)

    assert first.applied + first.already == tuple(m.name for m in migrations())
    assert second.applied == ()
    with psycopg.connect(as_role(supabase, "admin", "app")) as conn:
        owners = conn.execute(
            "SELECT DISTINCT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'auth'"
        ).fetchall()
    assert owners == [("supabase_auth_admin",)]


async def test_supabases_default_privileges_leave_no_hole(supabase):
    owner = as_role(supabase, "postgres", "app")
    await migrate(owner)
    with psycopg.connect(owner, autocommit=True) as conn:
        assert (
            conn.execute(
                "SELECT table_name, privilege_type FROM information_schema.role_table_grants"
                " WHERE table_schema = 'public' AND grantee = 'anon'"
            ).fetchall()
            == []
        )
        assert (
            conn.execute(
                "SELECT oid::regprocedure::text FROM pg_proc"
                " WHERE pronamespace = 'public'::regnamespace"
                " AND has_function_privilege('anon', oid, 'EXECUTE')"
            ).fetchall()
            == []
        )
        writable = conn.execute(
            "SELECT DISTINCT table_name FROM information_schema.role_table_grants"
            " WHERE table_schema = 'public' AND grantee = 'authenticated'"
            " AND privilege_type IN ('INSERT', 'UPDATE', 'TRUNCATE', 'TRIGGER', 'REFERENCES')"
        ).fetchall()
        assert writable == []  # by column only
        alice, bob = (
            conn.execute(
                "INSERT INTO auth.users (email) VALUES (%s) RETURNING id", [name]
            ).fetchone()[0]
            for name in ("alice", "bob")
        )
        conn.execute(
            "INSERT INTO notifications (user_id, category, title) VALUES (%s, 'info', 'hers')",
            [alice],
        )
    async with Database(as_role(supabase, "rota_backend", "app")).opened() as database:
        for user, seen in ((alice, 1), (bob, 0)):
            async with database.acting_as(UserId(user)) as conn:
                assert (await conn.execute("SELECT 1 FROM notifications")).rowcount == seen
                changed = await conn.execute("UPDATE notifications SET read_at = now()")
                assert changed.rowcount == seen
        async with database.acting_as(UserId(alice)) as conn:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await conn.execute("UPDATE notifications SET title = 'mine'")


async def test_plain_server_with_an_owner_that_may_create_roles(server):
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute("CREATE ROLE plain_owner LOGIN CREATEROLE")
        conn.execute("CREATE DATABASE plain OWNER plain_owner")
    owner = as_role(server, "plain_owner", "plain")

    report = await migrate(owner)

    assert report.applied == tuple(m.name for m in migrations())
    async with Database(owner).opened() as database:
        async with database.connection() as conn:
            row = await (
                await conn.execute("INSERT INTO auth.users (email) VALUES ('a') RETURNING id")
            ).fetchone()
        async with database.acting_as(UserId(row[0])) as conn:
            cursor = await conn.execute("SELECT agent_name FROM agent_configurations")
            assert await cursor.fetchall() == [("orchestrator",)]
