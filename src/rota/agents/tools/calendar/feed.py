"""A calendar at a secret address: an iCalendar file that its owner's provider keeps up to date."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final

import httpx

from rota.agents.tools.calendar.events import Reading
from rota.agents.tools.calendar.icalendar_events import read_events
from rota.agents.tools.calendar.icalendar_text import decode, take_apart
from rota.agents.tools.calendar.web import WebAnswer, calendar_web
from rota.domain.agents.calendar_accounts import CalendarFeed
from rota.domain.agents.connections import ReconnectRequiredError
from rota.domain.errors import InvalidInputError, UnavailableError

_GONE: Final = frozenset(
    {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND, httpx.codes.GONE}
)


class FeedCalendar:
    """One calendar, named `name`. `owner` is its owner's e-mail address, where it is known."""

    def __init__(self, feed: CalendarFeed, *, name: str = "", owner: str = "") -> None:
        self._feed = feed
        self._name = name
        self._mine = {owner.lower()} if "@" in owner else set()

    async def events(self, start: datetime, end: datetime) -> Reading:
        """Return what takes place between two instants; raises as `CalendarSource`."""
        async with calendar_web(self._feed.host, certificate=self._feed.certificate) as web:
            answer = await web.request("GET", self._feed.address)
        self._check(answer)
        return await asyncio.to_thread(self._read, answer.body, start, end)

    async def count(self, start: datetime, end: datetime) -> tuple[int, int]:
        """Return how many calendars there are, which is one, and how many events."""
        return 1, len((await self.events(start, end)).events)

    def _read(self, body: bytes, start: datetime, end: datetime) -> Reading:
        try:
            text = decode(body)
        except InvalidInputError:
            raise self._not_a_calendar(body) from None
        return read_events(take_apart(text), start, end, calendar=self._name, mine=self._mine)

    def _check(self, answer: WebAnswer) -> None:
        host, status = self._feed.host, answer.status
        if status in _GONE:
            raise ReconnectRequiredError(
                f"{host} no longer gives out the calendar at its secret address ({status}). Copy "
                "the address anew."
            )
        if status == httpx.codes.TOO_MANY_REQUESTS:
            raise UnavailableError(
                f"{host} is limiting requests. Try again later.", service="calendar"
            )
        if status != httpx.codes.OK:
            raise UnavailableError(
                f"{host} answered with {status} instead of the calendar. Try again later.",
                service="calendar",
            )

    def _not_a_calendar(self, body: bytes) -> UnavailableError:
        start = body[:2_000].lower()
        if not body.strip():
            what = "nothing"
        elif b"<html" in start or b"<!doctype" in start:
            what = "a web page"
        else:
            what = "something else"
        return UnavailableError(
            f"{self._feed.host} answers with {what} instead of a calendar. Is this the address of "
            "the calendar in iCal format?",
            service="calendar",
            permanent=True,
        )
