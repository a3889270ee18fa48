"""kill -9 around SMTP's answer: the mail is in the other mailbox once, or not at all."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from rota.domain.agents.mail_accounts import imap_account
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from tests.chaos.sending_attempt import POINTS, sending
from tests.loopback import dovecot
from tests.loopback.dovecot import Dovecot
from tests.loopback.smtp import SmtpServer
from tests.services.deciding import Desk, desk_of
from tests.services.harness import Workshop, clock

pytestmark = pytest.mark.kill

MAIL = {"to": ["bob@example.net"], "subject": "Lunch", "text": "At noon?"}


@pytest.fixture(scope="module")
def mailboxes():
    dovecot.need()
    with Dovecot() as running:
        yield running


@pytest.fixture
def smtp(mailboxes, alice):
    """A server that delivers to the other mailbox, and, like Gmail, files copies if it is told."""
    with SmtpServer(certificates=mailboxes.root) as running:
        running.password = dovecot.PASSWORD
        running.files_copies = False

        def deliver(_recipient, data):
            mailboxes.deliver(f"bob-{alice.hex}", data)
            if running.files_copies:
                mailboxes.deliver(f"alice-{alice.hex}", data, folder="Sent", flags="S")

        running.deliver = deliver
        yield running


@pytest.fixture
async def desk(database, owner, alice, mailboxes, smtp):
    workshop = Workshop(database, owner, alice)
    account = imap_account(
        "alice@own.example",
        dovecot.PASSWORD,
        host="127.0.0.1",
        port=mailboxes.tls,
        user=f"alice-{alice.hex}",
        certificate=mailboxes.authority,
        smtp_host="127.0.0.1",
        smtp_port=smtp.port,
    )
    connections = ConnectionService(database, Cipher(bytes(32)), clock=clock)
    await connections.keep(alice, "imap", account.as_secret(), account="alice@own.example")
    async with sending(workshop) as service:
        made = desk_of(workshop)
        made.service, made.tools = service, ("send_mail",)
        yield made


def received(mailboxes, person, folder=""):
    box = mailboxes.root / "mail" / person / (f".{folder}" if folder else "")
    found = [path for name in ("new", "cur") for path in (box / name).glob("*")]
    return [path for path in found if b"At noon?" in path.read_bytes()]


async def ask(desk: Desk, mode: str):
    """Have an agent send the mail; returns the run that is about to do it, not yet begun."""
    if mode == "unasked":
        await desk.workshop.declare("send_mail", default_tier="auto")
        desk.work, work = (
            (lambda: asyncio.sleep(0)),
            desk.work,
        )  # leave the run to the other process
        await desk.run({"tool": "send_mail", "args": MAIL})
        desk.work = work
    else:
        await desk.run({"tool": "send_mail", "args": MAIL}, mode=mode)
        await desk.approve()
    (run,) = await desk.waiting_runs()
    return run


@pytest.mark.parametrize(
    ("mode", "point", "files_copies"),
    [
        *(("queue", point, False) for point in POINTS),
        *((mode, "after_smtps_answer", True) for mode in ("queue", "suspend", "unasked")),
        *((mode, "after_smtps_answer", False) for mode in ("suspend", "unasked")),
    ],
)
async def test_killed_at(desk, smtp, mailboxes, database_url, alice, mode, point, files_copies):
    smtp.files_copies = files_copies
    run = await ask(desk, mode)
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.chaos.sending_attempt", database_url, str(run.id), point
    )
    assert await child.wait() == -signal.SIGKILL
    is_out = point != "before_smtp"
    assert len(received(mailboxes, f"bob-{alice.hex}")) == is_out

    again = await desk.fetch(run.id)
    await desk.service.execute_run(again)
    await desk.work()

    is_in_sent = is_out and (files_copies or point != "after_smtps_answer")
    assert bool(received(mailboxes, f"alice-{alice.hex}", "Sent")) == is_in_sent
    assert len(received(mailboxes, f"bob-{alice.hex}")) == is_out
    said = (await desk.result(run.id))["result_content"]
    assert ("The mailbox shows that." in said) == is_in_sent
    assert ("outcome is unknown" in said) == (not is_in_sent)
    titles = [row["title"] for row in await desk.workshop.rows("notifications")]
    if mode != "unasked":
        assert (await desk.action())["status"] == ("succeeded" if is_in_sent else "unknown")
        assert ("Did send_mail take effect?" in titles) == (not is_in_sent)
