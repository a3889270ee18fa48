"""A mailbox that is connected by IMAP: what its owner's tools read, and what its state says."""

from __future__ import annotations

import dataclasses
import json

import httpx
import pytest
from langchain_core.tools import ToolException

from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.agents.tools.mail.sending.senders import check_can_send
from rota.domain.agents.connections import ConnectedAccount, ConnectionState, LoginRefusedError
from rota.domain.agents.mail_accounts import imap_account, provider_of
from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SetupRequiredError,
    UnavailableError,
)
from rota.sample import sample_mailbox_path
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from tests.loopback import dovecot
from tests.loopback.dovecot import Dovecot
from tests.services.harness import clock
from tests.unit.agents.mail_contexts import mail_context

ONE = (
    b"From: Ann <ann@example.org>\r\nTo: alice@example.com\r\nSubject: Lunch\r\n"
    b"Date: Mon, 02 Mar 2026 06:00:00 +0100\r\n\r\nAt noon?\r\n"
)


@pytest.fixture(scope="module")
def server():
    dovecot.need()
    with Dovecot() as running:
        yield running


@pytest.fixture
def service(database):
    return ConnectionService(database, Cipher(bytes(32)), clock=clock)


@pytest.fixture
def account(server, workshop):
    return imap_account(
        f"alice-{workshop.user.hex}",
        dovecot.PASSWORD,
        host="127.0.0.1",
        port=server.tls,
        certificate=server.authority,
    )


@pytest.fixture
async def tools(workshop, service):
    async with httpx.AsyncClient() as http:

        def build(name, user=workshop.user):
            context = ToolContext(
                user,
                clock,
                lambda name: service.secret(user, name),
                sample_mailbox_path,
                http,
                connection=lambda name: service.using(user, name),
                connected=lambda gives: service.connected(user, gives),
            )
            return builtin_tools().build(name, context)

        yield build


async def state(service, workshop):
    [found] = await service.all(workshop.user)
    return found


async def test_tools_read_the_connected_mailbox_before_the_folder(
    workshop, service, server, account, tools, bob
):
    assert len(json.loads(await tools("mail_search").ainvoke({}))) > 5
    server.deliver(account.user, ONE)
    assert await service.add_mailbox(workshop.user, account, shown="alice@example.com") == (
        "1 message"
    )

    [found] = json.loads(await tools("mail_search").ainvoke({"query": "from:ann noon"}))
    read = json.loads(await tools("mail_get_message").ainvoke({"message_id": found["id"]}))
    assert (read["subject"], read["text"].strip()) == ("Lunch", "At noon?")
    now = await state(service, workshop)
    assert (now.kind, now.account, now.state) == ("imap", "alice@example.com", "ok")
    assert now.last_used_at > now.last_checked_at
    assert len(json.loads(await tools("mail_search", bob).ainvoke({}))) > 5

    await service.remove(workshop.user, "imap")
    assert len(json.loads(await tools("mail_search").ainvoke({}))) > 5


async def test_several_mailboxes_are_told_apart_by_their_names(
    workshop, service, server, account, tools
):
    work = dataclasses.replace(account, user=f"work-{workshop.user.hex}")
    server.deliver(account.user, ONE)
    server.deliver(work.user, ONE.replace(b"Lunch", b"Budget"))
    await service.add_mailbox(workshop.user, account, shown="alice@home.example")
    await service.add_mailbox(workshop.user, work, name="work", shown="alice@work.example")

    with pytest.raises(ToolException) as told:
        await tools("mail_search").ainvoke({})
    assert "imap (alice@home.example), work (alice@work.example)" in str(told.value)
    with pytest.raises(ToolException, match="no mailbox 'play'"):
        await tools("mail_search").ainvoke({"mailbox": "play"})
    [found] = json.loads(await tools("mail_search").ainvoke({"mailbox": "work"}))
    assert found["subject"] == "Budget"
    chosen = {"message_id": found["id"], "mailbox": "work"}
    assert json.loads(await tools("mail_get_message").ainvoke(chosen))["subject"] == "Budget"

    await service.remove(workshop.user, "imap")
    [found] = json.loads(await tools("mail_search").ainvoke({}))
    assert found["subject"] == "Budget"


async def test_a_name_belongs_to_one_kind(workshop, service, account):
    await service.add_mailbox(workshop.user, account, name="work")

    with pytest.raises(ConflictError, match="of another kind is named work"):
        await service.keep(workshop.user, "gmail", "token", name="work")
    with pytest.raises(InvalidInputError, match="cannot name a connection"):
        await service.keep(workshop.user, "gmail", "token", name="My Mail")
    assert (await state(service, workshop)).kind == "imap"


async def test_what_is_to_be_set_up_has_the_name_of_the_connection(workshop, service, account):
    await service.add_mailbox(workshop.user, account, name="work")

    with pytest.raises(LoginRefusedError, match="rota connections reconnect work") as caught:
        async with service.using(workshop.user, "work"):
            raise LoginRefusedError("The server refused the password.")

    assert caught.value.what == "connection:work"
    assert "reconnect work" in (await state(service, workshop)).problem


async def test_password_and_server_are_sealed(workshop, service, account):
    await service.add_mailbox(workshop.user, account)

    row = await workshop.row("connections")
    assert dovecot.PASSWORD.encode() not in bytes(row["secret"])
    assert b"127.0.0.1" not in bytes(row["secret"])
    assert await service.open(workshop.user, "imap") == account.as_secret()


async def test_what_cannot_be_read_is_not_connected(workshop, service, account):
    with pytest.raises(LoginRefusedError):
        await service.add_mailbox(workshop.user, dataclasses.replace(account, password="no"))
    assert await service.all(workshop.user) == ()


async def test_three_refused_logins_and_no_more_is_tried(workshop, service, server, account, tools):
    name = f"changing-{workshop.user.hex}"
    changing = dataclasses.replace(account, user=name)
    await service.add_mailbox(workshop.user, changing)
    wrong = dataclasses.replace(changing, password="changed-meanwhile")
    await service.keep(workshop.user, "imap", wrong.as_secret())
    before = server.logins(name)

    for _ in range(5):
        with pytest.raises(SetupRequiredError, match="refused the password") as caught:
            await tools("mail_search").ainvoke({})

    assert "stopped trying after 3" in str(caught.value)
    assert server.logins(name) == before + 3
    now = await state(service, workshop)
    assert now.state is ConnectionState.NEEDS_YOU
    assert "Authentication failed" in now.problem

    with pytest.raises(SetupRequiredError, match="stopped trying"):
        await service.check(workshop.user, "imap")
    await service.add_mailbox(workshop.user, changing)
    now = await state(service, workshop)
    assert (now.state, now.problem) == ("ok", "")
    assert await tools("mail_search").ainvoke({}) == "[]"


async def test_a_login_that_works_forgets_the_refusals_before(workshop, service, account):
    await service.add_mailbox(workshop.user, account)
    await workshop.owner.execute("UPDATE connections SET refused_logins = 2")

    await service.check(workshop.user, "imap")

    assert (await workshop.row("connections"))["refused_logins"] == 0


async def test_a_server_that_is_down_is_broken_until_it_is_up(workshop, service):
    with Dovecot() as server:
        account = imap_account(
            "alice",
            dovecot.PASSWORD,
            host="127.0.0.1",
            port=server.tls,
            certificate=server.authority,
        )
        await service.add_mailbox(workshop.user, account)
        server.stop()
        with pytest.raises(UnavailableError, match="cannot be reached"):
            await service.check(workshop.user, "imap")
        now = await state(service, workshop)
        assert now.state is ConnectionState.BROKEN
        assert "Connection refused" in now.problem

        server.start()
        assert await service.check(workshop.user, "imap") == "0 messages"
        now = await state(service, workshop)
        assert (now.state, now.problem) == ("ok", "")


async def test_an_old_password_says_nothing_of_the_new_one(workshop, service, account):
    await service.add_mailbox(workshop.user, account)

    with pytest.raises(LoginRefusedError):
        async with service.using(workshop.user, "imap"):
            await service.add_mailbox(workshop.user, account)  # mended meanwhile
            raise LoginRefusedError("Refused.", what="connection:imap")

    assert (await state(service, workshop)).state is ConnectionState.OK


@pytest.mark.parametrize(
    "error",
    [
        SetupRequiredError("It lacks the key.", what="secret_key"),
        SetupRequiredError("The other one is at its end.", what="connection:other"),
        UnavailableError("The database is away.", service="database"),
    ],
)
async def test_what_another_thing_lacks_is_no_fault_of_the_connection(
    workshop, service, account, error
):
    await service.add_mailbox(workshop.user, account)

    with pytest.raises(type(error)) as caught:
        async with service.using(workshop.user, "imap"):
            raise error

    assert caught.value is error
    assert (await state(service, workshop)).state is ConnectionState.OK


async def test_a_mailbox_for_reading_only_is_in_order_and_lacks_sending(workshop, service, account):
    reads = dataclasses.replace(account, smtp_host="")
    await service.add_mailbox(workshop.user, reads)
    context = dataclasses.replace(
        mail_context(None, clock()), secret=lambda name: service.secret(workshop.user, name)
    )

    with pytest.raises(SetupRequiredError, match="can be read only") as caught:
        await check_can_send(context, ConnectedAccount("imap", "imap", reads.user))

    assert caught.value.what == "connection:imap:send"
    assert (await state(service, workshop)).state is ConnectionState.OK


async def test_what_is_asked_wrongly_is_no_fault_of_the_connection(workshop, service, account):
    await service.add_mailbox(workshop.user, account)

    with pytest.raises(NotFoundError):
        async with service.using(workshop.user, "imap"):
            raise NotFoundError("message", "1-1")

    assert (await state(service, workshop)).state is ConnectionState.OK


async def test_nothing_connected_cannot_be_checked(workshop, service):
    with pytest.raises(NotFoundError):
        await service.check(workshop.user, "imap")


def test_providers_are_known_by_the_domain():
    assert imap_account("me@gmail.com", "abcd efgh ijkl mnop").password == "abcdefghijklmnop"
    assert imap_account("me@gmail.com", "p w\n").password == "p w"
    assert imap_account("Me@GMX.de", "x").host == "imap.gmx.net"
    assert imap_account("me@x.org", "x", host="h", encryption="starttls").port == 143
    assert provider_of("me@example.com") is None


@pytest.mark.parametrize(
    ("address", "password", "host", "said"),
    [
        ("me@example.com", "x", "", "--host"),
        ("", "x", "h", "--account"),
        ("me@gmail.com", " \n", "", "No password"),
        ("me@gmail.com", "x\r\nA1 DELETE INBOX", "", "line breaks"),
        ("me\r\n@gmail.com", "x", "h", "line breaks"),
    ],
)
def test_what_is_missing_is_said(address, password, host, said):
    with pytest.raises(InvalidInputError, match=said):
        imap_account(address, password, host=host)
