"""What a due schedule leads to: every fire time is accounted for, exactly once."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.domain.ids import ScheduleId, UserId
from rota.domain.notifications.notification import Category
from rota.domain.schedules.calendars import CalendarDay
from rota.domain.schedules.firing import ON_TIME, plan_fires
from rota.domain.schedules.schedule import CatchUp, Policy, Schedule
from rota.domain.schedules.timing import Timing, due_time, jitter_delay

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
ID = ScheduleId(UUID(int=7))


def schedule(cron="*/10 * * * *", *, zone="UTC", policy=None, runs_started=0, **timing):
    return Schedule(
        id=ID,
        user_id=UserId(UUID(int=1)),
        name="s",
        agent_name="a",
        prompt=None,
        timing=Timing(zone, cron=cron, **timing),
        policy=policy or Policy(),
        follows_owner_zone=False,
        result_category=Category.AGENT_RESULT,
        is_active=True,
        pause_note=None,
        next_fire_at=None,
        next_fire_time=None,
        plan_from=MONDAY_7,
        paused_at=None,
        completed_at=None,
        runs_started=runs_started,
        failures_in_row=0,
        revision=1,
        created_at=MONDAY_7,
    )


@given(
    every=st.sampled_from(["* * * * *", "*/7 * * * *", "0 * * * *", "0 7 * * *", "*/20 * * * * *"]),
    late=st.integers(0, 40_000),
    window=st.sampled_from([0, 60, 3_600, 86_400]),
    catch_up=st.sampled_from(CatchUp),
    hours=st.sampled_from([None, "08:00-12:00", "22:00-06:00"]),
)
def test_every_fire_time_is_accounted_for_once(every, late, window, catch_up, hours):
    policy = Policy(catch_up=catch_up, catch_up_window=timedelta(seconds=window))
    of = schedule(every, policy=policy, active_hours=hours)
    now = MONDAY_7 + timedelta(seconds=late)

    plan = plan_fires(of, due_since=MONDAY_7, now=now)

    times = [MONDAY_7, *of.timing.rule().fires_between(MONDAY_7, now, limit=100_000)]
    accounted = [fire.fire_time for fire in plan.fires]
    for passed in plan.passed:
        inside = [time for time in times if passed.first <= time <= passed.last]
        assert passed.count in {None, len(inside)}
        accounted += inside
    assert sorted(accounted) == times
    allowed = of.timing.filter(())
    for fire in plan.fires:
        assert allowed.objection(fire.fire_time) is None
        assert now - fire.fire_time <= max(policy.catch_up_window, ON_TIME)
        assert fire.late == (now - fire.fire_time > ON_TIME)
    assert plan.next is not None
    assert plan.next.fire_time > now


def test_all_missed_fires_of_the_window_run_in_order_when_asked_to():
    of = schedule(policy=Policy(catch_up=CatchUp.ALL))
    plan = plan_fires(of, due_since=MONDAY_7, now=MONDAY_7 + 95 * MINUTE)
    assert [fire.fire_time for fire in plan.fires] == [
        MONDAY_7 + minute * MINUTE for minute in (40, 50, 60, 70, 80, 90)
    ]
    assert [passed.first for passed in plan.passed] == [
        MONDAY_7 + minute * MINUTE for minute in (0, 10, 20, 30)
    ]


def test_day_off_is_suppressed_and_named():
    day = CalendarDay(date(2026, 3, 2), date(2026, 3, 3), "Carnival")
    plan = plan_fires(
        schedule("0 7 * * *"), due_since=MONDAY_7, days_off=[("holidays", day)], now=MONDAY_7
    )
    assert plan.fires == ()
    assert [(p.outcome, p.reason) for p in plan.passed] == [
        ("suppressed", "2026-03-02 is a day off (Carnival) by holidays")
    ]


def test_day_off_is_told_on_the_schedules_own_clock():
    of = schedule("0 7 * * *", zone="Asia/Tokyo", excluded_days="2026-03-03")
    due = datetime(2026, 3, 2, 22, tzinfo=UTC)  # 3 March, 7:00 in Tokyo
    assert plan_fires(of, due_since=due, now=due).passed[0].outcome == "suppressed"


def test_latest_allowed_fire_is_caught_up_where_the_latest_is_suppressed():
    of = schedule("*/10 * * * *", active_hours="06:00-07:20")
    plan = plan_fires(of, due_since=MONDAY_7, now=MONDAY_7 + 35 * MINUTE)
    assert [fire.fire_time for fire in plan.fires] == [MONDAY_7 + 10 * MINUTE]
    assert [(p.first.minute, p.outcome) for p in plan.passed] == [
        (0, "missed"),
        (20, "suppressed"),
        (30, "suppressed"),
    ]


def test_night_of_suppressed_fires_is_no_missed_fire():
    of = schedule("* * * * *", active_hours="08:00-18:00")
    evening = datetime(2026, 3, 2, 18, tzinfo=UTC)
    plan = plan_fires(of, due_since=evening, now=evening + 13 * HOUR)
    assert {passed.outcome for passed in plan.passed} == {"suppressed"}
    assert sum(passed.count for passed in plan.passed) == 13 * 60 + 1


def test_long_night_becomes_ranges_and_still_no_missed_fire():
    of = schedule("*/20 * * * * *", active_hours="08:00-18:00")
    evening = datetime(2026, 3, 2, 18, tzinfo=UTC)
    plan = plan_fires(of, due_since=evening, now=evening + 13 * HOUR)
    assert [(p.outcome, p.count) for p in plan.passed] == [("suppressed", 13 * 180 + 1)]


def test_runs_end_with_their_number():
    of = schedule(policy=Policy(catch_up=CatchUp.ALL, max_runs=5), runs_started=3)
    plan = plan_fires(of, due_since=MONDAY_7, now=MONDAY_7 + 45 * MINUTE)
    assert [fire.fire_time.minute for fire in plan.fires] == [0, 10]
    assert plan.passed == ()


@given(nominal=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), jitter=st.integers(1, 900))
def test_jitter_is_deterministic_bounded_and_keeps_the_order(nominal, jitter):
    of = schedule("*/5 * * * *", jitter=timedelta(seconds=jitter))
    rule = of.timing.rule()
    first, second = islice(rule.fires_after(nominal.replace(tzinfo=UTC)), 2)
    due = [due_time(rule, ID, time, of.timing.jitter) for time in (first, second)]
    assert due == [due_time(rule, ID, time, of.timing.jitter) for time in (first, second)]
    assert first <= due[0] <= min(first + timedelta(seconds=jitter), second)
    assert due[0] <= due[1]


def test_jitter_spreads_schedules_evenly():
    delays = [jitter_delay(UUID(int=n), MONDAY_7, timedelta(seconds=100)) for n in range(2_000)]
    tenths = [sum(d // timedelta(seconds=10) == tenth for d in delays) for tenth in range(10)]
    assert all(150 < count < 250 for count in tenths)


def test_fire_that_its_jitter_delays_is_not_yet_due():
    of = schedule("*/10 * * * *", jitter=timedelta(minutes=10))
    rule = of.timing.rule()
    second = MONDAY_7 + 10 * MINUTE
    due = due_time(rule, ID, second, of.timing.jitter)
    plan = plan_fires(of, due_since=MONDAY_7, now=due - timedelta(seconds=1))
    assert [fire.fire_time for fire in plan.fires] == [MONDAY_7]
    assert plan.next is not None
    assert (plan.next.fire_time, plan.next.due_at) == (second, due)


@pytest.mark.parametrize("cron", ["* * * * *", "*/20 * * * * *"])
def test_year_of_missed_fires_is_one_range_and_one_run(cron):
    now = MONDAY_7 + timedelta(days=365)
    plan = plan_fires(schedule(cron), due_since=MONDAY_7, now=now)
    assert [fire.fire_time for fire in plan.fires] == [now]
    (passed,) = plan.passed
    assert (passed.first, passed.count, passed.outcome) == (MONDAY_7, None, "missed")
    assert passed.last < now


def test_year_of_missed_fires_runs_those_of_the_window_when_all_are_wanted():
    of = schedule("* * * * *", policy=Policy(catch_up=CatchUp.ALL))
    now = MONDAY_7 + timedelta(days=365)
    plan = plan_fires(of, due_since=MONDAY_7, now=now)
    assert len(plan.fires) == 61
    (passed,) = plan.passed
    assert passed.last == plan.fires[0].fire_time - MINUTE


def test_end_ends():
    of = schedule("0 7 * * *", ends_at=MONDAY_7 + HOUR)
    assert plan_fires(of, due_since=MONDAY_7, now=MONDAY_7).next is None
    assert plan_fires(replace(of), due_since=MONDAY_7, now=MONDAY_7).fires
