"""Turns the clauses of a phrase into a rule: cron expressions, an interval or instants."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from rota.domain.schedules.phrases.clauses import calendar_day
from rota.domain.schedules.phrases.words import (
    DAY_MINUTES,
    EVEN_STEPS,
    MONTH_LENGTHS,
    YEARS_AHEAD,
    Clauses,
    Date,
    Days,
    refuse,
)
from rota.domain.schedules.rules.names import MONTHS
from rota.domain.text.shortening import quoted


@dataclass(frozen=True, slots=True)
class Phrase:
    """The meaning of a plain phrase: exactly one of the first three fields is filled.

    `crons` have five fields; the schedule fires when any of them does. `every` is an interval in
    real time, from `start` on if the phrase names it. `instants` and `start` are aware, in the zone
    asked for, ascending.
    """

    crons: tuple[str, ...] = ()
    every: timedelta | None = None
    instants: tuple[datetime, ...] = ()
    start: datetime | None = None


def delayed(clauses: Clauses, delay: timedelta, now: datetime) -> Phrase:
    """Return the one instant of "in 90 minutes"."""
    others = [written for part, written in clauses.parts.items() if part != "delay"]
    if others:
        refuse(f"{quoted(others[0])} cannot stand beside 'in ...'; write 'tomorrow at 9' instead")
    return Phrase(instants=((now.astimezone(UTC) + delay).astimezone(now.tzinfo),))


def stepped(clauses: Clauses, step: timedelta) -> Phrase:
    """Return the rule of "every 15 minutes", an even step as cron on the clock."""
    if clauses.times:
        refuse(
            f"A step or interval has no time of day such as {quoted(clauses.parts['time of day'])}"
            "; write 'every hour at :15', or 'every 3 days from 2026-12-04 at 9'"
        )
    if clauses.dates or clauses.period:
        what = clauses.parts.get("period") or clauses.parts["choice of days"]
        refuse(f"{quoted(what)} cannot stand beside a step; write 'hourly on weekdays'")
    if clauses.marks and step % timedelta(hours=1):
        refuse(
            f"Minutes such as {quoted(clauses.parts['choice of minutes'])} need a step of hours; "
            "write 'every 2 hours at :15'"
        )
    if step not in EVEN_STEPS:
        others = [clauses.parts[part] for part in clauses.parts if part != "step"]
        if others:
            refuse(
                f"{quoted(others[0])} needs a step that divides the hour or the day evenly, such "
                "as 15 minutes or 2 hours; with any other step, give --active-hours or "
                "--active-days"
            )
        return Phrase(every=step)
    length = int(step.total_seconds()) // 60
    every_day = clauses.days is None and not clauses.of_the_month
    days = [f"* {_listed(clauses.months, everything=12)} *"] if every_day else day_fields(clauses)
    return Phrase(crons=crons(_stepped_times(clauses, length), days, starred=True))


def begun(clauses: Clauses, step: timedelta, start: Date, now: datetime) -> Phrase:
    """Return the interval of "every 2 weeks from 2026-12-04 at 9"; it may have begun long ago."""
    others = clauses.parts.keys() - {"step", "start", "time of day"}
    if others:
        refuse(
            f"{quoted(clauses.parts[min(others)])} cannot stand beside a start; write 'every 2 "
            "weeks from 2026-12-04 at 9'"
        )
    if step % timedelta(days=1):
        refuse("Only days and weeks are counted from a date; write 'every 15 minutes' and --start")
    if len(clauses.times) != 1:
        refuse("A start has one time of day; write 'every 2 weeks from 2026-12-04 at 9'")
    first = _next_day(start, now)
    if first.year < now.year - YEARS_AHEAD:
        refuse(f"The year {first.year} is too far away; write a date of these years")
    return Phrase(every=step, start=_local(first, clauses.times[0], now))


def _stepped_times(clauses: Clauses, length: int) -> tuple[int, ...]:
    """Return the times of day that a step names: by the clock, or from a window's start on."""
    if clauses.window is None:
        return tuple(h + m for h in range(0, DAY_MINUTES, length) for m in clauses.marks or (0,))
    start, end = clauses.window
    if end < start:
        every_day = clauses.days is None or len(clauses.days.weekdays) == 7
        if not every_day or clauses.months or clauses.of_the_month:
            refuse(
                f"The hours from {quoted(clauses.parts['window'])} pass midnight, so it is not "
                "clear which days they belong to; end them by 23:59, or leave the days away"
            )
        end += DAY_MINUTES
    first = start - start % 60 if clauses.marks else start
    times = (t + m for t in range(first, end + 1, length) for m in clauses.marks or (0,))
    within = sorted({time % DAY_MINUTES for time in times if start <= time <= end})
    if not within:
        refuse("No such time lies within the hours; write 'every hour at :15 from 9 to 17'")
    return tuple(within)


def day_fields(clauses: Clauses) -> list[str]:
    """Return the last three fields of each cron expression, for the days that were named."""
    if clauses.dates:
        if clauses.period != "year" or clauses.months or any(day.year for day in clauses.dates):
            refuse(
                f"{quoted(clauses.parts['choice of days'])} is a date, so nothing else may say how "
                "often; write 'on 24 December at 9' or 'every year on 24 December at 9'"
            )
        groups = _grouped({(day.month, day.day) for day in clauses.dates})
        return [f"{_listed(days)} {_listed(months)} *" for months, days in groups]
    days = clauses.days
    if days is None and clauses.period == "month":
        days = Days(month_days=("1",))
    if days is None:
        example = {"week": "weekly on monday at 9", "year": "every year on 24 December at 9"}
        refuse(
            f"{quoted(next(iter(clauses.parts.values())))} does not say on which days; write for "
            f"example '{example.get(clauses.period, 'daily at 7:30')}'"
        )
    _check_that_days_suit(clauses, days)
    months = _listed(clauses.months, everything=12)
    if not days.month_days:
        chosen = ",".join(days.nth_weekdays) or _listed(days.weekdays, everything=7)
        return [f"* {months} {chosen}"]
    numbers = {int(day) for day in days.month_days if day.isdigit()}
    _check_that_days_come(numbers, clauses.months)
    named = sorted(set(days.month_days) - {str(day) for day in numbers})
    return [f"{','.join(([_listed(numbers)] if numbers else []) + named)} {months} *"]


def _check_that_days_suit(clauses: Clauses, days: Days) -> None:
    written = quoted(days.written)
    if days.weekdays and (clauses.of_the_month or clauses.period in {"month", "year"}):
        refuse(f"{written} comes several times; write 'first monday of the month at 9'")
    if not days.weekdays and clauses.period == "week":
        refuse(f"{written} does not come weekly; write 'weekly on monday at 9'")
    if clauses.period == "year" and not clauses.months:
        refuse(f"{written} needs a month to be yearly; write 'every year on 24 December at 9'")
    if clauses.is_every_nth and not (clauses.of_the_month or clauses.months or clauses.period):
        refuse(
            f"'every {days.written} ...' may be meant every month or every other week; write "
            "'second monday of the month at 9' or 'every 2 weeks from 2026-12-04 at 9'"
        )
    if days.needs_month and not (clauses.of_the_month or clauses.months or clauses.period):
        refuse(f"{written} needs a noun; write 'first monday at 9' or 'last day of the month at 9'")
    if days.is_bare and len(clauses.months) == 1 and not (clauses.of_the_month or clauses.period):
        refuse(
            f"{written} of one month may be meant once or every year; write 'on 24 December at 9' "
            "or 'every year on 24 December at 9'"
        )


def _check_that_days_come(days: set[int], months: frozenset[int]) -> None:
    for day in days:
        if months and day > max(MONTH_LENGTHS[month] for month in months):
            refuse(f"Day {str(day)!r} never comes in the months named; write 'last day of june'")
    for month in months:
        if days and min(days) > MONTH_LENGTHS[month]:
            refuse(
                f"{MONTHS[month].title()!r} has no day {min(days)}; write 'last day of the month'"
            )


def check_that_times_are_named(clauses: Clauses) -> None:
    """Raise InvalidInputError where days are named without a time of day."""
    if not clauses.times:
        refuse(
            f"{quoted(' '.join(clauses.parts.values()))} names no time of day; write for example "
            "'weekdays at 7:30'"
        )


def crons(times: Iterable[int], days: list[str], *, starred: bool = False) -> tuple[str, ...]:
    """Return the fewest expressions that name these times (minutes since midnight) and days."""
    clocks = [
        f"{_clock_field(minutes, 60, starred=starred)} {_clock_field(hours, 24, starred=starred)}"
        for hours, minutes in _grouped({divmod(time, 60) for time in times})
    ]
    return tuple(f"{clock} {day}" for day in days for clock in clocks)


def _grouped(pairs: set[tuple[int, int]]) -> list[tuple[list[int], list[int]]]:
    """Return products of sets that together hold the pairs, grouped the way that gives fewer."""
    by_first = _products(pairs)
    by_second = [(first, second) for second, first in _products({(b, a) for a, b in pairs})]
    return sorted(by_first if len(by_first) <= len(by_second) else by_second)


def _products(pairs: set[tuple[int, int]]) -> list[tuple[list[int], list[int]]]:
    seconds: dict[int, set[int]] = {}
    for first, second in pairs:
        seconds.setdefault(first, set()).add(second)
    firsts: dict[frozenset[int], list[int]] = {}
    for first in sorted(seconds):
        firsts.setdefault(frozenset(seconds[first]), []).append(first)
    return [(alike, sorted(group)) for group, alike in firsts.items()]


def _clock_field(values: list[int], size: int, *, starred: bool) -> str:
    """Write minutes or hours; a star, which follows real time over changes, only for steps."""
    if starred and len(values) > 1:
        step = values[1] - values[0]
        if values == list(range(0, size, step)):
            return "*" if step == 1 else f"*/{step}"
        if step > 1 and len(values) > 3 and values == list(range(values[0], values[-1] + 1, step)):
            return f"{values[0]}-{values[-1]}/{step}"
    return _listed(values)


def _listed(values: Iterable[int], *, everything: int = 0) -> str:
    """Write numbers as a cron field, three or more in a row as a range; `everything` is a star."""
    ordered = sorted(values)
    if everything and len(ordered) in {0, everything}:
        return "*"
    runs: list[list[int]] = []
    for value in ordered:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs
    )


def instants(clauses: Clauses, now: datetime) -> tuple[datetime, ...]:
    """Return the instants of dates and times, ascending; refuses what has passed."""
    others = clauses.parts.keys() - {"choice of days", "time of day"}
    if others:
        refuse(
            f"{quoted(clauses.parts[min(others)])} cannot stand beside a date; write 'on 24 "
            "December at 18:00' or 'every year on 24 December at 18:00'"
        )
    check_that_times_are_named(clauses)
    instants = {_instant(day, time, now) for day in clauses.dates for time in clauses.times}
    return tuple(sorted(instants, key=lambda instant: instant.astimezone(UTC)))


def _instant(day: Date, time: int, now: datetime) -> datetime:
    found = _next_day(day, now)
    local = _local(found, time, now) if found >= now.date() else None
    if local is None or local.astimezone(UTC) <= now.astimezone(UTC):
        written = f"{found} {time // 60:02}:{time % 60:02}"
        refuse(f"{written!r} has passed already; write a time that is still to come")
    return local


def _next_day(day: Date, now: datetime) -> date:
    """Return the day that a date means: without a year, the next one."""
    today = now.date()
    if day.year is not None:
        found = calendar_day(day.year, day)
    else:  # the next one; 29 February may be eight years away
        days = (calendar_day(year, day) for year in range(today.year, today.year + 9))
        found = next((at for at in days if at is not None and at >= today), None)
    if found is None or found.year > today.year + YEARS_AHEAD:
        refuse(f"The year {str(day.year)!r} is too far away; write for example 2026-12-24 18:00")
    return found


def _local(day: date, time: int, now: datetime) -> datetime:
    """Return a time of day in the zone of `now`; refuses one that the clock jumps over."""
    hour, minute = divmod(time, 60)
    wall = datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001  aware below
    written = f"{wall:%Y-%m-%d %H:%M}"
    local = wall.replace(tzinfo=now.tzinfo)
    if local.astimezone(UTC).astimezone(now.tzinfo).replace(tzinfo=None) != wall:
        refuse(
            f"{written!r} does not exist in {now.tzinfo}: the clock jumps over it; write another"
        )
    return local
