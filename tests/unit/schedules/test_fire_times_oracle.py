"""Fire times compared with those of the slow oracle, above all where a clock changes.

To look longer, by hand (`--noconftest`: tests/conftest.py takes ROTA_ variables away, and has
hypothesis try the same examples each time):

    ROTA_HYPOTHESIS_FACTOR=50 pytest --noconftest --timeout=0 -k oracle tests/unit/schedules
"""

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.rules.cron import CronSchedule
from rota.domain.schedules.rules.wall_clock import DstGap, DstOverlap
from tests.unit.schedules.fire_time_oracle import MACROS, MONTHS, WEEKDAYS, Expression, fire_times

pytestmark = [pytest.mark.slow, pytest.mark.long]

FACTOR = float(os.environ.get("ROTA_HYPOTHESIS_FACTOR", "1"))
FROM, TO = datetime(1990, 1, 1, tzinfo=UTC), datetime(2060, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
MOST_FIRES = 3_000
NONE: st.SearchStrategy[str] = st.nothing()
MACRO = sorted(MACROS)

STEADY_ZONES = [
    "UTC",
    "Africa/Johannesburg",
    "Africa/Lagos",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Tokyo",
]
CHANGING_ZONES = [
    "Africa/Cairo",  # changes at midnight
    "Africa/Casablanca",  # goes back for Ramadan
    "Africa/El_Aaiun",
    "Africa/Juba",  # changed its standard time in 2021
    "Africa/Windhoek",  # had winter time below standard time
    "America/Argentina/San_Luis",
    "America/Bahia_Banderas",  # two hours at once in 2010
    "America/Caracas",  # moved by half an hour, twice
    "America/Havana",  # changes at midnight
    "America/Los_Angeles",
    "America/New_York",
    "America/Nuuk",  # changes in the evening before
    "America/Sao_Paulo",  # changed at midnight
    "America/St_Johns",  # changed at one minute past midnight
    "Antarctica/Casey",  # three hours, at odd times
    "Antarctica/Troll",  # two hours
    "Antarctica/Vostok",  # seven hours
    "Asia/Amman",
    "Asia/Beirut",  # changes at midnight
    "Asia/Gaza",  # goes back for Ramadan
    "Asia/Pyongyang",  # moved by half an hour, twice
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",  # half an hour
    "Australia/Sydney",
    "Europe/Berlin",
    "Europe/Dublin",  # summer is the standard time
    "Europe/Istanbul",
    "Europe/London",
    "Europe/Moscow",
    "Europe/Volgograd",  # changed its standard time in 2018 and 2020
    "Pacific/Apia",  # left out 2011-12-30
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Fakaofo",  # left out 2011-12-30
    "Pacific/Kwajalein",  # left out 1993-08-21
]
POLICIES = [(g, o) for g in ("vixie", "skip", "shift") for o in ("vixie", "once", "twice")]


@dataclass(frozen=True)
class Case:
    expression: str
    zone: str
    start: datetime
    end: datetime
    gap: str
    overlap: str


@cache
def changes(zone: str) -> list[datetime]:
    """The first instants of new offsets from UTC, in a zone that changes at most every 5 days."""

    def offset(instant: datetime) -> timedelta | None:
        return instant.astimezone(ZoneInfo(zone)).utcoffset()

    found, before = [], FROM
    while before < TO:
        after = before + timedelta(days=5)
        low, high = before, after
        while offset(low) != offset(high) and high - low > timedelta(seconds=1):
            middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
            low, high = (middle, high) if offset(middle) == offset(low) else (low, middle)
        if offset(low) != offset(high):
            found.append(high)
        before = after
    return found


def changes_nearest(zone: str, year: int) -> list[datetime]:
    distance = min(abs(change.year - year) for change in changes(zone))
    return [change for change in changes(zone) if abs(change.year - year) == distance]


def mostly(common: st.SearchStrategy[str], rare: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Four of one to one of the other, where `|` would count the alternatives in them."""
    return st.sampled_from([*[common] * 4, rare]).flatmap(lambda chosen: chosen)


def numbers(first: int, last: int, names: list[str]) -> st.SearchStrategy[str]:
    plain = st.integers(first, last)
    written = plain.map(str) | plain.map(lambda n: f"{n:02}")
    if names:
        cased = st.sampled_from([str.lower, str.upper, str.title])
        written |= st.builds(lambda name, case: case(name), st.sampled_from(names), cased)
    return written


def fields(
    first: int, last: int, names: list[str] | None = None, special: st.SearchStrategy[str] = NONE
) -> st.SearchStrategy[str]:
    """Everything that may stand in one field."""
    number = numbers(first, last, names or [])
    span = st.builds("{}-{}".format, number, number)
    steps = st.integers(1, 7 if last == 7 else last - first + 1).map("/{}".format)
    stepped = st.builds(str.__add__, st.just("*") | span | number, steps)
    # A known difference, which would hide others: see the test that is expected to fail.
    term = st.one_of(number, span, stepped, special)
    lists = st.lists(term | st.just("*"), min_size=2, max_size=4).map(",".join)
    return st.one_of(st.just("*"), term, lists)


weekdays = numbers(0, 7, WEEKDAYS)
seconds = fields(0, 59)
minutes = fields(0, 59)
hours = fields(0, 23)
days = st.just("?") | fields(1, 31, special=st.sampled_from(["L", "LW", "l", "lw"]))
months = fields(1, 12, [*MONTHS, "june", "september"])
days_of_week = st.just("?") | fields(
    0,
    7,
    [*WEEKDAYS, "monday", "thurs", "sunday"],
    st.builds("{}#{}".format, weekdays, st.integers(1, 5)) | weekdays.map("{}L".format),
)
any_star = st.sampled_from(["*", "*", "?"])


def joined(*five: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return mostly(st.tuples(*five).map(" ".join), st.tuples(seconds, *five).map(" ".join))


any_expression = joined(minutes, hours, days, months, days_of_week)
frequent_expression = joined(
    minutes,
    hours,
    mostly(any_star, days),
    mostly(st.just("*"), months),
    mostly(any_star, days_of_week),
)


@st.composite
def expressions_at(draw: st.DrawFn, change: datetime, zone: ZoneInfo) -> str:
    """Expressions that name minutes which the wall clock leaves out or repeats, or nearly so."""
    before = (change - TICK).astimezone(zone).replace(tzinfo=None) + TICK
    after = change.astimezone(zone).replace(tzinfo=None)
    first, last = min(before, after), max(before, after)
    length = (last - first) // timedelta(minutes=1)

    def near() -> datetime:
        room = draw(st.sampled_from([0, 0, 0, 150]))
        return first + timedelta(minutes=draw(st.integers(-room, length - 1 + room)))

    one, other = near(), near()
    later = one + timedelta(hours=2)
    # At midnight the clock is between two days, of which either may be the one that is named.
    day = draw(st.sampled_from([one, one, one, other, first - TICK, last])).date()
    minute = st.sampled_from(
        [
            str(one.minute),
            f"{one.minute},{other.minute}",
            f"{one.minute}-59/7",
            f"{one.minute},*/30",
            f"*/30,{one.minute}",
            f"{one.minute % 20}/20",
            "*/15",
            "*",
        ]
    )
    hour = st.sampled_from(
        [
            str(one.hour),
            f"{one.hour},{other.hour}",
            f"{one.hour}-{later.hour}",
            f"{other.hour}/3,{one.hour}",
            "0-23",
            "22-3",
            f"*/6,{one.hour}",
            "*",
        ]
    )
    of_month = st.sampled_from([str(day.day), f"{day.day}-31", "*/2", "L", "LW"])
    of_week = st.sampled_from([WEEKDAYS[day.isoweekday() % 7], f"{day.isoweekday()}L", "1-5"])
    return draw(
        joined(
            mostly(minute, minutes),
            mostly(hour, hours),
            mostly(any_star, of_month),
            mostly(st.just("*"), st.just(str(day.month))),
            mostly(any_star, of_week | days_of_week),
        )
    )


changing_zones = st.sampled_from(CHANGING_ZONES)
steady_zones = st.sampled_from(STEADY_ZONES)
some_zone = mostly(changing_zones, steady_zones)
any_zone = st.sampled_from(sorted(name for name in available_timezones() if "/" in name))
years = st.integers(FROM.year, TO.year - 1)


def spans(most_days: int) -> st.SearchStrategy[timedelta]:
    """Lengths of time, drawn in parts: of one wide range hypothesis tries the small ones most."""
    return st.builds(
        timedelta,
        days=st.integers(0, max(most_days - 1, 0)),
        hours=st.integers(0, 23 if most_days else 3),
        minutes=st.integers(0, 59),
        seconds=st.integers(0, 59),
    )


@st.composite
def cases(
    draw: st.DrawFn, zones: st.SearchStrategy[str], *, at_a_change: bool = False, most_days: int = 3
) -> Case:
    zone = draw(zones)
    if at_a_change and changes(zone):
        change = draw(st.sampled_from(changes_nearest(zone, draw(years))))
        expression = draw(expressions_at(change, ZoneInfo(zone)))
        room = draw(st.sampled_from([0, most_days // 2]))
        start = change - draw(spans(room))
        end = change + draw(spans(room))
        start, end = draw(st.sampled_from([(start, end)] * 4 + [(change, end), (start, change)]))
    else:
        expression = draw(mostly(frequent_expression, any_expression | st.sampled_from(MACRO)))
        start = datetime(draw(years), draw(st.integers(1, 12)), 1, tzinfo=UTC) + draw(spans(31))
        end = start + draw(spans(most_days))
    if draw(st.booleans()):
        start, end = start.replace(second=0), end.replace(second=0) + timedelta(minutes=1)
    start += draw(st.sampled_from([timedelta(), timedelta(), TICK, -TICK]))
    if draw(st.booleans()):
        start, end = start.astimezone(ZoneInfo(zone)), end.astimezone(ZoneInfo(zone))
    return Case(expression, zone, start, end, *draw(st.sampled_from(POLICIES)))


def never_fires(expression: str) -> bool:
    named = Expression(expression)
    first = date(2000, 1, 1)
    return not any(named.names_day(first + timedelta(days=n)) for n in range(60 * 366))


def check(case: Case) -> None:
    expected = fire_times(
        case.expression,
        ZoneInfo(case.zone),
        case.start,
        case.end,
        gap=case.gap,
        overlap=case.overlap,
    )
    try:
        schedule = CronSchedule.parse(
            case.expression,
            case.zone,
            gap=DstGap(case.gap),
            overlap=DstOverlap(case.overlap),
        )
    except InvalidInputError:
        assert not expected
        assert never_fires(case.expression)
        return

    found = schedule.fires_between(case.start, case.end, MOST_FIRES)
    most = expected[:MOST_FIRES]
    missing, surplus = sorted(set(most) - set(found)), sorted(set(found) - set(most))
    assert (missing[:5], surplus[:5]) == ([], [])
    assert found == most
    assert all(fire.tzinfo is UTC for fire in found)

    following = schedule.next_after(case.start)
    latest = schedule.latest_at_or_before(case.end)
    if expected:
        assert following == expected[0]
        assert latest == expected[-1]
    else:
        assert following is None or following > case.end.astimezone(UTC)
        assert latest is None or latest <= case.start.astimezone(UTC)

    neighbours = list(pairwise(expected))
    for one, other in neighbours[:3] + neighbours[-2:]:
        assert schedule.next_after(one) == other
        assert schedule.next_after(other - TICK) == other
        assert schedule.latest_at_or_before(other - TICK) == one
        assert schedule.latest_at_or_before(one) == one


def examples(count: int) -> settings:
    return settings(max_examples=int(count * FACTOR), deadline=None)


@given(cases(changing_zones, at_a_change=True))
@examples(400)
def test_fire_times_around_a_change_of_the_clock_are_the_oracles(case):
    check(case)


@given(cases(any_zone, at_a_change=True))
@examples(100)
def test_fire_times_around_a_change_are_the_oracles_in_any_zone(case):
    check(case)


@given(cases(some_zone))
@examples(200)
def test_fire_times_on_any_day_are_the_oracles(case):
    check(case)


@given(cases(some_zone, most_days=100))
@examples(25)
def test_fire_times_of_months_are_the_oracles(case):
    check(case)


@given(st.tuples(days, mostly(st.just("*"), months), days_of_week), years)
@examples(400)
def test_the_days_of_a_year_are_the_oracles(of_day_month_and_week, year):
    expression = f"0 0 {' '.join(of_day_month_and_week)}"
    first, last = datetime(year, 1, 1, tzinfo=UTC), datetime(year, 12, 31, tzinfo=UTC)
    named = Expression(expression)
    every_day = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    expected = [day for day in every_day if named.names_day(day.date())]
    try:
        schedule = CronSchedule.parse(expression, "UTC")
    except InvalidInputError:
        assert never_fires(expression)
    else:
        assert schedule.fires_between(first - TICK, last, MOST_FIRES) == expected


@given(any_expression)
@examples(200)
def test_only_what_never_fires_is_refused(expression):
    try:
        CronSchedule.parse(expression, "UTC")
        refused = False
    except InvalidInputError:
        refused = True
    assert refused == never_fires(expression)


@pytest.mark.parametrize(
    "expression",
    ["5-5/10 0 * * *", "0 5-5/2 * * *", "0 0 3-3/5 * *", "0 0 * 1-1/2 *", "0 0 * * MON-1/2"],
)
def test_a_range_of_one_value_with_a_step_names_that_value(expression):
    start = datetime(2026, 1, 1, tzinfo=UTC)
    check(Case(expression, "UTC", start, start + timedelta(days=70), "vixie", "vixie"))


def test_the_search_for_changes_finds_known_ones():
    assert datetime(2026, 3, 29, 1, tzinfo=UTC) in changes("Europe/Berlin")
    assert datetime(2059, 10, 26, 1, tzinfo=UTC) in changes("Europe/Berlin")
    assert datetime(2011, 12, 30, 10, tzinfo=UTC) in changes("Pacific/Apia")
    assert changes("Asia/Tokyo") == []


# Written by hand from the rules and the news of the day: they hold the oracle to account as well.
# zone | expression | the day's start | hours | gap | overlap | fire times, on the wall
FAMOUS_DAYS = """
Europe/Berlin | 30 2 * * * | 2026-03-28T12:00+01:00 | 24 | vixie | vixie | 2026-03-29T03:00+02:00
Europe/Berlin | 30 2 * * * | 2026-03-28T12:00+01:00 | 24 | skip  | vixie |
Europe/Berlin | 30 2 * * * | 2026-03-28T12:00+01:00 | 24 | shift | vixie | 2026-03-29T03:30+02:00
Europe/Berlin | 0,20,40 2 * * * | 2026-03-28T12:00+01:00 | 24 | vixie | vixie | 2026-03-29T03:00+02:00
Europe/Berlin | 0,20,40 2 * * * | 2026-03-28T12:00+01:00 | 24 | shift | vixie | 2026-03-29T03:00+02:00 2026-03-29T03:20+02:00 2026-03-29T03:40+02:00
Europe/Berlin | 15 2,3 * * * | 2026-03-28T12:00+01:00 | 24 | vixie | vixie | 2026-03-29T03:00+02:00 2026-03-29T03:15+02:00
Europe/Berlin | 15 2,3 * * * | 2026-03-28T12:00+01:00 | 24 | shift | vixie | 2026-03-29T03:15+02:00
Europe/Berlin | */30 2 * * * | 2026-03-28T12:00+01:00 | 24 | vixie | vixie |
Europe/Berlin | */30 2 * * * | 2026-03-28T12:00+01:00 | 24 | shift | vixie | 2026-03-29T03:00+02:00 2026-03-29T03:30+02:00
Europe/Berlin | 30 * * * * | 2026-03-29T01:00+01:00 | 2 | vixie | vixie | 2026-03-29T01:30+01:00 2026-03-29T03:30+02:00
Europe/Berlin | 30 2 * * * | 2026-10-24T12:00+02:00 | 24 | vixie | vixie | 2026-10-25T02:30+02:00
Europe/Berlin | 30 2 * * * | 2026-10-24T12:00+02:00 | 24 | vixie | once  | 2026-10-25T02:30+02:00
Europe/Berlin | 30 2 * * * | 2026-10-24T12:00+02:00 | 24 | vixie | twice | 2026-10-25T02:30+02:00 2026-10-25T02:30+01:00
Europe/Berlin | 30 2 * * * | 2026-10-25T02:45+02:00 | 12 | vixie | once  |
Europe/Berlin | 30 * * * * | 2026-10-25T02:00+02:00 | 3 | vixie | vixie | 2026-10-25T02:30+02:00 2026-10-25T02:30+01:00 2026-10-25T03:30+01:00
Europe/Berlin | 30 * * * * | 2026-10-25T02:00+02:00 | 3 | vixie | once  | 2026-10-25T02:30+02:00 2026-10-25T03:30+01:00
America/New_York | 30 2 * * * | 2026-03-08T00:00-05:00 | 20 | vixie | vixie | 2026-03-08T03:00-04:00
America/New_York | 30 2 * * * | 2026-03-08T00:00-05:00 | 20 | shift | vixie | 2026-03-08T03:30-04:00
America/New_York | 30 1 * * * | 2026-11-01T00:00-04:00 | 20 | vixie | vixie | 2026-11-01T01:30-04:00
America/New_York | 30 1 * * * | 2026-11-01T00:00-04:00 | 20 | vixie | twice | 2026-11-01T01:30-04:00 2026-11-01T01:30-05:00
Australia/Lord_Howe | 15 2 * * * | 2026-10-04T00:00+10:30 | 20 | vixie | vixie | 2026-10-04T02:30+11:00
Australia/Lord_Howe | 15 2 * * * | 2026-10-04T00:00+10:30 | 20 | skip  | vixie |
Australia/Lord_Howe | 15 2 * * * | 2026-10-04T00:00+10:30 | 20 | shift | vixie | 2026-10-04T02:45+11:00
Australia/Lord_Howe | 15,45 1 * * * | 2026-04-05T00:00+11:00 | 20 | vixie | vixie | 2026-04-05T01:15+11:00 2026-04-05T01:45+11:00
Australia/Lord_Howe | 15,45 1 * * * | 2026-04-05T00:00+11:00 | 20 | vixie | twice | 2026-04-05T01:15+11:00 2026-04-05T01:45+11:00 2026-04-05T01:45+10:30
Pacific/Apia | 0 7 * * * | 2011-12-29T00:00-10:00 | 48 | vixie | vixie | 2011-12-29T07:00-10:00 2011-12-31T00:00+14:00 2011-12-31T07:00+14:00
Pacific/Apia | 0 7 * * * | 2011-12-29T00:00-10:00 | 48 | skip  | vixie | 2011-12-29T07:00-10:00 2011-12-31T07:00+14:00
Pacific/Apia | 0 7 * * * | 2011-12-29T00:00-10:00 | 48 | shift | vixie | 2011-12-29T07:00-10:00 2011-12-31T07:00+14:00
Pacific/Apia | 0 7 * * FRI | 2011-12-29T00:00-10:00 | 72 | vixie | vixie | 2011-12-31T00:00+14:00
Pacific/Apia | 0 7 30 * * | 2011-12-29T00:00-10:00 | 72 | shift | vixie | 2011-12-31T07:00+14:00
Pacific/Apia | 0 */6 30 * * | 2011-12-29T00:00-10:00 | 72 | vixie | vixie |
Europe/Dublin | 30 1 * * * | 2026-03-28T12:00+00:00 | 24 | vixie | vixie | 2026-03-29T02:00+01:00
Europe/Dublin | 30 1 * * * | 2026-03-28T12:00+00:00 | 24 | shift | vixie | 2026-03-29T02:30+01:00
Europe/Dublin | 30 1 * * * | 2026-10-24T12:00+01:00 | 24 | vixie | once  | 2026-10-25T01:30+01:00
Europe/Dublin | 30 1 * * * | 2026-10-24T12:00+01:00 | 24 | vixie | twice | 2026-10-25T01:30+01:00 2026-10-25T01:30+00:00
Africa/Cairo | 0 0 * * * | 2026-04-23T12:00+02:00 | 20 | vixie | vixie | 2026-04-24T01:00+03:00
Africa/Cairo | 0 0 * * * | 2026-04-23T12:00+02:00 | 20 | skip  | vixie |
Africa/Cairo | 30 0 * * FRI | 2026-04-23T12:00+02:00 | 20 | shift | vixie | 2026-04-24T01:30+03:00
Africa/Cairo | 30 23 * * THU | 2026-10-29T12:00+03:00 | 20 | vixie | vixie | 2026-10-29T23:30+03:00
Africa/Cairo | 30 23 * * THU | 2026-10-29T12:00+03:00 | 20 | vixie | twice | 2026-10-29T23:30+03:00 2026-10-29T23:30+02:00
America/Havana | 0 0 * * * | 2026-03-07T12:00-05:00 | 20 | vixie | vixie | 2026-03-08T01:00-04:00
America/Havana | 30 0 * * * | 2026-10-31T12:00-04:00 | 20 | vixie | twice | 2026-11-01T00:30-04:00 2026-11-01T00:30-05:00
America/Sao_Paulo | 0 0 4 11 * | 2018-11-03T12:00-03:00 | 20 | vixie | vixie | 2018-11-04T01:00-02:00
America/Sao_Paulo | 30 23 * * SAT | 2018-02-17T12:00-02:00 | 20 | vixie | twice | 2018-02-17T23:30-02:00 2018-02-17T23:30-03:00
Asia/Beirut | 15 0 * * SUN | 2026-03-28T12:00+02:00 | 20 | vixie | vixie | 2026-03-29T01:00+03:00
Africa/Casablanca | 30 2 * * * | 2026-02-14T12:00+01:00 | 24 | vixie | vixie | 2026-02-15T02:30+01:00
Africa/Casablanca | 30 2 * * * | 2026-02-14T12:00+01:00 | 24 | vixie | twice | 2026-02-15T02:30+01:00 2026-02-15T02:30+00:00
Africa/Casablanca | 30 2 * * * | 2026-03-21T12:00+00:00 | 24 | vixie | vixie | 2026-03-22T03:00+01:00
Africa/Casablanca | 30 2 * * * | 2026-03-21T12:00+00:00 | 24 | shift | vixie | 2026-03-22T03:30+01:00
Asia/Pyongyang | 45 23 4 * * | 2018-05-04T12:00+08:30 | 24 | vixie | vixie | 2018-05-05T00:00+09:00
Asia/Pyongyang | 45 23 4 * * | 2018-05-04T12:00+08:30 | 24 | shift | vixie | 2018-05-05T00:15+09:00
Asia/Pyongyang | 45 23 14 * * | 2015-08-14T12:00+09:00 | 24 | vixie | twice | 2015-08-14T23:45+09:00 2015-08-14T23:45+08:30
Europe/Volgograd | 30 1 * * SUN | 2020-12-26T12:00+04:00 | 24 | vixie | vixie | 2020-12-27T01:30+04:00
"""  # noqa: E501 -- a table


@pytest.mark.parametrize("row", FAMOUS_DAYS.strip().splitlines())
def test_fire_times_of_famous_days(row):
    zone, expression, start, hours_long, gap, overlap, wall = map(str.strip, row.split("|"))
    first = datetime.fromisoformat(start)
    case = Case(expression, zone, first, first + timedelta(hours=int(hours_long)), gap, overlap)
    by_oracle = fire_times(
        expression, ZoneInfo(zone), case.start, case.end, gap=gap, overlap=overlap
    )
    shown = [fire.astimezone(ZoneInfo(zone)).isoformat(timespec="minutes") for fire in by_oracle]
    assert shown == wall.split()
    check(case)
