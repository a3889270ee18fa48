"""Which fire times lie ahead, which of them run, and rules none of whose times does."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.drafts import Draft
from rota.domain.schedules.forecast import check_that_it_runs, next_run, upcoming_fires

NOW = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def timing(when=None, zone="UTC", **said):
    return Draft(when=when, **said).timing(zone, now=NOW).anchored(NOW)


@pytest.mark.parametrize(
    ("when", "said", "why"),
    [
        ("0 9 * * mon", {"active_days": "sat"}, "Monday is not an active day"),
        ("30 12 * * *", {"active_hours": "09:00-10:00"}, "12:30 is outside the active hours"),
        (
            "0 9 1 * *",
            {"excluded_days": "2026-12-01..2050-12-31", "end": "2050-01-01"},
            "is a day off",
        ),
        ("0 9 1 1 *", {"end": "2027-06-01", "active_hours": "10-11"}, "09:00 is outside"),
        (None, {"at": ("2026-12-04 09:00",), "active_days": "mon-thu"}, "Friday is not"),
        (None, {"every": "1d", "start": "2026-12-01 08:00", "active_hours": "09-17"}, "08:00"),
    ],
)
def test_rule_that_never_runs_is_refused_with_the_reason_of_its_first_time(when, said, why):
    with pytest.raises(InvalidInputError, match="never runs") as caught:
        check_that_it_runs(timing(when, **said), now=NOW)
    assert why in caught.value.message


def test_rule_whose_times_have_all_passed_never_fires():
    with pytest.raises(InvalidInputError, match="never fires"):
        check_that_it_runs(timing("0 9 * * *", end="2026-11-30 09:00"), now=NOW)


@pytest.mark.parametrize(
    ("when", "said", "first"),
    [
        ("0 9 29 2 *", {"active_days": "sat"}, "2048-02-29 09:00"),
        ("0 9 13 * *", {"active_days": "fri"}, "2027-08-13 09:00"),
        (None, {"every": "1s", "active_hours": "03:00-04:00"}, "2026-12-01 03:00"),
        ("* * * * *", {"excluded_days": "2026-11-30..2027-11-30"}, "2027-12-01 00:00"),
        ("0 1 * * *", {"active_hours": "22-2", "active_days": "sat"}, "2026-12-06 01:00"),
    ],
)
def test_run_is_found_however_many_times_are_suppressed_before_it(when, said, first):
    rule = timing(when, **said)
    expected = datetime.fromisoformat(first).replace(tzinfo=UTC)

    assert next_run(rule, after=NOW) == expected
    ahead = upcoming_fires(rule, after=NOW, runs=1)
    assert [fire.fire_time for fire in ahead if fire.suppressed is None] == [expected]
    check_that_it_runs(rule, now=NOW)


def test_stepping_over_a_day_steps_over_no_time_that_runs():
    """By a walk over all of them, through both changes of the clock."""
    rule = timing(
        "*/20 * * * *", "Europe/Berlin", active_hours="02:30-03:10, 23:50-00:30", active_days="sun"
    )
    allowed = rule.filter(())
    for month in (3, 10):
        moment = datetime(2027, month, 20, tzinfo=BERLIN)
        end = moment + timedelta(days=15)
        all_of_them = rule.rule().fires_between(moment, end, limit=10_000)
        running = [fire for fire in all_of_them if allowed.suppression(fire) is None]
        found = []
        while (fire := next_run(rule, after=moment)) is not None and fire <= end:
            found.append(moment := fire)
        assert found == running
        assert len(running) > 5


@pytest.mark.parametrize("year", [2099, 8999])
def test_a_single_time_that_lies_far_ahead_runs(year):
    far = datetime(year, 12, 24, 18, tzinfo=UTC)
    rule = Draft(at=(f"{year}-12-24 18:00",)).timing("UTC", now=NOW)
    check_that_it_runs(rule, now=NOW)
    assert next_run(rule, after=NOW) == far
