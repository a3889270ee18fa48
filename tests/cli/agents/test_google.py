"""Google connected by `rota connections`, the whole way, against a provider on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading

import httpx
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.agents.connections import ReconnectRequiredError
from rota.domain.errors import InvalidInputError, SetupRequiredError, UnavailableError
from tests.loopback.gmail import Failure, GmailServer
from tests.loopback.google_calendar import GoogleCalendarServer
from tests.loopback.oauth_provider import CLIENT_SECRET, OAuthProvider

READ = "https://www.googleapis.com/auth/gmail.readonly"
COMPOSE = "https://www.googleapis.com/auth/gmail.compose"
MAIL = (
    b"From: Ann <ann@example.org>\r\nTo: alice@gmail.example\r\nSubject: Lunch\r\n"
    b"Date: Mon, 02 Mar 2026 06:00:00 +0100\r\n\r\nAt noon?\r\n"
)


class Browser:
    """A browser with a window: it consents by following where the provider leads."""

    def __init__(self):
        self.opened = []

    def open(self, url):
        self.opened.append(url)
        threading.Thread(target=httpx.get, args=(url,), kwargs={"follow_redirects": True}).start()
        return True


@pytest.fixture
def provider():
    with OAuthProvider() as running:
        yield running


@pytest.fixture
def gmail(provider):
    with GmailServer(accepts=provider.accepts) as running:
        running.add(MAIL)
        yield running


@pytest.fixture
def browser(monkeypatch):
    made = Browser()
    monkeypatch.setattr("webbrowser.get", lambda: made)
    return made


@pytest.fixture
def rota(database_url, alice, monkeypatch, tmp_path, provider, gmail):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    monkeypatch.setenv("ROTA_ENDPOINTS", f"google-oauth={provider.url} gmail={gmail.url}")

    async def rota(*arguments, typed=None):
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, input=typed)

    return rota


@pytest.fixture
def client(provider, tmp_path):
    file = tmp_path / "client.json"
    file.write_text(provider.client_file())
    return str(file)


async def only(rota):
    [found] = json.loads((await rota("connections", "list", "--json")).stdout)
    return found


async def test_gmail_is_connected_by_a_browser(rota, browser, client, owner):
    connected = await rota("connections", "add", "gmail", "--client", client)

    assert connected.stdout == "Connected alice@gmail.example: 1 message.\n"
    assert browser.opened[0] in connected.stderr
    found = await only(rota)
    assert (found["kind"], found["account"], found["state"]) == (
        "gmail",
        "alice@gmail.example",
        "ok",
    )
    assert (found["scopes"], found["expires_at"]) == ([READ], None)
    assert CLIENT_SECRET not in connected.output
    [row] = await (await owner.execute("SELECT secret FROM connections")).fetchall()
    assert CLIENT_SECRET.encode() not in bytes(row[0])
    checked = await rota("connections", "check", "gmail")
    assert checked.stdout == "gmail: ok, 1 message.\n"


async def test_another_connection_has_the_same_client(rota, browser, client):
    assert (await rota("connections", "add", "gmail", "--client", client)).exit_code == 0

    second = await rota("connections", "add", "gmail", "--name", "work", "--send")

    assert second.stdout == "Connected alice@gmail.example: 1 message.\n"
    listed = json.loads((await rota("connections", "list", "--json")).stdout)
    assert {one["name"]: one["scopes"] for one in listed} == {
        "gmail": [READ],
        "work": [READ, COMPOSE],
    }


async def test_without_a_client_it_says_how_to_get_one(rota, browser, provider):
    refused = await rota("connections", "add", "gmail")

    assert isinstance(refused.exception, InvalidInputError)
    assert "--client FILE" in str(refused.exception)
    assert "docs/howto/gmail.md" in str(refused.exception)
    assert provider.asked == []


async def test_reading_that_was_unticked_connects_nothing(rota, browser, client, provider):
    provider.withheld = {READ}

    refused = await rota("connections", "add", "gmail", "--send", "--client", client)

    assert isinstance(refused.exception, SetupRequiredError)
    assert "granted no reading mail" in str(refused.exception)
    assert json.loads((await rota("connections", "list", "--json")).stdout) == []


async def test_sending_that_was_unticked_is_said(rota, browser, client, provider):
    provider.withheld = {COMPOSE}

    connected = await rota("connections", "add", "gmail", "--send", "--client", client)

    assert connected.exit_code == 0
    assert "You did not allow drafting and sending mail" in connected.stdout
    assert (await only(rota))["scopes"] == [READ]


async def test_another_account_than_was_asked_for(rota, browser, client):
    refused = await rota(
        "connections", "add", "gmail", "--client", client, "--account", "bob@gmail.example"
    )

    assert isinstance(refused.exception, InvalidInputError)
    assert "signed in as alice@gmail.example, not as bob@gmail.example" in str(refused.exception)
    assert json.loads((await rota("connections", "list", "--json")).stdout) == []


async def test_who_declines_connects_nothing(rota, browser, client, provider):
    provider.declines = "access_denied"

    refused = await rota("connections", "add", "gmail", "--client", client)

    assert isinstance(refused.exception, SetupRequiredError)
    assert "consent was refused" in str(refused.exception)


async def test_seven_days_are_shown_from_the_start(rota, browser, client, provider):
    provider.grant_seconds = 604_799

    connected = await rota("connections", "add", "gmail", "--client", client)

    assert "publishing status is Testing" in connected.stderr
    doctor = json.loads((await rota("doctor", "--json")).stdout)
    [seen] = [check for check in doctor if check["name"] == "Connection gmail"]
    assert seen["verdict"] == "warn"
    assert "Publish the app" in seen["said"]
    assert "rota connections reconnect gmail" in seen["said"]
    found = await only(rota)
    assert found["expires_at"] is not None


async def test_revoked_meanwhile_and_connected_again(rota, browser, client, provider):
    await rota("connections", "add", "gmail", "--client", client, "--send")
    provider.revoke_all()

    failed = await rota("connections", "check", "gmail")
    assert isinstance(failed.exception, ReconnectRequiredError)
    assert "rota connections reconnect gmail" in str(failed.exception)
    assert (await only(rota))["state"] == "needs you"

    mended = await rota("connections", "reconnect", "gmail")
    assert mended.stdout == "Connected alice@gmail.example again: 1 message.\n"
    found = await only(rota)
    assert (found["state"], found["scopes"]) == ("ok", [READ, COMPOSE])


async def test_a_service_account_reads_for_a_team(rota, provider, gmail, tmp_path):
    gmail.account = "sam@team.example"
    key = tmp_path / "key.json"
    key.write_text(provider.service_account_file(READ))

    nobody = await rota("connections", "add", "gmail", "--service-account", str(key))
    assert "--account sam@team.example" in str(nobody.exception)
    connected = await rota(
        *("connections", "add", "gmail", "--service-account", str(key)),
        *("--account", "sam@team.example"),
    )
    assert connected.stdout == "Connected sam@team.example: 1 message.\n"

    again = await rota("connections", "reconnect", "gmail")
    assert again.stdout == "Connected sam@team.example again: 1 message.\n"


@pytest.mark.parametrize("arguments", [["--paste"], []], ids=["asked for", "no browser here"])
async def test_the_address_is_pasted_where_the_browser_is_elsewhere(
    rota, client, provider, arguments
):
    """In a process of its own: a person reads the page's address, and pastes what it led to."""
    environment = {name: value for name, value in os.environ.items() if name != "DISPLAY"}
    command = [sys.executable, "-m", "rota", "connections", "add", "gmail", "--client", client]
    process = await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment | {"PATH": "/nowhere"},  # no browser to be found
    )
    told = b""
    while b"/o/oauth2/v2/auth" not in told:
        line = await process.stderr.readline()
        assert line, told
        told += line
    page = re.search(rb"http://\S+", told)[0].decode()
    async with httpx.AsyncClient() as elsewhere:
        answer = (await elsewhere.get(page)).headers["location"]
    said, more = await process.communicate(f"{answer}\n".encode())

    assert process.returncode == 0, more
    assert said == b"Connected alice@gmail.example: 1 message.\n"
    assert b"paste it here" in told + more


async def test_a_browser_that_runs_until_its_page_is_there_is_not_waited_for(
    rota, client, tmp_path
):
    """As one that `BROWSER` names: webbrowser waits until it ends."""
    script = tmp_path / "browser.py"
    script.write_text(
        "import httpx, sys; httpx.get(sys.argv[1], follow_redirects=True, timeout=60)"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rota", "connections", "add", "gmail", "--client", client),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"BROWSER": f"{sys.executable} {script} %s"},
    )

    said, more = await asyncio.wait_for(process.communicate(), 60)

    assert said == b"Connected alice@gmail.example: 1 message.\n", more


async def test_what_is_pasted_wrongly_is_said(rota, client, monkeypatch):
    monkeypatch.setattr("webbrowser.get", Browser)

    refused = await rota(
        "connections", "add", "gmail", "--client", client, "--paste", typed="4/0Aea\n"
    )

    assert isinstance(refused.exception, InvalidInputError)
    assert "has no code" in str(refused.exception)


async def test_a_google_calendar_is_connected_with_the_client_of_gmail(
    rota, browser, client, provider, gmail, monkeypatch
):
    with GoogleCalendarServer(accepts=provider.accepts) as calendars:
        calendars.calendars[0]["id"] = "alice@gmail.example"
        monkeypatch.setenv(
            "ROTA_ENDPOINTS",
            f"google-oauth={provider.url} gmail={gmail.url} google-calendar={calendars.url}",
        )
        await rota("connections", "add", "gmail", "--client", client)

        connected = await rota("connections", "add", "google-calendar", "--write")

    assert re.match(
        r"Connected alice@gmail\.example: 1 calendar, 0 events in the next \d+ days\.",
        connected.stdout,
    )
    listed = json.loads((await rota("connections", "list", "--json")).stdout)
    assert {one["kind"]: one["scopes"] for one in listed} == {
        "gmail": [READ],
        "google-calendar": [
            "https://www.googleapis.com/auth/calendar.readonly",
            "https://www.googleapis.com/auth/calendar.events",
        ],
    }


async def test_an_api_that_is_not_enabled_is_said_with_googles_words(rota, browser, client, gmail):
    words = "Gmail API has not been used in project 1234 before or it is disabled. Enable it."
    gmail.failures.append(Failure(403, "accessNotConfigured", words))

    refused = await rota("connections", "add", "gmail", "--client", client)

    assert isinstance(refused.exception, SetupRequiredError)
    assert "The Gmail API is not enabled" in str(refused.exception)
    assert "project 1234" in str(refused.exception)
    assert json.loads((await rota("connections", "list", "--json")).stdout) == []


async def test_google_that_is_down_connects_nothing(rota, browser, client, provider):
    provider.failures.extend([Failure(503)] * 3)

    refused = await rota("connections", "add", "gmail", "--client", client)

    assert isinstance(refused.exception, UnavailableError)
    assert "Google answered with 503. Try again later." in str(refused.exception)
