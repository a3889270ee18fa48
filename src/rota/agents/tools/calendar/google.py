"""Google Calendar over its REST API (v3): the calendars of one account, read and written into."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, date, datetime
from typing import Final
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from rota.agents.tools.calendar.events import (
    MOST_EVENTS,
    CalendarEvent,
    Reading,
    description,
    is_between,
    noted,
    place,
    title,
)
from rota.agents.tools.google_api import GoogleApi, GoogleService, Params, Renewal
from rota.agents.tools.mail.html_text import html_to_text
from rota.domain.errors import InvalidInputError, NotFoundError
from rota.domain.text.shortening import quoted

DEFAULT_BASE_URL: Final = "https://www.googleapis.com"
"""Where Google serves the API; ROTA_ENDPOINTS may name another under `google-calendar`."""

READ_SCOPE: Final = "https://www.googleapis.com/auth/calendar.readonly"
WRITE_SCOPE: Final = "https://www.googleapis.com/auth/calendar.events"

_PARALLEL: Final = 4
_PAGE: Final = 250
_MOST_CALENDARS: Final = 50
_SERVICE: Final = GoogleService(
    name="Google Calendar",
    connection="google-calendar",
    forbidden=f"Google Calendar was connected without what this needs: {READ_SCOPE}, or "
    f"{WRITE_SCOPE} for new events too.",
)


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class GoogleCalendarEntry(_Answer):
    """A calendar in somebody's list."""

    id: str
    summary: str = ""
    summary_override: str = ""
    primary: bool = False
    selected: bool = False
    deleted: bool = False
    access_role: str = ""

    @property
    def name(self) -> str:
        """How its owner calls it."""
        return place(self.summary_override or self.summary or self.id).replace("/", "-")

    @property
    def is_writable(self) -> bool:
        """Whether this account may add events."""
        return self.access_role in {"owner", "writer"}


class _Calendars(_Answer):
    items: list[GoogleCalendarEntry] = Field(default_factory=list)
    next_page_token: str = ""


class _Moment(_Answer):
    day: str = Field(default="", alias="date")
    date_time: str = ""


class _Person(_Answer):
    email: str = ""
    display_name: str = ""
    is_self: bool = Field(default=False, alias="self")
    response_status: str = ""


class GoogleEvent(_Answer):
    """An event, or one recurrence of one, as Google gives it."""

    id: str = ""
    status: str = ""
    summary: str = ""
    description: str = ""
    location: str = ""
    i_cal_uid: str = Field(default="", alias="iCalUID")
    html_link: str = ""
    transparency: str = ""
    start: _Moment = Field(default_factory=_Moment)
    end: _Moment = Field(default_factory=_Moment)
    organizer: _Person = Field(default_factory=_Person)
    attendees: list[_Person] = Field(default_factory=list)


class _Events(_Answer):
    items: list[dict[str, object]] = Field(default_factory=list)
    next_page_token: str = ""


class GoogleCalendars:
    """The calendars that an account shows. `name` is that of the connection.

    `token_provider` and `renew` return access tokens as for GoogleApi, with `READ_SCOPE`, and with
    `WRITE_SCOPE` for `insert`.
    """

    def __init__(
        self,
        base_url: str,
        token_provider: Callable[[], Awaitable[str]],
        *,
        http: httpx.AsyncClient,
        name: str = "",
        renew: Renewal | None = None,
        timeout: float = 20.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not base_url.startswith(("https://", "http://")):
            raise InvalidInputError(f"{base_url!r} is no URL of an API.", field="base_url")
        self._url = f"{base_url.rstrip('/')}/calendar/v3"
        self._name = name
        self._api = GoogleApi(
            _SERVICE, token_provider, http=http, renew=renew, timeout=timeout, sleep=sleep
        )

    async def calendars(self) -> list[GoogleCalendarEntry]:
        """Return the calendars of the list that are shown, the account's own among them."""
        found: list[GoogleCalendarEntry] = []
        token = ""
        while True:
            params: dict[str, str | int | list[str]] = {"maxResults": _PAGE}
            if token:
                params["pageToken"] = token
            answer = await self._api.request(f"{self._url}/users/me/calendarList", params)
            page = self._api.parsed(_Calendars, answer)
            found += [
                one for one in page.items if not one.deleted and (one.selected or one.primary)
            ]
            token = page.next_page_token
            if not token or len(found) >= _MOST_CALENDARS:
                return found[:_MOST_CALENDARS]

    async def events(self, start: datetime, end: datetime) -> Reading:
        """Return what takes place between two instants; raises as `CalendarSource`."""
        calendars = await self.calendars()
        places = asyncio.Semaphore(_PARALLEL)

        async def read(calendar: GoogleCalendarEntry) -> Reading:
            async with places:
                return await self._read(calendar, calendars, start, end)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(read(one)) for one in calendars]
        except ExceptionGroup as faults:
            raise faults.exceptions[0] from None
        readings = [task.result() for task in tasks]
        return Reading(
            tuple(event for reading in readings for event in reading.events),
            tuple(said for reading in readings for said in reading.unread),
        )

    async def count(self, start: datetime, end: datetime) -> tuple[int, int]:
        """Return how many calendars there are, and how many events."""
        calendars = await self.calendars()
        return len(calendars), len((await self.events(start, end)).events)

    async def insert(
        self, calendar: str, event: Mapping[str, object], *, invites: bool
    ) -> GoogleEvent:
        """Add an event that has an `id`; raises ConflictError where there is one of this id."""
        params: Params = {"sendUpdates": "all" if invites else "none"}
        answer = await self._api.request(
            self._events_url(calendar), params, method="POST", content=event
        )
        return self._api.parsed(GoogleEvent, answer)

    async def get(self, calendar: str, event_id: str) -> GoogleEvent | None:
        """Return an event by its id, None where there is none."""
        missing = NotFoundError("event", event_id)
        url = f"{self._events_url(calendar)}/{event_id}"
        try:
            answer = await self._api.request(url, {}, missing=missing)
        except NotFoundError:
            return None
        return self._api.parsed(GoogleEvent, answer)

    def label(self, calendar: GoogleCalendarEntry, calendars: list[GoogleCalendarEntry]) -> str:
        """Return how a calendar is called beside those of other connections."""
        if len(calendars) == 1:
            return self._name
        return f"{self._name}/{calendar.name}" if self._name else calendar.name

    async def _read(
        self,
        calendar: GoogleCalendarEntry,
        calendars: list[GoogleCalendarEntry],
        start: datetime,
        end: datetime,
    ) -> Reading:
        label = self.label(calendar, calendars)
        found: list[CalendarEvent] = []
        unread: list[str] = []
        token = ""
        while True:
            params: dict[str, str | int | list[str]] = {
                "singleEvents": "true",
                "orderBy": "startTime",
                "timeMin": start.isoformat(timespec="seconds"),
                "timeMax": end.isoformat(timespec="seconds"),
                "maxResults": _PAGE,
            }
            if token:
                params["pageToken"] = token
            missing = NotFoundError("calendar", calendar.name)
            try:
                answer = await self._api.request(
                    self._events_url(calendar.id), params, missing=missing
                )
            except NotFoundError:  # removed since it was listed
                return Reading((), (f"Google no longer has the calendar {quoted(label)}.",))
            page = self._api.parsed(_Events, answer)
            for item in page.items:
                try:
                    event = _event(GoogleEvent.model_validate(item), start, calendar=label)
                except ValueError:
                    unread.append(f"The event {_named(item)} cannot be read.")
                    continue
                if event is not None and is_between(event, start, end):
                    found.append(event)
            token = page.next_page_token
            if not token:
                return Reading(tuple(found), noted(unread))
            if len(found) >= MOST_EVENTS:
                return Reading(tuple(found), noted(["It has too much: not all was read.", *unread]))

    def _events_url(self, calendar: str) -> str:
        return f"{self._url}/calendars/{quote(calendar, safe='')}/events"


def google_calendar_url(endpoints: Mapping[str, str]) -> str:
    """Return the API's base URL: another one stands in ROTA_ENDPOINTS."""
    return endpoints.get("google-calendar", DEFAULT_BASE_URL)


def _event(found: GoogleEvent, reader: datetime, *, calendar: str) -> CalendarEvent | None:
    if found.status == "cancelled":
        return None
    mine = next((one for one in found.attendees if one.is_self), None)
    response = "" if mine is None else _RESPONSES.get(mine.response_status, "needs-action")
    who = found.organizer
    organizer = f"{who.display_name} <{who.email}>" if who.display_name else who.email
    text = found.description
    return CalendarEvent(
        uid=found.i_cal_uid or found.id,
        title=title(found.summary),
        start=_moment(found.start, reader),
        end=_moment(found.end, reader),
        calendar=calendar,
        location=place(found.location),
        description=description(html_to_text(text[:20_000]) if "<" in text else text),
        organizer=place(organizer),
        is_busy=found.transparency != "transparent" and response != "declined",
        is_tentative=found.status == "tentative",
        response=response,
    )


_RESPONSES: Final = {"accepted": "accepted", "declined": "declined", "tentative": "tentative"}


def _moment(found: _Moment, reader: datetime) -> date:
    """Return a time in the reader's zone, or a day; raises ValueError."""
    if found.day:
        return date.fromisoformat(found.day)
    moment = datetime.fromisoformat(found.date_time)
    if moment.tzinfo is None:
        raise ValueError("a time without offset")
    return moment.astimezone(UTC).astimezone(reader.tzinfo)


def _named(item: Mapping[str, object]) -> str:
    return quoted(title(str(item.get("summary") or "")))
