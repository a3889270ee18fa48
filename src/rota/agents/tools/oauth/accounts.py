"""Whose account a grant of Google's is for, as its APIs tell."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from rota.agents.tools.calendar.google import GoogleCalendars, google_calendar_url
from rota.agents.tools.mail.gmail import GmailClient, gmail_url
from rota.domain.errors import UnavailableError


async def google_account(
    kind: str, access_token: str, endpoints: Mapping[str, str], *, http: httpx.AsyncClient
) -> str:
    """Return the address of an account; raises as `GoogleApi.request`."""

    async def token() -> str:
        return access_token

    if kind == "gmail":
        return (await GmailClient(gmail_url(endpoints), token, http=http).profile()).email_address
    calendars = GoogleCalendars(google_calendar_url(endpoints), token, http=http)
    for one in await calendars.calendars():
        if one.primary:  # its id is the account's address
            return one.id
    raise UnavailableError("Google lists no calendar of this account's own.", service=kind)
