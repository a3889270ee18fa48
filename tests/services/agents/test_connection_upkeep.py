"""What schedulers do for connections: refresh, check, and tell their owners, each once."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta

import pytest

from rota.domain.agents.connections import ConnectionState
from rota.domain.agents.mail_accounts import imap_account
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connection_upkeep import ConnectionUpkeep
from rota.services.notifications.service import NotificationService
from tests.loopback import dovecot
from tests.loopback.dovecot import Dovecot
from tests.loopback.gmail import Failure
from tests.services.agents.grants import CIPHER, READ, connect

pytestmark = pytest.mark.long

DAY = timedelta(days=1)


@pytest.fixture
def upkeep(database, service):
    return ConnectionUpkeep(
        database, service, NotificationService(database), key_ids=lambda: CIPHER.key_ids
    )


@pytest.fixture
def goes_by(upkeep, time):
    """Let time pass, with the chores each quarter of an hour."""

    async def goes_by(**length):
        until = time.now + timedelta(**length)
        while time.now < until:
            time.now = min(time.now + timedelta(minutes=15), until)
            await upkeep.refresh(time.now)
            await upkeep.check(time.now)
            await upkeep.tell(time.now)

    return goes_by


@pytest.fixture
def told(workshop):
    async def told():
        rows = await workshop.rows("notifications", "created_at, id")
        return [(row["category"], row["title"]) for row in rows]

    return told


async def test_grants_are_refreshed_ahead_though_nobody_uses_them(
    workshop, upkeep, provider, connected, time, service
):
    time.passes(minutes=54)
    assert await upkeep.refresh(time.now) == 0
    time.passes(minutes=1)
    await asyncio.gather(*[upkeep.refresh(time.now) for _ in range(4)])

    assert provider.refreshes == 1
    token = await service.secret(workshop.user, "gmail")
    assert provider.accepts(f"Bearer {token}", READ) is None
    assert provider.refreshes == 1


async def test_a_grant_that_was_revoked_is_told_once_and_so_is_that_it_works_again(
    workshop, provider, connected, goes_by, told, service, time
):
    await goes_by(hours=1)
    assert await told() == []
    provider.revoke_all()
    await goes_by(days=3)

    assert await told() == [("error", "Your connection gmail needs you")]
    body = (await workshop.row("notifications"))["body"]
    assert "rota connections reconnect gmail" in body
    assert "(alice@gmail.example)" in body
    for grant in provider.grants:  # the provider's mistake, mended there
        grant.is_revoked = False
    await goes_by(days=2)

    assert (await service.get(workshop.user, "gmail")).state is ConnectionState.OK
    assert await told() == [
        ("error", "Your connection gmail needs you"),
        ("info", "Your connection gmail works again"),
    ]


async def test_who_connects_again_is_not_told_that_it_works(
    workshop, provider, connected, goes_by, told, service
):
    provider.revoke_all()
    await goes_by(days=1)
    await connect(workshop, service, provider)
    await goes_by(days=1)

    assert await told() == [("error", "Your connection gmail needs you")]


async def test_a_grant_of_seven_days_is_told_three_days_before_and_when_it_ends(
    workshop, provider, service, goes_by, told, time
):
    provider.grant_seconds = 7 * 86_400
    given = await connect(workshop, service, provider)
    await goes_by(days=3, hours=23)
    assert await told() == []
    await goes_by(hours=2)
    ends = ("info", f"Your connection gmail ends on {given.ends_at:%Y-%m-%d}")
    assert await told() == [ends]
    found = await service.get(workshop.user, "gmail")
    assert found.state_at(time.now) is ConnectionState.EXPIRING

    await goes_by(days=4)
    assert await told() == [ends, ("error", "Your connection gmail needs you")]


async def test_connections_are_checked_daily_once_and_not_at_the_same_time(
    workshop, upkeep, provider, gmail, service, time
):
    for name in range(20):
        await connect(workshop, service, provider, name=f"gmail-{name}")
    rows = await workshop.rows("connections")
    assert len({row["check_at"] for row in rows}) == 20
    assert all(time.now + DAY * 0.9 <= row["check_at"] <= time.now + DAY for row in rows)
    time.now += DAY * 0.5
    assert await upkeep.check(time.now) == 0

    time.now += DAY * 0.5
    checked = await asyncio.gather(*[upkeep.check(time.now) for _ in range(3)])
    assert sum(checked) == 20
    assert len(gmail.requests) == 20
    again = await workshop.rows("connections")
    assert all(row["last_checked_at"] == time.now for row in again)
    assert all(row["check_at"] >= time.now + DAY * 0.9 for row in again)


async def test_a_fault_that_passes_is_broken_and_told_only_after_a_day(
    workshop, provider, gmail, connected, goes_by, told, service, time, monkeypatch
):
    monkeypatch.setattr("rota.agents.tools.google_api.ATTEMPTS", 1)
    gmail.always = Failure(500)
    await goes_by(hours=30)
    found = await service.get(workshop.user, "gmail")
    assert found.state is ConnectionState.BROKEN
    checks = len(gmail.requests)
    assert checks > 3  # each hour, once it did not work
    assert await told() == []
    await goes_by(days=1)
    assert await told() == [("error", "Your connection gmail does not work")]

    gmail.always = None
    await goes_by(hours=2)
    assert (await service.get(workshop.user, "gmail")).state is ConnectionState.OK
    assert await told() == [
        ("error", "Your connection gmail does not work"),
        ("info", "Your connection gmail works again"),
    ]


async def test_a_refused_password_is_tried_three_times_and_never_again(
    workshop, service, goes_by, told, upkeep, time
):
    dovecot.need()
    with Dovecot() as server:
        account = imap_account(
            f"refused-{workshop.user.hex}",
            dovecot.PASSWORD,
            host="127.0.0.1",
            port=server.tls,
            certificate=server.authority,
        )
        wrong = dataclasses.replace(account, password="changed-meanwhile")
        await service.keep(workshop.user, "imap", wrong.as_secret())
        await goes_by(days=8)

        assert server.logins(account.user) == 3
        time.passes(days=2)
        assert await upkeep.check(time.now) == 0
    assert await told() == [("error", "Your connection imap needs you")]


async def test_a_scheduler_without_the_key_leaves_connections_alone(
    workshop, database, new_service, provider, connected, time
):
    foreign = Cipher(b"f" * 32)
    upkeep = ConnectionUpkeep(
        database,
        new_service(database, foreign),
        NotificationService(database),
        key_ids=lambda: foreign.key_ids,
    )
    time.passes(days=2)

    assert (await upkeep.refresh(time.now), await upkeep.check(time.now)) == (0, 0)
    assert await upkeep.tell(time.now) == 0
    assert (await workshop.row("connections"))["state"] == "ok"
