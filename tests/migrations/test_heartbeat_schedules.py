"""AC-8: whoever has Telegram linked, before the migration or after it, gets one heartbeat at 7.

Those who may run agents, that is; who is allowed later: tests/policies/test_who_may_run.py.
"""

from __future__ import annotations

import psycopg
import pytest

from rota.store.migrations import migrate, migrations

OPEN = "UPDATE rota.limits SET open_to_all = true"
LINK = "INSERT INTO user_channels (user_id, channel, address) VALUES (%s, %s, %s)"


def heartbeats(conn) -> list[tuple[object, ...]]:
    return conn.execute(
        "SELECT u.email, s.agent_name, s.cron, s.time_zone, s.is_active FROM agent_schedules AS s"
        " JOIN auth.users AS u ON u.id = s.user_id ORDER BY 1"
    ).fetchall()


def user(conn, name):
    return conn.execute(
        "INSERT INTO auth.users (email) VALUES (%s) RETURNING id", [name]
    ).fetchone()[0]


@pytest.fixture
def url(postgres_server, empty_database) -> str:
    return postgres_server.owner_of(empty_database)


async def test_users_linked_before_the_migration(url):
    files = list(migrations())
    index = next(i for i, m in enumerate(files) if m.version == "20260217000003")
    await migrate(url, shipped=files[:index])
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(LINK, [user(conn, "before"), "telegram", "1"])
        conn.execute(LINK, [user(conn, "elsewhere"), "mail", "2"])
        conn.execute(LINK, [unlinked := user(conn, "unlinked"), "telegram", "3"])
        conn.execute("UPDATE user_channels SET is_active = false WHERE user_id = %s", [unlinked])
        assert heartbeats(conn) == []

        await migrate(url)

        assert heartbeats(conn) == [("before", "orchestrator", "0 7 * * *", None, True)]


async def test_users_linked_after_the_migration(url):
    await migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(OPEN)
        conn.execute(LINK, [user(conn, "after"), "telegram", "1"])
        conn.execute(LINK, [user(conn, "elsewhere"), "mail", "2"])

        assert heartbeats(conn) == [("after", "orchestrator", "0 7 * * *", None, True)]


async def test_linking_again_or_elsewhere_makes_no_second_one(url):
    await migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(OPEN)
        alice = user(conn, "alice")
        conn.execute(LINK, [alice, "telegram", "1"])
        conn.execute(LINK, [alice, "telegram", "2"])
        conn.execute("UPDATE user_channels SET is_active = false")
        conn.execute("UPDATE user_channels SET is_active = true")

        assert len(heartbeats(conn)) == 1


async def test_channel_switched_on_later_counts(url):
    await migrate(url)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute(OPEN)
        conn.execute(
            "INSERT INTO user_channels (user_id, channel, address, is_active)"
            " VALUES (%s, 'telegram', '1', false)",
            [user(conn, "alice")],
        )
        assert heartbeats(conn) == []

        conn.execute("UPDATE user_channels SET is_active = true")

        assert len(heartbeats(conn)) == 1
