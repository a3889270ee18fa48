"""Reads the events of an iCalendar text between two instants, recurrences expanded.

A feed and a CalDAV server both give such texts. icalendar reads an event, recurring-ical-events
expands it. Both are given one event, or one series, at a time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as clock_time
from typing import Any, Final

from rota.agents.tools.calendar.events import (
    MOST_EVENTS,
    CalendarEvent,
    Reading,
    days_after,
    description,
    is_between,
    noted,
    place,
    title,
)
from rota.agents.tools.calendar.icalendar_text import CalendarText, EventText
from rota.agents.tools.calendar.zones import Zones
from rota.domain.text.shortening import quoted

LONGEST_READING: Final = 20.0
"""Seconds after which no further series is read; one alone takes as long at worst."""

MOST_RECURRENCES: Final = 500
"""Recurrences of one event that are taken."""

_LONGEST_SEARCH: Final = 200_000
"""Recurrences of one event, from its first on, that are gone through."""

_DAY: Final = timedelta(days=1)
_UNREADABLE: Final = (
    *(ValueError, TypeError, OverflowError, AttributeError),
    *(LookupError, RecursionError, ArithmeticError),
)
"""What the two libraries raise on what they do not expect."""

_LASTS: Final = "X-ROTA-DURATION"
"""Where the duration is while an event is expanded: the library makes an end of it."""

_ZONE: Final = "X-ROTA-ZONE"
_TZID: Final = re.compile(";TZID=", re.IGNORECASE)

_LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PER_DAY: Final = {"SECONDLY": 86_400, "MINUTELY": 1_440, "HOURLY": 24}
_PLAIN_PARTS: Final = frozenset({"FREQ", "INTERVAL", "UNTIL", "COUNT", "WKST", "BYDAY"})
_FREE: Final = frozenset({"FREE", "WORKINGELSEWHERE"})


class _UnreadableEventError(Exception):
    """An event, or a rule of it, cannot be read; the message goes on from its name."""


def read_events(
    text: CalendarText,
    start: datetime,
    end: datetime,
    *,
    calendar: str = "",
    mine: Collection[str] = (),
    clock: Callable[[], float] = time.monotonic,
) -> Reading:
    """Return what takes place between two instants that are in the reader's zone.

    `mine` are the owner's addresses, in lower case: what they answered is told. Takes a while: call
    it in a thread.
    """
    zones = Zones(text.zones)
    first, last = start.date(), end.date()
    near = [series for series in text.series if any(e.may_be_between(first, last) for e in series)]
    # Rules that take long to follow come last, so that they cost no other event.
    near.sort(key=_effort)
    until = clock() + LONGEST_READING
    events: list[CalendarEvent] = []
    unread: list[str] = []
    for number, series in enumerate(near):
        if clock() > until or len(events) > MOST_EVENTS:
            why = "takes too long" if len(events) <= MOST_EVENTS else "has too much"
            unread.insert(0, f"The calendar {why}: {len(near) - number} events were not read.")
            break
        try:
            components, notes = _components(series, zones, text.default_zone)
            for found in _expanded(components, start, end):
                event = _event(found, start, mine, calendar=calendar, notes=notes)
                if event is not None and is_between(event, start, end):
                    events.append(event)
        except _UnreadableEventError as error:
            unread.append(f"The event {_named(series)} {error}.")
        except _UNREADABLE:
            unread.append(f"The event {_named(series)} cannot be read.")
    return Reading(tuple(events), noted(unread))


def _effort(series: Sequence[EventText]) -> int:
    rules = [rule for event in series if (rule := event.value("RRULE")) is not None]
    if not rules:
        return 0
    parts = {part.partition("=")[0] for rule in rules for part in rule.partition(":")[2].split(";")}
    return 1 if parts <= _PLAIN_PARTS and not any(unit in rules[0] for unit in _PER_DAY) else 2


def _named(series: Sequence[EventText]) -> str:
    line = next((line for event in series if (line := event.value("SUMMARY"))), "")
    return quoted(title(line.partition(":")[2]))


def _components(
    series: Sequence[EventText], zones: Zones, default_zone: str
) -> tuple[list[Any], tuple[str, ...]]:
    """Return the components of a series, mended, and what was odd about them."""
    import icalendar  # noqa: PLC0415  150 ms that only a calendar pays

    notes: dict[str, None] = {}
    components = []
    for event in series:
        if not event.is_whole:
            raise _UnreadableEventError("is cut off")
        component = icalendar.Event.from_ical("\r\n".join(_without_zones(event.lines)))
        if _mend(component, zones, default_zone, notes):
            components.append(component)
    return components, tuple(notes)


def _without_zones(lines: Sequence[str]) -> Iterator[str]:
    """Hide the zones of times from the library, whose table of them is that of the process."""
    for line in lines:
        is_time = line.upper().startswith(("DTSTART", "DTEND", "RECURRENCE-ID", "EXDATE", "RDATE"))
        yield _TZID.sub(f";{_ZONE}=", line, count=1) if is_time else line


def _mend(event: Any, zones: Zones, default_zone: str, notes: dict[str, None]) -> bool:
    """Make an event one that can be expanded; return False for one that says nothing."""
    event.pop(_LASTS, None)
    broken = {str(name).upper() for name, _ in event.errors if name}
    if "RECURRENCE-ID" in broken:
        notes["A change of one recurrence cannot be read, and was left out."] = None
        return False
    if "DTSTART" in broken or "DTSTART" not in event:
        raise _UnreadableEventError("has no start that can be read")
    for name in broken & {"DTEND", "DURATION", "RRULE", "RDATE", "EXDATE"}:
        del event[name]
        notes[f"Its {name} cannot be read, and was left out."] = None
    for name in ("DTSTART", "DTEND", "DURATION", "RECURRENCE-ID"):
        if isinstance(event.get(name), list):
            event[name] = event[name][0]
    default = zones.get(default_zone) if default_zone else None
    for value in _times(event):
        value.dt = _in_zone(value.dt, value.params.get(_ZONE), zones, default, notes)
    _mend_end(event, notes)
    _check_rules(event)
    return True


def _times(event: Any) -> Iterator[Any]:
    """Yield the values of an event that are times."""
    for name in ("DTSTART", "DTEND", "RECURRENCE-ID"):
        if name in event:
            yield event[name]
    for name in ("RDATE", "EXDATE"):
        found = event.get(name, [])
        for dates in found if isinstance(found, list) else [found]:
            for value in dates.dts:
                # The zone is that of the list.
                value.params.update({k: v for k, v in dates.params.items() if k == _ZONE})
                yield value


def _in_zone(
    moment: Any,
    name: str | None,
    zones: Zones,
    default: tzinfo | None,
    notes: dict[str, None],
) -> Any:
    if isinstance(moment, tuple):  # a period: start, and end or duration
        return tuple(_in_zone(part, name, zones, default, notes) for part in moment)
    if not isinstance(moment, datetime):
        return moment
    if moment.tzinfo is not None:  # in UTC, whatever zone is named beside it
        return moment
    if name is None:
        return moment.replace(tzinfo=default)
    zone = zones.get(str(name))
    if zone is None:
        notes[f"Its time zone {quoted(str(name))} is not known: its times are taken as yours."] = (
            None
        )
        zone = default
    return moment.replace(tzinfo=zone)


def _mend_end(event: Any, notes: dict[str, None]) -> None:
    """Give an event an end that fits its start."""
    start = event["DTSTART"].dt
    if str(event.get("X-MICROSOFT-CDO-ALLDAYEVENT", "")).upper() == "TRUE" and isinstance(
        start, datetime
    ):
        ends = event["DTEND"].dt if "DTEND" in event else start + _DAY
        _replace(event, "DTSTART", start.date())
        _replace(event, "DTEND", ends.date() if isinstance(ends, datetime) else ends)
        start = event["DTSTART"].dt
    if "DTEND" in event:
        end = event["DTEND"].dt
        if isinstance(start, datetime) and not isinstance(end, datetime):
            _replace(event, "DTEND", datetime.combine(end, clock_time(), tzinfo=start.tzinfo))
        elif isinstance(end, datetime) and not isinstance(start, datetime):
            _replace(event, "DTEND", end.date())
        elif isinstance(start, datetime) and (start.tzinfo is None) != (end.tzinfo is None):
            _replace(event, "DTEND", end.replace(tzinfo=start.tzinfo))
        if event["DTEND"].dt < start:
            del event["DTEND"]
            notes["Its end is before its start, and was left out."] = None
        elif not isinstance(start, datetime) and event["DTEND"].dt == start:
            del event["DTEND"]
        event.pop("DURATION", None)
    elif "DURATION" in event:
        if event["DURATION"].dt < timedelta(0):
            del event["DURATION"]
            notes["Its end is before its start, and was left out."] = None
        else:
            event[_LASTS] = event["DURATION"]


def _replace(event: Any, name: str, value: date) -> None:
    event.pop(name, None)
    event.add(name, value)


def _rules(event: Any) -> list[Any]:
    found = event.get("RRULE", [])
    return found if isinstance(found, list) else [found]


def _frequency(rule: Any) -> str:
    return str(next(iter(rule.get("FREQ", ())), "")).upper()


def _check_rules(event: Any) -> None:
    """Make rules such that end in time."""
    start = event["DTSTART"].dt
    for rule in _rules(event):
        if any(int(interval) < 1 for interval in rule.get("INTERVAL", ())):
            raise _UnreadableEventError("recurs after an interval of nothing")
        if not isinstance(start, datetime):
            for part in ("BYHOUR", "BYMINUTE", "BYSECOND"):  # RFC 5545, 3.3.10: ignored for dates
                rule.pop(part, None)
            if _frequency(rule) in _PER_DAY:
                raise _UnreadableEventError("is of days, and recurs more often")
        if _frequency(rule) in {"MINUTELY", "SECONDLY"}:
            raise _UnreadableEventError("recurs each minute or more often")
        if _never_comes_true(rule):
            raise _UnreadableEventError("recurs on days that there are not")
        until = rule.get("UNTIL")
        if until:
            rule.pop("COUNT", None)  # only one of the two is allowed
        if until and isinstance(start, datetime):
            rule["UNTIL"] = [_until(until[0], start)]


def _never_comes_true(rule: Any) -> bool:
    """Whether no month has such a day; the library would look for one until the year 9999."""
    months = [int(month) for month in rule.get("BYMONTH", ())]
    days = [abs(int(day)) for day in rule.get("BYMONTHDAY", ())]
    possible = [_LONGEST_MONTHS[month - 1] for month in months or range(1, 13) if 0 < month <= 12]
    return not possible or (bool(days) and min(days) > max(possible)) or 0 in days


def _until(until: date, start: datetime) -> datetime:
    """Return when a rule ends, in UTC for a start that has a zone (RFC 5545, 3.3.10).

    Many write a day: then it is the end of that day.
    """
    if not isinstance(until, datetime):
        until = datetime.combine(until, clock_time(23, 59, 59))
    if start.tzinfo is None:
        return until.replace(tzinfo=None)
    return (until if until.tzinfo is not None else until.replace(tzinfo=start.tzinfo)).astimezone(
        UTC
    )


def _expanded(events: Sequence[Any], start: datetime, end: datetime) -> list[Any]:
    """Return the recurrences of a series, or its one event."""
    if not any(name in e for e in events for name in ("RRULE", "RDATE", "RECURRENCE-ID")):
        # What was changed last stands; and some programs give all events one UID.
        last = max(_sequence(event) for event in events)
        return [event for event in events if _sequence(event) == last]
    for event in events:
        if _number(event, end) > _LONGEST_SEARCH:
            raise _UnreadableEventError("recurs too often to be followed")
    import icalendar  # noqa: PLC0415  see above
    import recurring_ical_events  # type: ignore[import-untyped]  # noqa: PLC0415  see above; untyped

    calendar = icalendar.Calendar()
    for event in events:
        calendar.add_component(event)
    found = list(recurring_ical_events.of(calendar).between(start, end))
    if len(found) > MOST_RECURRENCES:
        raise _UnreadableEventError(f"recurs more than {MOST_RECURRENCES} times in this time")
    return found


def _sequence(event: Any) -> int:
    return int(event.get("SEQUENCE", 0))


def _number(event: Any, end: datetime) -> int:
    """Return how many recurrences of an event there are at most from the first until then."""
    start = event["DTSTART"].dt
    days = (end.date() - (start.date() if isinstance(start, datetime) else start)).days
    return sum(_number_of(rule, days) for rule in _rules(event))


def _number_of(rule: Any, days: int) -> int:
    a_day = _PER_DAY.get(_frequency(rule), 1)
    for part in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        a_day *= max(1, len(rule.get(part, ())))
    return min(days * a_day, *(int(count) for count in rule.get("COUNT", ())), days * a_day)


def _event(
    found: Any, reader: datetime, mine: Collection[str], *, calendar: str, notes: tuple[str, ...]
) -> CalendarEvent | None:
    """Return a component as an event in the zone of the reader, None for a cancelled one."""
    status = _text(found, "STATUS").upper()
    if status == "CANCELLED":
        return None
    start = found["DTSTART"].dt
    if _LASTS in found:
        end = _end_after(start, found[_LASTS].dt)
    elif "DTEND" in found:
        end = found["DTEND"].dt
    else:
        end = start if isinstance(start, datetime) else start + _DAY
    start, end = (_for_reader(moment, reader.tzinfo) for moment in (start, end))
    if not isinstance(start, datetime) and end <= start:
        end = start + _DAY
    response = _response(found, mine)
    free = _text(found, "X-MICROSOFT-CDO-BUSYSTATUS").upper() in _FREE
    transparency = _text(found, "TRANSP").upper() or ("TRANSPARENT" if free else "OPAQUE")
    return CalendarEvent(
        uid=_text(found, "UID"),
        title=title(_text(found, "SUMMARY")),
        start=start,
        end=end,
        calendar=calendar,
        location=place(_text(found, "LOCATION")),
        description=description(_text(found, "DESCRIPTION")),
        organizer=_organizer(found),
        is_busy=transparency != "TRANSPARENT" and response != "declined",
        is_tentative=status == "TENTATIVE",
        response=response,
        notes=notes,
    )


def _end_after(start: date, lasts: timedelta) -> date:
    if isinstance(start, datetime):
        return days_after(start, lasts)
    return start + max(_DAY, timedelta(days=lasts.days))


def _for_reader(moment: date, zone: tzinfo | None) -> date:
    if not isinstance(moment, datetime):
        return moment
    known = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)
    # By way of UTC, as a time that the clocks skip stays what it is within its own zone.
    return known.astimezone(UTC).astimezone(zone)


def _text(found: Any, name: str) -> str:
    value = found.get(name, "")
    return str(value[0] if isinstance(value, list) and value else value or "")


def _address(value: Any) -> str:
    return str(value).strip().lower().removeprefix("mailto:")


def _response(found: Any, mine: Collection[str]) -> str:
    people = found.get("ATTENDEE", [])
    for person in people if isinstance(people, list) else [people]:
        if _address(person) in mine:
            return str(getattr(person, "params", {}).get("PARTSTAT", "NEEDS-ACTION")).lower()
    return ""


def _organizer(found: Any) -> str:
    value = found.get("ORGANIZER")
    if value is None:
        return ""
    address, name = _address(value), str(getattr(value, "params", {}).get("CN", ""))
    return place(f"{name} <{address}>" if name and name.lower() != address else address)
