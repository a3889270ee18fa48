"""A mailbox of Microsoft 365: a real Dovecot, and a server that sends, which take access tokens.

Tokens live a minute, each refresh gives a new refresh token, and one that comes again ends the
grant: so what is read and sent between shows that each sign-in has a token that is good.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.domain.agents.connections import ConnectionState, ReconnectRequiredError
from rota.domain.agents.grants import Grant
from rota.domain.agents.mail_accounts import microsoft_account
from rota.domain.errors import SetupRequiredError
from rota.services.agents.connections import ConnectionService
from tests.loopback import dovecot
from tests.loopback.dovecot import Dovecot
from tests.loopback.oauth_provider import PUBLIC_CLIENT_ID, OAuthProvider
from tests.loopback.smtp import SmtpServer
from tests.services.agents.grants import CIPHER, Time
from tests.services.deciding import desk_of

IMAP = "https://outlook.office.com/IMAP.AccessAsUser.All"
SMTP = "https://outlook.office.com/SMTP.Send"
SAM = "sam@outlook.example"
MAIL = (
    b"From: Ann <ann@example.org>\r\nTo: sam@outlook.example\r\nSubject: Lunch\r\n"
    b"Date: Mon, 02 Mar 2026 06:00:00 +0100\r\n\r\nAt noon?\r\n"
)


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def provider(time):
    with OAuthProvider(
        clock=time, account=SAM, token_seconds=60, rotates=True, reuse="revokes"
    ) as running:
        yield running


@pytest.fixture
def mailboxes(provider):
    dovecot.need()
    with Dovecot(introspection=f"{provider.url}/introspect") as running:
        running.deliver(SAM, MAIL)
        yield running


@pytest.fixture
def smtp(mailboxes, provider):
    with SmtpServer(
        certificates=mailboxes.root, encryption="starttls", methods=("XOAUTH2",)
    ) as running:
        running.takes = lambda name, token: provider.account_of(f"Bearer {token}") == name
        yield running


@pytest.fixture
def service(database, time, provider):
    return ConnectionService(
        database, CIPHER, clock=time, endpoints={"microsoft-oauth": provider.url}
    )


@pytest.fixture
async def connect(workshop, service, provider, mailboxes, smtp):
    async def connect(*scopes):
        given = provider.grant(*scopes, client_id=PUBLIC_CLIENT_ID)
        mailbox = microsoft_account(SAM, host="127.0.0.1", smtp_host="127.0.0.1")
        grant = Grant(
            "microsoft",
            PUBLIC_CLIENT_ID,
            refresh_token=given.refresh_token,
            access_token=provider.access_token(given),
            access_ends_at=provider.clock() + timedelta(minutes=1),
            scopes=scopes,
            account=SAM,
            mailbox=replace(
                mailbox,
                port=mailboxes.tls,
                smtp_port=smtp.port,
                certificate=mailboxes.authority,
            ).as_secret(),
        )
        await service.add_grant(workshop.user, "microsoft", grant)

    return connect


@pytest.fixture
async def context(service, time):
    async with httpx.AsyncClient() as http:

        def made(user, _now=None):
            return ToolContext(
                user,
                time,
                lambda name: service.secret(user, name),
                lambda: None,
                http,
                connection=lambda name: service.using(user, name),
                connected=lambda gives: service.connected(user, gives),
            )

        yield made


async def test_a_mailbox_is_read_with_a_new_token_each_minute(
    workshop, service, provider, connect, context, time
):
    await connect(IMAP)

    for _ in range(10):
        time.passes(minutes=1)
        tool = builtin_tools().build("mail_search", context(workshop.user))
        [found] = json.loads(await tool.ainvoke({"query": "from:ann"}))
        assert found["subject"] == "Lunch"

    assert provider.refreshes == 10
    assert (await service.get(workshop.user, "microsoft")).state is ConnectionState.OK


async def test_an_approved_mail_is_sent_by_the_same_grant(
    workshop, provider, connect, context, smtp, time
):
    await connect(IMAP, SMTP)
    time.passes(minutes=5)
    desk = desk_of(workshop, registry=builtin_tools(), tool_context=context)
    desk.tools = ("send_mail",)

    await desk.run(
        {
            "tool": "send_mail",
            "args": {"to": ["bob@example.net"], "subject": "Lunch", "text": "At noon?"},
        }
    )
    assert smtp.delivered == []
    time.passes(minutes=5)
    await desk.approve()
    await desk.work()

    (taken,) = smtp.delivered
    assert (taken.sender, taken.recipients) == (SAM, ("bob@example.net",))
    assert smtp.logins == [f"XOAUTH2 {SAM}"]
    assert not provider.grants[0].is_revoked


async def test_what_was_connected_for_reading_sends_nothing(workshop, connect, context, smtp):
    await connect(IMAP)
    tool = builtin_tools().build("send_mail", context(workshop.user))

    with pytest.raises(SetupRequiredError, match="for reading only"):
        await tool.ainvoke({"to": ["bob@example.net"], "subject": "x", "text": "x"})
    assert smtp.logins == []


async def test_a_token_that_the_server_refuses_is_replaced(
    workshop, service, provider, connect, context, time
):
    """A mail server that refuses a token may take the next one: nobody's password is at risk."""
    await connect(IMAP)
    provider._tokens.clear()  # signed out everywhere, while the grant lives
    tool = builtin_tools().build("mail_search", context(workshop.user))
    with pytest.raises(ReconnectRequiredError, match="refused the access token"):
        await tool.ainvoke({})

    await service.refresh(workshop.user, "microsoft")
    assert len(json.loads(await tool.ainvoke({}))) == 1
    assert (await service.get(workshop.user, "microsoft")).state is ConnectionState.OK


async def test_a_grant_that_was_ended_says_which_command(
    workshop, service, provider, connect, context, time
):
    await connect(IMAP)
    provider.revoke_all()
    time.passes(minutes=2)
    tool = builtin_tools().build("mail_search", context(workshop.user))

    with pytest.raises(SetupRequiredError, match="rota connections reconnect microsoft") as caught:
        await tool.ainvoke({})

    assert caught.value.what == "connection:microsoft"
    found = await service.get(workshop.user, "microsoft")
    assert found.state is ConnectionState.NEEDS_YOU
    assert "Microsoft has ended the grant" in found.problem
