"""Pausing everything of a person: what schedulers hold, what is told of it, and that it ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.pauses import Pause
from rota.services.schedules.explanations import ExplanationService
from rota.services.schedules.pauses import PauseService
from rota.services.schedules.service import ScheduleService
from tests.services.harness import PAST

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
VACATION = "everything paused until 2026-03-09 00:00 UTC: vacation"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def scheduler(workshop):
    return workshop.scheduler()


@pytest.fixture
def schedules(database):
    return ScheduleService(database, clock=now)


@pytest.fixture
def pauses(database, schedules):
    return PauseService(database, schedules, clock=now)


@pytest.fixture
def pause(workshop):
    async def insert(starts_at, ends_at, note="vacation", user=None):
        await workshop.owner.execute(
            "INSERT INTO pauses (user_id, starts_at, ends_at, note) VALUES (%s, %s, %s, %s)",
            [user or workshop.user, starts_at, ends_at, note],
        )

    return insert


async def outcomes(workshop):
    rows = await workshop.rows("schedule_occurrences", "fire_time")
    return [(row["fire_time"], row["outcome"], row["reason"]) for row in rows]


async def test_what_falls_due_in_a_pause_is_skipped_with_its_reason_and_the_next_fire_runs(
    workshop, scheduler, pause
):
    await workshop.due(MONDAY_7)
    await pause(MONDAY_7 - DAY, MONDAY_7 + 6 * DAY + 17 * HOUR)

    ticks = [await scheduler.tick(MONDAY_7 + n * DAY) for n in range(8)]

    assert [tick.fired for tick in ticks] == [0] * 7 + [1]
    assert await outcomes(workshop) == [
        *[(MONDAY_7 + n * DAY, "skipped", VACATION) for n in range(7)],
        (MONDAY_7 + 7 * DAY, "fired", ""),
    ]
    assert len(await workshop.rows("agent_runs")) == 1
    assert (await workshop.row("agent_schedules"))["runs_started"] == 1


async def test_pause_counts_its_first_instant_and_not_its_last(workshop, scheduler, pause):
    await workshop.due(MONDAY_7)
    await pause(MONDAY_7, MONDAY_7 + DAY)

    ticks = [await scheduler.tick(MONDAY_7 + n * DAY) for n in range(2)]

    assert [tick.fired for tick in ticks] == [0, 1]


async def test_fires_of_a_pause_are_not_caught_up_by_a_scheduler_that_comes_after_it(
    workshop, scheduler, pause
):
    await workshop.due(
        MONDAY_7, cron="0 * * * *", catch_up="all", catch_up_window_seconds=30 * 86400
    )
    await pause(MONDAY_7 - DAY, MONDAY_7 + 2 * HOUR)

    tick = await scheduler.tick(MONDAY_7 + 3 * HOUR)

    assert tick.fired == 2
    assert [outcome for _, outcome, _ in await outcomes(workshop)] == [
        "skipped",
        "skipped",
        "fired",
        "fired",
    ]


async def test_fire_of_before_a_pause_does_not_begin_in_it(workshop, scheduler, pause):
    await workshop.due(MONDAY_7)
    await pause(MONDAY_7 + MINUTE, None, note="")

    tick = await scheduler.tick(MONDAY_7 + 2 * MINUTE)

    assert (tick.fired, tick.missed) == (0, 0)
    assert await outcomes(workshop) == [
        (MONDAY_7, "skipped", "everything paused until it is resumed")
    ]


async def test_fire_that_its_jitter_delays_past_the_end_of_a_pause_is_skipped(
    workshop, scheduler, pause
):
    await workshop.due(MONDAY_7 + MINUTE, next_fire_time=MONDAY_7, jitter_seconds=120)
    await pause(MONDAY_7 - DAY, MONDAY_7 + MINUTE)

    assert (await scheduler.tick(MONDAY_7 + MINUTE)).fired == 0

    ((fire_time, outcome, _),) = await outcomes(workshop)
    assert (fire_time, outcome) == (MONDAY_7, "skipped")


async def test_day_off_in_a_pause_stays_a_day_off(workshop, scheduler, pause):
    await workshop.due(MONDAY_7, excluded_days="2026-03-02")
    await pause(MONDAY_7 - DAY, None)

    await scheduler.tick(MONDAY_7)

    assert [outcome for _, outcome, _ in await outcomes(workshop)] == ["suppressed"]


async def test_reason_names_the_end_on_the_clock_of_the_schedule(workshop, scheduler, pause):
    await workshop.due(MONDAY_7, time_zone="Asia/Tokyo")
    await pause(MONDAY_7 - DAY, MONDAY_7 + DAY)

    await scheduler.tick(MONDAY_7)

    ((_, _, reason),) = await outcomes(workshop)
    assert reason == "everything paused until 2026-03-03 16:00 JST: vacation"


async def test_pause_of_another_person_holds_nothing_of_mine(workshop, scheduler, pause, bob):
    await workshop.due(MONDAY_7)
    await workshop.due(MONDAY_7, name="his", user=bob)
    await pause(MONDAY_7 - DAY, None, user=bob)

    assert (await scheduler.tick(MONDAY_7)).fired == 1

    assert (await workshop.row("agent_runs"))["user_id"] == workshop.user


async def test_pause_begins_now_keeps_its_note_and_ends_when_it_is_resumed(
    workshop, pauses, scheduler
):
    await workshop.due(now() + HOUR, every_seconds=3600, anchor_at=now() + HOUR)

    first = await pauses.pause(workshop.user, length="2w", note=" away\nfrom it all ")
    second = await pauses.pause(workshop.user)

    assert first.note == second.note == "away from it all"
    assert first.ends_at - first.starts_at == pytest.approx(timedelta(weeks=2), abs=MINUTE)
    assert second.ends_at is None
    assert await pauses.get(workshop.user) == second
    assert (await scheduler.tick(now() + HOUR + MINUTE)).fired == 0
    assert await pauses.resume(workshop.user)
    assert await pauses.get(workshop.user) is None
    assert not await pauses.resume(workshop.user)
    assert (await scheduler.tick(now() + 2 * HOUR + MINUTE)).fired == 1
    assert [row["ends_at"] <= now() for row in await workshop.rows("pauses")] == [True, True]


async def test_pause_to_come_holds_nothing_before_it(workshop, pauses, scheduler):
    later = now() + DAY
    first = now() - 3 * MINUTE
    await workshop.due(first, every_seconds=86400, anchor_at=first, overlap_policy="allow_all")

    made = await pauses.pause(
        workshop.user, start=later.isoformat(timespec="seconds"), length="2d", note="soon"
    )

    assert made.starts_at == later.replace(microsecond=0)
    assert made.starts_at + 2 * DAY <= made.ends_at <= made.starts_at + 2 * DAY + MINUTE
    ticks = [await scheduler.tick(first + n * DAY + MINUTE) for n in range(5)]
    assert [tick.fired for tick in ticks] == [1, 1, 0, 0, 1]
    assert await pauses.resume(workshop.user)
    assert await workshop.rows("pauses") == []


@pytest.mark.parametrize(
    "said",
    [
        {"until": "2020-01-01"},
        {"length": "0s"},
        {"start": "2030-01-02", "until": "2030-01-01"},
        {"until": "2030-01-01", "length": "3d"},
        {"until": "someday"},
        {"length": "100w", "note": "x" * 1001},
    ],
)
async def test_pause_that_makes_no_sense_is_refused_and_changes_nothing(workshop, pauses, said):
    before = await pauses.pause(workshop.user, length="1w", note="kept")

    with pytest.raises(InvalidInputError):
        await pauses.pause(workshop.user, **said)

    assert await pauses.get(workshop.user) == before


async def test_next_fires_are_those_after_the_pause(workshop, pauses, schedules):
    await workshop.schedule(cron="0 7 * * *")
    pause = await pauses.pause(workshop.user, length="3d", note="away")

    (fires,) = await schedules.upcoming(workshop.user, await schedules.all(workshop.user), runs=2)

    skipped, *others = fires
    assert skipped.suppressed.startswith("everything paused until")
    assert skipped.suppressed.endswith(": away")
    assert len(others) == 2
    assert all(f.suppressed is None and f.fire_time >= pause.ends_at for f in others)


async def test_calendar_has_each_fire_of_the_pause(workshop, pauses, schedules):
    await workshop.schedule(cron="0 7 * * *")
    await pauses.pause(workshop.user, length="3d")

    (fires,) = await schedules.upcoming(
        workshop.user, await schedules.all(workshop.user), length=5 * DAY
    )

    assert [fire.suppressed is None for fire in fires] == [False] * 3 + [True] * 2


async def test_pause_without_an_end_leaves_no_next_fire_however_often_it_fires(
    workshop, pauses, schedules
):
    await workshop.schedule(every_seconds=60)
    await pauses.pause(workshop.user)

    (fires,) = await schedules.upcoming(workshop.user, await schedules.all(workshop.user), runs=5)

    assert [fire.suppressed for fire in fires] == ["everything paused until it is resumed"]


async def test_schedule_whose_last_fire_lies_in_the_pause_is_named(workshop, pauses):
    await workshop.schedule(name="once", instants=[now() + HOUR])
    await workshop.schedule(name="past it", instants=[now() + HOUR, now() + 9 * DAY])
    await workshop.schedule(name="daily")
    await workshop.schedule(name="resting", instants=[now() + HOUR], is_active=False)

    await pauses.pause(workshop.user, length="2d")

    found = await pauses.schedules_without_fire(workshop.user)
    assert [schedule.name for schedule in found] == ["once"]
    await pauses.pause(workshop.user)
    assert await pauses.schedules_without_fire(workshop.user) == ()


async def test_why_says_what_a_pause_did_does_and_will_do(workshop, schedules, pause):
    await workshop.schedule(created_at=PAST, plan_from=PAST, next_fire_at=MONDAY_7)
    await pause(MONDAY_7 - DAY, MONDAY_7 + 6 * DAY + 17 * HOUR)
    await workshop.scheduler().tick(MONDAY_7)

    async def why(at, clock):
        service = ExplanationService(workshop.database, schedules, clock=lambda: clock)
        found = await service.why(workshop.user, "morning", at)
        return found.verdict, found.why[0]

    assert await why("2026-03-02 07:00", MONDAY_7) == ("skipped", f"E{VACATION[1:]}.")
    assert await why("2026-03-04 07:00", MONDAY_7) == ("skipped", f"It will not fire: {VACATION}.")
    assert await why("2026-03-03 07:00", MONDAY_7 + DAY + MINUTE) == (
        "skipped",
        f"No scheduler has taken it yet, and none will run it: {VACATION}.",
    )


async def test_whoever_pauses_in_a_loop_fills_no_table(workshop, pauses):
    for _ in range(105):
        await pauses.pause(workshop.user)

    assert len(await workshop.rows("pauses")) <= 100


async def test_length_ends_on_a_full_minute_and_a_short_one_on_a_full_second(workshop, pauses):
    long = await pauses.pause(workshop.user, length="2w")
    short = await pauses.pause(workshop.user, length="90s")

    assert (long.ends_at.second, long.ends_at.microsecond) == (0, 0)
    assert short.ends_at.microsecond == 0
    for pause, length in ((long, timedelta(weeks=2)), (short, timedelta(seconds=90))):
        assert length <= pause.ends_at - pause.starts_at <= length + MINUTE


def test_end_is_said_to_the_second_where_it_has_one():
    end = datetime(2026, 3, 9, 8, 0, 5, tzinfo=UTC)

    assert Pause(MONDAY_7, end, "").in_words() == "everything paused until 2026-03-09 08:00:05 UTC"


async def test_nobody_pauses_or_resumes_for_another_person(workshop, database, pauses, bob):
    await pauses.pause(workshop.user, note="mine")

    assert await pauses.get(bob) is None
    assert not await pauses.resume(bob)
    await pauses.pause(bob, note="his")

    assert (await pauses.get(workshop.user)).note == "mine"
    for statement in ("SELECT public.pause_everything()", "SELECT public.resume_everything()"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.transaction() as conn:
                await conn.execute("SET LOCAL ROLE anon")
                await conn.execute(statement)


@pytest.mark.parametrize("said", ["ends_at => 'infinity'", "starts_at => 'infinity'"])
async def test_pause_past_all_calendars_is_refused(workshop, database, said):
    with pytest.raises(psycopg.errors.CheckViolation):
        async with database.acting_as(workshop.user) as conn:
            await conn.execute(f"SELECT public.pause_everything({said})")
