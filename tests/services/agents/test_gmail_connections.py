"""Gmail connected by grants: what its owner's tools read, of which account, and what they see."""

from __future__ import annotations

import json

import httpx
import pytest
from langchain_core.tools import ToolException

from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.domain.agents.connections import ConnectionState
from rota.domain.errors import SetupRequiredError
from rota.sample import sample_mailbox_path
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
