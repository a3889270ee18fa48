"""Grants of a provider on loopback, connected without a browser."""

from __future__ import annotations

from datetime import timedelta

from rota.domain.agents.grants import Grant
from rota.security.secrets.encryption import Cipher
from tests.loopback.oauth_provider import CLIENT_ID, CLIENT_SECRET
from tests.services.harness import clock

READ = "https://www.googleapis.com/auth/gmail.readonly"
CIPHER = Cipher(bytes(32))


class Time:
    """A clock that a test sets, of rota and of the provider."""

    def __init__(self):
        self.now = clock()

    def __call__(self):
        return self.now

    def passes(self, **length):
        self.now += timedelta(**length)


async def connect(workshop, service, provider, *, name=""):
    given = provider.grant(READ)
    grant = Grant(
        "google",
        CLIENT_ID,
        CLIENT_SECRET,
        refresh_token=given.refresh_token,
        access_token=provider.access_token(given),
        ends_at=given.ends_at,
        access_ends_at=provider.clock() + timedelta(seconds=provider.token_seconds),
        scopes=given.scopes,
        account=given.account,
    )
    await service.add_grant(workshop.user, "gmail", grant, name=name)
    return given
