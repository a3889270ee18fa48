"""A mailbox connected by `rota connections`, and the briefing that reads it."""

from __future__ import annotations

import asyncio
import json
import mailbox
import re
import socket
from contextlib import closing
from importlib.resources import files

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.sample import sample_mailbox_path
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from tests.loopback import dovecot
from tests.loopback.dovecot import Dovecot
from tests.services.harness import clock


@pytest.fixture
def server():
    dovecot.need()
    with Dovecot() as running:
        yield running


@pytest.fixture
def rota(database_url, alice, monkeypatch, tmp_path):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    monkeypatch.setenv("ROTA_MAIL", str(sample_mailbox_path()))

    async def rota(*arguments, typed=None):
        return await asyncio.to_thread(CliRunner().invoke, app, arguments, input=typed)

    return rota


async def test_a_briefing_on_a_mailbox_gives_what_it_gives_on_a_folder(rota, server, tmp_path):
    certificate = tmp_path / "ca.pem"
    certificate.write_text(server.authority)
    connect = (
        *("connections", "add", "imap", "--account", "alice@example.org", "--host", "127.0.0.1"),
        *("--port", str(server.tls), "--certificate", str(certificate)),
    )
    with closing(mailbox.mbox(sample_mailbox_path())) as sample:
        server.deliver("alice@example.org", *[bytes(m) for m in sample], at=1_795_000_000)
    assert (
        await rota("agents", "apply", str(files("rota.sample") / "demo-briefing.yaml"))
    ).exit_code == 0
    on_folder = await rota("run", "demo-briefing")

    refused = await rota(*connect, typed="wrong\n")
    assert refused.exit_code != 0
    assert str(refused.exception) == (
        "127.0.0.1 refused the password of alice@example.org: [AUTHENTICATIONFAILED] "
        "Authentication failed. Check the password, and --login if you sign in with another name. "
        "Many providers take only an app password, which you make in your account there."
    )
    assert json.loads((await rota("connections", "list", "--json")).stdout) == []
    connected = await rota(*connect, typed=f"{dovecot.PASSWORD}\n")
    assert re.search(r"Connected alice@example.org: \d+ messages.", connected.stdout)

    on_server = await rota("run", "demo-briefing")
    assert on_server.exit_code == on_folder.exit_code == 0
    assert _briefing(on_server.stdout) == _briefing(on_folder.stdout)
    assert server.logins("alice@example.org") > 2
    checked = await rota("connections", "check")
    assert re.search(r"^imap: ok, \d+ messages\.$", checked.stdout, re.MULTILINE)
    [found] = json.loads((await rota("connections", "list", "--json")).stdout)
    assert (found["kind"], found["state"], found["problem"]) == ("imap", "ok", "")
    assert dovecot.PASSWORD not in connected.stdout + checked.stdout


async def test_a_password_that_changed_fails_the_run_and_is_mended(rota, server, owner, tmp_path):
    certificate = tmp_path / "ca.pem"
    certificate.write_text(server.authority)
    password = tmp_path / "password"
    password.write_text("grüße\n", encoding="utf-8")
    connected = await rota(
        *("connections", "add", "imap", "--account", "zoë", "--host", "127.0.0.1"),
        *("--port", str(server.starttls), "--encryption", "starttls"),
        *("--certificate", str(certificate), "--password-file", str(password)),
    )
    assert connected.stdout == (
        "Connected zoë: 0 messages. It is for reading only. To send mail too, connect it again "
        "with --account ADDRESS and --smtp-host HOST.\n"
    )
    listed = (await rota("connections", "list")).stdout
    assert re.search(r"^imap .* reading only ", listed, re.MULTILINE)
    assert (
        await rota("agents", "apply", str(files("rota.sample") / "demo-briefing.yaml"))
    ).exit_code == 0
    server.passwords(zoë="changed at the provider")

    failed = await rota("run", "demo-briefing", "--json")
    assert failed.exit_code != 0
    assert "refused the password of zoë" in failed.stdout
    [found] = json.loads((await rota("connections", "list", "--json")).stdout)
    assert found["state"] == "needs you"
    doctor = await rota("doctor", "--json")
    [seen] = [c for c in json.loads(doctor.stdout) if c["name"] == "Connection imap"]
    assert doctor.exit_code == 1
    assert seen["verdict"] == "fail"
    assert "zoë: needs you" in seen["said"]
    assert "rota connections reconnect imap" in seen["said"]

    mended = await rota("connections", "reconnect", "imap", typed="changed at the provider\n")
    assert mended.stdout == "Connected again: 0 messages.\n"
    assert (await rota("run", "demo-briefing")).exit_code == 0
    [found] = json.loads((await rota("connections", "list", "--json")).stdout)
    assert (found["account"], found["state"]) == ("zoë", "ok")

    assert (await rota("connections", "remove", "imap")).exit_code == 0
    again = await rota("connections", "reconnect", "imap", typed="x\n")
    assert "rota connections add imap" in str(again.exception)
    assert "rota connections add imap" in str(
        (await rota("connections", "check", "gmail")).exception
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--account", "me@example.com"], "--host imap.example.com"),
        (["--host", "imap.example.com"], "--account"),
        (["--account", "gmx.de"], "'gmx.de' is no mail address. Write --account as me@"),
        (["--account", "me@outlook.com"], "rota connections add microsoft"),
        (["--account", "me@firm.example", "--host", "Outlook.office365.com"], "add microsoft"),
        (["--account", "me@gmail.com", "--encryption", "none"], "none"),
        (
            ["--account", "me@gmail.com", "--certificate", "/no/such"],
            "/no/such cannot be read: No such file or directory.",
        ),
        (
            ["--account", "me@gmail.com"],
            (
                "No password was given. There is no terminal to ask on: give it with "
                "--password-file FILE, or on standard input."
            ),
        ),
        (
            ["--account", "me@gmail.com", "--password-file", "/no/such"],
            "/no/such cannot be read: No such file or directory.",
        ),
        (
            ["--account", "me@gmail.com", "--password-file", "/dev/null"],
            "No password was given. /dev/null is empty.",
        ),
    ],
)
async def test_what_is_missing_is_said_before_a_password_is_asked_for(rota, arguments, said):
    outcome = await rota("connections", "add", "imap", *arguments)

    assert outcome.exit_code != 0
    assert said in f"{outcome.exception}{outcome.output}"


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
async def test_a_server_that_cannot_be_reached_names_the_options_to_check(rota, host):
    with closing(socket.socket()) as taken:  # bound and not listening: refused
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        outcome = await rota(
            *("connections", "add", "imap", "--account", "me@example.com", "--host", host),
            *("--port", port),
            typed="secret\n",
        )

    said = str(outcome.exception)
    assert said.startswith(f"{host}:{port} cannot be reached: ")
    assert said.endswith(
        ". Check --host, --port and --encryption. If nothing is wrong with these options, try "
        "again later."
    )
    assert outcome.exception.exit_code == 5
    assert json.loads((await rota("connections", "list", "--json")).stdout) == []


async def test_a_connection_that_nobody_has_used_is_not_called_ok(rota, owner, alice, database):
    service = ConnectionService(database, Cipher(bytes(32)), clock=clock)
    await service.keep(alice, "gmail", "tok")

    listed = (await rota("connections", "list")).stdout
    assert re.search(r"^gmail .* not checked ", listed, re.MULTILINE)
    await owner.execute("UPDATE connections SET last_used_at = now()")
    assert re.search(r"^gmail .* ok ", (await rota("connections", "list")).stdout, re.MULTILINE)


def _briefing(printed: str) -> str:
    """Return what the agent said, without the ids of the run."""
    found = re.search(r"\d+ messages?, the newest first.*", printed, re.DOTALL)
    assert found is not None, printed
    return re.sub(r"Result \S+ of run \S+", "", found[0])
