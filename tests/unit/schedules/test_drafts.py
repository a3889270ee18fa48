"""What people write becomes a timing and a policy."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.clock_notes import clock_notes
from rota.domain.schedules.drafts import Draft
from rota.domain.schedules.overlap import OverlapPolicy
from rota.domain.schedules.rules.wall_clock import DstGap
from rota.domain.schedules.schedule import CatchUp, Policy
from rota.domain.schedules.timing import Timing
from rota.domain.schedules.written_time import parse_duration, parse_moment

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)  # 7:00 in Berlin
BERLIN = "Europe/Berlin"


def timing(draft, before=None, zone=BERLIN):
    return draft.timing(zone, now=NOW, before=before)


def test_cron_interval_and_times_are_told_apart():
    assert timing(Draft(when="30 7 * * mon-fri")).cron == "30 7 * * mon-fri"
    assert timing(Draft(when="0 7 * * *;0 9 * * sun")).cron == "0 7 * * *; 0 9 * * sun"
    assert timing(Draft(every="90m")).every == timedelta(minutes=90)
    assert timing(Draft(at=("2026-12-24 18:00", "tomorrow 9:00"))).instants == (
        datetime(2026, 11, 24, 8, tzinfo=UTC),
        datetime(2026, 12, 24, 17, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    ("draft", "sentence"),
    [
        (Draft(), "Say when"),
        (Draft(when="@daily", every="1h"), "Give one rule"),
        (Draft(when=""), "cron expression is empty"),
        (Draft(when="61 * * * *"), "minute field '61'"),
        (Draft(every="soon"), "length of time 'soon'"),
        (Draft(every="0s"), "between a second and ten years"),
        (Draft(every="200y"), "length of time"),
        (Draft(at=("25:00",)), "time '25:00' is not understood"),
        (Draft(at=("2027-03-28 02:30",)), "does not exist in Europe/Berlin"),
        (Draft(when="@daily", end="2026-01-01", start="2026-12-01"), "end lies before"),
        (Draft(when="@daily", jitter="2d"), "jitter lies between"),
        (Draft(when="@daily", active_hours="9"), "active hours '9'"),
        (Draft(when="@daily", active_days="noday"), "active days 'noday'"),
        (Draft(when="@daily", excluded_days="christmas"), "christmas"),
        (Draft(when="@daily", dst_gap="jump"), "dst_gap is one of vixie, skip"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(draft, sentence):
    with pytest.raises(InvalidInputError) as caught:
        timing(draft)
    assert sentence in caught.value.message
    assert caught.value.message.endswith(".")


@pytest.mark.parametrize(
    "draft",
    [
        Draft(overlap="maybe"),
        Draft(catch_up="some"),
        Draft(catch_up_window="400d"),
        Draft(max_runs=-1),
    ],
)
def test_policy_that_cannot_be_meant_is_refused(draft):
    with pytest.raises(InvalidInputError):
        draft.policy()


def test_edit_changes_what_is_named_and_nothing_else():
    before = timing(Draft(when="@daily", jitter="5m", active_days="mon-fri", dst_gap="skip"))
    after = timing(Draft(every="2h", active_days="none"), before)
    assert (after.cron, after.every, after.active_days) == (None, timedelta(hours=2), None)
    assert (after.jitter, after.dst_gap) == (timedelta(minutes=5), DstGap.SKIP)
    assert timing(Draft(), before) == before


def test_policy_edit_keeps_the_rest_and_zero_takes_away():
    before = Draft(overlap="buffer-one", max_runs=3, catch_up="all", catch_up_window="2h").policy()
    assert before.overlap is OverlapPolicy.BUFFER_ONE
    after = Draft(max_runs=0, pause_after_failures=2).policy(before)
    assert after == Policy(
        OverlapPolicy.BUFFER_ONE, CatchUp.ALL, timedelta(hours=2), None, pause_after_failures=2
    )


def test_start_anchors_an_interval():
    made = timing(Draft(every="1h", start="2026-11-24 09:15"))
    assert made.anchor == made.starts_at == datetime(2026, 11, 24, 8, 15, tzinfo=UTC)
    assert made.rule().next_after(NOW) == made.anchor


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-12-24 18:00", "2026-12-24T17:00"),
        ("2026-12-24T18:00:30Z", "2026-12-24T18:00:30"),
        ("2026-12-24 18:00+05:30", "2026-12-24T12:30"),
        ("2026-07-01", "2026-06-30T22:00"),
        ("yesterday 7:00", "2026-11-22T06:00"),
        ("2026-10-25 02:30", "2026-10-25T00:30"),  # twice: the first pass
    ],
)
def test_moment_is_read_in_the_zone(text, expected):
    from zoneinfo import ZoneInfo

    found = parse_moment(text, ZoneInfo(BERLIN), now=NOW, field="at", alone="past")
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


def test_time_of_day_alone_is_the_closest_one():
    from zoneinfo import ZoneInfo

    def read(text, alone):
        found = parse_moment(text, ZoneInfo(BERLIN), now=NOW, field="at", alone=alone)
        return f"{found.astimezone(ZoneInfo(BERLIN)):%d %H:%M}"

    assert (read("06:59", "past"), read("07:01", "past")) == ("23 06:59", "22 07:01")
    assert (read("06:59", "future"), read("07:01", "future")) == ("24 06:59", "23 07:01")


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1h30m", 5400), ("2w 1d", 1296000)])
def test_duration_is_read_as_people_write_it(text, seconds):
    assert parse_duration(text, field="every") == timedelta(seconds=seconds)


def test_clock_notes_name_the_days_and_what_happens():
    fixed = timing(Draft(when="30 2 * * *"))
    spring, autumn = clock_notes(fixed, NOW)
    assert spring.startswith("Sun 2027-03-28, the clock goes forward from 02:00 to 03:00: ")
    assert spring.endswith("02:30 does not exist; it fires at 03:00 CEST")
    assert autumn.startswith("Sun 2027-10-31, the clock goes back from 03:00 to 02:00: ")
    assert autumn.endswith("02:30 comes twice; it fires once, at 02:30 CEST")
    chosen = timing(Draft(when="30 2 * * *", dst_gap="skip", dst_overlap="twice"))
    assert [note.rpartition("; ")[2] for note in clock_notes(chosen, NOW)] == [
        "it does not fire",
        "it fires both times, at 02:30 CEST and 02:30 CET",
    ]
    assert len(clock_notes(timing(Draft(when="*/5 * * * *")), NOW)) == 2
    assert clock_notes(timing(Draft(when="0 7 * * *")), NOW) == ()
    assert clock_notes(Timing("UTC", cron="30 2 * * *"), NOW) == ()


@pytest.mark.parametrize("field", ["max_runs", "pause_after_failures"])
def test_0_is_refused_where_there_is_nothing_to_take_away(field):
    with pytest.raises(InvalidInputError, match=f"{field} is 1 or more, not 0"):
        Draft(**{field: "0"}).policy()
    before = Draft(**{field: "3"}).policy()
    assert getattr(before, field) == 3
    for none in ("0", "none", 0):
        assert getattr(Draft(**{field: none}).policy(before), field) is None
    with pytest.raises(InvalidInputError, match=f"{field} is a whole number, 1 or more, not 'x'"):
        Draft(**{field: "x"}).policy(before)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Europe/Berlin"])
def test_end_that_is_a_day_means_the_whole_day(zone):
    whole = Draft(when="0 0,23 * * *", start="2026-12-23", end="2026-12-24").timing(zone, now=NOW)
    fires = whole.rule().fires_between(NOW, NOW + timedelta(days=400), limit=10)
    assert [fire.astimezone(ZoneInfo(zone)).strftime("%d %H") for fire in fires] == [
        *("23 00", "23 23", "24 00", "24 23"),
    ]
    precise = Draft(when="0 0,23 * * *", start="2026-12-23", end="2026-12-24 00:00")
    fires = (
        precise.timing(zone, now=NOW).rule().fires_between(NOW, NOW + timedelta(days=400), limit=10)
    )
    assert len(fires) == 3


def test_days_off_are_whole_days():
    draft = Draft(when="0 0,12,23 * * *", excluded_days="2026-12-24")
    allowed = timing(draft, zone="UTC").filter(())
    for hour in (0, 12, 23):
        assert allowed.objection(datetime(2026, 12, 24, hour, 59, 59, tzinfo=UTC)) is not None
        assert allowed.objection(datetime(2026, 12, 25, hour, tzinfo=UTC)) is None


def test_a_time_that_the_database_or_a_zone_cannot_hold_is_refused():
    for text in ("9999-12-31 23:59", "9999-12-31", "0001-01-01", "9000-01-01T00:00Z"):
        with pytest.raises(InvalidInputError, match="between the years 1900 and 9000"):
            parse_moment(
                text,
                ZoneInfo("America/New_York"),
                now=NOW,
                field="end",
                alone="past",
                whole_day=True,
            )
