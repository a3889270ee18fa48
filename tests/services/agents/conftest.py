"""A Gmail connected by a grant of a provider on loopback, by a clock that the test sets."""

from __future__ import annotations

import pytest

from rota.services.agents.connections import ConnectionService
from tests.loopback.gmail import GmailServer
from tests.loopback.oauth_provider import OAuthProvider
from tests.services.agents.grants import CIPHER, Time, connect


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def provider(time):
    with OAuthProvider(clock=time, rotates=True, reuse="revokes") as running:
        yield running


@pytest.fixture
def gmail(provider):
    with GmailServer() as running:
        running.accepts = provider.accepts
        yield running


@pytest.fixture
def new_service(time, provider, gmail):
    def new(database, cipher=CIPHER, **options):
        endpoints = {"google-oauth": provider.url, "gmail": gmail.url}
        return ConnectionService(database, cipher, clock=time, endpoints=endpoints, **options)

    return new


@pytest.fixture
def service(database, new_service):
    return new_service(database)


@pytest.fixture
async def connected(workshop, service, provider):
    """Connect Gmail; returns the provider's side of the grant."""
    return await connect(workshop, service, provider)
