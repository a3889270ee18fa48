"""The context of a person who has connected calendars, at a given time."""

from contextlib import asynccontextmanager
from uuid import UUID

import httpx

from rota.agents.tools.context import ToolContext
from rota.domain.agents.calendar_accounts import CalendarFeed
from rota.domain.agents.connections import ConnectedAccount
from rota.domain.ids import UserId


def calendar_context(now, *connections, endpoints=None, went=None):
    """`connections` are pairs of a ConnectedAccount and its secret; `went` notes failed blocks."""
    secrets = {one.name: secret for one, secret in connections}

    async def connected(gives):
        assert gives == "calendar"
        return tuple(one for one, _ in connections)

    @asynccontextmanager
    async def connection(name):
        try:
            yield secrets[name]
        except Exception as error:
            if went is not None:
                went[name] = str(error)
            raise

    async def secret(name):
        return secrets[name]

    return ToolContext(
        UserId(UUID(int=1)),
        lambda: now,
        secret,
        lambda: None,
        httpx.AsyncClient(),
        endpoints=endpoints or {},
        connection=connection,
        connected=connected,
    )


def feed(server, name, *, path="/a.ics", account=""):
    """Return the connection of a feed on loopback."""
    return ConnectedAccount(name, "ics", account), CalendarFeed(f"{server.url}{path}").as_secret()
