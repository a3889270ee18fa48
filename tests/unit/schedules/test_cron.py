import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.rules.cron import CronSchedule

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "America/Havana",  # changes the clock at midnight
    "Africa/Cairo",  # midnight does not exist on the day of the change
    "Asia/Kathmandu",
]


def local(expression: str, zone: str, start: str, count: int) -> list[str]:
    moment = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(zone))
    fires = list(islice(CronSchedule.parse(expression, zone).fires_after(moment), count))
    return [f"{fire.astimezone(ZoneInfo(zone)):%m-%d %H:%M:%S %z}" for fire in fires]


@pytest.mark.parametrize(
    ("written", "fields", "seconds"),
    [
        ("0 7 * * Mon-Friday", "0 7 * * 1-5", (0,)),
        ("  0\t7  *  jan,SEPT thurs ", "0 7 * 1,9 4", (0,)),
        ("0 9 * * FRI-MON", "0 9 * * 5,6,0,1", (0,)),
        ("0 9 * * sat-sun", "0 9 * * 6,0", (0,)),
        ("0 9 * * 5-7", "0 9 * * 5-7", (0,)),
        ("0 9 * * 7-2", "0 9 * * 0,1,2", (0,)),
        ("0 22-2 * * *", "0 22,23,0,1,2 * * *", (0,)),
        ("0 22-4/2 * * *", "0 22,0,2,4 * * *", (0,)),
        ("0 0 28-2 nov-feb *", "0 0 28,29,30,31,1,2 11,12,1,2 *", (0,)),
        ("0 0 ? * 7", "0 0 * * 7", (0,)),
        ("0 0 L,15 * ?", "0 0 L,15 * *", (0,)),
        ("0 0 lw * *", "0 0 LW * *", (0,)),
        ("0 0 * * FRIL,Mon#1", "0 0 * * 5L,1#1", (0,)),
        ("5/20 */2 1-31/7 * *", "5/20 */2 1-31/7 * *", (0,)),
        ("0 30 7 * * *", "30 7 * * *", (0,)),
        ("*/20 * * * * *", "* * * * *", (0, 20, 40)),
        ("50/5,1-3 * * * * *", "* * * * *", (1, 2, 3, 50, 55)),
        ("58-1 * * * * *", "* * * * *", (0, 1, 58, 59)),
        ("@DAILY", "0 0 * * *", (0,)),
        ("@midnight", "0 0 * * *", (0,)),
        ("@hourly", "0 * * * *", (0,)),
        ("@weekly", "0 0 * * 0", (0,)),
        ("@monthly", "0 0 1 * *", (0,)),
        ("@yearly", "0 0 1 1 *", (0,)),
        ("@annually", "0 0 1 1 *", (0,)),
    ],
)
def test_cron_is_accepted_as_people_write_it(written, fields, seconds):
    rule = CronSchedule.parse(written, "UTC")
    assert (rule.fields, rule.seconds) == (fields, seconds)
    assert rule.expression == " ".join(written.split())
    assert rule.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is not None


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("0 25 * * *", "The hour field '25' is out of range 0 to 23."),
        ("60 * * * *", "The minute field '60' is out of range 0 to 59."),
        ("0 0 0 * *", "The day-of-month field '0' is out of range 1 to 31."),
        ("0 0 * 13 *", "The month field '13' is out of range 1 to 12."),
        ("0 0 * * 1-9", "The day-of-week field '1-9' is out of range 0 to 7."),
        ("70 * * * * *", "The second field '70' is out of range 0 to 59."),
        ("0 0 30 2 *", "The day-of-month field '30' never comes in month '2'."),
        ("0 0 31 4,6 *", "The day-of-month field '31' never comes in month '4,6'."),
        ("0 0 */30 * 1#2", "'0 0 */30 * 1#2' never fires: no such day comes in 50 years."),
        ("*/0 * * * *", "The minute field '*/0' needs a whole number of at least 1 after '/'."),
        ("*/90 * * * *", "has a step longer than the field, which is 60 long."),
        ("1,,2 * * * *", "has an empty place in its list."),
        ("5- * * * *", "The minute field '5-' lacks a value."),
        ("/5 * * * *", "The minute field '/5' lacks a value."),
        ("H * * * *", "'H' should be a number from 0 to 59."),
        ("0 0 * foo *", "a number from 1 to 12 or a name such as FEB."),
        ("0 0 * * M", "a number from 0 to 7 or a name such as MON."),
        ("0 0 * * MON#6", "needs a number from 1 to 5 after '#'."),
        ("0 0 15W * *", "is not supported; of its kind only L and LW are."),
        ("? * * * *", "The minute field '?' is not understood"),
        ("٣ * * * *", "The minute field '٣' is not understood"),
        ("9" * 500 + " * * * *", "is out of range 0 to 59."),
        ("* * * *", "'* * * *' has 4."),
        ("0 0 0 1 1 * 2026", "has 7."),
        ("", "The cron expression is empty"),
        ("1" * 2_000, "longer than 1000 characters."),
        ("@reboot", "@reboot is not supported: it names no time at which to run."),
        ("@every 5m", "@every is written without @"),
        ("@fortnightly", "is not one of @annually, @daily"),
        ("CRON_TZ=Europe/Berlin 0 9 * * *", "write '0 9 * * *', and the zone with --time-zone"),
        ("TZ=UTC 0 9 1 1 1", "'TZ=UTC' belongs beside the rule"),
    ],
)
def test_bad_cron_is_one_sentence_that_names_the_place(written, sentence):
    with pytest.raises(InvalidInputError) as caught:
        CronSchedule.parse(written, "UTC")
    assert sentence in caught.value.message
    assert caught.value.field == "cron"
    assert len(caught.value.message) < 250


@given(st.text(alphabet="0123456789*/,-LW#?@ adefmnorstuw", max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_text_is_a_schedule_that_fires_or_a_clear_error(text):
    try:
        rule = CronSchedule.parse(text, "UTC")
    except InvalidInputError as error:
        sentence = error.message
    else:
        assert rule.next_after(datetime(2026, 1, 1, tzinfo=UTC)) is not None
        sentence = f"{rule.in_words()}."
    assert re.search(r"[^. ]\.$", sentence)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Berln", "perhaps Europe/Berlin."),
        ("europe/berlin", "perhaps Europe/Berlin."),
        ("Berlin", "perhaps Europe/Berlin."),
        ("new york", "perhaps America/New_York."),
        ("PST", "perhaps America/Los_Angeles."),
        ("../../etc/passwd", "such as Europe/Berlin."),
        ("/usr/share/zoneinfo/UTC", "such as Europe/Berlin."),
        ("Europe", "such as"),
        ("localtime", "IANA name"),
        ("posix/UTC", "IANA name"),
        ("", "such as Europe/Berlin."),
        ("UTC\0", "IANA name"),
        ("x" * 10_000, "such as Europe/Berlin."),
    ],
)
def test_unknown_zone_is_refused_with_the_nearest_name(name, hint):
    with pytest.raises(InvalidInputError) as caught:
        CronSchedule.parse("0 7 * * *", name)
    assert hint in caught.value.message
    assert caught.value.field == "time_zone"


def test_fixed_time_in_a_gap_runs_right_after_it():
    assert local("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == [
        "03-29 03:00:00 +0200",
        "03-30 02:30:00 +0200",
    ]
    assert local("30 2 * * *", "America/New_York", "2026-03-07T12:00", 2) == [
        "03-08 03:00:00 -0400",
        "03-09 02:30:00 -0400",
    ]
    assert local("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", 2) == [
        "10-04 02:30:00 +1100",
        "10-05 02:15:00 +1100",
    ]


def test_fixed_time_in_an_overlap_runs_once():
    assert local("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == [
        "10-25 02:30:00 +0200",
        "10-26 02:30:00 +0100",
    ]
    assert local("30 1 * * *", "America/New_York", "2026-10-31T12:00", 2) == [
        "11-01 01:30:00 -0400",
        "11-02 01:30:00 -0500",
    ]
    assert local("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00", 2) == [
        "04-05 01:45:00 +1100",
        "04-06 01:45:00 +1030",
    ]


def test_wildcard_job_follows_real_time_through_gap_and_overlap():
    assert local("*/30 * * * *", "Europe/Berlin", "2026-03-29T01:20", 3) == [
        "03-29 01:30:00 +0100",
        "03-29 03:00:00 +0200",
        "03-29 03:30:00 +0200",
    ]
    assert local("0 * * * *", "America/New_York", "2026-11-01T00:30", 3) == [
        "11-01 01:00:00 -0400",
        "11-01 01:00:00 -0500",
        "11-01 02:00:00 -0500",
    ]
    assert local("*/15 * * * *", "Australia/Lord_Howe", "2026-04-05T01:40", 4) == [
        "04-05 01:45:00 +1100",
        "04-05 01:30:00 +1030",
        "04-05 01:45:00 +1030",
        "04-05 02:00:00 +1030",
    ]
    assert local("*/30 * * * *", "Australia/Lord_Howe", "2026-10-04T01:40", 2) == [
        "10-04 02:30:00 +1100",
        "10-04 03:00:00 +1100",
    ]


def test_seconds_do_not_change_what_a_clock_change_means():
    assert local("15 30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 1) == [
        "03-29 03:00:15 +0200"
    ]
    assert local("15,45 30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 3) == [
        "10-25 02:30:15 +0200",
        "10-25 02:30:45 +0200",
        "10-26 02:30:15 +0100",
    ]


def test_fixed_job_is_not_repeated_when_asked_within_the_second_pass():
    second_pass = datetime(2026, 10, 25, 2, 15, tzinfo=ZoneInfo("Europe/Berlin"), fold=1)
    fire = CronSchedule.parse("30 2 * * *", "Europe/Berlin").next_after(second_pass)
    assert fire == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_fires_are_utc_and_strictly_after():
    rule = CronSchedule.parse("0 7 * * *", "Europe/Berlin")
    at_seven = datetime(2026, 7, 1, 5, 0, tzinfo=UTC)
    assert rule.next_after(at_seven - timedelta(microseconds=1)) == at_seven
    following = rule.next_after(at_seven)
    assert following == at_seven + timedelta(days=1)
    assert following is not None
    assert following.tzinfo is UTC
    with pytest.raises(ValueError, match="time zone"):
        rule.next_after(datetime(2026, 7, 1))


def test_fires_between_excludes_the_start_includes_the_end_and_stops_at_the_limit():
    rule = CronSchedule.parse("*/10 * * * *", "UTC")
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC)
    ten_past, twenty_past = noon + timedelta(minutes=10), noon + timedelta(minutes=20)
    assert rule.fires_between(noon, twenty_past, limit=9) == [ten_past, twenty_past]
    assert rule.fires_between(noon, twenty_past, limit=1) == [ten_past]
    assert rule.fires_between(noon, noon, limit=9) == []


def test_day_of_month_and_day_of_week_follow_vixie_cron():
    either = CronSchedule.parse("0 0 13 * FRI", "UTC")
    assert [f.day for f in islice(either.fires_after(datetime(2026, 7, 1, tzinfo=UTC)), 4)] == [
        3,
        10,
        13,
        17,
    ]
    both = CronSchedule.parse("0 0 */2 * MON", "UTC")
    assert [f.day for f in islice(both.fires_after(datetime(2026, 7, 1, tzinfo=UTC)), 2)] == [
        13,
        27,
    ]


def test_last_days_and_nth_weekdays():
    july = datetime(2026, 7, 1, tzinfo=UTC)
    days = {
        "0 0 L * *": [31, 31, 30],
        "0 0 LW * *": [31, 31, 30],
        "0 0 * * 5L": [31, 28, 25],
        "0 0 * * TUE#2": [14, 11, 8],
        "0 0 29 2 *": [29, 29, 29],
    }
    for expression, expected in days.items():
        fires = list(islice(CronSchedule.parse(expression, "UTC").fires_after(july), 3))
        assert [fire.day for fire in fires] == expected


rules = st.builds(
    CronSchedule.parse,
    st.sampled_from(
        [
            "30 2 * * *",
            "0 0 * * *",
            "15,45 0-3 * * *",
            "*/30 * * * *",
            "0 * * * *",
            "*/20 1-2 * * *",
            "0 */2 * * SUN",
            "20 30 2 * * *",
            "*/25 59 * * * *",
            "0 0 1 * *",
            "*/30 * 24-30 4 *",
            "0 12 29 2 *",
        ]
    ),
    st.sampled_from(ZONES),
)
moments = st.datetimes(
    min_value=datetime(2020, 1, 1),
    max_value=datetime(2030, 1, 1),
    timezones=st.just(UTC),
)
# The changes of the clock in ZONES, where mistakes would be.
changes = st.sampled_from(
    [
        datetime(2026, 3, 29, 1, tzinfo=UTC),
        datetime(2026, 10, 25, 1, tzinfo=UTC),
        datetime(2026, 3, 8, 7, tzinfo=UTC),
        datetime(2026, 11, 1, 6, tzinfo=UTC),
        datetime(2026, 4, 4, 15, tzinfo=UTC),
        datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
        datetime(2026, 3, 8, 5, tzinfo=UTC),
        datetime(2026, 11, 1, 5, tzinfo=UTC),
        datetime(2026, 4, 23, 22, tzinfo=UTC),
        datetime(2026, 10, 29, 21, tzinfo=UTC),
    ]
)
near_changes = st.builds(
    lambda change, seconds: change + timedelta(seconds=seconds),
    changes,
    st.integers(-4 * 3600, 4 * 3600),
)


@pytest.mark.slow
@given(rules, moments | near_changes, st.integers(0, 6 * 3600))
@settings(max_examples=400, deadline=None)
def test_fire_times_do_not_depend_on_where_one_starts_to_look(rule, moment, seconds):
    later = moment + timedelta(seconds=seconds)
    fires = list(islice(rule.fires_after(moment), 20))
    assert all(a < b for a, b in zip([moment, *fires], fires, strict=False))
    beyond = [fire for fire in fires if fire > later]
    assert list(islice(rule.fires_after(later), len(beyond))) == beyond


@given(rules, moments | near_changes)
@settings(max_examples=200, deadline=None)
def test_looking_back_agrees_with_looking_forward(rule, moment):
    latest = rule.latest_at_or_before(moment)
    assert latest is not None
    assert latest <= moment
    assert rule.next_after(latest - timedelta(seconds=1)) == latest
    following = rule.next_after(latest)
    assert following is not None
    assert following > moment


def test_looking_back_over_years_of_fires_is_quick():
    every_second_of_january = CronSchedule.parse("* * * * 1 *", "Europe/Berlin")
    latest = every_second_of_january.latest_at_or_before(datetime(2026, 11, 1, tzinfo=UTC))
    assert latest == datetime(2026, 1, 31, 22, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("0 7 * * MON-FRI", "At 07:00, Monday through Friday"),
        ("30 19 * * *", "At 19:30"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("@weekly", "At 00:00, only on Sunday"),
        ("0 9 * * FRI-SUN", "At 09:00, only on Friday, Saturday, and Sunday"),
        ("0 0 L * *", "At 00:00, on the last day of the month"),
        ("0 0 LW * *", "At 00:00, on the last weekday of the month"),
        ("0 0 * * 5L", "At 00:00, on the last Friday of the month"),
        ("0 9 * * MON#1", "At 09:00, on the first Monday of the month"),
        (
            "0 9 * * 1#1,3#3",
            "At 09:00, on the first Monday of the month and on the third Wednesday of the month",
        ),
        ("0 0 13 * FRI", "At 00:00, on day 13 of the month, or on Friday"),
        (
            "0 0 */16 * MON",
            "At 00:00, on day 1 and 17 of the month, and only on Monday",
        ),
        (
            "0 0 1 1 1#5",
            "At 00:00, on day 1 of the month, or on the fifth Monday of the month, only in January",
        ),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("*/45 * * * *", "At 0 and 45 minutes past the hour"),
        ("0 */13 * * *", "At 00:00 and 13:00"),
        ("5-50/45 * * * *", "At 5 and 50 minutes past the hour"),
        ("10/25 * * * *", "At 10 and 35 minutes past the hour"),
        ("*/25 9 * * *", "At 0, 25, and 50 minutes past the hour, at 09:00"),
        ("0 0 */10 * *", "At 00:00, on day 1, 11, 21, and 31 of the month"),
        ("0 0 1 */5 *", "At 00:00, on day 1 of the month, only in January, June, and November"),
        ("0 0 * * */2", "At 00:00, only on Sunday, Tuesday, Thursday, and Saturday"),
        ("*/45 * * * * *", "At 0 and 45 seconds past the minute"),
        ("*/20 */6 * * *", "Every 20 minutes, every 6 hours"),
        ("0 9-17/2 * * *", "Every 2 hours, between 09:00 and 17:59"),
        ("30 0 7 * * *", "At 07:00:30"),
    ],
)
def test_in_words(written, words):
    assert CronSchedule.parse(written, "Europe/Berlin").in_words() == f"{words} (Europe/Berlin)"


def test_words_are_english_whatever_the_machines_language(monkeypatch):
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("LANGUAGE", "de")
    assert CronSchedule.parse("0 7 * * *", "UTC").in_words() == "At 07:00 (UTC)"


def test_reading_a_schedule_does_not_load_what_only_words_and_mistakes_need():
    code = (
        "import sys; from rota.domain.schedules.rules.cron import CronSchedule;"
        "CronSchedule.parse('0 7 * * 1-5', 'Europe/Berlin');"
        "print([m for m in ('cron_descriptor', 'difflib') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
