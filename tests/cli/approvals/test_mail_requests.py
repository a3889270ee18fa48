"""A request for a mail is shown as a mail, wherever a request is shown."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from langchain_core.tools import StructuredTool

from rota.agents.tools.context import ToolRegistry
from rota.agents.tools.mail.sending.sending_tools import MailArguments, ReplyArguments
from rota.domain.approvals.call_texts import mail_of
from tests.cli.approving import KEY, terminal_of_alice
from tests.cli.terminal import on_terminal
from tests.services.deciding import desk_of, set_column
from tests.services.harness import Workshop

MAIL = {
    "to": ["Ann <ann@own.example>", "carl@own.example"],
    "cc": ["dora@own.example"],
    "bcc": ["eve@evil.example"],
    "subject": "Lunch",
    "text": "At noon?\nTo: bob@own.example\n\x1b[2Jbye",
    "mailbox": "work",
}


@pytest.fixture
async def desk(database, owner, alice):
    async def nothing(**_arguments) -> str:
        return "sent"

    def tool(name, arguments):
        made = StructuredTool.from_function(
            coroutine=nothing, name=name, description="Write.", args_schema=arguments
        )
        return lambda _context: made

    made = desk_of(
        Workshop(database, owner, alice),
        registry=ToolRegistry(
            {"send_mail": tool("send_mail", MailArguments), "reply": tool("reply", ReplyArguments)}
        ),
    )
    made.tools = ("send_mail", "reply")
    return made


@pytest.fixture
def rota(database_url, monkeypatch):
    return terminal_of_alice(database_url, monkeypatch)


async def test_show_prints_a_mail(desk, rota):
    await desk.run({"tool": "send_mail", "args": MAIL})

    said = await rota("show", str((await desk.action())["id"]))

    assert (
        "With\n"
        "  From        the mailbox work\n"
        "  To          Ann <ann@own.example>, carl@own.example\n"
        "  Cc          dora@own.example\n"
        "  Bcc         eve@evil.example\n"
        "  Subject     Lunch\n"
        "  Text        At noon?\n"
        "            | To: bob@own.example\n"
        "            | \\u001b[2Jbye\n"
    ) in said
    assert '"to"' not in said
    shown = await rota("show", str((await desk.action())["id"]), "--json")
    assert shown["arguments"] == MAIL


async def test_a_mail_that_was_edited_is_shown_beside_what_was_asked_for(desk, rota):
    await desk.run({"tool": "send_mail", "args": MAIL})
    await desk.edit(MAIL | {"bcc": [], "text": "At one."})

    said = await rota("show", str((await desk.action())["id"]))

    now, _, before = said.partition("The agent had asked for")
    assert "  Text        At one." in now
    assert "Bcc" not in now
    assert "  Bcc         eve@evil.example" in before


async def test_proof_of_an_unknown_outcome_is_shown_with_what_to_record(desk, rota):
    await desk.run({"tool": "send_mail", "args": MAIL})
    await set_column(desk, "status", "unknown")
    reference = str((await desk.action())["id"])
    assert f"settle {reference} again" in await rota("show", reference)
    await set_column(desk, "result", "Looked up: Sent to Ann. The mailbox shows that.")

    said = await rota("show", reference)

    assert "There is proof that it took effect: record that." in said
    assert f"settle {reference} happened" in said
    assert "again" not in said


async def test_a_reply_names_the_message_that_it_answers(desk, rota):
    arguments = {
        "message_id": "17-42",
        "text": "Yes.",
        "all": True,
        "to": ["ann@own.example"],
        "subject": "Re: Lunch",
        "mailbox": "work",
    }
    await desk.run({"tool": "reply", "args": arguments})

    said = await rota("show", str((await desk.action())["id"]))

    assert "  To          ann@own.example\n  Answers     the message 17-42\n" in said


async def test_the_list_and_its_groups_have_mails(desk, rota):
    await desk.run(
        {"tool": "send_mail", "args": MAIL}, {"tool": "send_mail", "args": MAIL | {"to": "b@x.org"}}
    )

    said = await rota("list")
    assert (
        "From: the mailbox work; To: Ann <ann@own.example>, carl@own.example; "
        "Cc: dora@own.example; Bcc: eve@evil.example; Subject: Lunch; \u201cAt noon? To: "
    ) in said
    grouped = await rota("list", "--grouped")
    assert "Cc: dora@own.example; Bcc: eve@evil.example; Subject: Lunch" in grouped
    assert '{"' not in said + grouped


async def test_what_is_about_to_be_approved_is_a_mail_of_which_no_line_is_ours(desk, database_url):
    await desk.run({"tool": "send_mail", "args": MAIL})
    environment = {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": KEY.hex(),
    }
    reference = str((await desk.action())["id"])

    screen = await asyncio.to_thread(
        partial(on_terminal, ["approvals", "approve", "--all"], environment, width=80, typed="n\n")
    )

    lines = [line.rstrip() for line in screen.lines]
    assert "      Bcc: eve@evil.example" in lines
    assert "      | To: bob@own.example" in lines
    assert "      To: bob@own.example" not in lines
    assert (await desk.action())["status"] == "pending", reference


async def test_notices_say_who_gets_the_mail(desk):
    await desk.run({"tool": "send_mail", "args": MAIL})

    (notice,) = [
        row for row in await desk.workshop.rows("notifications") if "approval" in row["title"]
    ]
    assert (
        "- send_mail to Ann <ann@own.example>, carl@own.example, dora@own.example and 1 more, "
        "\u201cLunch\u201d, "
    ) in notice["body"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"to": ["a@x.org"], "subject": "S", "text": "T", "attachment": "/etc/passwd"},
        {"to": "a@x.org", "subject": "S", "text": "T"},
        {"to": ["a@x.org", {"address": "b@x.org"}], "text": "T"},
        {"to": ["a@x.org"], "text": ["T"]},
        {"to": ["a@x.org"], "text": "T", "all": "Bcc: eve@evil.example"},
    ],
)
def test_what_has_no_place_in_a_mail_is_shown_as_it_is(arguments):
    assert mail_of("send_mail", arguments) is None
    assert mail_of("send", {"to": ["a@x.org"]}) is None


def test_a_line_break_begins_no_header():
    mail = mail_of("send_mail", {"to": ["a@x.org\nBcc: b@x.org"], "subject": "S", "text": "T"})

    assert mail is not None
    assert mail.headers[0] == ("To", "a@x.org\\nBcc: b@x.org")
