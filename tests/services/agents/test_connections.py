from __future__ import annotations

from datetime import timedelta

import pytest

from rota.domain.errors import InvalidInputError, NotFoundError, SetupRequiredError
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from tests.services.harness import clock


@pytest.fixture
def service(database):
    return ConnectionService(database, Cipher(bytes(32)), clock=clock)


async def test_secret_is_sealed_in_the_row_and_opens_for_its_owner(workshop, service, bob):
    await service.keep(workshop.user, "gmail", "ya29.token", account="alice@example.com")

    row = await workshop.row("connections")
    assert b"ya29" not in bytes(row["secret"])
    assert await service.secret(workshop.user, "gmail") == "ya29.token"
    with pytest.raises(SetupRequiredError, match="not connected"):
        await service.secret(bob, "gmail")


async def test_row_moved_to_somebody_else_does_not_open(workshop, service, bob):
    await service.keep(workshop.user, "gmail", "ya29.token")
    await workshop.owner.execute("UPDATE connections SET user_id = %s", [bob])

    with pytest.raises(SetupRequiredError, match="cannot be decrypted"):
        await service.secret(bob, "gmail")


async def test_second_connection_replaces_the_first(workshop, service):
    await service.keep(workshop.user, "gmail", "one")
    await service.keep(workshop.user, "gmail", "two")

    assert await service.secret(workshop.user, "gmail") == "two"
    assert len(await workshop.rows("connections")) == 1


async def test_expired_connection_says_so(workshop, service):
    await service.keep(workshop.user, "gmail", "one", expires_at=clock() - timedelta(seconds=1))

    with pytest.raises(SetupRequiredError, match="expired"):
        await service.secret(workshop.user, "gmail")


async def test_list_and_remove_are_the_owners(workshop, service, bob):
    await service.keep(workshop.user, "gmail", "one", account="alice@example.com")

    assert [c.account for c in await service.all(workshop.user)] == ["alice@example.com"]
    assert await service.all(bob) == ()
    with pytest.raises(NotFoundError):
        await service.remove(bob, "gmail")
    await service.remove(workshop.user, "gmail")
    assert await service.all(workshop.user) == ()


async def test_unknown_kind_is_refused(workshop, service):
    with pytest.raises(InvalidInputError, match="fax"):
        await service.keep(workshop.user, "fax", "x")
