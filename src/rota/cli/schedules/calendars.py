"""`rota calendars`: lists of days off, imported from iCalendar files or typed.

A schedule uses a calendar with `--except-calendar`. What a day off means for a fire time is decided
in the domain.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import InvalidInputError
from rota.domain.schedules.calendars import Calendar, parse_days
from rota.shown.calendars import calendar_json

group = CommandGroup()
Name = Annotated[str, typer.Argument(metavar="NAME", help="The calendar's name.")]


@group.command("import")
def import_calendar(
    common: CommonOptions,
    name: Name,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An iCalendar file (.ics).")],
) -> None:
    """Import the all-day events of an iCalendar file as days off. They replace the calendar."""
    try:
        data = file.expanduser().read_bytes()
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be read: {error.strerror}.") from error
    found = common.as_person(lambda app, me: app.calendars.import_file(me, name, data, file.name))
    output.print_done(_read_back(found), found, as_json=common.json)


@group.command("add")
def add_days(
    common: CommonOptions,
    name: Name,
    days: Annotated[
        list[str], typer.Argument(metavar="DAYS...", help="2026-12-24..2027-01-01, 2027-05-01.")
    ],
    summary: Annotated[
        str, typer.Option("--summary", help='The name of these days, such as "company holidays".')
    ] = "",
) -> None:
    """Add days off to a calendar. It is created if it does not exist."""
    parsed = tuple(replace(day, summary=summary) for day in parse_days(", ".join(days)))
    found = common.as_person(lambda app, me: app.calendars.add_days(me, name, parsed))
    output.print_done(_read_back(found), found, as_json=common.json)


@group.command("list")
def list_calendars(common: CommonOptions) -> None:
    """List your calendars, and the next day off of each."""
    found = common.as_person(lambda app, me: app.calendars.all(me))
    output.print_list(
        found,
        {
            "NAME": lambda c: c.name,
            "ENTRIES": lambda c: c.days,
            "NEXT": lambda c: c.next_day or "-",
            "SOURCE": lambda c: c.source or "-",
        },
        as_json=common.json,
        empty="There are no calendars. `rota calendars import NAME FILE` makes one.",
    )


@group.command("show")
def show_calendar(common: CommonOptions, name: Name) -> None:
    """Show the days of a calendar."""
    found, days = common.as_person(lambda app, me: app.calendars.get(me, name))
    if common.json:
        output.print_json(calendar_json(found, days))
        return
    output.table(
        ["FROM", "TO", "WHAT"],
        [(d.first, d.last, d.summary) for d in days],
        empty="It is empty.",
        texts=["WHAT"],
    )
    if found.covers_until is not None:
        output.say(
            f"Recurring days are known until {found.covers_until}. Import the file again "
            "before then."
        )


@group.command("remove")
def remove_calendar(common: CommonOptions, name: Name) -> None:
    """Remove a calendar. This is refused while a schedule uses it."""
    common.as_person(lambda app, me: app.calendars.remove(me, name))
    output.print_done(f"Removed {name}.", {"name": name}, as_json=common.json)


def _read_back(calendar: Calendar) -> str:
    entries = "1 entry" if calendar.days == 1 else f"{calendar.days} entries"
    following = f"; the next day off is {calendar.next_day}" if calendar.next_day else ""
    return f"{calendar.name} has {entries}{following}."
