"""What a person is asked at a terminal, unseen or not: it ends when they press Ctrl-C or Ctrl-D."""

from __future__ import annotations

import pytest

from rota.domain.agents.mail_accounts import imap_account
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from tests.services.harness import clock
from tests.terminal import Terminal

QUESTIONS = [
    (("add", "imap", "--account", "me@gmx.de"), "Password: "),
    (("add", "caldav", "--account", "me@x.example", "--url", "https://127.0.0.1:1"), "Password: "),
    (("add", "ics"), "Secret address: "),
    (("add", "gmail"), "Client id: "),
    (("reconnect", "imap"), "Password: "),
]


@pytest.fixture
async def terminal(database_url, database, alice, tmp_path):
    account = imap_account("me@x.example", "secret", host="127.0.0.1")
    service = ConnectionService(database, Cipher(bytes(32)), clock=clock)
    await service.keep(alice, "imap", account.as_secret())
    started = []

    def start(*arguments):
        environment = {
            "ROTA_DATABASE_URL": database_url,
            "ROTA_DATA_DIR": str(tmp_path / "data"),
            "ROTA_USER": "alice@example.com",
            "ROTA_SECRET_KEY": "00" * 32,
        }
        started.append(Terminal("connections", *arguments, environment=environment))
        return started[-1]

    yield start
    for one in started:
        one.close()


@pytest.mark.parametrize(("arguments", "asked"), QUESTIONS)
async def test_one_ctrl_c_ends_a_question(terminal, arguments, asked):
    screen = terminal(*arguments)
    screen.until(asked)

    screen.interrupt()

    screen.until(r"Interrupted\.\r\n")
    assert screen.end() == 130
    assert screen.shows_what_is_typed()


async def test_the_end_of_input_is_no_answer(terminal):
    screen = terminal("add", "imap", "--account", "me@gmx.de")
    screen.until("Password: ")

    screen.type_end()

    screen.until(r"No password was given\.")
    assert screen.end() == 2
