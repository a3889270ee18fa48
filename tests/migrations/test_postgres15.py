"""On PostgreSQL 15: as Supabase makes it, and plain with an owner that may create roles."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from rota.domain.ids import UserId
from rota.store.database import Database
from rota.store.migrations import migrate, migrations

pytestmark = pytest.mark.postgres15


async def test_server_is_15_and_its_owner_no_superuser(supabase_database):
    with psycopg.connect(supabase_database.owner_url) as conn:
        assert conn.info.server_version // 10_000 == 15
        row = conn.execute(
            "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row == (False, True)


async def test_supabase_is_migrated_twice_by_its_owner(supabase_database):
    first = await migrate(supabase_database.owner_url)
    second = await migrate(supabase_database.owner_url)

    assert first.applied == tuple(m.name for m in migrations())
    assert second.applied == ()
    with psycopg.connect(supabase_database.owner_url) as conn:
        owners = conn.execute(
            "SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'auth'"
            " UNION SELECT relowner::regrole::text FROM pg_class"
            " WHERE relnamespace = 'auth'::regnamespace AND relkind = 'r' ORDER BY 1"
        ).fetchall()
    assert owners == [("supabase_admin",), ("supabase_auth_admin",)]


async def test_people_of_supabase_see_and_change_their_own_alone(supabase_database):
    await migrate(supabase_database.owner_url)
    alice, bob = (supabase_database.sign_up(f"{name}@example.com") for name in ("alice", "bob"))
    with psycopg.connect(supabase_database.owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO notifications (user_id, category, title) VALUES (%s, 'info', 'hers')",
            [alice],
        )
    async with Database(supabase_database.backend_url).opened() as database:
        for user, seen in ((alice, 1), (bob, 0)):
            async with database.acting_as(UserId(UUID(user))) as conn:
                assert (await conn.execute("SELECT 1 FROM notifications")).rowcount == seen
                changed = await conn.execute("UPDATE notifications SET read_at = now()")
                assert changed.rowcount == seen
        async with database.acting_as(UserId(UUID(alice))) as conn:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await conn.execute("UPDATE notifications SET title = 'mine'")


async def test_plain_server_with_an_owner_that_may_create_roles(plain15):
    plain15.execute("template1", "CREATE ROLE plain_owner LOGIN CREATEROLE")
    with plain15.database("plain_owner") as name:
        owner = plain15.url("plain_owner", name)

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
