"""Processes that share a grant whose tokens live for two seconds, and are killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from rota.domain.agents.grants import Grant
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from tests.loopback.oauth_provider import CLIENT_ID, CLIENT_SECRET, OAuthProvider

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300)]

CIPHER = Cipher(bytes(32))
KILLS = 12


class Provider(OAuthProvider):
    """Takes its time to answer, and counts how many ask at once."""

    seconds = 0.15

    def __init__(self, **options):
        super().__init__(token_seconds=2, rotates=True, **options)
        self.most_at_once = 0
        self._at_once = 0
        self._counting = threading.Lock()

    def _answer(self, target, form):
        with self._counting:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            time.sleep(self.seconds)
            return super()._answer(target, form)
        finally:
            with self._counting:
                self._at_once -= 1

    def given(self):
        """Return how often each refresh token came."""
        return Counter(asked.form["refresh_token"] for asked in self.asked)


@pytest.fixture
def start(database_url, alice):
    started = []

    def start(provider):
        arguments = [database_url, str(alice), json.dumps({"google-oauth": provider.url})]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.refreshing", *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


async def connect(database, user, provider):
    given = provider.grant("https://www.googleapis.com/auth/gmail.readonly")
    now = datetime.now(UTC)
    grant = Grant(
        "google",
        CLIENT_ID,
        CLIENT_SECRET,
        refresh_token=given.refresh_token,
        access_token=provider.access_token(given),
        access_ends_at=now + timedelta(seconds=2),
        scopes=given.scopes,
        account=given.account,
    )
    service = ConnectionService(database, CIPHER, clock=lambda: datetime.now(UTC))
    await service.add_grant(user, "gmail", grant)
    return given


async def refresh_token_of(owner, user):
    cursor = await owner.execute("SELECT secret FROM connections")
    (secret,) = await cursor.fetchone()
    opened = CIPHER.decrypt(bytes(secret), identity=f"connections/{user}/gmail")
    return Grant.from_secret(opened).refresh_token


async def until(condition):
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.02)


async def test_two_processes_never_ask_with_a_token_that_was_used(database, owner, alice, start):
    with Provider(reuse="revokes") as provider:
        given = await connect(database, alice, provider)
        processes = [start(provider), start(provider), start(provider)]
        await until(lambda: provider.refreshes >= 12)
        for process in processes:
            process.terminate()
        said = [line for process in processes for line in process.communicate()[0].splitlines()]

        assert Counter(said).keys() == {"ok"}
        assert (provider.most_at_once, given.is_revoked) == (1, False)
        assert set(provider.given().values()) == {1}


async def test_killed_in_the_midst_of_a_refresh_the_next_one_goes_on(database, owner, alice, start):
    """Only a token whose answer died with its process comes twice, and none comes after a newer."""
    with Provider(reuse="tolerated") as provider:
        given = await connect(database, alice, provider)
        processes = [start(provider), start(provider)]
        for kill in range(KILLS):
            seen = len(provider.asked)
            await until(lambda seen=seen: provider._at_once or len(provider.asked) > seen)
            await asyncio.sleep(random.uniform(0, provider.seconds * 1.2))
            processes[kill % 2].kill()
            processes[kill % 2].wait()
            processes[kill % 2] = start(provider)
        seen = provider.refreshes
        await until(lambda: provider.refreshes >= seen + 4)

        tokens = [asked.form["refresh_token"] for asked in provider.asked]
        assert sum(provider.given().values()) - len(provider.given()) <= KILLS
        # Each token's requests stand together: an older one never comes again after a newer.
        assert len([t for t, before in zip(tokens[1:], tokens, strict=False) if t != before]) == (
            len(set(tokens)) - 1
        )
        await until(lambda: not provider._at_once)
        while await refresh_token_of(owner, alice) != given.refresh_token:
            await asyncio.sleep(0.02)


@pytest.fixture
def schedule(database_url, tmp_path):
    """Start `rota scheduler` as a process of its own."""
    started = []

    def schedule(provider):
        environment = os.environ | {
            "ROTA_DATABASE_URL": database_url,
            "ROTA_SECRET_KEY": "00" * 32,
            "ROTA_ENDPOINTS": f"google-oauth={provider.url}",
            "ROTA_DATA_DIR": str(tmp_path),
        }
        process = subprocess.Popen([sys.executable, "-m", "rota", "scheduler"], env=environment)
        started.append(process)
        return process

    yield schedule
    for process in started:
        process.kill()
        process.wait()


async def test_two_schedulers_refresh_what_nobody_uses_and_tell_once(
    database, owner, alice, schedule
):
    async def told():
        cursor = await owner.execute("SELECT title FROM notifications ORDER BY created_at")
        return [title for (title,) in await cursor.fetchall()]

    with Provider(reuse="revokes") as provider:
        given = await connect(database, alice, provider)
        schedulers = [schedule(provider), schedule(provider)]
        await until(lambda: provider.refreshes >= 3)
        assert (provider.most_at_once, given.is_revoked) == (1, False)
        assert await told() == []
        given.is_revoked = True
        async with asyncio.timeout(60):
            while not await told():
                await asyncio.sleep(0.1)
        schedulers[0].kill()
        await asyncio.sleep(6)  # the other one looks again

        assert await told() == ["Your connection gmail needs you"]
