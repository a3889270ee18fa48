"""A session in SQL, as a person, that makes names of its own for rota's functions to stumble over.

Nothing that it defines may run as anybody but itself. PUBLIC may make temporary objects by default,
and does on Supabase; where rota made the database it may not, which the last tests show.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

import psycopg
import pytest

from benchmarks.rig.server import open_to_all
from rota.store.migrations import migrate
from rota.store.statements import statement

TYPES = "uuid text timestamptz int4 int8 bool jsonb bytea date name".split()
FUNCTIONS = {
    "now()": "timestamptz",
    "clock_timestamp()": "timestamptz",
    "gen_random_uuid()": "uuid",
    "to_jsonb(pg_catalog.anyelement)": "jsonb",
    "pg_notify(pg_catalog.text, pg_catalog.text)": "text",
}
MISLED = """
    SELECT p.oid::regprocedure::text FROM pg_proc AS p
    WHERE p.pronamespace IN ('public'::regnamespace, 'rota'::regnamespace, 'auth'::regnamespace)
      AND p.proconfig IS DISTINCT FROM ARRAY['search_path=pg_catalog, pg_temp']
      AND p.prosqlbody IS NULL
"""


def set_traps(conn: psycopg.Connection[Any]) -> None:
    """Make types, functions, operators and casts that raise when somebody else runs them."""
    conn.execute(
        "CREATE FUNCTION pg_temp.trap() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_user <> 'authenticated' THEN"
        " RAISE EXCEPTION 'a stranger runs code as %', current_user; END IF;"
        " RETURN true; END $$"
    )
    for name in TYPES:
        conn.execute(
            f"CREATE FUNCTION pg_temp.check_{name}(value pg_catalog.{name}) RETURNS boolean"
            " LANGUAGE plpgsql AS $$ BEGIN RETURN pg_temp.trap(); END $$"
        )
        conn.execute(
            f"CREATE DOMAIN pg_temp.{name} AS pg_catalog.{name} CHECK (pg_temp.check_{name}(value))"
        )
    for signature, returned in FUNCTIONS.items():
        conn.execute(
            f"CREATE FUNCTION pg_temp.{signature} RETURNS pg_catalog.{returned} LANGUAGE plpgsql"
            " AS $$ BEGIN PERFORM pg_temp.trap(); RETURN NULL; END $$"
        )
    conn.execute(
        "CREATE FUNCTION pg_temp.equal(pg_catalog.uuid, pg_catalog.uuid) RETURNS pg_catalog.bool"
        " LANGUAGE plpgsql AS $$ BEGIN RETURN pg_temp.trap(); END $$"
    )
    conn.execute(
        "CREATE OPERATOR pg_temp.= (LEFTARG = pg_catalog.uuid, RIGHTARG = pg_catalog.uuid,"
        " FUNCTION = pg_temp.equal)"
    )
    conn.execute("CREATE TYPE pg_temp.pair AS (a pg_catalog.text)")
    conn.execute(
        "CREATE FUNCTION pg_temp.as_json(pg_temp.pair) RETURNS pg_catalog.jsonb LANGUAGE plpgsql"
        " AS $$ BEGIN PERFORM pg_temp.trap(); RETURN '{}'; END $$"
    )
    conn.execute(
        "CREATE CAST (pg_temp.pair AS pg_catalog.jsonb) WITH FUNCTION"
        " pg_temp.as_json(pg_temp.pair) AS IMPLICIT"
    )


def act_as(conn: psycopg.Connection[Any], person: object) -> None:
    """Make a session a person's, as PostgREST does."""
    conn.execute("SET ROLE authenticated")
    claims = json.dumps({"sub": str(person)})
    conn.execute("SELECT set_config('request.jwt.claims', %s, false)", [claims])


@pytest.fixture
def session(owner_url, database_url, migrated_database, alice):
    """A session as Alice in SQL that may make temporary objects and has laid its traps."""
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute(f"GRANT TEMPORARY ON DATABASE {migrated_database} TO authenticated")
    with psycopg.connect(database_url, autocommit=True) as conn:
        act_as(conn, alice)
        set_traps(conn)
        yield conn


def an_action(owner_url: str, user: object, run: object, status: str) -> object:
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")  # past who may decide
        row = owner.execute(
            "INSERT INTO pending_actions (user_id, run_id, model_step, call_index, agent_name,"
            " tool_name, tool_version, arguments, arguments_hash, argument_schema, risk, mode,"
            " status, expires_at) VALUES (%s, %s, 1, floor(random() * 1e9)::int, 'a', 't', 1, '{}',"
            " repeat('0', 64), '{}', 'high', 'suspend', %s, now() + interval '1 day')"
            " RETURNING id",
            [user, run, status],
        ).fetchone()
    assert row is not None
    return row[0]


def call_each_function(session: psycopg.Connection[Any], owner_url: str, alice: object) -> None:
    """Call whatever a person may call, and write what has triggers. `owner_url`: a superuser's."""
    run = session.execute("SELECT public.request_run('a')").fetchone()[0]
    session.execute("SELECT public.request_run('a', 'p', ROW('x')::pg_temp.pair)")
    schedule = session.execute(
        "INSERT INTO public.agent_schedules (name, agent_name, every_seconds)"
        " VALUES ('s', 'a', 60) RETURNING id"
    ).fetchone()[0]
    by_schedule = session.execute(
        "SELECT public.request_schedule_run(%s, overlap => 'cancel_other')", [schedule]
    ).fetchone()[0]
    past = "ARRAY[pg_catalog.now() - interval '1 day']"
    session.execute(f"SELECT public.request_backfill(%s, {past})", [schedule])
    pending = an_action(owner_url, alice, run, "pending")
    session.execute("SELECT public.decide_action(%s, 'refuse')", [pending])
    unknown = an_action(owner_url, alice, by_schedule, "unknown")
    session.execute("SELECT public.settle_action(%s, 'again')", [unknown])
    an_action(owner_url, alice, by_schedule, "pending")
    session.execute("SELECT public.request_cancel(%s, 'no')", [by_schedule])
    session.execute("SELECT public.request_retry(%s)", [by_schedule])
    session.execute("INSERT INTO public.user_settings (time_zone) VALUES ('Europe/Berlin')")
    session.execute("UPDATE public.user_settings SET time_zone = 'Europe/Rome'")
    session.execute("UPDATE public.agent_schedules SET every_seconds = 61, prompt = 'x'")
    session.execute(
        "INSERT INTO public.approval_rules (user_id, effect, tool) VALUES (%s, 'deny', 't')",
        [alice],
    )
    session.execute("DELETE FROM public.agent_schedules")


def test_nothing_a_session_defines_runs_as_the_owner(session, owner_url, alice):
    call_each_function(session, owner_url, alice)


@pytest.mark.postgres15
async def test_nothing_a_session_defines_on_supabase_runs_as_postgres(supabase_database):
    """There PUBLIC makes temporary objects, and the owner of the functions is `postgres`."""
    await migrate(supabase_database.owner_url)
    superuser = supabase_database.url(supabase_database.server.superuser)
    open_to_all(superuser)
    alice = supabase_database.sign_up("alice@example.com")
    with psycopg.connect(supabase_database.backend_url, autocommit=True) as conn:
        act_as(conn, alice)
        set_traps(conn)
        call_each_function(conn, superuser, alice)


def test_traps_catch_a_function_with_an_empty_search_path(session, owner_url):
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("ALTER FUNCTION public.request_run(text, text, jsonb) SET search_path = ''")

    with pytest.raises(psycopg.errors.RaiseException, match="a stranger runs code as"):
        session.execute("SELECT public.request_run('a')")


def test_every_function_looks_in_pg_temp_last(owner_url):
    with psycopg.connect(owner_url) as owner:
        assert owner.execute(MISLED).fetchall() == []


async def test_where_rota_made_the_database_nobody_makes_temporary_objects(postgres_server):
    with postgres_server.database() as name:
        await migrate(postgres_server.owner_of(name))
        with psycopg.connect(postgres_server.backend_of(name), autocommit=True) as conn:
            for role in ("authenticated", "service_role", None):
                conn.execute(f"SET ROLE {role}" if role else "RESET ROLE")
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    conn.execute("CREATE TEMPORARY TABLE t (a int)")


def test_doctor_says_which_rights_to_take_back(owner_url, migrated_database):
    said = [
        f"REVOKE TEMPORARY ON DATABASE {migrated_database} FROM PUBLIC",
        "ALTER ROLE careless NOCREATEROLE",
    ]
    with psycopg.connect(owner_url) as conn:
        conn.execute(f"GRANT TEMPORARY ON DATABASE {migrated_database} TO PUBLIC")
        conn.execute("CREATE ROLE careless CREATEROLE")
        conn.execute("ALTER SCHEMA rota OWNER TO careless; ALTER SCHEMA auth OWNER TO careless")
        found = [row[0] for row in conn.execute(statement("operations/list_needless_rights"))]
        assert [right.partition(": ")[2] for right in found] == said
        for right in said:
            conn.execute(right)
        assert not conn.execute(statement("operations/list_needless_rights")).fetchall()
        conn.rollback()


async def test_an_owner_without_createrole_migrates(postgres_server):
    """Once the request roles are there; on PostgreSQL 15 the first call gives the right up."""
    role = f"owner_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_server.owner_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN CREATEROLE PASSWORD 'secret'")
        for granted in ("anon", "authenticated", "service_role"):
            admin.execute(f"GRANT {granted} TO {role} WITH ADMIN OPTION")
        with postgres_server.database() as name:
            admin.execute(f"ALTER DATABASE {name} OWNER TO {role}")
            parts = psycopg.conninfo.conninfo_to_dict(postgres_server.owner_of(name))
            url = psycopg.conninfo.make_conninfo(**(parts | {"user": role, "password": "secret"}))

            first = await migrate(url)
            kept = admin.execute("SELECT rolcreaterole FROM pg_roles WHERE rolname = %s", [role])
            assert kept.fetchone() == (admin.info.server_version >= 160_000,)
            admin.execute(f"ALTER ROLE {role} NOCREATEROLE")
            second = await migrate(url)

            assert first.applied
            assert second.applied == ()
            admin.execute(f"ALTER DATABASE {name} OWNER TO CURRENT_USER")
        admin.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
