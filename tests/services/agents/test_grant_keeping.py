"""Grants of a provider on loopback, kept fresh: one refresh at a time, and none lost."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest

from rota.agents.tools.oauth.issuer import OAuthIssuer
from rota.domain.agents.connections import ConnectionState, ReconnectRequiredError
from rota.domain.agents.grants import Grant
from rota.domain.errors import SetupRequiredError, UnavailableError
from rota.security.secrets.encryption import Cipher
from rota.services.agents import grant_keeping
from rota.services.operations import keys
from rota.store.agents import connections as rows
from rota.store.agents.connections import Lease
from rota.store.database import Database
from tests.loopback.gmail import Failure
from tests.services.agents.grants import CIPHER, READ, connect


class Held:
    """An issuer that waits, before or after the provider was asked, until it is let go."""

    def __init__(self, time, provider, *, after):
        self.time, self.provider, self.after = time, provider, after
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def __call__(self):
        async with httpx.AsyncClient() as http:
            self.issuer = OAuthIssuer(
                http, clock=self.time, endpoints={"google-oauth": self.provider.url}
            )
            yield self

    async def refresh(self, grant):
        made = await self.issuer.refresh(grant) if self.after else None
        self.reached.set()
        await self.go_on.wait()
        return made or await self.issuer.refresh(grant)


async def stored(workshop):
    row = await workshop.row("connections")
    identity = f"connections/{workshop.user}/gmail"
    return Grant.from_secret(CIPHER.decrypt(bytes(row["secret"]), identity=identity))


async def test_a_token_is_refreshed_before_it_ends_and_not_sooner(
    workshop, service, provider, connected, time
):
    first = await service.secret(workshop.user, "gmail")
    time.passes(minutes=54)
    assert await service.secret(workshop.user, "gmail") == first
    time.passes(minutes=1)
    second = await service.secret(workshop.user, "gmail")

    assert provider.refreshes == 1
    assert second != first
    assert provider.accepts(f"Bearer {second}", READ) is None
    assert (await stored(workshop)).refresh_token == connected.refresh_token


async def test_tokens_of_a_minute_last_through_an_hour(workshop, service, provider, time):
    provider.token_seconds = 60
    await connect(workshop, service, provider)

    for _ in range(120):
        time.passes(seconds=30)
        async with service.using(workshop.user, "gmail") as token:
            assert provider.accepts(f"Bearer {token}", READ) is None

    assert provider.refreshes == 60
    assert await service.check(workshop.user, "gmail") == "0 messages"


async def test_many_who_need_it_at_once_refresh_it_once(
    workshop, new_service, service, provider, connected, time, database_url
):
    time.passes(hours=2)
    async with Database(database_url).opened() as other:
        services = [service, new_service(other)]
        tokens = await asyncio.gather(
            *[one.secret(workshop.user, "gmail") for one in services for _ in range(10)]
        )

    assert provider.refreshes == 1
    assert len(set(tokens)) == 1


async def test_a_holder_that_was_killed_is_replaced_when_its_lease_ends(
    workshop, service, provider, connected, time, database, monkeypatch
):
    monkeypatch.setattr(grant_keeping, "_PATIENCE", 0.3)
    time.passes(hours=2)
    dead = Lease(workshop.user, "gmail", uuid.uuid4())
    async with database.transaction() as conn:
        assert await rows.take_lease(conn, dead, seconds=grant_keeping.LEASE)

    with pytest.raises(UnavailableError, match="Another process"):
        await service.secret(workshop.user, "gmail")
    assert provider.refreshes == 0
    await workshop.owner.execute("UPDATE connections SET lease_until = clock_timestamp()")
    assert await service.secret(workshop.user, "gmail")
    assert provider.refreshes == 1
    row = await workshop.row("connections")
    assert (row["lease_holder"], row["lease_until"]) == (None, None)


async def test_a_slow_provider_keeps_the_lease_with_its_holder(
    workshop, new_service, service, provider, connected, time, database, monkeypatch
):
    monkeypatch.setattr(grant_keeping, "LEASE", 0.6)
    monkeypatch.setattr(grant_keeping, "_RENEWED_EVERY", 0.1)
    time.passes(hours=2)
    held = Held(time, provider, after=False)
    holder = asyncio.create_task(new_service(database, issuers=held).secret(workshop.user, "gmail"))
    await held.reached.wait()
    until = (await workshop.row("connections"))["lease_until"]
    while (await workshop.row("connections"))["lease_until"] < until + timedelta(seconds=1):
        await asyncio.sleep(0.05)

    waiting = asyncio.create_task(service.secret(workshop.user, "gmail"))
    await asyncio.sleep(0.3)
    assert provider.refreshes == 0
    held.go_on.set()
    assert await holder == await waiting
    assert provider.refreshes == 1


async def test_a_run_that_is_cancelled_meanwhile_loses_no_refresh_token(
    workshop, new_service, provider, connected, time, database
):
    time.passes(hours=2)
    held = Held(time, provider, after=True)
    run = asyncio.create_task(new_service(database, issuers=held).secret(workshop.user, "gmail"))
    await held.reached.wait()
    run.cancel()
    held.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await run

    while (await stored(workshop)).refresh_token != connected.refresh_token:
        await asyncio.sleep(0.05)


async def test_what_was_connected_meanwhile_stays(
    workshop, new_service, service, provider, connected, time, database
):
    time.passes(hours=2)
    held = Held(time, provider, after=True)
    run = asyncio.create_task(new_service(database, issuers=held).secret(workshop.user, "gmail"))
    await held.reached.wait()
    newer = await connect(workshop, service, provider)
    held.go_on.set()

    assert await run == (await stored(workshop)).access_token
    assert (await stored(workshop)).refresh_token == newer.refresh_token


async def test_a_key_that_is_rotated_meanwhile_loses_no_refresh_token(
    workshop, new_service, provider, connected, time, database, owner_url
):
    time.passes(hours=2)
    both = Cipher(b"n" * 32, (bytes(32),))
    held = Held(time, provider, after=True)
    keeping = new_service(database, both, issuers=held)
    run = asyncio.create_task(keeping.secret(workshop.user, "gmail"))
    await held.reached.wait()
    async with Database(owner_url).opened() as owners:
        await keys.rotate(owners, both)
    held.go_on.set()
    await run

    row = await workshop.row("connections")
    secret = both.decrypt(bytes(row["secret"]), identity=f"connections/{workshop.user}/gmail")
    assert Grant.from_secret(secret).refresh_token == connected.refresh_token


async def test_a_provider_that_is_down_is_no_fault_while_the_token_is_good(
    workshop, service, provider, connected, time, monkeypatch
):
    monkeypatch.setattr("rota.agents.tools.oauth.answers.ATTEMPTS", 1)
    time.passes(minutes=56)
    provider.failures.append(Failure(503))
    token = await service.secret(workshop.user, "gmail")
    assert provider.accepts(f"Bearer {token}", READ) is None
    assert (await service.get(workshop.user, "gmail")).state is ConnectionState.OK

    time.passes(minutes=10)
    provider.failures.append(Failure(503))
    with pytest.raises(UnavailableError, match="answered with 503"):
        async with service.using(workshop.user, "gmail"):
            raise AssertionError("there is no token")
    found = await service.get(workshop.user, "gmail")
    assert found.state is ConnectionState.BROKEN
    assert "503" in found.problem

    async with service.using(workshop.user, "gmail") as token:
        assert provider.accepts(f"Bearer {token}", READ) is None
    assert (await service.get(workshop.user, "gmail")).state is ConnectionState.OK


async def test_a_revoked_grant_needs_its_owner_and_says_which_command(
    workshop, service, provider, connected, time
):
    provider.revoke_all()
    time.passes(hours=1)

    with pytest.raises(ReconnectRequiredError, match="rota connections reconnect gmail") as caught:
        await service.refresh(workshop.user, "gmail")

    assert caught.value.what == "connection:gmail"
    found = await service.get(workshop.user, "gmail")
    assert found.state is ConnectionState.NEEDS_YOU
    assert "expired or revoked" in found.problem
    assert (await workshop.row("connections"))["refresh_at"] == time.now + timedelta(days=1)


async def test_a_token_that_the_api_refuses_is_refreshed_and_checked(
    workshop, service, provider, connected, time
):
    provider._tokens.clear()  # as where a person signs out everywhere, and the grant lives
    with pytest.raises(SetupRequiredError, match="no longer accepts"):
        async with service.using(workshop.user, "gmail"):
            raise ReconnectRequiredError("Gmail no longer accepts the connection.")
    assert (await service.get(workshop.user, "gmail")).state is ConnectionState.NEEDS_YOU

    await service.refresh(workshop.user, "gmail")
    row = await workshop.row("connections")
    assert row["check_at"] <= time.now
    assert await service.check(workshop.user, "gmail") == "0 messages"
    assert (await service.get(workshop.user, "gmail")).state is ConnectionState.OK
