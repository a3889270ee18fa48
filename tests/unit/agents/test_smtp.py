"""Mail that is sent by SMTP: to all or to nobody, and what a server may say or do to it."""

from __future__ import annotations

import email
from dataclasses import replace
from datetime import UTC, datetime
from email.policy import default

import pytest

from rota.agents.tools.mail.sending.outgoing import (
    OutgoingMail,
    Thread,
    message_id_for,
    read_recipients,
    read_sender,
)
from rota.agents.tools.mail.sending.smtp import SmtpServer as Sending
from rota.domain.agents.connections import LoginRefusedError
from rota.domain.agents.mail_accounts import imap_account
from rota.domain.approvals.actions import OutcomeUnknownError
from rota.domain.errors import InvalidInputError, SetupRequiredError, UnavailableError
from tests.loopback.smtp import PASSWORD, TOKEN, SmtpServer

ME = read_sender("alice@own.example")


def mail(*to, cc=(), bcc=(), subject="Lunch", text="At noon?\n"):
    return OutgoingMail(
        ME,
        read_recipients("to", to or ("bob@example.org",)),
        read_recipients("cc", cc),
        read_recipients("bcc", bcc),
        subject,
        text,
        message_id_for("call", ME),
        datetime(2026, 3, 2, 7, tzinfo=UTC),
    )


def sending(server, **changes):
    encryption = changes.pop("encryption", "tls")
    account = imap_account(
        "alice@own.example",
        PASSWORD,
        host="127.0.0.1",
        certificate=server.authority,
        smtp_host="127.0.0.1",
        smtp_port=server.port,
        smtp_encryption=encryption,
    )
    return Sending(replace(account, **changes))


@pytest.fixture
def server():
    with SmtpServer() as running:
        yield running


@pytest.mark.parametrize("encryption", ["tls", "starttls"])
@pytest.mark.parametrize("method", ["PLAIN", "LOGIN"])
async def test_a_mail_arrives_as_it_was_written(encryption, method):
    with SmtpServer(encryption=encryption, methods=(method,)) as server:
        out = mail(
            "Zoë <zoe@müller.example>",
            cc=["ann@example.org"],
            bcc=["eve@example.net"],
            subject="Grüße",
            text="Hällo\n.\nFrom here\n..\n" + "é" * 2_000,
        )
        out = replace(out, thread=Thread("<1@x.example>", ("<0@x.example>", "<1@x.example>")))

        await sending(server, encryption=encryption).send(out)

        (taken,) = server.delivered
        assert server.logins == [f"{method} alice@own.example"]
        assert taken.sender == "alice@own.example"
        assert taken.recipients == (
            "zoe@xn--mller-kva.example",
            "ann@example.org",
            "eve@example.net",
        )
        read = email.message_from_bytes(taken.data, policy=default)
        assert read["Subject"] == "Grüße"
        assert read["To"] == "Zoë <zoe@xn--mller-kva.example>"
        assert read["Cc"] == "ann@example.org"
        assert "Bcc" not in read
        assert read["Message-ID"] == out.message_id
        assert (read["In-Reply-To"], read["References"]) == (
            "<1@x.example>",
            "<0@x.example> <1@x.example>",
        )
        assert read.get_content().splitlines() == out.text.splitlines()
        assert taken.data.isascii()


async def test_nobody_gets_a_mail_of_which_one_recipient_is_refused(server):
    server.refused = {
        "eve@example.net": "550 5.1.1 No such user",
        "old@example.net": "551 Moved away",
    }

    with pytest.raises(InvalidInputError) as refused:
        await sending(server).send(
            mail("bob@example.org", cc=["eve@example.net"], bcc=["old@example.net"])
        )

    assert refused.value.message == (
        "127.0.0.1 refuses eve@example.net (550 5.1.1 No such user); old@example.net (551 Moved "
        "away). The mail was sent to nobody."
    )
    assert server.delivered == []


async def test_greylisting_says_that_it_may_pass(server):
    server.refused = {"bob@example.org": "451 4.7.1 Greylisted, come back in 5 minutes"}

    with pytest.raises(UnavailableError, match=r"bob@example.org \(451 4.7.1 Greylisted") as busy:
        await sending(server).send(mail())

    assert not isinstance(busy.value, OutcomeUnknownError)
    assert server.delivered == []


@pytest.mark.parametrize(
    ("command", "answer", "error", "said"),
    [
        ("MAIL", "553 5.7.1 Sender not yours", SetupRequiredError, "as alice@own.example: 553"),
        ("MAIL", "451 Too many mails", UnavailableError, "at the moment: 451 Too many mails"),
        ("MAIL", "552 5.3.4 Too big", InvalidInputError, "552 5.3.4 Too big. It was not sent"),
        ("DATA", "552 5.3.4 Too big", InvalidInputError, "552 5.3.4 Too big. It was not sent"),
        ("DATA", "554 5.7.1 Looks like spam", InvalidInputError, "554 5.7.1 Looks like spam"),
        ("DATA", "452 4.3.1 Disk full", UnavailableError, "452 4.3.1 Disk full"),
    ],
)
async def test_a_refusal_is_one_sentence_and_nothing_is_sent(server, command, answer, error, said):
    server.answers = {command: answer}

    with pytest.raises(error) as refused:
        await sending(server).send(mail())

    assert said in refused.value.message
    assert not isinstance(refused.value, OutcomeUnknownError)
    assert server.delivered == []


@pytest.mark.parametrize("dies", ["taken", "lost"])
async def test_a_server_that_dies_after_the_message_leaves_the_outcome_unknown(server, dies):
    server.dies = dies

    with pytest.raises(OutcomeUnknownError, match="It may have been sent"):
        await sending(server).send(mail())

    assert len(server.delivered) == (1 if dies == "taken" else 0)


async def test_a_message_over_the_servers_size_is_not_handed_over():
    with SmtpServer(size=1_000) as server:
        with pytest.raises(InvalidInputError, match="takes 1,000 at most"):
            await sending(server).send(mail(text="x" * 2_000))
        assert server.delivered == []


async def test_an_address_in_unicode_is_sent_to_where_the_server_knows_how():
    with SmtpServer() as server:
        await sending(server).send(mail("zoë@example.org"))
        assert server.delivered[0].recipients == ("zoë@example.org",)
    with SmtpServer(utf8=False) as server, pytest.raises(InvalidInputError, match="beyond a to z"):
        await sending(server).send(mail("zoë@example.org"))


async def test_a_wrong_password_is_tried_once(server):
    with pytest.raises(LoginRefusedError, match="refused the password of alice") as refused:
        await sending(server, password="not-this").check()

    assert refused.value.what == "connection"
    assert "not-this" not in refused.value.message
    assert server.logins == ["PLAIN alice@own.example"]


async def test_the_servers_certificate_is_verified_before_the_password_is_sent(server):
    with pytest.raises(SetupRequiredError, match="does not verify"):
        await sending(server, certificate="").check()
    with SmtpServer(encryption="starttls", names=("other.example",)) as other:
        with pytest.raises(SetupRequiredError, match="does not verify"):
            await sending(other, encryption="starttls").check()
        assert other.logins == []
    assert server.logins == []


async def test_no_password_is_sent_without_encryption():
    with SmtpServer(encryption="none") as server:
        with pytest.raises(SetupRequiredError, match="sends no password unencrypted"):
            await sending(server, encryption="starttls").check()
        with pytest.raises(UnavailableError, match="--smtp-encryption"):
            await sending(server, encryption="tls").check()
        assert server.logins == []


async def test_a_server_that_is_not_there_is_said(server):
    with pytest.raises(UnavailableError, match="cannot be reached: Connection refused"):
        await sending(server, smtp_port=1).check()
    with pytest.raises(UnavailableError, match="cannot be reached"):
        await sending(server, smtp_host="no-such-host.invalid").check()


async def test_an_access_token_is_in_the_place_of_a_password():
    with SmtpServer(encryption="starttls", methods=("XOAUTH2",)) as server:
        await sending(server, encryption="starttls", password="", token=TOKEN).send(mail())
        assert server.logins == ["XOAUTH2 alice@own.example"]
        assert len(server.delivered) == 1
        with pytest.raises(LoginRefusedError, match="refused the access token of alice"):
            await sending(server, encryption="starttls", token="an-old-one").check()


def test_an_account_without_a_server_for_sending_can_be_read_only():
    account = imap_account("alice@own.example", PASSWORD, host="imap.own.example")

    with pytest.raises(SetupRequiredError, match="can be read only"):
        Sending(account)
