"""`mail_get_attachment`, on a folder and by IMAP, and `gmail_get_attachment`."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import replace
from email.message import EmailMessage

import httpx
import pytest
from langchain_core.tools import ToolException

from rota.agents.tools.mail import folder as folders
from rota.agents.tools.mail import folder_tools, gmail_tools
from rota.agents.tools.mail.folder import MailFolder
from rota.agents.tools.mail.gmail import GmailClient
from rota.agents.tools.mail.imap import ImapMailbox
from rota.domain.agents.connections import ConnectedAccount
from rota.domain.agents.mail_accounts import ImapAccount
from rota.security.gate.calls import noting_sources
from tests.loopback import dovecot
from tests.loopback.dovecot import Dovecot
from tests.loopback.gmail import GmailServer
from tests.unit.agents import documents_made as made
from tests.unit.agents.mail_contexts import mail_context


def letter(*files, sender="Ann <ann@example.com>"):
    """Return a message with files: (name, type, content) or (name, a message)."""
    message = EmailMessage()
    message["From"] = sender
    message["Subject"] = "Files"
    message["Date"] = "Mon, 02 Mar 2026 08:00:00 +0000"
    message.set_content("See the files.")
    for name, kind, content in files:
        if isinstance(content, EmailMessage):
            message.add_attachment(content)
        else:
            main, _, sub = kind.partition("/")
            message.add_attachment(content, maintype=main, subtype=sub, filename=name)
    return message


FORWARDED = EmailMessage()
FORWARDED["Subject"] = "Inner"
FORWARDED.set_content("What the inner one says.")
FILES = letter(
    ("Offer.docx", "application/msword", made.word("Seven chairs")),
    ("costs.pdf", "application/pdf", made.pdf("Costs")),
    ("photo.png", "image/png", b"\x89PNG\r\n\x1a\n\0\0"),
    ("a.txt", "text/plain", "Grüße".encode("latin-1")),
    ("a.txt", "text/plain", b"the second"),
    ("", "", FORWARDED),
    ("", "application/pdf", made.pdf("Nameless")),
)


@pytest.fixture
def folder(tmp_path):
    def with_messages(*messages):
        path = tmp_path / "Maildir"
        for name in ("cur", "new", "tmp"):
            (path / name).mkdir(parents=True, exist_ok=True)
        for number, message in enumerate(messages):
            (path / "cur" / f"{number}.a.host:2,S").write_bytes(bytes(message))
        return mail_context(path, None)

    return with_messages


@pytest.fixture
def reading(folder):
    """Read an attachment of the one message of a folder."""

    def of(message):
        tool = folder_tools.mail_get_attachment_tool(context=folder(message))

        async def read(attachment):
            arguments = {"message_id": "0.a.host", "attachment": attachment}
            return json.loads(await tool.ainvoke(arguments))

        return read

    return of


@pytest.mark.parametrize(
    ("attachment", "name", "said"),
    [
        ("Offer.docx", "Offer.docx", "Seven chairs"),
        ("offer.DOCX", "Offer.docx", "Seven chairs"),
        ("1", "Offer.docx", "Seven chairs"),
        (2, "costs.pdf", "Costs"),
        ("4", "a.txt", "Grüße"),
        ("5", "a.txt", "the second"),
        ("Inner", "Inner", "What the inner one says."),
        ("7", "", "Nameless"),
    ],
)
async def test_an_attachment_is_read_by_its_name_or_number(reading, attachment, name, said):
    answer = await reading(FILES)(attachment)
    assert answer["name"] == name
    assert answer["text"].startswith(said)
    assert answer["truncated"] is False


async def test_what_has_no_text_is_named_with_type_and_size(reading):
    answer = await reading(FILES)("photo.png")
    assert (answer["name"], answer["content_type"], answer["size"]) == (
        "photo.png",
        "image/png",
        10,
    )
    assert answer["text"] == ""
    assert "Its text cannot be read" in answer["notes"][0]


@pytest.mark.parametrize(
    ("attachment", "said"),
    [
        ("a.txt", "2 attachments have that name. Give the number of one: 4, 5."),
        ("none.pdf", "It has: 1 Offer.docx, 2 costs.pdf, 3 photo.png"),
        ("8", "7 (no name)"),
        ("0", "It has: 1 Offer.docx"),
    ],
)
async def test_an_attachment_that_is_not_there_is_told_with_those_that_are(
    reading, attachment, said
):
    with pytest.raises(ToolException) as refused:
        await reading(FILES)(attachment)
    assert said in str(refused.value)


async def test_a_message_without_attachments_says_so(reading):
    with pytest.raises(ToolException, match="The message has no attachments"):
        await reading(letter())("a.pdf")


async def test_numbers_count_as_the_message_lists_them(folder, reading):
    """Also where an attached message has attachments of its own."""
    inner = letter(("deep.txt", "text/plain", b"deep"))
    message = letter(("", "", inner), ("last.txt", "text/plain", b"last"))
    context = folder(message)
    listed = MailFolder.open(context.mail_folder()).get("0.a.host").attachments
    assert [file.name for file in listed] == ["Files", "deep.txt", "last.txt"]
    for number, file in enumerate(listed, 1):
        assert (await reading(message)(str(number)))["name"] == file.name


async def test_a_long_text_is_cut_and_says_so(reading):
    answer = await reading(letter(("a.txt", "text/plain", b"a" * 30_000)))("a.txt")
    assert (len(answer["text"]), answer["truncated"]) == (20_000, True)


async def test_the_end_that_a_message_lost_is_told(reading, monkeypatch):
    monkeypatch.setattr(folders, "MESSAGE_LIMIT", 10_000)
    answer = await reading(letter(("a.txt", "text/plain", b"a" * 15_000)))("a.txt")
    assert answer["truncated"] is True
    assert answer["notes"] == [
        "The message is larger than rota reads, so this may have lost its end."
    ]


async def test_the_answer_says_whose_text_it_is_even_where_none_is_found(reading):
    """What decides whether a later call waits: a list of file names is a stranger's text too."""
    message = letter(sender="Mallory <mallory@evil.example>")
    with noting_sources() as noted, pytest.raises(ToolException):
        await reading(message)("a.txt")
    assert noted == ["mail from mallory@evil.example"]


async def test_a_macro_file_and_a_mail_as_a_file_are_read(reading):
    message = letter(("fwd.eml", "application/octet-stream", bytes(FORWARDED)))
    assert (await reading(message)("fwd.eml"))["text"] == "What the inner one says."


# -- By IMAP, and from Gmail


@pytest.fixture(scope="module")
def server():
    dovecot.need()
    with Dovecot() as running:
        yield running


def test_by_imap_it_is_the_file_that_the_folder_gives(server, tmp_path):
    account = ImapAccount(
        "127.0.0.1", "files", dovecot.PASSWORD, port=server.tls, certificate=server.authority
    )
    server.deliver("files", bytes(FILES), at=1_795_000_000)
    mailbox = ImapMailbox(account)
    (message,) = mailbox.search("", 5, now=None)
    found = mailbox.get_files(message.id)

    assert found.sender == "Ann <ann@example.com>"
    assert [file.about for file in found.files] == list(mailbox.get(message.id).attachments)
    assert found.files[1].data == made.pdf("Costs")
    assert mailbox.search("is:unread", 5, now=None) != []


async def test_by_imap_through_the_tool(server, tmp_path, folder):
    account = ImapAccount(
        "127.0.0.1", "tool", dovecot.PASSWORD, port=server.tls, certificate=server.authority
    )
    server.deliver("tool", bytes(FILES), at=1_795_000_000)
    (message,) = ImapMailbox(account).search("", 5, now=None)

    async def connected(_gives):
        return (ConnectedAccount("work", "imap", "tool"),)

    @asynccontextmanager
    async def connection(name):
        assert name == "work"
        yield account.as_secret()

    context = replace(folder(), connected=connected, connection=connection)
    tool = folder_tools.mail_get_attachment_tool(context=context)
    arguments = {"message_id": message.id, "attachment": "costs.pdf", "mailbox": "work"}
    assert json.loads(await tool.ainvoke(arguments))["text"] == "Costs"


@pytest.fixture
async def gmail(monkeypatch):
    with GmailServer() as running:
        async with httpx.AsyncClient() as http:

            async def token():
                return "good-token"

            client = GmailClient(running.url, token, http=http)
            monkeypatch.setattr(gmail_tools, "gmail_client", lambda *_: client)
            monkeypatch.setattr(folder_tools, "gmail_client", lambda *_: client)
            yield running


@pytest.mark.parametrize(
    "made_by", [gmail_tools.gmail_get_attachment_tool, folder_tools.mail_get_attachment_tool]
)
async def test_gmail_gives_what_it_stores_apart(gmail, made_by):
    async def connected(_gives):
        return (ConnectedAccount("gmail", "gmail", "me@gmail.com"),)

    @asynccontextmanager
    async def connection(_name):
        yield "good-token"

    context = replace(mail_context(None, None), connected=connected, connection=connection)
    key = gmail.add(bytes(FILES))
    tool = made_by(context=context)
    answer = json.loads(await tool.ainvoke({"message_id": key, "attachment": "costs.pdf"}))
    assert (answer["text"], answer["size"]) == ("Costs", len(made.pdf("Costs")))
    with pytest.raises(ToolException, match=r"It has: 1 Offer\.docx"):
        await tool.ainvoke({"message_id": key, "attachment": "no.pdf"})
