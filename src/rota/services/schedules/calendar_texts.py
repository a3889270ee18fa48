"""Calendars as a YAML file has them: a list, each with its days off."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.calendars import Calendar, CalendarDay, parse_days
from rota.domain.text.shortening import quoted
from rota.domain.text.validation import near_or_all
from rota.services.schedules.calendar_files import day_summary
from rota.services.schedules.service import check_name
from rota.services.yaml_files import load_yaml

MOST_CALENDARS: Final = 500
MOST_DAYS: Final = 20_000
"""Entries of all calendars of a file."""

_NAMES: Final = ("name", "source", "covers_until", "days")


@dataclass(frozen=True, slots=True)
class CalendarEntry:
    """A calendar as a file has it; its days are in order, and each is there once."""

    name: str
    source: str
    covers_until: date | None
    days: tuple[CalendarDay, ...]


def write_calendar(calendar: Calendar, days: Sequence[CalendarDay]) -> dict[str, Any]:
    """Return a calendar as a file has it."""
    until = calendar.covers_until
    return {
        "name": calendar.name,
        **({"source": calendar.source} if calendar.source else {}),
        **({"covers_until": until.isoformat()} if until is not None else {}),
        "days": {_written(day): day.summary for day in days},
    }


def parse_calendars(text: str, *, source: str) -> tuple[CalendarEntry, ...]:
    """Read a YAML list of calendars; raises InvalidInputError that names all that is wrong."""
    value = load_yaml(text, source=source)
    if not isinstance(value, list) or len(value) > MOST_CALENDARS:
        raise InvalidInputError(f"{source}: it is a list of at most {MOST_CALENDARS} calendars.")
    read = [_entry(item, f"{source}: calendar {n}") for n, item in enumerate(value, 1)]
    names = [entry.name for entry in read]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidInputError(f"{source}: a second calendar named {twice!r}.")
    if sum(len(entry.days) for entry in read) > MOST_DAYS:
        raise InvalidInputError(f"{source}: it has more than {MOST_DAYS} days.")
    return tuple(read)


def _entry(item: object, where: str) -> CalendarEntry:
    if not isinstance(item, Mapping):
        raise InvalidInputError(f"{where}: a calendar is a mapping of `name` and `days`.")
    for name in item:
        if name not in _NAMES:
            raise InvalidInputError(
                f"{where}: there is no field {quoted(str(name))}; {near_or_all(name, _NAMES)}"
            )
    name, days = item.get("name"), item.get("days") or {}
    if not isinstance(name, str):
        raise InvalidInputError(f"{where}: `name` is a text.")
    if isinstance(days, list):
        days = dict.fromkeys(map(str, days), "")
    if not isinstance(days, Mapping):
        raise InvalidInputError(
            f"{where}: `days` is a mapping of days to what they are called, such as "
            "`2026-12-25: Christmas Day`."
        )
    try:
        check_name(name)
        return CalendarEntry(
            name, day_summary(str(item.get("source") or "")), _until(item), tuple(_days(days))
        )
    except InvalidInputError as error:
        raise InvalidInputError(f"{where}: {error.message}") from error


def _until(item: Mapping[Any, Any]) -> date | None:
    said = item.get("covers_until")
    try:
        return None if said is None else date.fromisoformat(str(said))
    except ValueError as error:
        raise InvalidInputError("`covers_until` is a day, such as 2046-12-31.") from error


def _days(days: Mapping[Any, Any]) -> Iterator[CalendarDay]:
    found: dict[tuple[date, date], CalendarDay] = {}
    for said, summary in days.items():
        for day in parse_days(str(said)):
            named = CalendarDay(day.first, day.last, day_summary(str(summary or "")))
            found[day.first, day.last] = named
    yield from (found[key] for key in sorted(found))


def _written(day: CalendarDay) -> str:
    return str(day.first) if day.first == day.last else f"{day.first}..{day.last}"
