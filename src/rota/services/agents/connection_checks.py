"""How each kind of connection is checked: a cheap question that needs what its tools need."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from rota.domain.agents.mail_accounts import ImapAccount

Check: TypeAlias = Callable[[str, Mapping[str, str]], Awaitable[str]]
"""Takes the secret that a tool would get, and the operator's endpoints; returns what it found."""


async def check_imap(secret: str, _endpoints: Mapping[str, str]) -> str:
    """Sign in and count the messages of the folder."""
    # IMAPClient, for those only that need it.
    from rota.agents.tools.mail.imap import ImapMailbox  # noqa: PLC0415

    count = await asyncio.to_thread(ImapMailbox(ImapAccount.from_secret(secret)).check)
    return _messages(count)


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


def _messages(count: int) -> str:
    return f"{count:,} message{'' if count == 1 else 's'}"


CHECKS: Final[dict[str, Check]] = {
    "gmail": check_gmail,
    "imap": check_imap,
    "microsoft": check_imap,
}
"""Checks by kind."""
