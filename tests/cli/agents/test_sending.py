"""A mailbox that sends, as its owner connects, tries and uses it."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import closing

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from tests.loopback import dovecot
from tests.loopback.dovecot import Dovecot
from tests.loopback.smtp import SmtpServer

AGENT = """\
name: secretary
model: scripted:mail
script:
  steps:
    - calls:
        - {tool: send_mail, args: {to: [bob@example.net], subject: Lunch, text: At noon}}
  answer: "{{ results | last }}"
tools: [send_mail]
"""


@pytest.fixture
def server():
    dovecot.need()
    with Dovecot() as running:
        yield running


@pytest.fixture
def smtp(server):
    with SmtpServer(certificates=server.root) as running:
        running.password = dovecot.PASSWORD
        yield running


@pytest.fixture
def rota(database_url, alice, monkeypatch, tmp_path):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    async def rota(*arguments, typed=None):
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, input=typed)

    return rota


@pytest.fixture
def connect(rota, server, smtp, tmp_path):
    certificate = tmp_path / "ca.pem"
    certificate.write_text(server.authority)

    async def connect(*more, password=dovecot.PASSWORD):
        return await rota(
            *("connections", "add", "imap", "--account", "alice@own.example"),
            *("--host", "127.0.0.1", "--port", str(server.tls), "--certificate", str(certificate)),
            *("--smtp-host", "127.0.0.1", "--smtp-port", str(smtp.port), *more),
            typed=f"{password}\n",
        )

    return connect


async def test_a_mailbox_is_connected_only_if_the_server_that_sends_lets_it_in(rota, connect, smtp):
    smtp.password = "another"
    refused = await connect()
    assert refused.exit_code != 0
    assert "refused the password of alice@own.example, so no mail can be sent" in str(
        refused.exception
    )
    assert dovecot.PASSWORD not in str(refused.exception)
    assert json.loads((await rota("connections", "list", "--json")).stdout) == []

    smtp.password = dovecot.PASSWORD
    assert (await connect()).stdout == "Connected alice@own.example: 0 messages.\n"
    assert "all that its password allows" in (await rota("connections", "list")).stdout


async def test_a_server_that_sends_and_is_not_there_is_told_with_its_own_options(connect):
    with closing(socket.socket()) as taken:  # bound and not listening: refused
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        outcome = await connect("--smtp-port", str(port))

    assert str(outcome.exception) == (
        f"127.0.0.1:{port} cannot be reached: Connection refused. Check --smtp-host, --smtp-port "
        "and --smtp-encryption. If nothing is wrong with these options, try again later."
    )


async def test_a_mail_of_an_agent_waits_and_its_owner_sees_it_as_a_mail(
    rota, connect, smtp, tmp_path
):
    await connect("--name", "work")
    file = tmp_path / "secretary.yaml"
    file.write_text(AGENT)
    assert (await rota("agents", "apply", str(file))).exit_code == 0

    run = await rota("run", "secretary")
    assert "approval" in run.output
    (waiting,) = json.loads((await rota("approvals", "list", "--json")).stdout)
    shown = (await rota("approvals", "show", waiting["id"])).stdout
    assert (
        "  From        alice@own.example, the mailbox work\n  To          bob@example.net\n"
        in shown
    )
    assert smtp.delivered == []


async def test_a_tool_that_sends_can_be_tried(rota, connect, smtp):
    await connect()
    mail = json.dumps({"to": "bob@example.net", "subject": "Hi", "text": "x"})

    assert (await rota("tools", "test", "send_mail", mail, typed="n\n")).exit_code == 1
    assert smtp.delivered == []
    tried = await rota("tools", "test", "send_mail", mail, "--yes")

    assert "Sent to bob@example.net." in tried.stdout
    assert [one.recipients for one in smtp.delivered] == [("bob@example.net",)]


async def test_a_server_without_a_host_is_asked_for(rota):
    said = await rota(
        *("connections", "add", "imap", "--account", "a@own.example", "--host", "imap.own.example"),
        *("--smtp-port", "465"),
    )

    assert "--smtp-host smtp.example.com" in str(said.exception)
