"""Cron expressions in a time zone: parsed, put into words, and turned into fire times.

The syntax is that of Vixie cron with names, `L`, `LW`, `#`, macros, `?`, wrap-around ranges
(`FRI-MON`, `22-2`) and an optional first field of seconds. Changes of the clock have the meaning
that they have in Vixie cron. If the clock jumps over a fixed time, the job runs right after the
jump. If the clock passes a fixed time twice, the job runs once. `*` and `*/n` follow real time.
Other meanings can be chosen (`wall_clock`). cronsim computes the local times. Seconds are added to
its minutes here, because cronsim gives six fields another meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from heapq import heappop, heappush
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.rules.fire_times import FireTimes
from rota.domain.schedules.rules.names import MONTHS, WEEKDAYS, number_of
from rota.domain.schedules.rules.wall_clock import DstGap, DstOverlap, instants_at, offsets_near
from rota.domain.text.shortening import quoted

_MACROS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LONGEST_EXPRESSION: Final = 1_000
_FEW: Final = 3
_REMEMBERED: Final = 4_096
"""Expressions that are read and put into words once: a list of schedules asks for all of them."""


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return 7 if self.name == "day-of-week" else self.last - self.first + 1


_SECOND: Final = _Field("second", 0, 59)
_DAY_OF_MONTH: Final = _Field("day-of-month", 1, 31)
_DAY_OF_WEEK: Final = _Field("day-of-week", 0, 7, WEEKDAYS)
_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _DAY_OF_MONTH,
    _Field("month", 1, 12, MONTHS),
    _DAY_OF_WEEK,
)


@dataclass(frozen=True, slots=True)
class CronSchedule(FireTimes):
    """A valid cron expression in a valid zone; make one with `parse`.

    `expression` is what the person wrote. `fields` is the same in five fields of plain numbers.
    `seconds` are the seconds of a minute at which it fires. `gap` and `overlap` say what a change
    of the clock means.
    """

    expression: str
    time_zone: str
    fields: str
    seconds: tuple[int, ...] = (0,)
    gap: DstGap = DstGap.VIXIE
    overlap: DstOverlap = DstOverlap.VIXIE

    @classmethod
    def parse(
        cls,
        expression: str,
        time_zone: str = "UTC",
        *,
        gap: DstGap = DstGap.VIXIE,
        overlap: DstOverlap = DstOverlap.VIXIE,
    ) -> CronSchedule:
        """Read five fields, six with seconds first, or a macro; the zone is an IANA name.

        Raises InvalidInputError, whose sentence names the field or the zone.
        """
        zone = parse_zone(time_zone)
        written = " ".join(expression.split())
        return cls(written, str(zone), *_read(written), gap, overlap)

    def local_times(self, start: datetime, end: datetime, limit: int) -> list[datetime]:
        """Return the first `limit` local times (naive) in [start, end) whose minutes it names."""
        times = takewhile(lambda wall: wall < end, _local_times(self.fields, start))
        return list(islice(times, limit))

    @property
    def is_fixed(self) -> bool:
        """Return whether it is a job at fixed times, by Vixie cron: no `*` in minute and hour."""
        minute, hour, *_ = self.fields.split(" ")
        return not (minute.startswith("*") or hour.startswith("*"))

    def in_words(self) -> str:
        """Say it in English, on the 24-hour clock, with the zone in brackets."""
        return f"{_describe(self.fields, self.seconds)} ({self.time_zone})"

    def fires_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the fire times strictly after `moment`, earliest first."""
        if moment.tzinfo is None:  # it would be taken for the machine's local time
            raise ValueError("A fire time is asked for from a moment with a time zone.")
        last = moment.astimezone(UTC)
        for minute in self._minutes(last):
            for second in self.seconds:
                if (fire := minute + timedelta(seconds=second)) > last:
                    last = fire
                    yield fire

    def _minutes(self, moment: datetime) -> Iterator[datetime]:
        """Yield the instants whose minutes fire, from that of `moment` on, earliest first.

        cronsim names local times in their order. Around a change of the clock that is not the
        order of the instants, so an instant waits until no later local time can come before it.
        """
        zone = ZoneInfo(self.time_zone)
        least, _ = offsets_near(moment.replace(tzinfo=None), zone)
        # The minute of `moment` itself may still hold later seconds.
        start = (moment + least).replace(second=0, microsecond=0, tzinfo=None)
        waiting: list[datetime] = []
        for wall in _local_times(self.fields, start):
            for instant in instants_at(
                wall, zone, gap=self.gap, overlap=self.overlap, fixed=self.is_fixed
            ):
                heappush(waiting, instant)
            _, greatest = offsets_near(wall, zone)
            settled = wall.replace(tzinfo=UTC) - greatest
            while waiting and waiting[0] <= settled:
                yield heappop(waiting)
        yield from sorted(waiting)


def _local_times(fields: str, start: datetime) -> Iterator[datetime]:
    """Yield the local times (naive) from `start` on that the fields name, on an even clock."""
    with suppress(OverflowError):  # the end of year 9999
        yield from CronSim(fields, start - timedelta(seconds=1))


def parse_zone(name: str) -> ZoneInfo:
    """Return the IANA zone of that name; raises InvalidInputError, with the nearest name."""
    known = re.fullmatch(r"[A-Za-z][\w+-]*(/[\w+-]+)*", name, re.ASCII)
    if known and name not in _NOT_PLACES and not name.startswith(("posix/", "right/")):
        # OSError: "Europe" is a directory.
        with suppress(ZoneInfoNotFoundError, ValueError, OSError):
            return ZoneInfo(name)
    raise InvalidInputError(
        f"{quoted(name)} is not a time zone; write an IANA name{_nearest_zone(name)}.",
        field="time_zone",
    )


def _nearest_zone(name: str) -> str:
    # Only a wrong name pays for these: 20 ms to list the zones, and difflib.
    from difflib import get_close_matches  # noqa: PLC0415  # off the CLI's start
    from zoneinfo import available_timezones  # noqa: PLC0415  # off the CLI's start

    zones = sorted(available_timezones() - _NOT_PLACES)
    by_spelling = {zone.rsplit("/", 1)[-1].lower(): zone for zone in reversed(zones)}
    by_spelling |= {zone.lower(): zone for zone in zones} | _ABBREVIATIONS
    spelling = name[:64].strip().replace(" ", "_").lower()
    near = get_close_matches(spelling, by_spelling, n=1, cutoff=0.75)
    return f": perhaps {by_spelling[near[0]]}" if near else " such as Europe/Berlin"


_NOT_PLACES: Final = frozenset({"posixrules", "localtime", "Factory"})
_ABBREVIATIONS: Final = {
    "pst": "America/Los_Angeles",
    "pdt": "America/Los_Angeles",
    "mdt": "America/Denver",
    "cst": "America/Chicago",
    "cdt": "America/Chicago",
    "edt": "America/New_York",
    "bst": "Europe/London",
    "cest": "Europe/Berlin",
    "ist": "Asia/Kolkata",
    "jst": "Asia/Tokyo",
    "aest": "Australia/Sydney",
}


def _split(written: str) -> list[str]:
    if not written:
        raise _error("The cron expression is empty; write for example 0 7 * * * (daily at 07:00)")
    if len(written) > _LONGEST_EXPRESSION:
        raise _error(f"The cron expression is longer than {_LONGEST_EXPRESSION} characters")
    if found := re.match(r"(CRON_TZ|TZ)=(\S*)\s*", written):
        raise InvalidInputError(
            f"{quoted(found[0].strip())} belongs beside the rule, not into it: write "
            f"{quoted(written[found.end() :])}, and the zone with --time-zone {found[2]} (in a "
            "file: time_zone).",
            field="cron",
        )
    if written.startswith("@"):
        macro = written.lower()
        if macro.startswith("@every"):
            raise _error("@every is written without @, such as 'every 90 minutes'")
        if macro == "@reboot":
            raise _error("@reboot is not supported: it names no time at which to run")
        if macro not in _MACROS:
            raise _error(f"{quoted(written)} is not one of {', '.join(sorted(_MACROS))}")
        written = _MACROS[macro]
    parts = written.split(" ")
    if len(parts) not in {5, 6}:
        raise _error(
            f"A cron expression has 5 fields (minute, hour, day of month, month, day of week), or "
            f"6 with seconds first; {quoted(written)} has {len(parts)}"
        )
    return parts


@lru_cache(_REMEMBERED)
def _read(written: str) -> tuple[str, tuple[int, ...]]:
    """Return five fields of plain numbers, and the seconds of a minute."""
    parts = _split(written)
    seconds = _normalise(_SECOND, parts.pop(0)) if len(parts) == 6 else "0"
    fields = " ".join(_normalise(f, part) for f, part in zip(_FIELDS, parts, strict=True))
    found = _check_that_it_fires(written, seconds, fields)
    return fields, tuple(sorted(found.seconds))


def _normalise(field: _Field, text: str) -> str:
    if text == "?" and field in {_DAY_OF_MONTH, _DAY_OF_WEEK}:
        return "*"
    terms = text.split(",")
    if "" in terms:
        raise _field_error(field, text, "has an empty place in its list")
    return ",".join(_normalise_term(field, text, term) for term in terms)


def _normalise_term(field: _Field, text: str, term: str) -> str:
    if (special := _special_term(field, text, term)) is not None:
        return special
    span, slash, step_text = term.partition("/")
    step = 1
    if slash:
        if not _is_number(step_text) or (step := int(step_text[:9])) < 1:
            raise _field_error(field, text, "needs a whole number of at least 1 after '/'")
        if step > field.size:
            raise _field_error(
                field, text, f"has a step longer than the field, which is {field.size} long"
            )
    if span == "*":
        return f"*/{step}" if slash else "*"
    first, dash, last = span.partition("-")
    start = _number(field, text, first)
    if not dash:
        return f"{start}/{step}" if slash else str(start)
    end = _number(field, text, last)
    if start == end:  # cronsim takes 5-5/2 for 5/2, which runs to the end of the field
        return str(start)
    if start <= end:
        return f"{start}-{end}/{step}" if slash else f"{start}-{end}"
    length = (end - start) % field.size + 1
    around = [field.first + (start - field.first + i) % field.size for i in range(0, length, step)]
    return ",".join(map(str, around))


def _special_term(field: _Field, text: str, term: str) -> str | None:
    """Return a term with `L`, `LW` or `#` in numbers, or None if it is an ordinary one."""
    upper = term.upper()
    if field is _DAY_OF_MONTH:
        if upper in {"L", "LW"}:
            return upper
        if re.fullmatch(r"L-\d+|\d+W", upper):
            raise _field_error(field, text, "is not supported; of its kind only L and LW are")
    if field is _DAY_OF_WEEK:
        if "#" in term:
            day, _, nth = term.partition("#")
            if nth not in {"1", "2", "3", "4", "5"}:
                raise _field_error(field, text, "needs a number from 1 to 5 after '#'")
            return f"{_number(field, text, day)}#{nth}"
        if len(upper) > 1 and upper.endswith("L") and "-" not in term:
            return f"{_number(field, text, term[:-1])}L"
    return None


def _number(field: _Field, text: str, word: str) -> int:
    if _is_number(word):
        value = int(word[:9])
        if not field.first <= value <= field.last:
            raise _field_error(field, text, f"is out of range {field.first} to {field.last}")
        return value
    if (named := number_of(word, field.names)) is not None:
        return named
    if not word:
        raise _field_error(field, text, "lacks a value")
    allowed = f"a number from {field.first} to {field.last}"
    allowed += (
        f" or a name such as {field.names[field.first + 1][:3].upper()}" if field.names else ""
    )
    raise _field_error(field, text, f"is not understood: {quoted(word)} should be {allowed}")


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit()


def _check_that_it_fires(written: str, seconds: str, fields: str) -> CronSim:
    """Return the fields as cronsim reads them; raises InvalidInputError if they never fire."""
    _, _, day, month, weekday = fields.split(" ")
    try:
        found = CronSim(f"{seconds} {fields}", datetime(2024, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        # Everything else was checked: what is left is a day that none of the months has.
        raise _error(f"The day-of-month field {day!r} never comes in month {month!r}") from error
    both_must_match = found.day_and and "*" not in {day, weekday}
    if both_must_match and next(found, None) is None:
        raise _error(f"{quoted(written)} never fires: no such day comes in 50 years")
    return found


@lru_cache(_REMEMBERED)
def _describe(fields: str, seconds: tuple[int, ...]) -> str:
    # 80 ms that only commands which show a schedule pay.
    from cron_descriptor import (  # type: ignore[import-untyped]  # noqa: PLC0415  # see above; untyped
        ExpressionDescriptor,
        Options,
    )

    options = Options()
    options.locale_code = "en_US"  # its default is the machine's language
    options.use_24hour_time_format = True

    def words(expression: str) -> str:
        return str(ExpressionDescriptor(expression, options).get_full_description())

    def days(field: int, terms: str) -> str:
        """Describe one day field: a list with `L` or `#` term by term, as the library cannot."""
        listed = terms.split(",") if re.search("[L#]", terms) else [terms]
        phrases = []
        for term in listed:
            expression = ["0", "0", "*", "*", "*"]
            expression[field] = term
            phrase = words(" ".join(expression)).removeprefix("At 00:00").removeprefix(", ")
            phrases.append(phrase.removeprefix("only ") or "every day")
        return " and ".join(phrases)

    clock = "" if seconds == (0,) else ",".join(map(str, seconds)) + " "
    if len(seconds) > 1 and 60 % seconds[1] == 0 and seconds == tuple(range(0, 60, seconds[1])):
        clock = f"*/{seconds[1]} "
    written = fields.split(" ")
    # Vixie cron: a star at the head of either field means that both must match.
    must_both_match = written[2].startswith("*") or written[4].startswith("*")
    parts = [_without_uneven_steps(f, part) for f, part in zip(_FIELDS, written, strict=True)]
    minute, hour, day, month, weekday = parts
    if not (re.search("[L#].*,|,.*[L#]", f"{day} {weekday}") or "*" not in {day, weekday}):
        return words(f"{clock}{' '.join(parts)}")
    description = words(f"{clock}{minute} {hour} * * *")
    if day != "*":
        description += f", {days(2, day)}"
    if weekday != "*":
        both = "and only " if must_both_match else "or "
        description += f", {both if day != '*' else ''}{days(4, weekday)}"
    if month != "*":
        description += words(f"0 0 * {month} *").removeprefix("At 00:00")
    return description


def _without_uneven_steps(field: _Field, text: str) -> str:
    """Return a field that names its values where a step would read like an interval and is none.

    `*/45` fires at :00 and :45: it begins anew each hour.
    """
    last = field.first + field.size - 1
    terms: list[str] = []
    for term in text.split(","):
        span, _, step = term.partition("/")
        first, _, end = span.partition("-")
        every = int(step or 1)
        start = field.first if span == "*" else int(first) if step else 0
        values = range(start, (int(end) if end else last) + 1, every)
        is_even = span == "*" and field.size % every == 0
        is_long_span = bool(end) and len(values) > _FEW
        kept = not step or is_even or is_long_span
        terms.append(term if kept else ",".join(map(str, values)))
    return ",".join(terms)


def _error(sentence: str) -> InvalidInputError:
    return InvalidInputError(f"{sentence}.", field="cron")


def _field_error(field: _Field, text: str, what: str) -> InvalidInputError:
    return _error(f"The {field.name} field {quoted(text)} {what}")
