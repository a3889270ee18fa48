"""Connections that are removed: their grants end at the provider, and what is left is said."""

from __future__ import annotations

import pytest

from rota.domain.agents.mail_accounts import imap_account
from rota.domain.errors import NotFoundError
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connection_removal import ConnectionRemoval
from rota.services.agents.connections import ConnectionService
from tests.services.agents.grants import CIPHER, READ, connect


@pytest.fixture
def removal(service):
    return ConnectionRemoval(service)


async def test_a_grant_is_revoked_where_it_was_given(workshop, service, removal, connected):
    removed = await removal.remove(workshop.user, "gmail")

    assert (removed.is_revoked, removed.left) == (True, "")
    assert connected.is_revoked
    assert await service.all(workshop.user) == ()


async def test_a_grant_that_has_ended_already_is_no_trouble(
    workshop, service, removal, connected, provider
):
    provider.revoke_all()

    assert (await removal.remove(workshop.user, "gmail")).is_revoked
    assert await service.all(workshop.user) == ()


async def test_a_provider_that_is_down_stops_no_removal_and_is_said(
    workshop, service, connected, database, time, monkeypatch
):
    monkeypatch.setattr("rota.agents.tools.oauth.answers.ATTEMPTS", 1)
    nobody = {"google-oauth": "http://127.0.0.1:9"}
    away = ConnectionService(database, CIPHER, clock=time, endpoints=nobody)

    removed = await ConnectionRemoval(away).remove(workshop.user, "gmail")

    assert not removed.is_revoked
    assert "could not be revoked at the provider" in removed.left
    assert "could not be reached" in removed.left
    assert await service.all(workshop.user) == ()


async def test_another_connection_that_would_end_with_it_keeps_its_grant(
    workshop, service, removal, connected, provider
):
    other = await connect(workshop, service, provider, name="second")

    removed = await removal.remove(workshop.user, "gmail")

    assert not removed.is_revoked
    assert "second" in removed.left
    assert not other.is_revoked
    async with service.using(workshop.user, "second") as token:
        assert provider.accepts(f"Bearer {token}", READ) is None
    assert (await removal.remove(workshop.user, "second")).is_revoked


async def test_without_the_key_it_is_removed_and_said(workshop, database, new_service, connected):
    foreign = ConnectionRemoval(new_service(database, Cipher(b"f" * 32)))

    removed = await foreign.remove(workshop.user, "gmail")

    assert "cannot be decrypted" in removed.left
    assert not connected.is_revoked
    assert await workshop.rows("connections") == []


async def test_a_password_is_still_valid_elsewhere(workshop, service, removal):
    account = imap_account("me@gmx.de", "secret")
    await service.keep(workshop.user, "imap", account.as_secret())

    assert "still valid" in (await removal.remove(workshop.user, "imap")).left


async def test_nobody_removes_what_is_another_persons(workshop, removal, connected, bob):
    with pytest.raises(NotFoundError):
        await removal.remove(bob, "gmail")
    assert not connected.is_revoked


async def test_all_of_a_person_are_ended(workshop, service, removal, connected, provider):
    await connect(workshop, service, provider, name="second")

    ended = await removal.end_all(workshop.user)

    assert [one.is_revoked for one in ended] == [True, True]
    assert all(grant.is_revoked for grant in provider.grants)
