"""Gmail connected by grants: what its owner's tools read, of which account, and what they see."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from langchain_core.tools import ToolException

from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.agents.tools.mail.gmail import GmailClient
from rota.domain.agents.connections import ConnectionState
from rota.domain.errors import SetupRequiredError
from rota.sample import sample_mailbox_path
from tests.loopback.gmail import Failure
from tests.services.agents.grants import connect

RAW = b"From: Ann <ann@example.com>\r\nSubject: Lunch\r\n\r\nAt noon?\r\n"


@pytest.fixture
async def tools(workshop, service, gmail, time):
    async with httpx.AsyncClient() as http:

        def build(name, user=workshop.user):
            context = ToolContext(
                user,
                time,
                lambda name: service.secret(user, name),
                sample_mailbox_path,
                http,
                {"gmail": gmail.url},
                lambda name: service.using(user, name),
                lambda gives: service.connected(user, gives),
                lambda name, refused: service.renew(user, name, refused),
            )
            return builtin_tools().build(name, context)

        yield build


@pytest.mark.parametrize("search", ["gmail_search", "mail_search"])
async def test_of_several_accounts_the_named_one_is_read(
    workshop, service, provider, gmail, tools, connected, search
):
    work = await connect(workshop, service, provider, name="work")
    work.account = "alice@work.example"
    gmail.add(RAW)

    with pytest.raises(ToolException, match=r"several .*gmail \(alice@gmail.example\), work \("):
        await tools(search).ainvoke({})
    [found] = json.loads(await tools(search).ainvoke({"mailbox": "work"}))
    get = search.replace("search", "get_message")
    read = json.loads(await tools(get).ainvoke({"message_id": found["id"], "mailbox": "work"}))

    assert read["text"].strip() == "At noon?"
    asked = {provider.account_of(request.authorization) for request in gmail.requests}
    assert asked == {"alice@work.example"}
    used = {one.name: one.last_used_at for one in await service.all(workshop.user)}
    assert (used["gmail"], used["work"] is not None) == (None, True)


async def test_the_tools_of_gmail_take_no_other_mailbox(workshop, service, tools, connected):
    with pytest.raises(ToolException, match="no mailbox 'imap'"):
        await tools("gmail_search").ainvoke({"mailbox": "imap"})


async def test_a_due_token_is_refreshed_before_the_tool_asks(
    gmail, tools, connected, provider, time
):
    gmail.add(RAW)
    time.passes(hours=5)

    assert len(json.loads(await tools("gmail_search").ainvoke({}))) == 1
    assert provider.refreshes == 1


async def test_a_tool_sees_no_refresh_token(workshop, service, connected):
    secret = await service.secret(workshop.user, "gmail")
    assert connected.refresh_token not in secret
    [seen] = await service.connected(workshop.user, "mail")
    assert (seen.name, seen.kind, seen.account) == ("gmail", "gmail", "alice@gmail.example")
    assert await service.connected(workshop.user, "calendar") == ()


async def test_a_grant_that_died_says_what_to_do_and_stays_for_its_owner_alone(
    workshop, service, tools, connected, provider, time, bob
):
    provider.revoke_all()
    time.passes(hours=5)

    with pytest.raises(SetupRequiredError, match="rota connections reconnect gmail") as caught:
        await tools("mail_search").ainvoke({})
    assert caught.value.what == "connection:gmail"
    assert (await service.get(workshop.user, "gmail")).state is ConnectionState.NEEDS_YOU
    assert len(json.loads(await tools("mail_search", bob).ainvoke({}))) > 5  # his folder


async def test_a_token_that_ends_early_is_replaced_while_it_is_used(
    workshop, service, provider, gmail, tools, connected
):
    """As where this machine slept in mid-call, or its owner signed out everywhere."""
    gmail.add(RAW)
    provider._tokens.clear()

    found = await asyncio.gather(*(tools("gmail_search").ainvoke({}) for _ in range(4)))

    assert [json.loads(one)[0]["subject"] for one in found] == ["Lunch"] * 4
    assert provider.refreshes == 1
    assert (await service.get(workshop.user, "gmail")).state is ConnectionState.OK


async def test_a_check_takes_another_token_too(workshop, service, provider, connected, time):
    provider._tokens.clear()

    assert await service.check(workshop.user, "gmail") == "0 messages"
    assert provider.refreshes == 1
    found = await service.get(workshop.user, "gmail")
    assert (found.state, found.last_checked_at) == (ConnectionState.OK, time.now)


async def test_an_api_that_takes_no_token_needs_its_owner(
    workshop, service, provider, gmail, tools, connected
):
    gmail.always = Failure(401, "authError", "Invalid Credentials")

    with pytest.raises(SetupRequiredError, match="no longer accepts"):
        await tools("gmail_search").ainvoke({})

    assert provider.refreshes == 2  # and then no more
    found = await service.get(workshop.user, "gmail")
    assert found.state is ConnectionState.NEEDS_YOU
    assert "rota connections reconnect gmail" in found.problem


async def test_a_grant_that_was_revoked_meanwhile_says_so(
    workshop, service, provider, tools, connected
):
    provider.revoke_all()

    with pytest.raises(SetupRequiredError, match="expired or revoked"):
        await tools("gmail_search").ainvoke({})

    found = await service.get(workshop.user, "gmail")
    assert found.state is ConnectionState.NEEDS_YOU
    assert "rota connections reconnect gmail" in found.problem


async def test_a_mail_whose_token_was_refused_is_sent_once(gmail):
    mail = b"From: alice@gmail.example\r\nTo: bob@example.net\r\n\r\nNoon?\r\n"

    async def old():
        return "old-token"

    async def renew(refused):
        assert refused == "old-token"
        return "good-token"

    gmail.accepts = gmail._accepts
    async with httpx.AsyncClient() as http:
        client = GmailClient(gmail.url, old, http=http, renew=renew)
        await client.send(mail, "")
        await client.search("")

    assert [gmail.messages[key] for key in gmail.sent] == [mail]
