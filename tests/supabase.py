"""PostgreSQL 15 servers of the tests' own: a plain one, and one that is as Supabase makes its own.

The roles, their attributes and memberships, the default privileges, the schema `auth` with its
owners, row-level security and `auth.uid()` are those of supabase/postgres (init scripts, and
migrations to 2026-10) and of the migrations of supabase/auth (2026-08). The database's owner,
`postgres`, is no superuser; it is exempt from row-level security and may create roles.

Left out: supautils (it keeps `postgres` from changing the roles below; rota does not), safeupdate,
the other extensions, the schemas and roles of storage, realtime, graphql, vault and the dashboard,
all tables of `auth` but `users`, and its columns for passwords, telephones and tokens, passwords of
roles, the pooler and PostgREST. From PostgreSQL 16 on, `postgres` has ADMIN OPTION on `anon`,
`authenticated` and `service_role` besides.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

BINARIES = Path("/usr/lib/postgresql/15/bin")

BACKEND = "rota_backend"

TEMPLATE = "supabase"
"""The database that those of the tests are copied from."""

ROLES = """
CREATE ROLE postgres LOGIN;
ALTER ROLE postgres NOSUPERUSER CREATEDB CREATEROLE LOGIN REPLICATION BYPASSRLS;
ALTER ROLE postgres SET search_path TO "$user", public, extensions;
CREATE ROLE anon NOLOGIN INHERIT;
CREATE ROLE authenticated NOLOGIN INHERIT;
CREATE ROLE service_role NOLOGIN INHERIT BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT;
CREATE ROLE supabase_auth_admin LOGIN NOINHERIT NOCREATEROLE NOREPLICATION;
ALTER ROLE supabase_auth_admin SET search_path = auth;
ALTER ROLE anon SET statement_timeout = '3s';
ALTER ROLE authenticated SET statement_timeout = '8s';
ALTER ROLE authenticator SET statement_timeout = '8s';
ALTER ROLE authenticator SET lock_timeout = '8s';
GRANT anon, authenticated, service_role TO authenticator;
GRANT anon, authenticated, service_role TO postgres;
GRANT pg_monitor, pg_read_all_data, pg_signal_backend TO postgres;
"""

DATABASE = """
CREATE SCHEMA extensions;
GRANT USAGE ON SCHEMA extensions TO postgres, anon, authenticated, service_role;

GRANT USAGE ON SCHEMA public TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres IN SCHEMA public
    GRANT ALL ON SEQUENCES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA public
    GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_admin IN SCHEMA public
    GRANT ALL ON SEQUENCES TO postgres, anon, authenticated, service_role;

CREATE SCHEMA auth AUTHORIZATION supabase_admin;
GRANT ALL ON SCHEMA auth TO supabase_auth_admin;
GRANT USAGE ON SCHEMA auth TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_auth_admin IN SCHEMA auth
    GRANT ALL ON TABLES TO postgres;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_auth_admin IN SCHEMA auth
    GRANT ALL ON SEQUENCES TO postgres;
ALTER DEFAULT PRIVILEGES FOR ROLE supabase_auth_admin IN SCHEMA auth
    GRANT ALL ON ROUTINES TO postgres;

SET ROLE supabase_auth_admin;
CREATE TABLE auth.users (
    instance_id uuid,
    id uuid NOT NULL PRIMARY KEY,
    aud varchar(255),
    role varchar(255),
    email varchar(255),
    last_sign_in_at timestamptz,
    raw_app_meta_data jsonb,
    raw_user_meta_data jsonb,
    is_super_admin boolean,
    created_at timestamptz,
    updated_at timestamptz,
    banned_until timestamptz,
    is_sso_user boolean NOT NULL DEFAULT false,
    deleted_at timestamptz,
    is_anonymous boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX users_email_partial_key ON auth.users (email) WHERE is_sso_user = false;
ALTER TABLE auth.users ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON auth.users TO postgres WITH GRANT OPTION;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS $$
  select
  coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')
  )::uuid
$$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS $$
  select
  coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role')
  )::text
$$;
CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS $$
  select
    coalesce(
        nullif(current_setting('request.jwt.claim', true), ''),
        nullif(current_setting('request.jwt.claims', true), '')
    )::jsonb
$$;
RESET ROLE;
"""

EXTENSIONS = """
CREATE EXTENSION pgcrypto WITH SCHEMA extensions;
CREATE EXTENSION "uuid-ossp" WITH SCHEMA extensions;
"""

FROM_16_ON = "GRANT anon, authenticated, service_role TO postgres WITH ADMIN OPTION"


@dataclass(frozen=True)
class Server15:
    """A running PostgreSQL 15 on a socket; every role signs in without a password."""

    folder: Path
    superuser: str

    def url(self, role: str, database: str) -> str:
        return f"postgresql://{role}@/{database}?host={self.folder}"

    def execute(self, database: str, *statements: str, role: str | None = None) -> None:
        """Execute statements one by one, as the superuser if no role is named."""
        with psycopg.connect(self.url(role or self.superuser, database), autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)

    @contextmanager
    def database(self, owner: str, template: str = "template0") -> Iterator[str]:
        """Make a database with a name of its own for the life of the block."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.url(self.superuser, "template1"), autocommit=True) as conn:
            made = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} ENCODING 'UTF8'")
            conn.execute(made.format(*map(sql.Identifier, (name, owner, template))))
            try:
                yield name
            finally:
                conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True)
class SupabaseDatabase:
    """A database as a project of Supabase has it, without rota's schema yet."""

    server: Server15
    name: str

    @property
    def owner_url(self) -> str:
        """The URL of `postgres`, which migrates."""
        return self.url("postgres")

    @property
    def backend_url(self) -> str:
        """The URL of rota's own role, which the how-to has `postgres` make."""
        return self.url(BACKEND)

    def url(self, role: str) -> str:
        return self.server.url(role, self.name)

    def sign_up(self, email: str) -> str:
        """Insert a person as Supabase's auth server does; returns their id."""
        with psycopg.connect(self.url("supabase_auth_admin"), autocommit=True) as conn:
            row = conn.execute(
                "INSERT INTO auth.users (id, aud, role, email, created_at, raw_app_meta_data)"
                " VALUES (gen_random_uuid(), 'authenticated', 'authenticated', %s, now(),"
                """ '{"provider": "email", "providers": ["email"]}') RETURNING id::text""",
                [email],
            ).fetchone()
        assert row is not None
        return str(row[0])


def why_missing() -> str | None:
    """Say why no PostgreSQL 15 can be started here; None where one can."""
    return None if (BINARIES / "postgres").is_file() else f"no PostgreSQL 15 in {BINARIES}"


@contextmanager
def postgres15(superuser: str) -> Iterator[Server15]:
    """Start a server of 15 for the life of the block, in a directory of its own."""
    folder = Path(tempfile.mkdtemp(prefix="rota-pg15-"))
    account = ["runuser", "-u", _account(), "--"] if os.geteuid() == 0 else []
    if account:
        os.chown(folder, *pwd.getpwnam(_account())[2:4])
    data = folder / "data"
    initdb = [BINARIES / "initdb", "-D", data, "-U", superuser, "-A", "trust", "--no-sync"]
    utf8 = ["--encoding", "UTF8", "--locale", "C.UTF-8"]
    subprocess.run([*account, *initdb, *utf8], check=True, capture_output=True)
    options = f"-F -c listen_addresses='' -c unix_socket_directories={folder}"
    control = [*account, BINARIES / "pg_ctl", "-D", data, "-w"]
    start = [*control, "-o", options, "-l", folder / "log", "start"]
    subprocess.run(start, check=True, capture_output=True)
    try:
        yield Server15(folder, superuser)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True)
        shutil.rmtree(folder)


def _account() -> str:
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        return "nobody"


def make_supabase(server: Server15) -> None:
    """Make Supabase's roles, and the database that those of the tests are copied from."""
    server.execute("template1", *statements_of(ROLES))
    server.execute("template1", f"CREATE DATABASE {TEMPLATE} OWNER postgres TEMPLATE template0")
    server.execute(TEMPLATE, DATABASE, EXTENSIONS)
    # What docs/howto/own-database.md has one do before the first `rota migrate`.
    server.execute(TEMPLATE, f"CREATE ROLE {BACKEND} LOGIN", role="postgres")


def statements_of(text: str) -> list[str]:
    """Split statements that hold no semicolon."""
    return [statement for statement in map(str.strip, text.split(";")) if statement]
