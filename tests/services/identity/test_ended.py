"""What is over is deleted by the hourly pruning, and is in no backup."""

from __future__ import annotations

from datetime import timedelta

from rota.domain.identity.scopes import ALL_SCOPES
from rota.domain.identity.sessions import SignedInBy
from rota.services.identity.links import LinkService
from rota.services.identity.sessions import SessionService
from rota.services.identity.tokens import TokenService
from rota.store.operations import backups
from tests.services.harness import clock


async def test_pruning_deletes_what_is_over_and_nothing_else(database, owner, retention, alice):
    def long_ago(days):
        return lambda: clock() - timedelta(days=days)

    for days in (6, 8, 31):
        sessions = SessionService(database, clock=long_ago(days))
        await sessions.begin(alice, by=SignedInBy.LINK, user_agent=f"{days}")
    await LinkService(database, clock=long_ago(1)).make(alice)
    await LinkService(database, clock=clock).make(alice)
    day = timedelta(days=1)
    for name, days, lasts in (("a", 32, day), ("b", 30, day), ("c", 400, None)):
        await TokenService(database, clock=long_ago(days)).create(
            alice, name, ALL_SCOPES, lasts=lasts
        )

    await retention.prune(clock())

    async def left(column, table):
        cursor = await owner.execute(f"SELECT {column} FROM rota.{table} ORDER BY 1")
        return [found for (found,) in await cursor.fetchall()]

    assert await left("user_agent", "sessions") == ["6"]
    assert await left("name", "api_tokens") == ["b", "c"]
    assert await left("count(*)", "sign_in_links") == [1]


async def test_backup_has_tokens_and_identities_and_no_session(owner_url):
    async with backups.session(owner_url, reads_only=True) as conn:
        names = {table.name for table in await backups.list_tables(conn)}
    assert {"rota.api_tokens", "rota.identities"} <= names
    assert not names & {"rota.sessions", "rota.sign_in_links"}
