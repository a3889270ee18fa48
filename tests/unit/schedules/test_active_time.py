from datetime import datetime

import pytest

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.active_time import ActiveTime

MONDAY = "2026-03-02"


def allowed(active: ActiveTime, text: str) -> bool:
    return active.objection(datetime.fromisoformat(text)) is None


def test_hours_include_their_start_and_exclude_their_end():
    active = ActiveTime.parse("08:00-12:00, 13-18", None)
    assert [allowed(active, f"{MONDAY}T{clock}") for clock in ("07:59", "08:00", "11:59")] == [
        False,
        True,
        True,
    ]
    assert [allowed(active, f"{MONDAY}T{clock}") for clock in ("12:00", "13:00", "18:00")] == [
        False,
        True,
        False,
    ]


def test_span_over_midnight_belongs_to_the_day_on_which_it_began():
    active = ActiveTime.parse("22:00-06:00", "mon")
    assert allowed(active, "2026-03-02T23:00")
    assert allowed(active, "2026-03-03T05:59")
    assert not allowed(active, "2026-03-02T05:00")  # the night from Sunday
    assert not allowed(active, "2026-03-03T22:00")


@pytest.mark.parametrize(
    ("days", "expected"),
    [("mon-fri", {0, 1, 2, 3, 4}), ("sat, sun", {5, 6}), ("FRI-mon", {4, 5, 6, 0})],
)
def test_days_are_read_as_people_write_them(days, expected):
    assert ActiveTime.parse(None, days).days == expected


def test_objection_says_what_is_in_the_way():
    active = ActiveTime.parse("08:00-18:00", "mon-fri")
    assert active.objection(datetime(2026, 3, 7, 9)) == "Saturday is not an active day"
    assert active.objection(datetime(2026, 3, 2, 7, 30)) == "07:30 is outside the active hours"


def test_whole_day_may_be_written_to_24():
    assert allowed(ActiveTime.parse("0:00-24:00", None), f"{MONDAY}T23:59")


@pytest.mark.parametrize(
    ("hours", "days"),
    [
        *(("8-8", None), ("25-26", None), ("8:60-9", None), ("x", None), ("8-9,", None)),
        *((None, "mo"), (None, "mon-"), (None, "someday"), (None, ",")),
    ],
)
def test_what_cannot_be_meant_is_refused(hours, days):
    with pytest.raises(InvalidInputError, match="not understood"):
        ActiveTime.parse(hours, days)
