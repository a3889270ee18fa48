"""Microsoft 365 connected by a device code; its mailbox is a real Dovecot that takes XOAUTH2."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from subprocess import PIPE

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import InvalidInputError
from tests.loopback import dovecot
from tests.loopback.dovecot import Dovecot
from tests.loopback.oauth_provider import PUBLIC_CLIENT_ID, OAuthProvider

IMAP = "https://outlook.office.com/IMAP.AccessAsUser.All"
SMTP = "https://outlook.office.com/SMTP.Send"
MAIL = (
    b"From: Ann <ann@example.org>\r\nTo: sam@outlook.example\r\nSubject: Lunch\r\n"
    b"Date: Mon, 02 Mar 2026 06:00:00 +0100\r\n\r\nAt noon?\r\n"
)


@pytest.fixture
def provider():
    with OAuthProvider(account="sam@outlook.example", rotates=True) as running:
        running.interval = 1
        yield running


@pytest.fixture
def server(provider):
    dovecot.need()
    with Dovecot(introspection=f"{provider.url}/introspect") as running:
        running.deliver("sam@outlook.example", MAIL)
        yield running


@pytest.fixture
def rota(database_url, alice, monkeypatch, tmp_path, provider):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    monkeypatch.setenv("ROTA_ENDPOINTS", f"microsoft-oauth={provider.url}")

    async def rota(*arguments):
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)

    return rota


@pytest.fixture
def connect(rota, provider, server, tmp_path):
    certificate = tmp_path / "ca.pem"
    certificate.write_text(server.authority)

    async def connect(*arguments, account="sam@outlook.example", again=False, declines=False):
        """Run the command in a process of its own, and enter the code that it shows."""
        added = (
            *("add", "microsoft", "--account", account, "--client-id", PUBLIC_CLIENT_ID),
            *("--host", "127.0.0.1", "--port", str(server.tls), "--certificate", str(certificate)),
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rota", "connections"),
            *(("reconnect", "microsoft") if again else added),
            *arguments,
            stdout=PIPE,
            stderr=PIPE,
            env=dict(os.environ),
        )
        line = (await process.stderr.readline()).decode()
        code = re.search(r"enter the code ([0-9A-F]{8})$", line.strip())
        assert code is not None, line + (await process.communicate())[1].decode()
        assert f"{provider.url}/devicelogin" in line
        provider.enter(code[1], declines=declines)
        said, more = await process.communicate()
        return process.returncode, said.decode(), more.decode()

    return connect


async def test_a_mailbox_is_connected_and_read_by_a_code(rota, connect):
    exit_code, said, more = await connect()

    assert (exit_code, said) == (0, "Connected sam@outlook.example: 1 message.\n"), more
    [found] = json.loads((await rota("connections", "list", "--json")).stdout)
    assert (found["kind"], found["account"], found["state"], found["scopes"]) == (
        "microsoft",
        "sam@outlook.example",
        "ok",
        [IMAP],
    )
    checked = await rota("connections", "check", "microsoft")
    assert checked.stdout == "microsoft: ok, 1 message.\n"


async def test_an_account_that_is_not_the_one_who_signed_in(rota, connect):
    exit_code, _said, more = await connect(account="eve@outlook.example")

    assert exit_code == 6
    assert "refused the access token of eve@outlook.example" in more
    assert json.loads((await rota("connections", "list", "--json")).stdout) == []


async def test_who_declines_connects_nothing(rota, connect):
    exit_code, _said, more = await connect(declines=True)

    assert exit_code == 6
    assert "consent was refused" in more


async def test_ended_at_microsoft_and_connected_again(rota, connect, provider):
    await connect("--send")
    provider.revoke_all()
    failed = await rota("connections", "check", "microsoft")
    assert "rota connections reconnect microsoft" in str(failed.exception)

    exit_code, said, more = await connect(again=True)

    assert (exit_code, said) == (0, "Connected sam@outlook.example again: 1 message.\n"), more
    [found] = json.loads((await rota("connections", "list", "--json")).stdout)
    assert (found["state"], found["scopes"]) == ("ok", [IMAP, SMTP])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--account me@example.com"),
        (["--account", "sam"], "'sam' is no mail address. Write --account as me@example.com."),
        (["--account", "sam@outlook.example"], "docs/howto/microsoft.md"),
        (["--account", "sam@outlook.example", "--client-id", "a b"], "one word"),
        (
            ["--account", "sam@outlook.example", "--client-id", "abc", "--tenant", "a/b"],
            "id of a directory or its domain",
        ),
    ],
)
async def test_what_is_missing_is_said_before_anybody_signs_in(rota, provider, arguments, said):
    refused = await rota("connections", "add", "microsoft", *arguments)

    assert isinstance(refused.exception, InvalidInputError)
    assert said in str(refused.exception)
    assert provider.asked == []


async def test_outlook_by_a_password_names_the_command(rota):
    refused = await rota("connections", "add", "imap", "--account", "me@hotmail.com")

    assert "rota connections add microsoft" in str(refused.exception)
