"""Clauses of a phrase, in any order, read into `Clauses`."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import NamedTuple, NoReturn

from rota.domain.schedules.phrases.words import (
    ADVERBS,
    DAY_GROUPS,
    END,
    EVERY,
    EVERY_OTHER,
    LAST,
    NAMED_TIMES,
    ORDINALS,
    RELATIVE_DAYS,
    START,
    TO,
    UNITS,
    WORKING_DAY,
    Clauses,
    Date,
    Days,
    Reader,
    Token,
    not_understood,
    refuse,
)
from rota.domain.schedules.rules.intervals import LONGEST_INTERVAL, SHORTEST_INTERVAL
from rota.domain.schedules.rules.names import MONTHS, WEEKDAYS, number_of
from rota.domain.text.shortening import quoted


def read_clause(reader: Reader, clauses: Clauses, now: datetime) -> None:
    """Read the next clause into `clauses`; raises InvalidInputError."""
    first = reader.peek()
    if reader.accept(*EVERY):
        _read_every(reader, clauses, now)
    elif first.value in ADVERBS:
        _read_frequency(reader.take(), ADVERBS[first.value], clauses)
    elif first.value == "of" or (first.value == "in" and _month(reader.peek(1))):
        _read_months(reader, clauses)
    elif reader.accept("in"):
        clauses.note("delay", first)
        clauses.delay = _read_length(reader)
    elif first.value in {*START, "from", "between"}:
        _read_start_or_window(reader, clauses, now)
    elif reader.accept("at"):
        _read_at(reader, clauses, now)
    elif reader.accept("on", "the"):
        reader.accept("the")
        if reader.accept(*EVERY):
            _read_every(reader, clauses, now)
        else:
            _read_days_or_dates(reader, clauses, now)
    elif _starts_date(reader) or _starts_days(reader):
        _read_days_or_dates(reader, clauses, now)
    else:
        _read_bare_times(reader, clauses, now)


def _read_bare_times(reader: Reader, clauses: Clauses, now: datetime) -> None:
    before, first = reader.peek(-1), reader.peek()
    if first.value in EVERY_OTHER:
        _refuse_every_other(reader, now)
    if first.value == "and" and before is not END:
        refuse(
            f"{quoted(f'and {reader.peek(1).written}'.strip())} does not continue a list; a "
            "phrase is one rule, such as 'mon and fri at 7 and 19'"
        )
    if not _starts_time(reader):
        not_understood(first.written)
    if _month(before) or (first.kind == "number" and before.kind not in {"word", "end"}):
        refuse(f"It is not clear what {quoted(first.written)} is; write 'at 9' for a time of day")
    _read_times(reader, clauses)


def _read_frequency(token: Token, unit: str, clauses: Clauses) -> None:
    """Read "hourly", or the "hour" of "every hour"."""
    if unit in {"minute", "hour"}:
        clauses.note("step", token)
        clauses.step = UNITS[unit]
    elif unit == "day":
        clauses.note("choice of days", token)
        written = f"every {token.written}" if token.value == "day" else token.written
        clauses.days = Days(weekdays=frozenset(range(7)), written=written)
    else:
        clauses.note("period", token)
        clauses.period = unit


def _read_every(reader: Reader, clauses: Clauses, now: datetime) -> None:
    token, following = reader.peek(), reader.peek(1)
    if token.value == "other":
        _refuse_every_other(reader, now)
    elif _starts_date(reader):
        clauses.note("period", token)
        clauses.period = "year"
        _read_dates(reader, clauses, now)
    elif token.kind == "number":
        clauses.note("step", token)
        clauses.step = _read_length(reader)
    elif token.value in {"minute", "hour", "day", "week", "month", "year"}:
        _read_frequency(reader.take(), token.value, clauses)
    elif (_ordinal(token) or 0) > 1 and (token.value == "second" or following.value in UNITS):
        if following.value in UNITS or _weekday(following) is None:
            refuse(
                f"{quoted(f'every {token.written} {following.written}'.strip())} is not clear; "
                "write 'every 2 days', 'every 1 second' or 'on the 2nd of the month'"
            )
        _read_days_or_dates(reader, clauses, now)
        clauses.is_every_nth = True
    elif _starts_days(reader):
        _read_days_or_dates(reader, clauses, now)
    else:
        not_understood(token.written or "every")


def _read_length(reader: Reader) -> timedelta:
    start = reader.peek()
    total = timedelta(0)
    while True:
        count, unit = reader.take(), reader.take()
        is_count = count.kind == "number" or count.value in {"a", "an"}
        if is_count and unit.value in {"month", "months", "year", "years"}:
            refuse(
                f"{quoted(f'{count.written} {unit.written}')} has no fixed length; name the "
                "months, such as 'on the 1st of january and july at 9'"
            )
        if not is_count or unit.value not in UNITS:
            wrong = unit.written if is_count and unit.written else count.written or "in"
            refuse(
                f"{quoted(wrong)} is not understood as a length of time; write for example "
                "'every 15 minutes' or 'in 2 hours'"
            )
        size = UNITS[unit.value]
        number = int(count.value) if count.kind == "number" else 1
        total += size * min(number, LONGEST_INTERVAL // size + 1)
        if not (_starts_length(reader) or reader.continues(_starts_length)):
            break
    if not SHORTEST_INTERVAL <= total <= LONGEST_INTERVAL:
        what = f"The length of time at {quoted(start.written)}"
        refuse(f"{what} is not between a second and ten years; write 'every 2 hours'")
    return total


def _read_window(reader: Reader, clauses: Clauses) -> None:
    opening, first = reader.take(), reader.peek()
    clauses.note("window", first._replace(written=f"{opening.written} {first.written}"))
    start = _read_time(reader)
    if not reader.accept(*(("and",) if opening.value == "between" else TO)):
        refuse(
            f"{quoted(clauses.parts['window'])} lacks an end; write 'from 9 to 17' or 'between "
            "9:00 and 17:00'"
        )
    end = _read_time(reader)
    _check_one_clock([start, end])
    if start.minute == end.minute:
        refuse(
            f"The hours {quoted(clauses.parts['window'])} end as they begin; write 'from 9 to 17'"
        )
    clauses.window = (start.minute, end.minute)


def _read_start_or_window(reader: Reader, clauses: Clauses, now: datetime) -> None:
    if reader.peek().value not in START and not _starts_date(reader.after(1)):
        _read_window(reader, clauses)
        return
    clauses.note("start", reader.take())
    while reader.accept("on", "from", "the"):
        pass
    if not _starts_date(reader):
        refuse(
            f"{quoted(clauses.parts['start'])} needs a date; write 'every 2 weeks from "
            "2026-12-04 at 9'"
        )
    clauses.start = _read_date(reader, now)


def _refuse_every_other(reader: Reader, now: datetime) -> NoReturn:
    """Show how to say it: which of two weeks is meant, only a date tells."""
    other, noun = reader.take(), reader.peek()
    weekday = _weekday(noun if noun.value != "on" else reader.peek(1))
    written = f"{'every ' if other.value == 'other' else ''}{other.written} {noun.written}".strip()
    unit = "days" if noun.value in UNITS and UNITS[noun.value] == timedelta(days=1) else "weeks"
    ahead = ((weekday or 0) - now.isoweekday() - 1) % 7 + 1 if weekday is not None else 1
    first = now.date() + timedelta(days=ahead)
    refuse(
        f"{quoted(written)} does not say when it begins; write 'every 2 {unit} from {first} at 9'"
    )


def _read_at(reader: Reader, clauses: Clauses, now: datetime) -> None:
    first = reader.peek()
    if first.kind == "mark":
        clauses.note("choice of minutes", first)
        marks = [_read_mark(reader)]
        while reader.continues(lambda ahead: ahead.peek().kind == "mark", "at"):
            marks.append(_read_mark(reader))
        clauses.marks = tuple(sorted(set(marks)))
    elif first.kind == "date":
        _read_dates(reader, clauses, now)
    else:
        _read_times(reader, clauses)


def _read_mark(reader: Reader) -> int:
    token = reader.take()
    if int(token.value[1:]) > 59:
        refuse(f"{quoted(token.written)} is no minute of an hour; write for example ':15'")
    return int(token.value[1:])


class _Time(NamedTuple):
    minute: int
    written: str
    half: str  # "am", "pm", "bare" (either could be meant), or "" (on the 24-hour clock)


def _read_times(reader: Reader, clauses: Clauses) -> None:
    clauses.note("time of day", reader.peek())
    times = [_read_time(reader)]
    while reader.continues(_starts_time, "at"):
        times.append(_read_time(reader))
    _check_one_clock(times)
    clauses.times = tuple(sorted({time.minute for time in times}))


def _read_time(reader: Reader) -> _Time:
    token = reader.take()
    if token.value in NAMED_TIMES:
        return _Time(NAMED_TIMES[token.value], token.written, "")
    if token.kind not in {"number", "clock"}:
        refuse(f"{quoted(token.written or 'at')} is no time of day; write 7:30, 7 pm or noon")
    half = reader.take().value if reader.peek().value in {"am", "pm"} else ""
    hour, _, minute = token.value.partition(":")
    first, last = (1, 12) if half else (0, 23)
    if len(hour) > 2 or not first <= int(hour) <= last or int(minute or 0) > 59:
        refuse(
            f"{quoted(f'{token.written} {half}'.strip())} is no time of day; "
            "write a time from 0:00 to 23:59, or 7:30 pm"
        )
    bare = "bare" if not half and 1 <= int(hour) <= 12 else half
    hours = int(hour) % 12 + (12 if half == "pm" else 0) if half else int(hour)
    return _Time(hours * 60 + int(minute or 0), token.written, bare)


def _check_one_clock(times: list[_Time]) -> None:
    bare = [time.written for time in times if time.half == "bare"]
    if bare and any(time.half in {"am", "pm"} for time in times):
        refuse(f"{quoted(bare[0])} is not clear beside am or pm; write am or pm with each time")


def _read_months(reader: Reader, clauses: Clauses) -> None:
    opening = reader.take()
    reader.accept("the", *EVERY)
    if reader.accept("month"):
        clauses.note("'of the month'", opening)
        clauses.of_the_month = True
        return
    if not _starts_month(reader):
        not_understood(reader.peek().written or opening.written)
    clauses.note("choice of months", reader.peek())
    months: set[int] = set()
    while True:
        months |= _read_span(reader, _month, first=1, size=12)
        if not reader.continues(_starts_month, "of", "in"):
            break
    clauses.months = frozenset(months)


def _read_days_or_dates(reader: Reader, clauses: Clauses, now: datetime) -> None:
    token = reader.peek()
    if _starts_date(reader):
        _read_dates(reader, clauses, now)
    elif _starts_days(reader):
        clauses.note("choice of days", token)
        clauses.days = _read_days(reader)
    elif token.kind == "number":
        refuse(
            f"{quoted(token.written)} is not clear; write 'on the 15th' for a day, 'at 15' for "
            "a time, or 'on 24 December' for a date"
        )
    else:
        not_understood(token.written or reader.peek(-1).written)


def _read_days(reader: Reader) -> Days:
    written = reader.peek().written
    weekdays: set[int] = set()
    nth_weekdays: list[str] = []
    month_days: list[str] = []
    needs_month = is_bare = False
    while True:
        if _ordinal(reader.peek()) is None:
            weekdays |= _read_weekdays(reader)
        else:
            ordinals = [reader.take()]
            while reader.continues(_starts_ordinal, "the", "on"):
                ordinals.append(reader.take())
            noun = reader.peek()
            weekday = _weekday(noun)
            if weekday is not None:
                reader.take()
                nth_weekdays += [_nth_weekday(token, weekday, noun) for token in ordinals]
            else:
                if noun.value == "day" or noun.value in WORKING_DAY:
                    reader.take()
                else:
                    is_bare = True
                    needs_month |= any(o.kind == "word" for o in ordinals)
                month_days += [_month_day(token, noun) for token in ordinals]
        if not reader.continues(_continues_days, "the", "on", *EVERY):
            break
    if bool(weekdays) + bool(nth_weekdays) + bool(month_days) > 1:
        refuse(
            f"The list of days at {quoted(written)} mixes days of the week, such as 'mondays', "
            "with days of the month, such as 'first monday' or '15th'; write two schedules"
        )
    return Days(
        frozenset(weekdays),
        tuple(dict.fromkeys(nth_weekdays)),
        tuple(dict.fromkeys(month_days)),
        needs_month=needs_month,
        is_bare=is_bare,
        written=written,
    )


def _read_weekdays(reader: Reader) -> frozenset[int]:
    if reader.peek().value in DAY_GROUPS:
        return DAY_GROUPS[reader.take().value]
    return _read_span(reader, _weekday, first=0, size=7)


def _read_span(
    reader: Reader, number: Callable[[Token], int | None], *, first: int, size: int
) -> frozenset[int]:
    """Read a name, or two with "to" between them, and all from one to the other, round the end."""
    start = end = number(reader.take()) or 0
    if reader.peek().value in TO and (last := number(reader.peek(1))) is not None:
        reader.take()
        reader.take()
        end = last
    return frozenset(first + (start - first + i) % size for i in range((end - start) % size + 1))


def _nth_weekday(token: Token, weekday: int, noun: Token) -> str:
    nth = _ordinal(token) or 0
    if nth == LAST:
        return f"{weekday}L"
    if not 1 <= nth <= 5:
        refuse(
            f"No month has {quoted(f'{token.written} {noun.written}')}; "
            f"write first, second, third, fourth, fifth or last {noun.value}"
        )
    return f"{weekday}#{nth}"


def _month_day(token: Token, noun: Token) -> str:
    day = _ordinal(token) or 0
    if noun.value in WORKING_DAY:
        if day != LAST:
            what = quoted(f"{token.written} {noun.written}")
            refuse(f"{what} is not supported; of its kind only 'last weekday of the month' is")
        return "LW"
    if day == LAST:
        if noun.value != "day":
            what = quoted(f"{token.written} {noun.written}".strip())
            refuse(f"{what} lacks a day; write 'last day of the month' or 'last friday'")
        return "L"
    if not 1 <= day <= 31:
        refuse(f"{quoted(token.written)} is no day of a month; write 1st to 31st")
    return str(day)


def _read_dates(reader: Reader, clauses: Clauses, now: datetime) -> None:
    clauses.note("choice of days", reader.peek())
    first = reader.peek()
    dates = [_read_date(reader, now)]
    while reader.continues(_starts_date, "on", "the"):
        if (first.value in RELATIVE_DAYS) != (reader.peek().value in RELATIVE_DAYS):
            refuse(
                f"{quoted(first.written)} beside {quoted(reader.peek().written)} may be one day "
                "or two; write 'on 24 December and 31 December at 9'"
            )
        dates.append(_read_date(reader, now))
    clauses.dates = tuple(dict.fromkeys(dates))


def _read_date(reader: Reader, now: datetime) -> Date:
    token = reader.take()
    if token.kind == "date":
        iso_year, month, day_of_month = map(int, token.value.split("-"))
        return _existing(Date(iso_year, month, day_of_month), token.written)
    if token.value in RELATIVE_DAYS:
        ahead = 1 if token.value == "tomorrow" else 0
        if token.value == "next":
            weekday = _weekday(reader.take()) or 0
            ahead = (weekday - now.isoweekday() - 1) % 7 + 1
        then = now.date() + timedelta(days=ahead)
        return Date(then.year, then.month, then.day)
    day, name = (reader.take(), token) if _month(token) else (token, reader.take())
    year: int | None = None
    after = reader.peek(1) if reader.peek().value == "," else reader.peek()
    if re.fullmatch(r"\d{4}", after.value):
        reader.accept(",")
        year = int(reader.take().value)
    found = Date(year, _month(name) or 0, int(day.value.rstrip("stndrh")))
    return _existing(found, f"{day.written} {name.written}")


def _existing(day: Date, written: str) -> Date:
    # Without a year, 2000 stands for it: it is a leap year.
    if calendar_day(2000 if day.year is None else day.year, day) is None:
        refuse(f"The date {quoted(written)} does not exist; write for example 2026-12-24")
    return day


def calendar_day(year: int, day: Date) -> date | None:
    """Return the date in a year, or None where that year does not have it."""
    try:
        return date(year, day.month, day.day)
    except ValueError:
        return None


def _starts_time(reader: Reader) -> bool:
    token, following = reader.peek(), reader.peek(1)
    if token.kind == "number":
        return following.value not in UNITS and _month(following) is None
    return token.kind == "clock" or token.value in NAMED_TIMES


def _starts_length(reader: Reader) -> bool:
    return reader.peek().kind == "number" and reader.peek(1).value in UNITS


def _starts_month(reader: Reader) -> bool:
    return _month(reader.peek()) is not None


def _starts_ordinal(reader: Reader) -> bool:
    return _ordinal(reader.peek()) is not None and not _starts_date(reader)


def _starts_days(reader: Reader) -> bool:
    token = reader.peek()
    known = token.value in DAY_GROUPS or _weekday(token) is not None
    return known or _starts_ordinal(reader)


def _continues_days(reader: Reader) -> bool:
    # "every 3rd day" in a list is no "3rd day".
    is_step = reader.peek(-1).value in EVERY and _starts_ordinal(reader)
    return _starts_days(reader) and not is_step


def _starts_date(reader: Reader) -> bool:
    token, following = reader.peek(), reader.peek(1)
    if token.kind == "date" or token.value in {"today", "tomorrow"}:
        return True
    if token.value == "next":
        return _weekday(following) is not None
    kinds = {token.kind, following.kind} & {"number", "ordinal"}
    return bool(kinds) and bool(_month(token) or _month(following))


def _ordinal(token: Token) -> int | None:
    return int(token.value[:-2]) if token.kind == "ordinal" else ORDINALS.get(token.value)


def _month(token: Token) -> int | None:
    return number_of(token.value, MONTHS) if token.kind == "word" else None


def _weekday(token: Token) -> int | None:
    singular = token.value.removesuffix("s")
    return number_of(singular, WEEKDAYS) if token.kind == "word" else None
