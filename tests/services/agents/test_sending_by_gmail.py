"""Mail that an agent writes by Gmail's API: sent once, or found, or asked about."""

from __future__ import annotations

import email
from dataclasses import replace
from email.policy import default

import httpx
import pytest

from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.agents.tools.mail.gmail import COMPOSE_SCOPE, SCOPE
from rota.agents.tools.mail.sending.senders import WRITING_SCOPES, sending_account
from rota.agents.tools.oauth.providers import SCOPES
from rota.domain.errors import SetupRequiredError
from rota.sample import sample_mailbox_path
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from tests.loopback.gmail import Failure, GmailServer
from tests.services.deciding import desk_of
from tests.services.harness import clock
from tests.unit.agents.mail_contexts import mail_context

ASKED = (
    b"From: Ann <ann@example.org>\r\nTo: alice@gmail.com\r\nSubject: Lunch\r\n"
    b"Message-ID: <q@example.org>\r\nDate: Mon, 02 Mar 2026 06:00:00 +0100\r\n\r\nAt noon?\r\n"
)


@pytest.fixture
def gmail():
    with GmailServer() as server:
        yield server


@pytest.fixture
def service(database):
    return ConnectionService(database, Cipher(bytes(32)), clock=clock)


@pytest.fixture
async def desk(workshop, service, gmail):
    await connect(service, workshop, (SCOPE, COMPOSE_SCOPE))
    async with httpx.AsyncClient() as http:

        def context(user, now):
            return ToolContext(
                user,
                now,
                lambda name: service.secret(user, name),
                sample_mailbox_path,
                http,
                endpoints={"gmail": gmail.url},
                connection=lambda name: service.using(user, name),
                connected=lambda gives: service.connected(user, gives),
            )

        made = desk_of(workshop, registry=builtin_tools(), tool_context=context)
        made.tools = ("send_mail", "draft_mail", "reply")
        yield made


async def connect(service, workshop, scopes):
    await service.keep(
        workshop.user, "gmail", "good-token", account="alice@gmail.com", scopes=scopes
    )


def call(tool, **arguments):
    return {"tool": tool, "args": arguments}


LUNCH = call(
    "send_mail", to=["bob@example.net"], bcc=["eve@example.net"], subject="Lunch", text="Noon?"
)


def sent(gmail):
    return [email.message_from_bytes(gmail.messages[key], policy=default) for key in gmail.sent]


async def approved(desk, *calls):
    run_id = await desk.run(*calls)
    await desk.approve()
    await desk.work()
    return run_id


async def test_a_mail_is_sent_with_its_hidden_recipients(desk, gmail):
    await approved(desk, LUNCH)

    (message,) = sent(gmail)
    assert (message["From"], message["To"], message["Bcc"]) == (
        "alice@gmail.com",
        "bob@example.net",
        "eve@example.net",
    )
    assert (await desk.action())["status"] == "succeeded"


async def test_a_reply_is_put_into_its_thread(desk, gmail):
    key = gmail.add(ASKED)
    await approved(desk, call("reply", message_id=key, text="Yes."))

    (message,) = sent(gmail)
    assert (await desk.action())["arguments"]["to"] == ["ann@example.org"]
    assert (message["Subject"], message["In-Reply-To"]) == ("Re: Lunch", "<q@example.org>")
    assert gmail.threads[gmail.sent[0]] == f"t{key}"


async def test_a_draft_is_kept(desk, gmail):
    await approved(desk, call("draft_mail", to=["bob@example.net"], subject="Hi", text="x"))

    assert (len(gmail.drafts), gmail.sent) == (1, [])


@pytest.mark.parametrize(
    "failure",
    [
        Failure(429, "rateLimitExceeded", headers={"Retry-After": "0"}),
        Failure(403, "userRateLimitExceeded", headers={"Retry-After": "0"}),
    ],
    ids=["too_many", "busy"],
)
async def test_what_gmail_refused_for_now_is_sent_again(desk, gmail, failure):
    await desk.run(LUNCH)
    gmail.failures.append(failure)
    await desk.approve()
    await desk.work()

    assert len(sent(gmail)) == 1
    assert (await desk.action())["status"] == "succeeded"


@pytest.mark.parametrize("status", [500, 503, 408])
async def test_what_may_have_been_sent_is_looked_up_and_not_sent_again(desk, gmail, status):
    await desk.run(LUNCH)
    gmail.failures.append(Failure(status, "backendError", is_done=True))
    await desk.approve()
    await desk.work()

    action = await desk.action()
    assert (action["status"], action["result"]) == (
        "succeeded",
        "Sent to bob@example.net, eve@example.net. The mailbox shows that.",
    )
    assert len(sent(gmail)) == 1


async def test_what_is_not_found_is_asked_about(desk, gmail):
    await desk.run(LUNCH)
    gmail.failures.append(Failure(500, "backendError"))
    await desk.approve()
    await desk.work()

    assert (await desk.action())["status"] == "unknown"
    assert sent(gmail) == []
    posts = [one for one in gmail.requests if one.path.endswith("/send")]
    assert len(posts) == 1


async def test_a_draft_proves_no_sending(desk, gmail, workshop):
    await desk.run(LUNCH)
    gmail.failures.append(Failure(500, "backendError", is_done=True))
    gmail.drafts, kept = gmail.sent, gmail.drafts  # as if it had been kept as a draft only
    await desk.approve()
    await desk.work()
    gmail.drafts = kept

    assert (await desk.action())["status"] == "unknown"


async def test_gmail_for_reading_only_says_so_before_anybody_is_asked(
    desk, gmail, service, workshop
):
    await connect(service, workshop, (SCOPE,))

    run_id = await desk.run(LUNCH)

    assert await desk.actions() == []
    said = (await desk.result(run_id))["result_content"]
    assert "was connected for reading only" in said
    assert "rota connections add gmail --send" in said
    assert not gmail.requests


async def test_gmail_that_refuses_to_send_fails_the_request(desk, gmail):
    await desk.run(LUNCH)
    gmail.failures.append(Failure(403, "insufficientPermissions"))
    await desk.approve()
    await desk.work()

    action = await desk.action()
    assert action["status"] == "failed"
    assert "The Gmail connection allows reading only" in action["result"]
    assert sent(gmail) == []


async def test_microsoft_for_reading_only_keeps_drafts_and_sends_nothing(service, workshop):
    reading, sending = SCOPES["microsoft"].reading, SCOPES["microsoft"].acting
    async with httpx.AsyncClient() as http:
        context = replace(
            mail_context(None, clock()),
            user_id=workshop.user,
            http=http,
            connected=lambda gives: service.connected(workshop.user, gives),
        )
        await service.keep(
            workshop.user, "microsoft", "x", name="work", account="a@own.example", scopes=reading
        )
        assert (await sending_account(context, "", is_draft=True)).name == "work"
        with pytest.raises(SetupRequiredError, match="rota connections add microsoft --send"):
            await sending_account(context, "work")

        await service.keep(
            workshop.user, "microsoft", "x", name="work", scopes=(*reading, *sending)
        )
        assert (await sending_account(context, "work")).name == "work"


def test_what_sending_needs_is_what_is_asked_for():
    assert {kind: (scope,) for kind, scope in WRITING_SCOPES.items()} == {
        kind: SCOPES[kind].acting for kind in WRITING_SCOPES
    }
