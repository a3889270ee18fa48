"""Takes an iCalendar text apart into its events, without reading them.

So what is broken in one event, or cut off, does not touch the others; and of a calendar of many
years only what can matter is read, which is the slow part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from rota.domain.errors import InvalidInputError

_FOLD: Final = re.compile(r"\n[ \t]")
_DIGITS: Final = re.compile(r":(\d{4})(\d{2})(\d{2})")
_UNTIL: Final = re.compile(r"UNTIL=(\d{4})(\d{2})(\d{2})", re.IGNORECASE)
_SLACK: Final = timedelta(days=3)
"""Zones, and the ends of days, are left to those who read the events."""
_LONGEST_DURATION: Final = timedelta(days=400)
"""What a DURATION is taken to be at most, for this look alone."""


@dataclass(slots=True)
class EventText:
    """The lines of one VEVENT, unfolded, without what is nested in it."""

    lines: list[str]
    is_whole: bool = True

    def value(self, name: str) -> str | None:
        """Return the first line of a property, None where there is none."""
        for line in self.lines:
            if line[: len(name)].upper() == name and line[len(name) : len(name) + 1] in {":", ";"}:
                return line
        return None

    @property
    def recurs(self) -> bool:
        """Whether it has, or is, a recurrence."""
        return any(self.value(name) for name in ("RRULE", "RDATE", "RECURRENCE-ID"))

    def may_be_between(self, first: date, last: date) -> bool:
        """Return False for an event that surely is not between two days."""
        start = _date_in(self.value("DTSTART"))
        if start is None or self.value("RDATE") or self.value("RECURRENCE-ID"):
            return True
        if start > last + _SLACK:
            return False
        end = max(start, _date_in(self.value("DTEND")) or start)
        if self.value("DURATION"):
            end += _LONGEST_DURATION
        rule = self.value("RRULE")
        if rule is not None:
            until = _UNTIL.search(rule)
            last_start = _as_date(until) if until is not None else None
            if last_start is None:
                return True
            end = max(end, last_start + (end - start))
        return end >= first - _SLACK


@dataclass(slots=True)
class CalendarText:
    """The events of a text by UID, in its order, and the zones that it defines."""

    series: list[list[EventText]] = field(default_factory=list)
    zones: dict[str, list[str]] = field(default_factory=dict)
    default_zone: str = ""
    name: str = ""


def take_apart(text: str) -> CalendarText:
    """Return what an iCalendar text holds."""
    found = CalendarText()
    by_uid: dict[str, list[EventText]] = {}
    for kind, lines, is_whole in _components(text):
        if kind == "VEVENT":
            event = EventText(_without_alarms(lines), is_whole)
            uid = _value(event.value("UID"))
            if uid and uid in by_uid:
                by_uid[uid].append(event)
                continue
            series = [event]
            found.series.append(series)
            if uid:
                by_uid[uid] = series
        elif kind == "VTIMEZONE":
            name = next((line for line in lines if line.upper().startswith("TZID:")), "")
            found.zones.setdefault(_value(name), lines)
        elif lines[0].upper().startswith("X-WR-TIMEZONE:"):
            found.default_zone = found.default_zone or _value(lines[0])
        elif lines[0].upper().startswith("X-WR-CALNAME:"):
            found.name = found.name or _value(lines[0])
    return found


def _components(text: str) -> Iterator[tuple[str, list[str], bool]]:
    """Yield each event and zone, and each line outside them, and whether it is whole."""
    inside = ""
    lines: list[str] = []
    unfolded = _FOLD.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    for line in unfolded.split("\n"):
        word, _, name = line.partition(":")
        word, name = word.strip().upper(), name.strip().upper()
        if word == "BEGIN" and name in {"VEVENT", "VTIMEZONE", "VCALENDAR"}:
            if inside:  # the one before never ended
                yield inside, lines, False
            inside, lines = ("" if name == "VCALENDAR" else name), [f"BEGIN:{name}"]
        elif not inside:
            yield "", [line], True
        elif word == "END" and name == inside:
            yield inside, [*lines, f"END:{inside}"], True
            inside = ""
        else:
            lines.append(line)
    if inside:
        yield inside, lines, False


def _without_alarms(lines: list[str]) -> list[str]:
    """Return the lines of an event itself."""
    own, depth = [lines[0]], 0
    for line in lines[1:]:
        depth += line.upper().startswith("BEGIN:")
        if not depth or line is lines[-1]:
            own.append(line)
        depth -= line.upper().startswith("END:")
    return own


def _value(line: str | None) -> str:
    return line.partition(":")[2].strip() if line else ""


def _date_in(line: str | None) -> date | None:
    found = _DIGITS.search(line) if line is not None else None
    return _as_date(found) if found is not None else None


def _as_date(found: re.Match[str]) -> date | None:
    with suppress(ValueError):
        return date(int(found[1]), int(found[2]), int(found[3]))
    return None


def decode(data: bytes) -> str:
    """Return the text of an iCalendar file; raises InvalidInputError for another."""
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        with suppress(UnicodeDecodeError):
            text = data.decode(encoding)
            if "BEGIN:VCALENDAR" in text.upper():
                return text
    raise InvalidInputError("This is not an iCalendar file (.ics).")
