"""Roles belong to the cluster: what an owner may not do is said as statements for who may."""

from __future__ import annotations

import re

import psycopg
import pytest

from rota.domain.errors import MigrationError
from rota.domain.ids import UserId
from rota.store.database import Database
from rota.store.migrations import migrate, migrations
from rota.store.roles import backend_role_problem
from tests import supabase
from tests.conftest import need_postgres15


def owned_by_another(owner_url, role):
    """Make a role that may create roles; nothing is its own but the database it gets."""
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute(f"DROP ROLE IF EXISTS {role}")
        conn.execute(f"CREATE ROLE {role} LOGIN CREATEROLE PASSWORD 'x'")


async def test_second_owner_in_a_cluster_migrates_a_database_of_its_own(postgres_server):
    """On 16 and newer it may not grant the roles that the first one made, and need not."""
    with postgres_server.database() as name:
        owner_url = postgres_server.owner_of(name)
        owned_by_another(owner_url, "second_owner")
        with psycopg.connect(owner_url, autocommit=True) as conn:
            conn.execute(f"ALTER DATABASE {name} OWNER TO second_owner")
        host = owner_url.rpartition("@")[2]
        try:
            url = f"postgresql://second_owner:x@{host}"
            report = await migrate(url)
            assert report.applied == tuple(m.name for m in migrations())
            assert (await migrate(url)).applied == ()
            async with Database(postgres_server.backend_of(name)).opened() as database:
                async with database.connection() as conn:
                    assert await backend_role_problem(conn) is None
                    cursor = await conn.execute(
                        "INSERT INTO auth.users (email) VALUES ('a') RETURNING id"
                    )
                    user = UserId((await cursor.fetchone())[0])
                async with database.acting_as(user) as conn:
                    cursor = await conn.execute("SELECT agent_name FROM agent_configurations")
                    assert await cursor.fetchall() == [("orchestrator",)]
        finally:
            with psycopg.connect(owner_url, autocommit=True) as conn:
                conn.execute("REASSIGN OWNED BY second_owner TO CURRENT_USER")
                conn.execute("DROP OWNED BY second_owner")
                conn.execute("DROP ROLE second_owner")


@pytest.mark.postgres15
async def test_what_an_owner_may_not_do_is_said_as_statements(tmp_path):
    need_postgres15()
    with supabase.postgres15("admin") as server:
        server.execute("template1", "CREATE ROLE poor LOGIN", "CREATE ROLE rota_backend LOGIN")
        with server.database("poor") as name:
            with pytest.raises(MigrationError, match=f"poor:...@HOST/{name}"):
                await migrate(server.url("rota_backend", name))

            url = server.url("poor", name)
            with pytest.raises(
                MigrationError, match='ALTER ROLE "poor" CREATEROLE; Then'
            ) as refused:
                await migrate(url)
            roles = re.findall(r"CREATE ROLE [\w ]+;", refused.value.message)
            assert len(roles) == 3
            server.execute(name, *roles)

            with pytest.raises(MigrationError, match="poor may not grant the roles") as refused:
                await migrate(url)
            grants = re.findall(r"GRANT [\w ]+;", refused.value.message)
            assert len(grants) == 3
            assert all(grant.endswith("TO rota_backend;") for grant in grants)
            server.execute(name, *grants)

            assert (await migrate(url)).applied == tuple(m.name for m in migrations())
            with psycopg.connect(server.url("rota_backend", name)) as conn:
                conn.execute("SET ROLE authenticated")


@pytest.mark.postgres15
async def test_database_of_a_superuser_is_given_to_the_owner_as_printed():
    need_postgres15()
    with supabase.postgres15("postgres") as server:
        server.execute("template1", "CREATE ROLE rota_owner LOGIN CREATEROLE")
        server.execute("template1", "CREATE ROLE rota_backend LOGIN")
        with server.database("postgres") as name:
            for role in ("rota_backend", "rota_owner"):
                with pytest.raises(MigrationError) as refused:
                    await migrate(server.url(role, name))
                assert refused.value.message == (
                    f"{role} may not change the schema of the database {name}. Run as a superuser: "
                    f'ALTER DATABASE "{name}" OWNER TO "rota_owner"; Then run: '
                    f"rota migrate --database-url postgresql://rota_owner:...@HOST/{name}"
                )
            server.execute(name, *re.findall(r"ALTER [^;]+;", refused.value.message))
            url = server.url("rota_owner", name)
            assert (await migrate(url)).applied == tuple(m.name for m in migrations())


@pytest.mark.postgres15
async def test_owner_without_createrole_migrates_with_the_first_statement_printed():
    need_postgres15()
    with supabase.postgres15("admin") as server:
        server.execute("template1", "CREATE ROLE rota_owner LOGIN")
        server.execute("template1", "CREATE ROLE rota_backend LOGIN")
        with server.database("rota_owner") as name:
            url = server.url("rota_owner", name)
            with pytest.raises(MigrationError) as refused:
                await migrate(url)
            first = re.findall(r"(?:CREATE|ALTER) ROLE [^;]+;", refused.value.message)[0]
            assert first == 'ALTER ROLE "rota_owner" CREATEROLE;'
            server.execute(name, first)
            assert (await migrate(url)).applied == tuple(m.name for m in migrations())
            with psycopg.connect(server.url("rota_backend", name)) as conn:
                conn.execute("SET ROLE authenticated")


@pytest.mark.postgres15
@pytest.mark.parametrize("owner", ["postgres", "rota_owner"])
async def test_database_in_utf8_is_made_and_migrated_as_printed(owner):
    """Whoever owns the one in LATIN1, `rota_owner` gets the new one, with a name that is free."""
    need_postgres15()
    with supabase.postgres15("postgres") as server:
        server.execute("template1", "CREATE ROLE rota_owner LOGIN CREATEROLE")
        server.execute("template1", "CREATE ROLE rota_backend LOGIN")
        latin = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        server.execute("template1", f"CREATE DATABASE rota OWNER {owner} {latin}")
        for role in ("rota_backend", "rota_owner", "postgres"):
            with pytest.raises(MigrationError) as refused:
                await migrate(server.url(role, "rota"))
            (statement,) = re.findall(r"CREATE DATABASE [^;]+;", refused.value.message)
            assert statement == (
                "CREATE DATABASE rota_2 OWNER rota_owner ENCODING 'UTF8' TEMPLATE template0;"
            )
        server.execute("template1", statement)
        report = await migrate(server.url("rota_owner", "rota_2"))
        assert report.applied == tuple(m.name for m in migrations())
