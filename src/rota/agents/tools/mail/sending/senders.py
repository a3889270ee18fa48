"""A connected mailbox as mail is written from it: by SMTP and IMAP, or by Gmail's API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.headerregistry import Address
from typing import Final, Protocol

import structlog

from rota.agents.tools.context import ToolContext
from rota.agents.tools.mail.gmail import COMPOSE_SCOPE, GmailClient
from rota.agents.tools.mail.gmail_tools import gmail_client
from rota.agents.tools.mail.headers import Headers
from rota.agents.tools.mail.imap import ImapMailbox
from rota.agents.tools.mail.sending.imap_copies import MailCopies
from rota.agents.tools.mail.sending.outgoing import OutgoingMail, read_sender
from rota.agents.tools.mail.sending.replies import ANSWERED_HEADERS
from rota.agents.tools.mail.sending.smtp import SmtpServer
from rota.domain.agents.connections import ConnectedAccount, chosen, sending_from
from rota.domain.agents.mail_accounts import ImapAccount
from rota.domain.errors import RotaError, SetupRequiredError

log = structlog.get_logger(__name__)

_COPY_SECONDS: Final = 40.0
"""Seconds for a copy in Sent: the mail is out by then, and its tool has to say so."""

WRITING_SCOPES: Final = {
    "gmail": COMPOSE_SCOPE,
    "microsoft": "https://outlook.office.com/SMTP.Send",
}
"""The scopes that `agents/tools/oauth` asks for with `--send`; it imports this room, so not it."""


class Sender(Protocol):
    """What writes mail from one mailbox. `address` is that of the mailbox."""

    address: Address

    async def headers(self, message_id: str) -> tuple[Headers, str]:
        """Return the headers of a message that say how it is answered, and Gmail's thread of it.

        `message_id` is that of a search; raises NotFoundError.
        """
        ...

    async def send(self, mail: OutgoingMail, thread_id: str) -> str:
        """Send a mail to all of its recipients; return what else is to be said of it.

        Raises OutcomeUnknownError where nobody knows whether it was sent.
        """
        ...

    async def keep_draft(self, mail: OutgoingMail, thread_id: str) -> None:
        """Put a mail into Drafts."""
        ...

    async def was_sent(self, message_id: str) -> bool:
        """Return whether a mail is known to have been sent, by its Message-ID."""
        ...

    async def was_drafted(self, message_id: str) -> bool:
        """Return whether a draft is there, or was sent by now, by its Message-ID."""
        ...


class ImapSender:
    """Sends by SMTP, reads and keeps copies by IMAP."""

    def __init__(self, account: ImapAccount) -> None:
        self._account = account
        self.address = read_sender(account.sender)

    async def headers(self, message_id: str) -> tuple[Headers, str]:
        """Return the headers of a message; there is no other thread."""
        mailbox = ImapMailbox(self._account)
        return await asyncio.to_thread(mailbox.headers, message_id, ANSWERED_HEADERS), ""

    async def send(self, mail: OutgoingMail, thread_id: str) -> str:  # noqa: ARG002  Gmail's
        """Send it, and put a copy into Sent where the server does not do that by itself.

        The copy comes last. What is in Sent was sent, so a later attempt can believe it.
        """
        await SmtpServer(self._account).send(mail)
        if self._account.files_what_it_sends:
            return ""
        copy = mail.as_bytes(with_bcc=True)
        try:
            async with asyncio.timeout(_COPY_SECONDS):
                copies = MailCopies(self._account)
                await asyncio.to_thread(copies.keep_sent, copy, mail.message_id)
        except (RotaError, TimeoutError) as error:
            log.warning("sent_mail_not_copied", reason=str(error) or "it took too long")
            return " Its copy could not be put into Sent."
        return ""

    async def keep_draft(self, mail: OutgoingMail, thread_id: str) -> None:  # noqa: ARG002  Gmail's
        """Put a mail into Drafts."""
        draft = mail.as_bytes(with_bcc=True)
        await asyncio.to_thread(MailCopies(self._account).keep_draft, draft)

    async def was_sent(self, message_id: str) -> bool:
        """Return whether a mail is in Sent, or was answered."""
        return await asyncio.to_thread(MailCopies(self._account).was_sent, message_id)

    async def was_drafted(self, message_id: str) -> bool:
        """Return whether a draft is in Drafts or Sent."""
        return await asyncio.to_thread(MailCopies(self._account).was_drafted, message_id)


class GmailSender:
    """Sends by Gmail's API, which puts a copy into Sent by itself."""

    def __init__(self, client: GmailClient, address: Address) -> None:
        self._client = client
        self.address = address

    async def headers(self, message_id: str) -> tuple[Headers, str]:
        """Return the headers of a message, and the id of its thread."""
        return await self._client.headers(message_id, ANSWERED_HEADERS)

    async def send(self, mail: OutgoingMail, thread_id: str) -> str:
        """Send it to all that its headers name: Gmail does not show Bcc to anybody else."""
        await self._client.send(mail.as_bytes(with_bcc=True), thread_id)
        return ""

    async def keep_draft(self, mail: OutgoingMail, thread_id: str) -> None:
        """Put a mail into Drafts."""
        await self._client.keep_draft(mail.as_bytes(with_bcc=True), thread_id)

    async def was_sent(self, message_id: str) -> bool:
        """Return whether a mail is in the mailbox, and is no draft."""
        return await self._client.holds(message_id, drafts=False)

    async def was_drafted(self, message_id: str) -> bool:
        """Return whether a mail is in the mailbox, as a draft or sent."""
        return await self._client.holds(message_id, drafts=True)


async def sending_account(
    context: ToolContext, mailbox: str, *, is_draft: bool = False
) -> ConnectedAccount:
    """Return the owner's mailbox of a name, or the only one, for a mail that is sent, or a draft.

    Raises SetupRequiredError where there is none, or it was connected for reading only, and
    InvalidInputError as `chosen`.
    """
    connected = await context.connected("mail")
    if not connected:
        raise SetupRequiredError(
            "No mailbox is connected that mail could be sent from. Connect one with `rota "
            "connections add imap --account ADDRESS`.",
            what="connection:mail",
        )
    account = chosen(connected, mailbox, noun="mailbox")
    granted = {scope.lower() for scope in account.scopes}
    needed = WRITING_SCOPES.get(account.kind)
    # Microsoft's drafts go by IMAP, as reading does. Of a token that was pasted nothing is known.
    if needed is None or not granted or (is_draft and account.kind != "gmail"):
        return account
    if needed.lower() not in granted:
        raise SetupRequiredError(
            f"{account.name} was connected for reading only: it needs the scope {needed} to write "
            f"mail. Connect it again with `rota connections add {account.kind} --send`.",
            what=sending_from(account.name),
        )
    return account


async def check_can_send(context: ToolContext, account: ConnectedAccount) -> None:
    """Raise SetupRequiredError for a mailbox without a server that sends; asks no server."""
    if account.kind == "imap":
        mailbox = ImapAccount.from_secret(await context.secret(account.name))
        try:
            SmtpServer(mailbox)
        except SetupRequiredError as error:
            raise SetupRequiredError(error.message, what=sending_from(account.name)) from error


@asynccontextmanager
async def opened(context: ToolContext, account: ConnectedAccount) -> AsyncIterator[Sender]:
    """Give what writes mail from a mailbox; how the block went is noted on its connection."""
    async with context.connection(account.name) as secret:
        if account.kind == "gmail":
            client = gmail_client(context, account.name, secret)
            yield GmailSender(client, read_sender(account.account))
        else:
            yield ImapSender(ImapAccount.from_secret(secret))
