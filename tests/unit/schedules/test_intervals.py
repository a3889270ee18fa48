from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.rules.cron import CronSchedule
from rota.domain.schedules.rules.intervals import AnyOf, Instants, Interval, Within, length_in_words

ANCHOR = datetime(2026, 3, 2, 7, 13, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@given(
    every=st.integers(1, 100_000),
    moment=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
)
def test_interval_fires_at_multiples_of_its_length_from_its_anchor(every, moment):
    rule = Interval(timedelta(seconds=every), ANCHOR)
    moment = moment.replace(tzinfo=UTC)

    following = rule.next_after(moment)
    latest = rule.latest_at_or_before(moment)

    assert following > moment
    assert (following - ANCHOR) % timedelta(seconds=every) == timedelta(0)
    if moment < ANCHOR:
        assert (following, latest) == (ANCHOR, None)
    else:
        assert following - timedelta(seconds=every) == latest <= moment


def test_interval_begins_with_its_anchor_and_ends_with_the_calendar():
    rule = Interval(timedelta(days=1), ANCHOR)
    assert rule.next_after(ANCHOR - MINUTE) == ANCHOR
    assert rule.next_after(ANCHOR) == ANCHOR + timedelta(days=1)
    assert rule.next_after(datetime(9999, 12, 31, 23, tzinfo=UTC)) is None


@pytest.mark.parametrize("every", [timedelta(0), timedelta(milliseconds=5), timedelta(days=9_999)])
def test_impossible_interval_is_refused(every):
    with pytest.raises(InvalidInputError, match="between a second and ten years"):
        Interval(every, ANCHOR)


def test_instants_fire_once_each_in_order():
    rule = Instants((ANCHOR + MINUTE, ANCHOR, ANCHOR))
    assert list(islice(rule.fires_after(ANCHOR - MINUTE), 5)) == [ANCHOR, ANCHOR + MINUTE]
    assert rule.latest_at_or_before(ANCHOR) == ANCHOR
    assert rule.next_after(ANCHOR + MINUTE) is None
    assert rule.latest_at_or_before(ANCHOR - MINUTE) is None


def test_union_fires_once_where_its_rules_coincide():
    rule = AnyOf((CronSchedule.parse("0 7 * * *"), CronSchedule.parse("0 7,19 * * *")))
    fires = list(islice(rule.fires_after(datetime(2026, 1, 1, tzinfo=UTC)), 3))
    assert [f"{fire:%d %H}" for fire in fires] == ["01 07", "01 19", "02 07"]
    assert rule.latest_at_or_before(datetime(2026, 1, 2, tzinfo=UTC)) == fires[1]


def test_bounds_include_their_ends():
    days = CronSchedule.parse("0 7 * * *")
    start, end = (datetime(2026, 1, day, 7, tzinfo=UTC) for day in (3, 5))
    rule = Within(days, start, end)
    fires = list(islice(rule.fires_after(datetime(2026, 1, 1, tzinfo=UTC)), 9))
    assert [fire.day for fire in fires] == [3, 4, 5]
    assert rule.latest_at_or_before(datetime(2027, 1, 1, tzinfo=UTC)) == end
    assert rule.latest_at_or_before(start - MINUTE) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (5_400, "1 hour 30 minutes"),
        (90_061, "1 day 1 hour 1 minute 1 second"),
        (7 * 86_400, "7 days"),
    ],
)
def test_length_is_said_in_units(seconds, words):
    assert length_in_words(timedelta(seconds=seconds)) == words
