"""Google connected by a person at a terminal, whose browser is on another machine."""

from __future__ import annotations

import httpx
import pytest

from tests.loopback.gmail import GmailServer
from tests.loopback.oauth_provider import CLIENT_ID, CLIENT_SECRET, OAuthProvider
from tests.terminal import Terminal


@pytest.fixture
def provider():
    with OAuthProvider() as running:
        yield running


@pytest.fixture
def terminal(database_url, alice, tmp_path, provider):
    started = []
    with GmailServer(accepts=provider.accepts) as gmail:

        def start(*arguments):
            started.append(
                Terminal(
                    *arguments,
                    environment={
                        "ROTA_DATABASE_URL": database_url,
                        "ROTA_DATA_DIR": str(tmp_path / "data"),
                        "ROTA_USER": "alice@example.com",
                        "ROTA_SECRET_KEY": "00" * 32,
                        "ROTA_ENDPOINTS": f"google-oauth={provider.url} gmail={gmail.url}",
                        "PATH": "/nowhere",  # no browser to be found
                        "DISPLAY": "",
                    },
                )
            )
            return started[-1]

        yield start
        for one in started:
            one.close()


def test_a_client_is_typed_and_an_address_pasted_until_it_is_right(terminal, provider):
    screen = terminal("connections", "add", "gmail")
    screen.until("Client id: ")
    screen.type(CLIENT_ID)
    screen.until("Client secret: ")
    screen.type(CLIENT_SECRET)
    page = screen.until(r"(http://\S+/o/oauth2/v2/auth\?\S+)\r\n")[1]
    screen.until("paste it here")

    screen.type("http://127.0.0.1:1/?state=of-another&code=4/0A")
    screen.until("belongs to another attempt")
    screen.type("")
    screen.type(httpx.get(page).headers["location"])
    screen.until(r"Connected alice@gmail\.example: 0 messages\.")

    assert screen.end() == 0
    assert CLIENT_SECRET not in screen.screen
    assert provider.grants


def test_whoever_gives_up_is_back_at_once(terminal):
    screen = terminal("connections", "add", "gmail", "--paste")
    screen.until("Client id: ")
    screen.type(CLIENT_ID)
    screen.until("Client secret: ")
    screen.type(CLIENT_SECRET)
    screen.until("paste it here")

    screen.interrupt()

    assert screen.end() == 130
    assert "Traceback" not in screen.screen
