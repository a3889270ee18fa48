"""The calendars of a CalDAV account (RFC 4791): found, read, and written into.

They are looked up anew each time: four requests, and then one for each calendar.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx

from rota.agents.tools.calendar.dav_answers import DavItem, dav_items
from rota.agents.tools.calendar.events import Reading
from rota.agents.tools.calendar.icalendar_events import read_events
from rota.agents.tools.calendar.icalendar_text import take_apart
from rota.agents.tools.calendar.new_events import NewEvent
from rota.agents.tools.calendar.web import CalendarWeb, Login, WebAnswer, calendar_web
from rota.domain.agents.calendar_accounts import CalDavAccount, provider_of
from rota.domain.agents.connections import LoginRefusedError, ReconnectRequiredError
from rota.domain.errors import InvalidInputError, RotaError, SetupRequiredError, UnavailableError
from rota.domain.text.cleaning import clean_line
from rota.domain.text.shortening import shorten

MOST_CALENDARS: Final = 50
"""Calendars of one account that are read."""

_PARALLEL: Final = 4
_STORED: Final = frozenset({httpx.codes.OK, httpx.codes.CREATED, httpx.codes.NO_CONTENT})
_XML: Final = {"Content-Type": "application/xml; charset=utf-8"}
_HEAD: Final = '<?xml version="1.0" encoding="utf-8"?>\n'
_SPACES: Final = (
    'xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav" xmlns:a="http://apple.com/ns/ical/"'
)
_FIND: Final = (
    f"{_HEAD}<d:propfind {_SPACES}><d:prop><d:resourcetype/><d:displayname/>"
    "<d:current-user-principal/><c:calendar-home-set/><c:calendar-user-address-set/>"
    "<c:supported-calendar-component-set/><d:current-user-privilege-set/></d:prop></d:propfind>"
).encode()
_QUERY: Final = (
    f"{_HEAD}<c:calendar-query {_SPACES}><d:prop><c:calendar-data/></d:prop><c:filter>"
    '<c:comp-filter name="VCALENDAR"><c:comp-filter name="VEVENT">'
    '<c:time-range start="{start}" end="{end}"/>'
    "</c:comp-filter></c:comp-filter></c:filter></c:calendar-query>"
)
_STARTS: Final = ("", "/.well-known/caldav", "/remote.php/dav/")
"""Where an account is looked for, below the address that its owner gave: RFC 6764, Nextcloud."""


@dataclass(frozen=True, slots=True)
class DavCalendar:
    """A calendar of an account, under the name that its owner sees."""

    url: str
    name: str
    is_writable: bool


@dataclass(frozen=True, slots=True)
class _Account:
    calendars: tuple[DavCalendar, ...]
    addresses: frozenset[str]
    schedules: bool


class CalDavCalendars:
    """All calendars of one account. Their events are said to be of `name/CALENDAR`."""

    def __init__(self, account: CalDavAccount, *, name: str = "") -> None:
        self._account = account
        self._name = name

    async def events(self, start: datetime, end: datetime) -> Reading:
        """Return what takes place between two instants; raises as `CalendarSource`."""
        async with self._session() as session:
            account = await session.account()
            places = asyncio.Semaphore(_PARALLEL)

            async def read(calendar: DavCalendar) -> Reading:
                async with places:
                    texts = await session.texts(calendar, start, end)
                return await asyncio.to_thread(
                    read_events,
                    take_apart("\n".join(texts)),
                    start,
                    end,
                    calendar=self._label(calendar, account),
                    mine=account.addresses,
                )

            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(read(one)) for one in account.calendars]
            except ExceptionGroup as faults:
                raise faults.exceptions[0] from None
        readings = [task.result() for task in tasks]
        return Reading(
            tuple(event for reading in readings for event in reading.events),
            tuple(said for reading in readings for said in reading.unread),
        )

    async def count(self, start: datetime, end: datetime) -> tuple[int, int]:
        """Return how many calendars there are, and how many events."""
        async with self._session() as session:
            found = len((await session.account()).calendars)
        return found, len((await self.events(start, end)).events)

    async def calendars(self) -> list[tuple[str, DavCalendar]]:
        """Return all calendars, each with how it is called beside those of other connections."""
        async with self._session() as session:
            account = await session.account()
        return [(self._label(one, account), one) for one in account.calendars]

    async def organizer(self) -> str:
        """Return the owner's e-mail address, "" where neither they nor the server said it."""
        async with self._session() as session:
            return _organizer(self._account, await session.account())

    async def create(self, url: str, event: NewEvent, uid: str, *, now: datetime) -> str:
        """Put an event into a calendar, unless one of this UID is there; say who invites.

        Raises InvalidInputError for a calendar that cannot be written.
        """
        async with self._session() as session:
            organizer = ""
            schedules = False
            if event.attendees:
                account = await session.account()
                organizer, schedules = _organizer(self._account, account), account.schedules
            text = event.as_icalendar(uid, now=now, organizer=organizer)
            await session.put(_event_url(url, uid), text)
        if not event.attendees:
            return ""
        if schedules:
            return f" The server invites {len(event.attendees)}."
        return " The server sends no invitations: the attendees are noted only."

    async def has(self, url: str, uid: str) -> bool:
        """Return whether a calendar has an event that `create` made."""
        async with self._session() as session:
            return await session.has(_event_url(url, uid))

    def _label(self, calendar: DavCalendar, account: _Account) -> str:
        if len(account.calendars) == 1:
            return self._name
        return f"{self._name}/{calendar.name}" if self._name else calendar.name

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[_Session]:
        account = self._account
        login = Login(account.user, account.password)
        async with calendar_web(account.host, certificate=account.certificate, auth=login) as web:
            yield _Session(web, account, login)


class _Session:
    """An account that is signed in to."""

    def __init__(self, web: CalendarWeb, account: CalDavAccount, login: Login) -> None:
        self._web = web
        self._account = account
        self._login = login

    async def account(self) -> _Account:
        """Find the calendars: by current-user-principal and calendar-home-set."""
        found, answered = await self._start()
        own = next((item for item in found if item.is_calendar), None)
        if own is not None:
            return self._with([own], found, answered)
        if not (homes := _first(found, "homes")):
            principal = _first(found, "principals")[0]
            found, answered = await self._find(urljoin(answered.url, principal))
            homes = _first(found, "homes")
        people = found
        listed: list[DavItem] = []
        for home in homes:
            items, answered = await self._find(urljoin(answered.url, home), depth="1")
            listed += [item for item in items if item.is_calendar and item.takes_events]
        if not listed:
            raise SetupRequiredError(
                f"{self._account.user} has no calendar at {self._account.host}. Make one there.",
                what="connection",
            )
        return self._with(listed, people, answered)

    async def texts(self, calendar: DavCalendar, start: datetime, end: datetime) -> list[str]:
        """Return the events of a calendar that may be between two instants, as iCalendar texts."""
        query = _QUERY.format(start=_in_utc(start), end=_in_utc(end)).encode()
        answer = await self._ask("REPORT", calendar.url, query, depth="1")
        if answer.status != httpx.codes.MULTI_STATUS:
            raise self._odd(answer)
        return [item.text for item in self._items(answer) if item.text]

    async def put(self, url: str, text: bytes) -> None:
        """Store an event that is not there yet; one that is there is that of an earlier attempt."""
        headers = {"Content-Type": "text/calendar; charset=utf-8", "If-None-Match": "*"}
        answer = await self._web.request("PUT", url, content=text, headers=headers)
        self._check_login(answer)
        if answer.status in _STORED or answer.status == httpx.codes.PRECONDITION_FAILED:
            return
        if answer.status >= 500 or answer.status == httpx.codes.TOO_MANY_REQUESTS:
            raise self._odd(answer)
        raise InvalidInputError(
            f"{self._account.host} does not take the event ({answer.status}): the calendar may be "
            "only for reading.",
            field="calendar",
        )

    async def has(self, url: str) -> bool:
        """Return whether an event is there."""
        answer = await self._web.request("GET", url)
        self._check_login(answer)
        if answer.status in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
            return False
        if answer.status != httpx.codes.OK:
            raise self._odd(answer)
        return True

    async def _start(self) -> tuple[list[DavItem], WebAnswer]:
        """Return the first answer that says whose the calendars are, or is a calendar."""
        answer: WebAnswer | None = None
        for path in _STARTS:
            url = urljoin(self._account.url, path) if path else self._account.url
            answer = await self._ask("PROPFIND", url, _FIND)
            if answer.status == httpx.codes.MULTI_STATUS and not self._login.is_used:
                self._login.insist()  # it answers strangers too, and tells them of no account
                answer = await self._ask("PROPFIND", url, _FIND)
            if not path and answer.status in {httpx.codes.NOT_FOUND, httpx.codes.GONE}:
                self._check_path(url)
            if answer.status != httpx.codes.MULTI_STATUS:
                continue
            found = self._items(answer)
            is_calendar = any(item.is_calendar for item in found)
            if is_calendar or _first(found, "homes") or _first(found, "principals"):
                return found, answer
        if answer is not None and answer.status >= 500:
            raise self._odd(answer)
        raise ReconnectRequiredError(
            f"There is no CalDAV at {self._account.host}: is --url right? It is the address that "
            "the calendar's settings give for other programs."
        )

    def _check_path(self, url: str) -> None:
        """Raise where a path was given that is not there: the owner wants no other calendars."""
        path = urlsplit(url).path
        if path.strip("/"):
            host = self._account.host
            raise ReconnectRequiredError(
                f"{host} has nothing at {shorten(clean_line(path), 200)}: is --url right? For all "
                f"calendars of the account, give --url https://{host}."
            )

    async def _find(self, url: str, *, depth: str = "0") -> tuple[list[DavItem], WebAnswer]:
        answer = await self._ask("PROPFIND", url, _FIND, depth=depth)
        if answer.status != httpx.codes.MULTI_STATUS:
            raise self._odd(answer)
        return self._items(answer), answer

    async def _ask(self, method: str, url: str, content: bytes, *, depth: str = "0") -> WebAnswer:
        headers = _XML | {"Depth": depth}
        answer = await self._web.request(method, url, content=content, headers=headers)
        self._check_login(answer)
        return answer

    def _check_login(self, answer: WebAnswer) -> None:
        account = self._account
        if self._login.is_unknown:
            raise ReconnectRequiredError(
                f"{account.host} asks for a way to sign in that rota does not know."
            )
        if self._login.was_refused and answer.status == httpx.codes.UNAUTHORIZED:
            known = provider_of(account.user)
            is_theirs = known is not None and known.url and account.url.startswith(known.url)
            advice = f" {known.advice}" if known is not None and is_theirs else ""
            raise LoginRefusedError(
                f"{account.host} refused the password of {account.user}.{advice}"
            )

    def _items(self, answer: WebAnswer) -> list[DavItem]:
        found = dav_items(answer.body)
        if found is None:
            raise UnavailableError(
                f"{self._account.host} answers with what is no CalDAV.",
                service="calendar",
                permanent=True,
            )
        return found

    def _with(self, items: list[DavItem], people: list[DavItem], answer: WebAnswer) -> _Account:
        calendars = [
            DavCalendar(urljoin(answer.url, item.href), _named(item), item.is_writable)
            for item in items[:MOST_CALENDARS]
        ]
        addresses = {one for item in people for one in item.addresses}
        if self._account.address:
            addresses.add(self._account.address)
        return _Account(
            tuple(calendars),
            frozenset(addresses),
            "calendar-auto-schedule" in answer.headers.get("dav", ""),
        )

    def _odd(self, answer: WebAnswer) -> RotaError:
        host, status = self._account.host, answer.status
        if status in {httpx.codes.FORBIDDEN, httpx.codes.UNAUTHORIZED}:
            return ReconnectRequiredError(
                f"{host} does not let {self._account.user} read the calendars ({status})."
            )
        return UnavailableError(
            f"{host} answered with {status} instead of the calendars. Try again later.",
            service="calendar",
        )


def _event_url(calendar: str, uid: str) -> str:
    return urljoin(f"{calendar.rstrip('/')}/", f"{quote(uid, safe='')}.ics")


def _organizer(account: CalDavAccount, found: _Account) -> str:
    return account.address or min(found.addresses, default="")


def _first(items: list[DavItem], name: str) -> tuple[str, ...]:
    return next((found for item in items if (found := getattr(item, name))), ())


def _named(item: DavItem) -> str:
    name = item.name or unquote(urlsplit(item.href).path.rstrip("/").rpartition("/")[2])
    return shorten(clean_line(name).replace("/", "-"), 60) or "calendar"


def _in_utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
