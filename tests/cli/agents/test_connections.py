"""`rota connections` for all kinds: what is listed, checked and removed, and what a person had."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.agents.grants import Grant
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from tests.loopback.gmail import GmailServer
from tests.loopback.oauth_provider import CLIENT_ID, CLIENT_SECRET, OAuthProvider

READ = "https://www.googleapis.com/auth/gmail.readonly"
COMPOSE = "https://www.googleapis.com/auth/gmail.compose"


@pytest.fixture
def provider():
    with OAuthProvider() as running:
        yield running


@pytest.fixture
def gmail(provider):
    with GmailServer(accepts=provider.accepts) as running:
        yield running


@pytest.fixture
def rota(database_url, alice, provider, gmail, monkeypatch, tmp_path):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    monkeypatch.setenv("ROTA_ENDPOINTS", f"google-oauth={provider.url} gmail={gmail.url}")

    async def rota(*arguments):
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)

    return rota


@pytest.fixture
def connect(database, alice, provider):
    async def connect(*scopes, name="", lives=timedelta(hours=1), ends_at=None):
        given = provider.grant(*scopes)
        grant = Grant(
            "google",
            CLIENT_ID,
            CLIENT_SECRET,
            refresh_token=given.refresh_token,
            access_token=provider.access_token(given),
            access_ends_at=datetime.now(UTC) + lives,
            ends_at=ends_at,
            scopes=given.scopes,
            account=given.account,
        )
        service = ConnectionService(database, Cipher(bytes(32)), clock=lambda: datetime.now(UTC))
        await service.add_grant(alice, "gmail", grant, name=name)
        return given

    return connect


async def test_the_list_says_what_each_may_and_when_it_ends(rota, connect):
    await connect(READ)
    await connect(READ, COMPOSE, name="work", ends_at=datetime(2099, 3, 4, 12, tzinfo=UTC))

    listed = (await rota("connections", "list")).stdout
    assert re.search(
        r"^gmail +gmail +alice@gmail.example +reading mail +not checked", listed, re.MULTILINE
    )
    assert re.search(
        r"^work .* reading mail, drafting and sending mail .*2099-03-04", listed, re.MULTILINE
    )


async def test_a_check_of_all_tells_each_and_fails_as_the_worst(rota, connect, provider):
    await connect(READ)
    assert (await rota("connections", "check")).stdout == "gmail: ok, 0 messages.\n"
    dead = await connect(READ, name="work", lives=timedelta(0))
    dead.is_revoked = True

    checked = await rota("connections", "check")
    assert checked.exit_code == 6
    assert checked.stdout.startswith("gmail: ok, 0 messages.\nwork: Google ")
    assert "`rota connections reconnect work`" in checked.stdout
    found = json.loads((await rota("connections", "check", "--json")).stdout)
    assert [(one["name"], one["found"], bool(one["problem"])) for one in found] == [
        ("gmail", "0 messages", False),
        ("work", "", True),
    ]
    states = json.loads((await rota("connections", "list", "--json")).stdout)
    assert [one["state"] for one in states] == ["ok", "needs you"]


async def test_what_is_removed_is_revoked(rota, connect):
    given = await connect(READ)

    removed = await rota("connections", "remove", "gmail")

    assert removed.stdout == "Removed gmail. Its grant was revoked at the provider.\n"
    assert given.is_revoked


async def test_who_is_removed_has_no_grant_left(rota, connect, owner_url, monkeypatch):
    given = await connect(READ)
    monkeypatch.setenv("ROTA_DATABASE_URL", owner_url)
    monkeypatch.delenv("ROTA_USER")

    removed = await rota("people", "remove", "alice@example.com", "--yes")

    assert removed.exit_code == 0, removed.output
    assert "gmail: Its grant was revoked at the provider." in removed.stdout
    assert given.is_revoked
