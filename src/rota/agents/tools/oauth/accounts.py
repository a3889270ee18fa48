"""Whose account a grant of Google's is for, as its APIs tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import httpx
from pydantic import BaseModel

from rota.agents.tools.google_api import GoogleApi, GoogleService
from rota.agents.tools.mail.gmail import GmailClient, gmail_url

CALENDAR_ENDPOINT: Final = "google-calendar"
_CALENDAR: Final = GoogleService(
    name="Google Calendar",
    connection="google-calendar",
    forbidden="The connection does not allow reading calendars.",
)


class _Calendar(BaseModel):
    """A calendar. The id of one's first is one's address."""

    id: str


async def google_account(
    kind: str, access_token: str, endpoints: Mapping[str, str], *, http: httpx.AsyncClient
) -> str:
    """Return the address of an account; raises as `GoogleApi.request`."""

    async def token() -> str:
        return access_token

    if kind == "gmail":
        return (await GmailClient(gmail_url(endpoints), token, http=http).profile()).email_address
    base = endpoints.get(CALENDAR_ENDPOINT, "https://www.googleapis.com").rstrip("/")
    api = GoogleApi(_CALENDAR, token, http=http)
    answer = await api.request(f"{base}/calendar/v3/calendars/primary", {})
    return api.parsed(_Calendar, answer).id
