import re
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.phrases import Phrase, parse_phrase
from rota.domain.schedules.rules.cron import CronSchedule

BERLIN = ZoneInfo("Europe/Berlin")
MONDAY_NOON = datetime(2026, 11, 23, 12, 0, tzinfo=BERLIN)


def read(text: str, now: datetime = MONDAY_NOON) -> Phrase:
    return parse_phrase(text, now=now)


def once(text: str, now: datetime = MONDAY_NOON) -> list[str]:
    phrase = read(text, now)
    assert (phrase.crons, phrase.every) == ((), None)
    assert all(instant.tzinfo is now.tzinfo for instant in phrase.instants)
    return [instant.isoformat() for instant in phrase.instants]


def refusal(text: str, now: datetime = MONDAY_NOON) -> str:
    with pytest.raises(InvalidInputError) as caught:
        read(text, now)
    assert caught.value.field == "when"
    assert len(caught.value.message) < 250
    assert re.search(r"[^. ]\.$", caught.value.message)
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "crons"),
    [
        ("DAILY  at\t7", "0 7 * * *"),
        ("daily 7", "0 7 * * *"),
        ("7 daily", "0 7 * * *"),
        ("at 7:30 on weekdays", "30 7 * * 1-5"),
        ("every day, at 07:30", "30 7 * * *"),
        ("daily at 12am, 12 pm and 7:30 p.m.", "0 0,12 * * *; 30 19 * * *"),
        ("daily at noon and midnight", "0 0,12 * * *"),
        ("daily at 7 and at 19", "0 7,19 * * *"),
        ("daily at 7, 7", "0 7 * * *"),
        ("workdays at 7", "0 7 * * 1-5"),
        ("every weekend at 9", "0 9 * * 0,6"),
        ("weekdays and saturday at 9", "0 9 * * 1-6"),
        ("monday to sunday at 9", "0 9 * * *"),
        ("Mon, Weds, and every Friday at 9", "0 9 * * 1,3,5"),
        ("tues and thurs at 9", "0 9 * * 2,4"),
        ("mon\u2013thu and sat at 9", "0 9 * * 1-4,6"),
        ("sat to mon at 9", "0 9 * * 0,1,6"),
        ("every week on monday at 9", "0 9 * * 1"),
        ("friday at 9 in november to february", "0 9 * 1,2,11,12 5"),
        ("on the 1st and the 15th of every month at 9", "0 9 1,15 * *"),
        ("1st, 2nd, 3rd and last day of the month at 9", "0 9 1-3,L * *"),
        ("first day of the month at 9", "0 9 1 * *"),
        ("on the first of the month at 9", "0 9 1 * *"),
        ("2nd tuesday of the month at 9", "0 9 * * 2#2"),
        ("fifth friday of the month at 9", "0 9 * * 5#5"),
        ("first monday and last friday of the month at 9", "0 9 * * 1#1,5L"),
        ("every first monday of the month at 9", "0 9 * * 1#1"),
        ("monthly on the last friday at 9", "0 9 * * 5L"),
        ("every month on the 3rd of january and july at 9", "0 9 3 1,7 *"),
        ("on the 31st of the month at 9", "0 9 31 * *"),
        ("last day of february at 9", "0 9 L 2 *"),
        ("annually on the 24th of december at noon", "0 12 24 12 *"),
        ("every 24 december at 9", "0 9 24 12 *"),
        ("on every 24 december at 9", "0 9 24 12 *"),
        ("hourly from 22 to 2 every day", "0 0-2,22,23 * * *"),
        ("every year on 24 December and 1 January at 9", "0 9 1 1 *; 0 9 24 12 *"),
        ("yearly on 29 february at 9", "0 9 29 2 *"),
        ("every 60 minutes", "0 * * * *"),
        ("every 30m", "*/30 * * * *"),
        ("every 12 hours", "0 */12 * * *"),
        ("every 2 hours at :15", "15 */2 * * *"),
        ("hourly on weekdays", "0 * * * 1-5"),
        ("every 20 minutes on the 1st of the month", "*/20 * 1 * *"),
        ("every minute from 9 to 10", "* 9 * * *; 0 10 * * *"),
        ("every 15 minutes from 9:30 to 10:15", "30,45 9 * * *; 0,15 10 * * *"),
        ("every 20 minutes from 9:10 to 11", "10,30,50 9,10 * * *"),
        ("every hour at :15 from 9 to 12", "15 9-11 * * *"),
        ("every 30 minutes from 22 to midnight", "0 0 * * *; */30 22,23 * * *"),
        ("every 30 minutes from 9am - 5pm", "*/30 9-16 * * *; 0 17 * * *"),
    ],
)
def test_recurring_phrase_becomes_cron(text, crons):
    phrase = read(text)
    assert (phrase.every, phrase.instants) == (None, ())
    assert "; ".join(phrase.crons) == crons


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("every 15 minutes from 9 to 10 on mondays", "09:00 09:15 09:30 09:45 10:00"),
        ("every 2 hours from 9:30 to 14", "09:30 11:30 13:30"),
        ("every 12 minutes between 9:50 and 10:20", "09:50 10:02 10:14"),
        ("daily at 7, 7:30, 8, 9:30", "07:00 07:30 08:00 09:30"),
    ],
)
def test_crons_together_fire_at_exactly_the_times_said(text, times):
    midnight = datetime(2026, 11, 23, tzinfo=UTC)  # a Monday
    fires = {
        fire
        for cron in read(text).crons
        for fire in islice(
            CronSchedule.parse(cron).fires_after(midnight - timedelta(seconds=1)), 99
        )
        if fire < midnight + timedelta(days=1)
    }
    assert " ".join(f"{fire:%H:%M}" for fire in sorted(fires)) == times


@pytest.mark.parametrize("count", range(1, 31))
def test_minutes_are_cron_only_where_they_divide_the_hour(count):
    phrase = read(f"every {count} minutes")
    assert bool(phrase.crons) == (60 % count == 0)
    assert phrase.every == (None if phrase.crons else timedelta(minutes=count))


@pytest.mark.parametrize(
    ("text", "every"),
    [
        ("every 3 days", timedelta(days=3)),
        ("every 1 day", timedelta(days=1)),
        ("every 24 hours", timedelta(days=1)),
        ("every 5 hours", timedelta(hours=5)),
        ("every 1h30m", timedelta(minutes=90)),
        ("every 1 hour, 30 min", timedelta(minutes=90)),
        ("every 2 weeks", timedelta(weeks=2)),
        ("every 45 seconds", timedelta(seconds=45)),
    ],
)
def test_other_steps_become_an_interval(text, every):
    assert read(text) == Phrase(every=every)


@pytest.mark.parametrize(
    ("text", "instants"),
    [
        ("in 90 minutes", ["2026-11-23T13:30:00+01:00"]),
        ("in an hour and 30 seconds", ["2026-11-23T13:00:30+01:00"]),
        ("tomorrow 9", ["2026-11-24T09:00:00+01:00"]),
        ("at noon tomorrow", ["2026-11-24T12:00:00+01:00"]),
        ("tomorrow at 17 and 9", ["2026-11-24T09:00:00+01:00", "2026-11-24T17:00:00+01:00"]),
        ("today and tomorrow at 17", ["2026-11-23T17:00:00+01:00", "2026-11-24T17:00:00+01:00"]),
        ("next mon at 9", ["2026-11-30T09:00:00+01:00"]),
        ("next sunday at 9", ["2026-11-29T09:00:00+01:00"]),
        ("on december 24th at 18:00", ["2026-12-24T18:00:00+01:00"]),
        ("24 Dec 2027, 18:00", ["2027-12-24T18:00:00+01:00"]),
        ("on 22 November at 9", ["2027-11-22T09:00:00+01:00"]),
        ("on 29 february at 9", ["2028-02-29T09:00:00+01:00"]),
        ("2026-12-24T18:00", ["2026-12-24T18:00:00+01:00"]),
        ("on 2027-07-01 at 9", ["2027-07-01T09:00:00+02:00"]),
    ],
)
def test_one_off_phrase_becomes_instants(text, instants):
    assert once(text) == instants


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "The phrase is empty"),
        ("daily at 7" + " " * 200, "is longer than 200 characters."),
        ("x" * 150, repr("x" * 59 + "…")),
        ("Dayly at 7", "'Dayly' is not understood; write for example 'weekdays at 7:30'"),
        ("daily at 7 please", "'please' is not understood"),
        ("daily at 7:5", "'7:5' is not understood"),
        ("daily at 7:30:15", "'7:30:15' is not understood"),
        ("daily at 19h30", "'h' is not understood"),
        ("daily at \u0663", "'\u0663' is not understood"),
        ("daily at 7\x1b[2J", r"'\x1b[2J' is not understood"),
        ("every -5 minutes", "'-' is not understood"),
        ("every other day at 9", "does not say when it begins"),
        ("next week at 9", "'next' is not understood"),
        ("daily at 9,", "missing after the last comma"),
        (", daily at 9", "',' is not understood"),
        ("every", "'every' is not understood"),
        ("at", "'at' is no time of day"),
        ("on", "'on' is not understood"),
        ("in", "'in' is not understood as a length of time"),
        ("in the morning", "'the' is not understood as a length of time"),
        ("daily at 25:00", "'25:00' is no time of day"),
        ("daily at 7:60", "'7:60' is no time of day"),
        ("daily at 24", "'24' is no time of day"),
        ("daily at 13pm", "'13 pm' is no time of day"),
        ("daily at 0 am", "'0 am' is no time of day"),
        ("daily at 0730", "'0730' is no time of day"),
        ("daily at 7 and 5pm", "'7' is not clear beside am or pm"),
        ("daily", "'daily' names no time of day"),
        ("on the 15th", "names no time of day"),
        ("tomorrow", "'tomorrow' names no time of day"),
        ("every year on 24 december", "names no time of day"),
        ("7:30", "does not say on which days; write for example 'daily at 7:30'"),
        ("weekly at 9", "write for example 'weekly on monday at 9'"),
        ("yearly at 9", "write for example 'every year on 24 December at 9'"),
        ("yearly on the 3rd at 9", "needs a month to be yearly"),
        ("weekly on the 3rd at 9", "does not come weekly"),
        ("monthly on mondays at 9", "write 'first monday of the month at 9'"),
        ("mondays of the month at 9", "write 'first monday of the month at 9'"),
        ("daily on mondays at 9", "'mondays' comes after 'daily'"),
        ("mondays at 9 fridays at 10", "a phrase has one choice of days, so write two schedules"),
        ("mondays at 9 and fridays at 10", "'and fridays' does not continue a list"),
        ("first at 9", "needs a noun"),
        ("every second tuesday at 9", "every other week"),
        ("every second", "'every second' is not clear"),
        ("every 3rd day of the month at 9", "'every 3rd day' is not clear"),
        ("every 15th and every 3rd day of the month at 9", "'and every' does not continue a list"),
        ("hourly from 22 to 2 in december", "pass midnight"),
        ("every 40 minutes from 9 to 17", "'from 9' needs a step that divides"),
        ("6th monday of the month at 9", "No month has '6th monday'"),
        ("32nd of the month at 9", "'32nd' is no day of a month"),
        ("0th of the month at 9", "'0th' is no day of a month"),
        ("first weekday of the month at 9", "only 'last weekday of the month' is"),
        ("last of the month at 9", "lacks a day"),
        ("the 13th and friday at 9", "mixes days of the week"),
        ("on the 24th of december at 18:00", "may be meant once or every year"),
        ("on the first of january at 9", "may be meant once or every year"),
        ("next friday, 24 december at 9", "'next' beside '24' may be one day or two"),
        ("monthly on the 30th of february at 9", "never comes in the months named"),
        ("30th of january and february at 9", "'February' has no day 30"),
        ("on 15 at 9", "'15' is not clear; write 'on the 15th' for a day"),
        ("december 24 18", "It is not clear what '18' is"),
        ("daily in december 9", "It is not clear what '9' is"),
        ("every 15", "'15' is not understood as a length of time"),
        ("every 0 minutes", "not between a second and ten years"),
        ("every " + "9" * 100 + " weeks", "not between a second and ten years"),
        ("every 3 months", "'3 months' has no fixed length"),
        ("every 3 days at 9", "or 'every 3 days from 2026-12-04 at 9'"),
        ("every 15 minutes at 9", "has no time of day such as '9'"),
        ("every 15 minutes at :05", "need a step of hours"),
        ("every hour at :60", "':60' is no minute of an hour"),
        ("daily at :15", "need a step"),
        ("daily from 9 to 17", "need a step"),
        ("every 90 minutes from 9 to 17", "'from 9' needs a step that divides"),
        ("every 3 days in march", "needs a step that divides"),
        ("every 15 minutes tomorrow", "cannot stand beside a step"),
        ("monthly every 15 minutes", "cannot stand beside a step"),
        ("hourly from 9", "'from 9' lacks an end"),
        ("hourly from 9 to 9", "end as they begin"),
        ("hourly from 1 to 5pm", "'1' is not clear beside am or pm"),
        ("hourly from 22 to 6 on weekdays", "pass midnight"),
        ("hourly at :45 from 9 to 9:30", "No such time lies within the hours"),
        ("in 90 minutes at 9", "cannot stand beside 'in ...'"),
        ("tomorrow at 9 in december", "cannot stand beside a date"),
        ("every year on 2026-12-24 at 9", "is a date, so nothing else may say how often"),
        ("monthly on 24 december at 9", "is a date, so nothing else may say how often"),
        ("on 31 april at 9", "The date '31 april' does not exist"),
        ("2027-02-29 9:00", "The date '2027-02-29' does not exist"),
        ("0000-01-01 9:00", "does not exist"),
        ("9999-12-31 23:59", "is too far away"),
        ("0001-01-01 0:00", "has passed already"),
        ("today at 9", "'2026-11-23 09:00' has passed already"),
        ("today at 12", "'2026-11-23 12:00' has passed already"),
        ("23 november at 9", "'2026-11-23 09:00' has passed already"),
        ("today at 9 and 17", "'2026-11-23 09:00' has passed already"),
        ("2025-12-24 18:00", "'2025-12-24 18:00' has passed already"),
    ],
)
def test_phrase_that_is_not_clear_is_one_sentence_that_names_the_place(text, sentence):
    assert sentence in refusal(text)


def test_one_off_at_a_local_time_that_the_clock_jumps_over_is_refused():
    now = datetime(2026, 3, 28, 12, 0, tzinfo=BERLIN)
    assert "'2026-03-29 02:30' does not exist in Europe/Berlin" in refusal("tomorrow at 2:30", now)
    assert once("tomorrow at 3", now) == ["2026-03-29T03:00:00+02:00"]


def test_one_off_at_a_local_time_that_comes_twice_means_the_first_pass():
    now = datetime(2026, 10, 24, 12, 0, tzinfo=BERLIN)
    assert once("tomorrow at 2:30", now) == ["2026-10-25T02:30:00+02:00"]


def test_first_pass_has_gone_by_during_the_second():
    second_pass = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1)
    assert "has passed already" in refusal("today at 2:30", second_pass)


def test_delay_counts_real_time_over_a_change_of_the_clock():
    before = datetime(2026, 3, 29, 1, 30, tzinfo=BERLIN)
    assert once("in 2 hours", before) == ["2026-03-29T04:30:00+02:00"]


def test_next_friday_said_on_a_friday_is_a_week_away():
    friday = datetime(2026, 11, 27, 8, 0, tzinfo=BERLIN)
    assert once("next friday at 9", friday) == ["2026-12-04T09:00:00+01:00"]


VOCABULARY = """
    daily hourly weekly monthly yearly annually every each day days weekdays weekday weekends monday
    mon tuesdays fri to - , and on the at of in from between until month year january feb 31st 30th
    15th 1st 5th first second third fifth last 7 9 17 30 7:30 07:15 25:00 am pm noon midnight :15
    :45 15 20 minutes minute hours hour 3 weeks seconds 2 today tomorrow next december 24 29 2026
    2027-02-28 a an x
""".split()
FREQUENT = "daily every at of on the and , from to month 9 minutes monday 15th first last".split()


@pytest.mark.slow
@given(st.lists(st.sampled_from(VOCABULARY + 3 * FREQUENT), max_size=12))
@settings(max_examples=1_500, deadline=None)
def test_any_words_are_a_rule_that_fires_or_a_clear_error(words):
    check_that_it_fires_or_is_a_clear_error(" ".join(words))


CLAUSES = """
    daily|hourly|monthly|yearly|every year|every day|weekdays|mondays|mon to fri|on the 15th
    on the 1st, 30th and 31st|last day of the month|last weekday of the month|last friday
    first monday and last friday|fifth sunday|first and third tuesday of the month|of the month
    of february|in january and june|in november to march|at 7|at 7:30 and 19|at noon|at 9 pm
    at :15|at :15 and :45|every 15 minutes|every 7 minutes|every 3 hours|every 3 days
    from 9 to 17|from 22:30 to 6|between 9:10 and 17:00|tomorrow|on 29 february|on dec 24
    on 30 november and 1 december|next friday|2027-02-28|in 90 minutes
"""


@pytest.mark.slow
@given(
    st.lists(
        st.sampled_from(re.split(r"\||\n *", CLAUSES.strip())), min_size=1, max_size=4, unique=True
    )
)
@settings(max_examples=1_500, deadline=None)
def test_any_clauses_are_a_rule_that_fires_or_a_clear_error(clauses):
    check_that_it_fires_or_is_a_clear_error(" ".join(clauses))


def check_that_it_fires_or_is_a_clear_error(text: str) -> None:
    try:
        phrase = read(text)
    except InvalidInputError:
        refusal(text)
        return
    assert bool(phrase.crons) + (phrase.every is not None) + bool(phrase.instants) == 1
    for cron in phrase.crons:
        rule = CronSchedule.parse(cron, "UTC")
        assert rule.fields == cron
        assert rule.next_after(MONDAY_NOON) is not None
    assert list(phrase.instants) == sorted(phrase.instants)
    assert all(instant > MONDAY_NOON for instant in phrase.instants)
