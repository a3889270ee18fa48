"""How each kind of connection is checked: a cheap question that needs what its tools need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, TypeAlias

from rota.domain.agents.connections import KINDS, ConnectedAccount, Gives
from rota.domain.agents.mail_accounts import ImapAccount

Check: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[str]]
"""Takes the secret that a tool would get, and the operator's endpoints; returns what it found."""

CALENDAR_DAYS: Final = timedelta(days=30)


async def check_imap(secret: str, _endpoints: Mapping[str, str]) -> str:
    """Sign in and count the messages of the folder."""
    # IMAPClient, for those only that need it.
    from rota.agents.tools.mail.imap import ImapMailbox  # noqa: PLC0415

    count = await asyncio.to_thread(ImapMailbox(ImapAccount.from_secret(secret)).check)
    return _messages(count)


async def check_sending(account: ImapAccount) -> None:
    """Sign in to the server that sends the mail of an account."""
    # As above: aiosmtplib.
    from rota.agents.tools.mail.sending.smtp import SmtpServer  # noqa: PLC0415

    await SmtpServer(account).check()


async def check_gmail(secret: str, endpoints: Mapping[str, str]) -> str:
    """Ask whose mailbox it is, and how much is in it."""
    # As above: httpx.
    import httpx  # noqa: PLC0415

    from rota.agents.tools.mail.gmail import GmailClient, gmail_url  # noqa: PLC0415

    async def token() -> str:
        return secret

    async with httpx.AsyncClient(timeout=30.0) as http:
        profile = await GmailClient(gmail_url(endpoints), token, http=http).profile()
    return _messages(profile.messages_total)


async def check_calendar(kind: str, secret: str, endpoints: Mapping[str, str]) -> str:
    """Read what the next days have."""
    # As above: httpx.
    import httpx  # noqa: PLC0415

    from rota.agents.tools.calendar.sources import source_of  # noqa: PLC0415

    now = datetime.now(UTC)
    async with httpx.AsyncClient(timeout=30.0) as http:
        source = source_of(ConnectedAccount("", kind, ""), secret, http=http, endpoints=endpoints)
        calendars, events = await source.count(now, now + CALENDAR_DAYS)
    return (
        f"{calendars} calendar{'' if calendars == 1 else 's'}, {events:,} "
        f"event{'' if events == 1 else 's'} in the next {CALENDAR_DAYS.days} days"
    )


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


CHECKS: Final[dict[str, Check]] = {
    "gmail": check_gmail,
    "imap": check_imap,
    "microsoft": check_imap,
    **{
        kind.name: partial(check_calendar, kind.name)
        for kind in KINDS.values()
        if kind.gives is Gives.CALENDAR
    },
}
"""Checks by kind."""
