"""Mail that an agent writes: from whom, to whom, in which thread, and what is left behind."""

from __future__ import annotations

import dataclasses
import email
from datetime import timedelta
from email.policy import default

import httpx
import pytest

from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.agents.tools.mail.imap import ImapMailbox
from rota.domain.agents.mail_accounts import imap_account
from rota.domain.approvals.condition_syntax import parse_condition
from rota.domain.approvals.rules import RuleDraft
from rota.sample import sample_mailbox_path
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from rota.services.approvals.rules import RuleService
from rota.services.approvals.unknown_outcomes import UnknownOutcomes
from rota.services.notifications.service import NotificationService
from tests.loopback import dovecot
from tests.loopback.dovecot import Dovecot
from tests.loopback.smtp import SmtpServer
from tests.services.deciding import desk_of, set_column
from tests.services.harness import CIPHER, clock

ASKED = (
    b"From: Ann <ann@example.org>\r\nReply-To: Desk <desk@example.org>\r\n"
    b"To: alice@own.example, Bob <bob@example.net>\r\nCc: eve@example.net, ALICE@own.example\r\n"
    b"Subject: AW: Re: Lunch\r\nMessage-ID: <q@example.org>\r\n"
    b"References: <a@example.org> <b@example.org>\r\n"
    b"Date: Mon, 02 Mar 2026 06:00:00 +0100\r\n\r\nAt noon?\r\n"
)


@pytest.fixture(scope="module")
def mailboxes():
    dovecot.need()
    with Dovecot() as running:
        yield running


@pytest.fixture
def smtp(mailboxes):
    with SmtpServer(certificates=mailboxes.root) as running:
        yield running


@pytest.fixture
def service(database):
    return ConnectionService(database, Cipher(bytes(32)), clock=clock)


@pytest.fixture
def person(workshop):
    return f"alice-{workshop.user.hex}"


@pytest.fixture
def account(mailboxes, smtp, person):
    made = imap_account(
        "alice@own.example",
        dovecot.PASSWORD,
        host="127.0.0.1",
        port=mailboxes.tls,
        user=person,
        certificate=mailboxes.authority,
        smtp_host="127.0.0.1",
        smtp_port=smtp.port,
    )
    smtp.password = dovecot.PASSWORD
    return made


@pytest.fixture
async def context(service):
    async with httpx.AsyncClient() as http:

        def context(user, now):
            return ToolContext(
                user,
                now,
                lambda name: service.secret(user, name),
                sample_mailbox_path,
                http,
                connection=lambda name: service.using(user, name),
                connected=lambda gives: service.connected(user, gives),
            )

        yield context


@pytest.fixture
async def desk(workshop, service, account, context):
    """Alice's, with her mailbox connected, and an agent that has the tools."""
    await service.keep(
        workshop.user, "imap", account.as_secret(), name="work", account="alice@own.example"
    )
    made = desk_of(workshop, registry=builtin_tools(), tool_context=context)
    made.tools = ("mail_search", "send_mail", "draft_mail", "reply")
    return made


@pytest.fixture
def outcomes(database, context):
    return UnknownOutcomes(
        database,
        NotificationService(database),
        registry=builtin_tools(),
        tool_context=context,
        cipher=CIPHER,
        clock=clock,
    )


def call(tool, **arguments):
    return {"tool": tool, "args": arguments}


def lunch(**changes):
    return call(
        "send_mail", **{"to": ["bob@example.net"], "subject": "Lunch", "text": "At noon?"} | changes
    )


def read(data):
    return email.message_from_bytes(data, policy=default)


def copies(mailboxes, person, folder):
    box = mailboxes.root / "mail" / person / f".{folder}" / "cur"
    return [read(path.read_bytes()) for path in sorted(box.iterdir())] if box.exists() else []


def newest(account):
    return ImapMailbox(account).search("", 1, now=clock())[0].id


async def approved(desk, *calls):
    run_id = await desk.run(*calls)
    for action in await desk.actions():
        if action["status"] == "pending":
            await desk.approve(action)
    await desk.work()
    return run_id


async def test_a_mail_waits_and_is_sent_once_and_copied(desk, smtp, mailboxes, person):
    await desk.run(lunch(bcc=["eve@example.net"]))

    action = await desk.action()
    assert (action["status"], action["risk"]) == ("pending", "medium")
    assert action["arguments"] == {
        "to": ["bob@example.net"],
        "cc": [],
        "bcc": ["eve@example.net"],
        "subject": "Lunch",
        "text": "At noon?",
        "mailbox": "work",
    }
    assert smtp.delivered == []
    await desk.approve()
    await desk.work()

    (taken,) = smtp.delivered
    assert (taken.sender, taken.recipients) == (
        "alice@own.example",
        ("bob@example.net", "eve@example.net"),
    )
    assert "Bcc" not in read(taken.data)
    (copy,) = copies(mailboxes, person, "Sent")
    assert (copy["Message-ID"], copy["Bcc"]) == (read(taken.data)["Message-ID"], "eve@example.net")
    assert mailboxes.flags(person, "Sent") == ["S"]
    assert (await desk.action())["result"] == "Sent to bob@example.net, eve@example.net."


async def test_a_reply_shows_who_gets_it_before_it_is_approved(
    desk, smtp, mailboxes, person, account
):
    mailboxes.deliver(person, ASKED)

    await desk.run(call("reply", message_id=newest(account), text="Yes.", all=True))
    action = await desk.action()
    assert action["arguments"] | {"message_id": ""} == {
        "message_id": "",
        "text": "Yes.",
        "all": True,
        "to": ["desk@example.org"],
        "cc": ["bob@example.net", "eve@example.net"],
        "subject": "Re: Lunch",
        "mailbox": "work",
    }
    await desk.approve()
    await desk.work()

    (taken,) = smtp.delivered
    assert taken.recipients == ("desk@example.org", "bob@example.net", "eve@example.net")
    message = read(taken.data)
    assert message["In-Reply-To"] == "<q@example.org>"
    assert message["References"] == "<a@example.org> <b@example.org> <q@example.org>"
    assert message["Subject"] == "Re: Lunch"
    assert message.get_content().strip() == "Yes."


async def test_a_reply_goes_to_the_sender_alone_unless_all_are_asked_for(
    desk, smtp, mailboxes, person, account
):
    mailboxes.deliver(person, ASKED.replace(b"Reply-To: Desk <desk@example.org>\r\n", b""))

    await approved(desk, call("reply", message_id=newest(account), text="Yes."))

    assert [one.recipients for one in smtp.delivered] == [("ann@example.org",)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"to": ["mallory@evil.example"]}, "mallory@evil.example has no part in that message"),
        ({"cc": ["bob@example.net", "mallory@evil.example"]}, "mallory@evil.example has no part"),
        ({"message_id": "1-999"}, "No message '1-999'"),
        ({"subject": "Hi\nBcc: mallory@evil.example"}, "The subject is one line"),
    ],
)
async def test_a_reply_to_somebody_else_asks_nobody(
    desk, smtp, mailboxes, person, account, arguments, said
):
    mailboxes.deliver(person, ASKED)
    given = {"message_id": newest(account), "text": "Yes."} | arguments

    run_id = await desk.run(call("reply", **given))

    assert await desk.actions() == []
    assert said in (await desk.result(run_id))["result_content"]
    assert smtp.delivered == []


async def test_an_owner_may_leave_a_recipient_of_a_reply_out_and_add_none(
    desk, smtp, mailboxes, person, account
):
    mailboxes.deliver(person, ASKED)
    await desk.run(call("reply", message_id=newest(account), text="Yes.", all=True))
    action = await desk.action()
    fewer = action["arguments"] | {"cc": ["bob@example.net"]}

    await desk.edit(fewer, approve=True)
    await desk.work()

    assert [one.recipients for one in smtp.delivered] == [("desk@example.org", "bob@example.net")]


async def test_a_message_that_is_gone_is_not_answered(desk, smtp, mailboxes, person, account):
    mailboxes.deliver(person, ASKED)
    await desk.run(call("reply", message_id=newest(account), text="Yes."))
    for path in (mailboxes.root / "mail" / person / "cur").iterdir():
        path.unlink()

    await desk.approve()
    await desk.work()

    action = await desk.action()
    assert action["status"] == "failed"
    assert "No message" in action["result"]
    assert smtp.delivered == []


async def test_a_suspended_run_whose_message_is_gone_sends_nothing_and_leaves_nothing(
    desk, smtp, mailboxes, person, account
):
    mailboxes.deliver(person, ASKED)
    run_id = await desk.run(call("reply", message_id=newest(account), text="Yes."), mode="suspend")
    for path in (mailboxes.root / "mail" / person / "cur").iterdir():
        path.unlink()

    await desk.approve()
    await desk.work()
    await desk.times.look()

    assert "No message" in (await desk.result(run_id))["result_content"]
    assert (await desk.action())["status"] == "failed"
    assert smtp.delivered == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"to": []}, "The mail has no recipient"),
        ({"to": ["bob@example.net\r\nBcc: eve@example.net"]}, "is not one mail address"),
        ({"to": ["bob@example.net, eve@example.net"]}, "is not one mail address"),
        ({"to": ["bob"]}, "is not one mail address"),
        ({"cc": ["bob@nowhere"]}, "is no address that a provider gives out"),
        ({"bcc": [f"p{n}@example.net" for n in range(1_000)]}, "has 1,001 recipients"),
        ({"subject": "Lunch\r\nBcc: eve@example.net"}, "The subject is one line"),
        ({"subject": "x" * 600}, "The subject has 600 characters"),
        ({"text": "x" * 150_001}, "The text has 150,001 characters"),
        ({"subject": "", "text": " "}, "neither a subject nor a text"),
        ({"mailbox": "home"}, "There is no mailbox 'home'"),
    ],
)
async def test_a_mail_that_cannot_be_sent_asks_nobody(desk, smtp, changes, said):
    run_id = await desk.run(lunch(**changes))

    assert await desk.actions() == []
    assert said in (await desk.result(run_id))["result_content"]
    assert smtp.delivered == []


@pytest.mark.parametrize("tool", ["send_mail", "reply"])
async def test_a_mailbox_without_a_server_that_sends_asks_nobody(
    desk, service, mailboxes, person, account, tool
):
    reads = dataclasses.replace(account, smtp_host="")
    await service.keep(desk.workshop.user, "imap", reads.as_secret(), name="work")
    mailboxes.deliver(person, ASKED)
    answer = call("reply", message_id=newest(account), text="Yes.")

    run_id = await desk.run(lunch() if tool == "send_mail" else answer)

    assert await desk.actions() == []
    said = (await desk.result(run_id))["result_content"]
    assert "can be read only. Connect it again with" in said


async def test_an_address_in_unicode_is_sent_as_the_rules_read_it(desk, smtp):
    await approved(desk, lunch(to="Zoë Müller <Zoë@Müller.example>"))

    (taken,) = smtp.delivered
    assert taken.recipients == ("Zoë@xn--mller-kva.example",)


async def test_a_draft_is_kept_and_not_sent(desk, smtp, mailboxes, person):
    await approved(desk, call("draft_mail", to=["bob@example.net"], subject="Hi", text="Hällo"))

    (draft,) = copies(mailboxes, person, "Drafts")
    assert (draft["To"], draft["From"]) == ("bob@example.net", "alice@own.example")
    assert draft.get_content().strip() == "Hällo"
    assert mailboxes.flags(person, "Drafts") == ["DS"]
    assert smtp.delivered == []


async def test_the_folders_that_the_server_names_are_used(workshop, desk, smtp, mailboxes, person):
    for folder in ("Entw&APw-rfe", "Gesendete Objekte"):
        mailboxes.deliver(person, folder=folder)

    await approved(desk, lunch(), call("draft_mail", to=["bob@example.net"], subject="Hi", text=""))

    assert len(copies(mailboxes, person, "Gesendete Objekte")) == 1
    assert len(copies(mailboxes, person, "Entw&APw-rfe")) == 1
    assert not (mailboxes.root / "mail" / person / ".Sent").exists()


async def test_a_copy_that_fails_is_said_and_the_mail_was_sent(
    desk, smtp, service, workshop, account
):
    import dataclasses

    elsewhere = dataclasses.replace(account, port=1)
    await service.keep(workshop.user, "imap", elsewhere.as_secret(), name="work")

    await approved(desk, lunch())

    action = await desk.action()
    assert (action["status"], action["result"]) == (
        "succeeded",
        "Sent to bob@example.net. Its copy could not be put into Sent.",
    )
    assert len(smtp.delivered) == 1


async def test_a_refused_recipient_fails_the_request_and_leaves_the_connection_in_order(
    desk, smtp, service, workshop
):
    smtp.refused = {"bob@example.net": "550 5.1.1 No such user"}

    await approved(desk, lunch())

    action = await desk.action()
    assert (action["status"], action["result"]) == (
        "failed",
        "127.0.0.1 refuses bob@example.net (550 5.1.1 No such user). The mail was sent to nobody.",
    )
    assert [one.state for one in await service.all(workshop.user)] == ["ok"]


async def test_a_server_that_refuses_the_password_needs_its_owner(desk, smtp, service, workshop):
    smtp.password = "changed"

    await approved(desk, lunch())

    (found,) = await service.all(workshop.user)
    assert found.state == "needs you"
    assert "refused the password" in found.problem
    assert (await desk.action())["status"] == "failed"


async def test_greylisting_is_a_state_that_passes(desk, smtp, service, workshop):
    smtp.refused = {"bob@example.net": "451 4.7.1 Come back later"}

    await approved(desk, lunch())

    (found,) = await service.all(workshop.user)
    assert found.state == "broken"
    assert "does not take mail for bob@example.net (451 4.7.1 Come back later)" in found.problem
    assert (await desk.action())["status"] == "failed"


async def test_a_server_that_dies_after_the_message_leaves_a_question(
    desk, smtp, mailboxes, person
):
    smtp.dies = "taken"

    await approved(desk, lunch())

    assert (await desk.action())["status"] == "unknown"
    assert copies(mailboxes, person, "Sent") == []
    assert len(smtp.delivered) == 1


async def test_a_copy_that_the_server_has_made_is_not_made_again(desk, smtp, mailboxes, person):
    smtp.deliver = lambda _to, data: mailboxes.deliver(person, data, folder="Sent", flags="S")

    await approved(desk, lunch())

    assert len(copies(mailboxes, person, "Sent")) == 1


@pytest.mark.parametrize(
    ("folder", "headers"),
    [
        ("Sent", "Message-ID: {id}\r\nSubject: Lunch"),
        ("", "From: bob@example.net\r\nSubject: Re: Lunch\r\nIn-Reply-To: {id}"),
        ("", "From: bob@example.net\r\nReferences: <x@y.example> {id}"),
        ("", "From: alice@own.example\r\nMessage-ID: {id}"),
    ],
    ids=["in_sent", "answered", "answered_later", "copy_to_oneself"],
)
async def test_a_mail_of_unknown_outcome_that_is_found_is_not_sent_again(
    desk, smtp, mailboxes, person, folder, headers
):
    smtp.dies = "taken"
    await approved(desk, lunch())
    assert (await desk.action())["status"] == "unknown"
    smtp.dies = ""
    message_id = read(smtp.delivered[0].data)["Message-ID"]
    found = f"{headers.format(id=message_id)}\r\n\r\nText\r\n".encode()
    mailboxes.deliver(person, found, folder=folder)

    await desk.settle("again")
    await desk.work()

    action = await desk.action()
    assert (action["status"], action["result"]) == (
        "succeeded",
        "Sent to bob@example.net. The mailbox shows that.",
    )
    assert len(smtp.delivered) == 1


async def test_an_answer_that_comes_later_is_told_to_its_owner_once(
    desk, smtp, mailboxes, person, outcomes
):
    smtp.dies = "taken"
    await approved(desk, lunch())
    smtp.dies = ""
    assert await outcomes.look() == 0
    assert (await desk.action())["status"] == "unknown"
    message_id = read(smtp.delivered[0].data)["Message-ID"]
    answer = f"From: bob@example.net\r\nIn-Reply-To: {message_id}\r\n\r\nYes.\r\n"
    mailboxes.deliver(person, answer.encode())

    assert await outcomes.look() == 1
    assert await outcomes.look() == 0

    action = await desk.action()
    assert (action["status"], action["result"]) == (
        "unknown",
        "Looked up: Sent to bob@example.net. The mailbox shows that.",
    )
    (notice,) = [
        row
        for row in await desk.workshop.rows("notifications")
        if row["title"] == "send_mail did take effect"
    ]
    assert "send_mail to bob@example.net, \u201cLunch\u201d" in notice["body"]
    assert f"rota approvals settle {str(action['id'])[:8]} happened" in notice["body"]
    await desk.settle("happened")
    assert (await desk.action())["status"] == "succeeded"
    assert len(smtp.delivered) == 1


async def test_an_outcome_is_looked_up_for_a_week(desk, smtp, mailboxes, person, outcomes, account):
    smtp.dies = "taken"
    await approved(desk, lunch())
    copy = smtp.delivered[0].data
    mailboxes.deliver(person, copy, folder="Sent", flags="S")
    await set_column(desk, "finished_at", clock() - timedelta(days=8))
    before = mailboxes.logins(person)

    assert await outcomes.look() == 0

    assert (await desk.action())["status"] == "unknown"
    assert mailboxes.logins(person) == before


async def test_a_mailbox_that_cannot_be_asked_leaves_it_unknown(
    desk, smtp, service, workshop, outcomes
):
    smtp.dies = "taken"
    await approved(desk, lunch())
    await service.remove(workshop.user, "work")

    assert await outcomes.look() == 0
    assert (await desk.action())["status"] == "unknown"


async def test_a_mail_that_is_not_found_is_sent_again_with_the_same_message_id(
    desk, smtp, mailboxes, person
):
    smtp.dies = "lost"
    await approved(desk, lunch())
    smtp.dies = ""
    mailboxes.deliver(person, ASKED)

    await desk.settle("again")
    await desk.work()

    (taken,) = smtp.delivered
    assert (await desk.action())["status"] == "succeeded"
    (copy,) = copies(mailboxes, person, "Sent")
    assert copy["Message-ID"] == read(taken.data)["Message-ID"]


async def test_without_a_mailbox_the_run_says_what_to_connect(desk, service, workshop, smtp):
    await service.remove(workshop.user, "work")

    run_id = await desk.run(lunch())

    assert "rota connections add imap" in (await desk.result(run_id))["result_content"]
    assert await desk.actions() == []


# What has read a mail sends only where somebody else than the model has said.

SEARCH = {"calls": [{"tool": "mail_search", "args": {"query": ""}}]}


async def runs_after_reading(desk, call, **run):
    await desk.workshop.declare(call["tool"], default_tier="auto")
    await desk.run_steps([SEARCH, {"calls": [call]}], **run)
    return await desk.actions() == []


@pytest.fixture
def asked(mailboxes, person):
    mailboxes.deliver(person, ASKED)


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({}, True),
        ({"cc": ["Ann <ann@own.example>"]}, True),
        ({"to": ["bob@own.example", "eve@evil.example"]}, False),
        ({"cc": ["eve@evil.example"]}, False),
        ({"bcc": ["eve@evil.example"]}, False),
        ({"bcc": ["eve@sub.own.example"]}, False),
    ],
)
@pytest.mark.parametrize(
    "when", ["to email_domain own.example", "to,cc,bcc email_domain own.example"]
)
async def test_a_rule_lets_a_mail_go_only_if_all_recipients_are_at_its_domain(
    desk, asked, when, changes, runs
):
    rules = RuleService(desk.workshop.database, clock=clock)
    draft = RuleDraft("allow", "send_mail", (parse_condition(when),), risk="high")
    await rules.add(desk.workshop.user, [draft])

    mail = lunch(**{"to": ["bob@own.example"]} | changes)
    assert await runs_after_reading(desk, mail) is runs


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({}, True),
        ({"cc": ["ann@own.example"]}, True),
        ({"cc": ["eve@evil.example"]}, False),
        ({"bcc": ["eve@evil.example"]}, False),
        ({"to": ["Bob <ob@own.example>"]}, False),
    ],
)
async def test_all_recipients_have_to_stand_in_the_prompt(desk, asked, smtp, changes, runs):
    mail = lunch(**{"to": ["bob@own.example"]} | changes)
    prompt = "Tell bob@own.example and ann@own.example."

    assert await runs_after_reading(desk, mail, prompt=prompt) is runs
    assert bool(smtp.delivered) is runs


@pytest.mark.parametrize(
    ("prompt", "runs"),
    [
        ("Answer desk@example.org.", False),
        ("Answer desk@example.org, bob@example.net and eve@example.net.", True),
        ("Answer ann@example.org, bob@example.net and eve@example.net.", False),
    ],
)
async def test_those_who_get_a_reply_are_its_recipients(desk, asked, smtp, account, prompt, runs):
    call_ = call("reply", message_id=newest(account), text="Yes.", all=True)

    assert await runs_after_reading(desk, call_, prompt=prompt) is runs
    assert bool(smtp.delivered) is runs
    if not runs:
        reason = (await desk.action())["reason"]
        assert "before this the run read: mail from ann@example.org" in reason


async def test_a_draft_stays_in_the_mailbox_and_asks_nothing_where_its_owner_says_so(desk, asked):
    draft = call("draft_mail", to=["eve@evil.example"], subject="Hi", text="Secrets")

    assert await runs_after_reading(desk, draft)
