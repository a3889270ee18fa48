"""The calendars that a run's owner has connected, read together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

import httpx

from rota.agents.tools.calendar.caldav import CalDavCalendars
from rota.agents.tools.calendar.events import CalendarEvent, CalendarSource, Reading, instant
from rota.agents.tools.calendar.feed import FeedCalendar
from rota.agents.tools.calendar.google import GoogleCalendars, google_calendar_url
from rota.agents.tools.context import ToolContext
from rota.agents.tools.google_api import Renewal
from rota.domain.agents.calendar_accounts import CalDavAccount, CalendarFeed
from rota.domain.agents.connections import ConnectedAccount
from rota.domain.errors import RotaError, SetupRequiredError, UnavailableError
from rota.security.gate.calls import note_source

LONGEST: Final = 50.0
"""Seconds after which a connection counts as not answering: a tool has 60."""

NOT_CONNECTED: Final = (
    "No calendar is connected. Connect one with `rota connections add ics` (a calendar's secret "
    "address), `add caldav` or `add google-calendar`."
)


@dataclass(frozen=True, slots=True)
class Agenda:
    """The events of all connected calendars by start, and what could not be read.

    The calendars of an event that several have stand together in `calendars`, by its place.
    """

    events: tuple[CalendarEvent, ...]
    calendars: tuple[tuple[str, ...], ...]
    unread: tuple[tuple[str, str], ...]
    """Names of connections, and a sentence."""


async def read_agenda(context: ToolContext, start: datetime, end: datetime) -> Agenda:
    """Read what takes place between two instants in the zone of the run.

    A connection that does not answer is told of beside the events of the others. Raises
    SetupRequiredError where there is none, or one needs its owner; UnavailableError where none
    answers.
    """
    connected = await connected_calendars(context)
    found = await asyncio.gather(*(_read(context, one, start, end) for one in connected))
    failed = [error for _, error in found if error is not None]
    for error in failed:
        if isinstance(error, SetupRequiredError):
            raise error
    if len(failed) == len(connected):
        raise failed[0]
    unread: list[tuple[str, str]] = []
    events: list[CalendarEvent] = []
    for one, (reading, fault) in zip(connected, found, strict=True):
        if fault is not None:
            unread.append((one.name, fault.message))
        else:
            note_source(f"calendar {one.name}")
            events += reading.events
            unread += [(one.name, said) for said in reading.unread]
    kept, calendars = merged(events, start)
    return Agenda(kept, calendars, tuple(unread))


async def connected_calendars(context: ToolContext) -> Sequence[ConnectedAccount]:
    """Return the owner's connections that give a calendar; raises SetupRequiredError for none."""
    connected = await context.connected("calendar")
    if not connected:
        raise SetupRequiredError(NOT_CONNECTED, what="connection:calendar")
    return connected


def merged(
    events: Sequence[CalendarEvent], zone_of: datetime
) -> tuple[tuple[CalendarEvent, ...], tuple[tuple[str, ...], ...]]:
    """Return events by start, those that several calendars have once, and the calendars of each."""
    places: dict[object, tuple[CalendarEvent, list[str]]] = {}
    for number, event in enumerate(events):
        # An event without a UID is nobody else's. The title counts: an invitation that has the UID
        # of another must not hide it.
        uid: object = event.uid or number
        key = (uid, event.start, event.end, event.title)
        if key not in places:
            places[key] = (event, [event.calendar])
            continue
        earlier, calendars = places[key]
        if event.calendar not in calendars:
            calendars.append(event.calendar)
        both = replace(
            earlier,
            is_busy=earlier.is_busy or event.is_busy,
            response=earlier.response or event.response,
            location=earlier.location or event.location,
            description=earlier.description or event.description,
        )
        places[key] = (both, calendars)
    found = sorted(places.values(), key=lambda place: _order(place[0], zone_of))
    return tuple(event for event, _ in found), tuple(tuple(names) for _, names in found)


def source_of(
    one: ConnectedAccount,
    secret: str,
    *,
    http: httpx.AsyncClient,
    endpoints: Mapping[str, str],
    renew: Renewal | None = None,
) -> CalendarSource:
    """Return the calendars of a connection, by what `ToolContext.connection` gave of it."""
    if one.kind == "ics":
        return FeedCalendar(CalendarFeed.from_secret(secret), name=one.name, owner=one.account)
    if one.kind == "caldav":
        return CalDavCalendars(CalDavAccount.from_secret(secret), name=one.name)
    return google_calendars(one, secret, http=http, endpoints=endpoints, renew=renew)


def google_calendars(
    one: ConnectedAccount,
    secret: str,
    *,
    http: httpx.AsyncClient,
    endpoints: Mapping[str, str],
    renew: Renewal | None = None,
) -> GoogleCalendars:
    """Return the calendars of a Google account, by an access token."""

    async def token() -> str:
        return secret

    url = google_calendar_url(endpoints)
    return GoogleCalendars(url, token, http=http, name=one.name, renew=renew)


def open_google(context: ToolContext, one: ConnectedAccount, secret: str) -> GoogleCalendars:
    """Return the calendars of a Google account, by what `ToolContext.connection` gave of it."""
    return google_calendars(
        one,
        secret,
        http=context.http,
        endpoints=context.endpoints,
        renew=partial(context.renew, one.name),
    )


def _order(event: CalendarEvent, zone_of: datetime) -> tuple[datetime, bool, datetime, str]:
    starts, ends = instant(event.start, zone_of), instant(event.end, zone_of)
    return starts, not event.is_all_day, ends, event.title


async def _read(
    context: ToolContext, one: ConnectedAccount, start: datetime, end: datetime
) -> tuple[Reading, RotaError | None]:
    try:
        async with context.connection(one.name) as secret:
            source = source_of(
                one,
                secret,
                http=context.http,
                endpoints=context.endpoints,
                renew=partial(context.renew, one.name),
            )
            try:
                async with asyncio.timeout(LONGEST):
                    return await source.events(start, end), None
            except TimeoutError:
                raise UnavailableError(
                    f"{one.name} did not answer in time. Try again later.", service="calendar"
                ) from None
    except (SetupRequiredError, UnavailableError) as error:
        return Reading(), error
