"""The calendars that an event can be written into, and how that is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rota.agents.tools.calendar.caldav import CalDavCalendars
from rota.agents.tools.calendar.google import WRITE_SCOPE
from rota.agents.tools.calendar.new_events import NewEvent, event_id, event_uid
from rota.agents.tools.calendar.sources import connected_calendars, open_google
from rota.agents.tools.context import ToolContext
from rota.domain.agents.calendar_accounts import CalDavAccount
from rota.domain.agents.connections import ConnectedAccount
from rota.domain.approvals.actions import OutcomeUnknownError
from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    SetupRequiredError,
    UnavailableError,
)
from rota.domain.text.shortening import quoted

_KINDS: Final = frozenset({"caldav", "google-calendar"})
_MOST_NAMED: Final = 20
_FULL: Final = "https://www.googleapis.com/auth/calendar"


@dataclass(frozen=True, slots=True)
class WritableCalendar:
    """A calendar of a connection. `place` is its URL, or its id at Google."""

    connection: ConnectedAccount
    label: str
    place: str
    is_main: bool


async def chosen_calendar(context: ToolContext, wanted: str) -> WritableCalendar:
    """Return the calendar that an event is to go into, by the name that an agenda gives it.

    Raises InvalidInputError, which names them, where none is called so or several could be meant.
    """
    connected = await connected_calendars(context)
    writable = [one for one in connected if _is_for_writing(one)]
    feeds = [one.name for one in connected if one.kind not in _KINDS]
    name = wanted.strip()
    for one in connected:
        is_meant = name == one.name or name.startswith(f"{one.name}/")
        if one.kind in _KINDS and one not in writable and (is_meant or not writable):
            # No fault of the connection: it does what it was made for.
            raise SetupRequiredError(
                f"{one.name} was connected for reading only. For new events connect it with `rota "
                f"connections add google-calendar --name {one.name} --write`.",
                what=f"connection:{one.name}",
            )
    if not writable:
        raise InvalidInputError(
            f"No event can be made: {', '.join(feeds)} can only be read, by a secret address. "
            "`rota connections add caldav` or `add google-calendar --write` connects a calendar "
            "that can be written.",
            field="calendar",
        )
    if name in feeds:
        raise InvalidInputError(
            f"{name} can only be read, by a secret address. Choose another calendar: "
            f"{', '.join(one.name for one in writable)}.",
            field="calendar",
        )
    asked = [one for one in writable if name in {"", one.name} or name.startswith(f"{one.name}/")]
    found = [place for one in asked or writable for place in await _calendars(context, one)]
    return _choice(found, name)


def _is_for_writing(one: ConnectedAccount) -> bool:
    """Whether a connection may write, as far as is known of it."""
    if one.kind == "google-calendar":
        return not one.scopes or bool({WRITE_SCOPE, _FULL} & set(one.scopes))
    return one.kind in _KINDS


def _choice(found: Sequence[WritableCalendar], name: str) -> WritableCalendar:
    folded = name.casefold()
    exact = [one for one in found if one.label.casefold() == folded]
    if len(exact) == 1:
        return exact[0]
    own = [one for one in found if name in {"", one.connection.name}]
    if len(own) == 1:
        return own[0]
    main = [one for one in own if one.is_main]
    if len(main) == 1 and len({one.connection.name for one in own}) == 1:
        return main[0]
    if not found:
        raise InvalidInputError("None of the calendars can be written.", field="calendar")
    said = "There are several calendars" if own else f"There is no calendar {quoted(name)}"
    named = ", ".join(one.label for one in found[:_MOST_NAMED])
    raise InvalidInputError(f"{said}. Name one of these as `calendar`: {named}.", field="calendar")


async def _calendars(context: ToolContext, one: ConnectedAccount) -> list[WritableCalendar]:
    async with context.connection(one.name) as secret:
        if one.kind == "caldav":
            account = CalDavCalendars(CalDavAccount.from_secret(secret), name=one.name)
            return [
                WritableCalendar(one, label, calendar.url, is_main=False)
                for label, calendar in await account.calendars()
                if calendar.is_writable
            ]
        google = open_google(context, one, secret)
        calendars = await google.calendars()
        return [
            WritableCalendar(one, google.label(entry, calendars), entry.id, is_main=entry.primary)
            for entry in calendars
            if entry.is_writable
        ]


async def check_can_invite(context: ToolContext, calendar: WritableCalendar) -> None:
    """Raise InvalidInputError for an account whose owner's address is not known; asks a server."""
    if calendar.connection.kind != "caldav":
        return
    async with context.connection(calendar.connection.name) as secret:
        account = CalDavCalendars(CalDavAccount.from_secret(secret))
        if not await account.organizer():
            raise InvalidInputError(
                f"{calendar.label} does not say what its owner's e-mail address is, so nobody can "
                "be invited. Make the event without attendees.",
                field="attendees",
            )


async def write_event(
    context: ToolContext, calendar: WritableCalendar, event: NewEvent, call: str
) -> str:
    """Write an event, once however often it is tried; say what became of its invitations.

    Raises OutcomeUnknownError where the server did not say whether it did.
    """
    one = calendar.connection
    async with context.connection(one.name) as secret:
        try:
            if one.kind == "caldav":
                account = CalDavCalendars(CalDavAccount.from_secret(secret))
                uid = event_uid(call)
                return await account.create(calendar.place, event, uid, now=context.now())
            return await _insert(context, calendar, secret, event, event_id(call))
        except UnavailableError as error:
            if error.permanent:
                raise
            raise OutcomeUnknownError(error.message, service="calendar") from error


async def is_written(context: ToolContext, calendar: WritableCalendar, call: str) -> bool:
    """Return whether an earlier attempt at a call made its event."""
    one = calendar.connection
    async with context.connection(one.name) as secret:
        if one.kind == "caldav":
            account = CalDavCalendars(CalDavAccount.from_secret(secret))
            return await account.has(calendar.place, event_uid(call))
        google = open_google(context, one, secret)
        found = await google.get(calendar.place, event_id(call))
        return found is not None and found.status != "cancelled"


async def _insert(
    context: ToolContext, calendar: WritableCalendar, secret: str, event: NewEvent, made_id: str
) -> str:
    google = open_google(context, calendar.connection, secret)
    invites = bool(event.attendees)
    try:
        await google.insert(calendar.place, event.as_google(made_id), invites=invites)
    except ConflictError:
        found = await google.get(calendar.place, made_id)
        if found is None or found.status == "cancelled":
            raise InvalidInputError("The event was made before, and deleted since.") from None
    return f" Google invites {len(event.attendees)}." if invites else ""
