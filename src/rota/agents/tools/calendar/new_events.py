"""New events: read from a call's arguments, and written as iCalendar or for Google.

An event's UID comes from the identity of the call, which is the same in every attempt (as with the
Message-ID of a mail, `mail/outgoing.py`). So a second attempt finds the event of the first.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from rota.agents.tools.calendar.periods import moment
from rota.agents.tools.mail.sending.outgoing import read_recipients
from rota.domain.errors import InvalidInputError

LONGEST_TITLE: Final = 300
LONGEST_DESCRIPTION: Final = 8_000
MOST_ATTENDEES: Final = 50
DEFAULT_MINUTES: Final = 60
_LONGEST: Final = timedelta(days=31)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be made. Of whole days, `start` and `end` are dates: the first and the last."""

    title: str
    start: date
    end: date
    location: str = ""
    description: str = ""
    attendees: tuple[str, ...] = ()

    @property
    def is_all_day(self) -> bool:
        """Whether it is of whole days."""
        return not isinstance(self.start, datetime)

    def as_icalendar(self, uid: str, *, now: datetime, organizer: str) -> bytes:
        """Return it as an iCalendar object. `organizer` invites the attendees."""
        # 150 ms that only a calendar pays.
        import icalendar  # noqa: PLC0415  see above

        event = icalendar.Event()
        event.add("uid", uid)
        event.add("dtstamp", now.astimezone(UTC))
        event.add("summary", self.title)
        event.add("dtstart", _zoned(self.start))
        event.add("dtend", self.end + _DAY if self.is_all_day else _zoned(self.end))
        for name, text in (("location", self.location), ("description", self.description)):
            if text:
                event.add(name, text)
        if self.attendees:
            event.add("organizer", f"mailto:{organizer}")
        for address in self.attendees:
            person = icalendar.vCalAddress(f"mailto:{address}")
            person.params.update({"PARTSTAT": "NEEDS-ACTION", "RSVP": "TRUE"})
            event.add("attendee", person)
        calendar = icalendar.Calendar()
        calendar.add("prodid", "-//rota//rota//EN")
        calendar.add("version", "2.0")
        calendar.add_component(event)
        calendar.add_missing_timezones()
        return bytes(calendar.to_ical())

    def as_google(self, event_id: str) -> dict[str, object]:
        """Return it as Google's API takes it."""
        ends = self.end + _DAY if self.is_all_day else self.end
        return {
            "id": event_id,
            "summary": self.title,
            "start": _google_moment(self.start),
            "end": _google_moment(ends),
            "location": self.location,
            "description": self.description,
            "attendees": [{"email": address} for address in self.attendees],
        }

    def when(self) -> str:
        """Say when it is."""
        if not self.is_all_day:
            return f"{_shown(self.start)} to {_shown(self.end)}"
        return str(self.start) if self.start == self.end else f"{self.start} to {self.end}"


def read_event(
    now: datetime,
    *,
    title: str,
    start: str,
    end: str,
    minutes: int | None,
    location: str,
    description: str,
    attendees: Iterable[str],
    is_made: bool = False,
) -> NewEvent:
    """Read an event, in the zone of `now`; raises InvalidInputError.

    One that is over is none to be made; `is_made` says that it may be there already.

    Without an end, an event that begins at a time has an hour, and one of whole days a day.
    """
    if end.strip() and minutes is not None:
        raise InvalidInputError("Give `end` or `minutes`, not both.", field="minutes")
    begins = moment(start, now, field="start")
    if end.strip():
        ends = moment(end, now, field="end")
    elif isinstance(begins, datetime):
        lasts = timedelta(minutes=DEFAULT_MINUTES if minutes is None else minutes)
        ends = (begins.astimezone(UTC) + lasts).astimezone(begins.tzinfo)
    else:
        ends = begins
    _check_times(begins, ends, None if is_made else now)
    people = tuple(one.addr_spec for one in read_recipients("attendees", attendees))
    if len(people) > MOST_ATTENDEES:
        raise InvalidInputError(
            f"An event invites at most {MOST_ATTENDEES} people.", field="attendees"
        )
    return NewEvent(
        title=_line("title", title, is_needed=True),
        start=begins,
        end=ends,
        location=_line("location", location),
        description=_description(description),
        attendees=people,
    )


def event_uid(call: str) -> str:
    """Return the UID of the event that a call makes: the same whenever it is tried."""
    return f"{event_id(call)}@rota"


def event_id(call: str) -> str:
    """Return the id, for Google, of the event that a call makes: letters and digits."""
    return hashlib.sha256(f"calendar event of {call}".encode()).hexdigest()


def written(when: date) -> str:
    """Return a time or day as an argument of the call."""
    return _shown(when)


def _check_times(begins: date, ends: date, now: datetime | None) -> None:
    if isinstance(begins, datetime) != isinstance(ends, datetime):
        raise InvalidInputError(
            "Give both start and end as days, or both with a time.", field="end"
        )
    if isinstance(begins, datetime) and isinstance(ends, datetime):
        lasts = ends.astimezone(UTC) - begins.astimezone(UTC)
        is_backward = lasts <= timedelta(0)
    else:
        lasts = ends - begins
        is_backward = lasts < timedelta(0)
    if is_backward:
        raise InvalidInputError("The end is not after the start.", field="end")
    if lasts > _LONGEST:
        raise InvalidInputError(f"An event lasts at most {_LONGEST.days} days.", field="end")
    if now is not None and (ends <= now if isinstance(ends, datetime) else ends < now.date()):
        raise InvalidInputError(
            f"That is over: it is {now.isoformat(timespec='minutes')}.", field="start"
        )


def _line(field: str, text: str, *, is_needed: bool = False) -> str:
    text = text.strip()
    if is_needed and not text:
        raise InvalidInputError("An event has a title.", field=field)
    # Line breaks, and what steers a display, among them.
    if len(text) > LONGEST_TITLE or any(unicodedata.category(one) in _UNSEEN for one in text):
        raise InvalidInputError(
            f"The {field} is one line of at most {LONGEST_TITLE} characters.", field=field
        )
    return text


_UNSEEN: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _description(text: str) -> str:
    plain = text.replace("\r\n", "\n").strip()
    if len(plain) > LONGEST_DESCRIPTION or any(
        unicodedata.category(one) in _UNSEEN and one not in "\n\t" for one in plain
    ):
        raise InvalidInputError(
            f"The description is plain text of at most {LONGEST_DESCRIPTION} characters.",
            field="description",
        )
    return plain


def _zoned(when: date) -> date:
    """Return a time in a zone that has a name, which a calendar needs."""
    if not isinstance(when, datetime) or isinstance(when.tzinfo, ZoneInfo):
        return when
    return when.astimezone(UTC)


def _google_moment(when: date) -> dict[str, str]:
    if not isinstance(when, datetime):
        return {"date": str(when)}
    named = {"timeZone": when.tzinfo.key} if isinstance(when.tzinfo, ZoneInfo) else {}
    return {"dateTime": when.isoformat(timespec="seconds"), **named}


def _shown(when: date) -> str:
    return when.isoformat(timespec="minutes") if isinstance(when, datetime) else str(when)
