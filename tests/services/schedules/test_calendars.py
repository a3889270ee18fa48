"""Calendars: a person's days off, and the schedules that keep them."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest

from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError, StatementError
from rota.domain.schedules.calendars import CalendarDay
from rota.domain.schedules.drafts import Draft
from rota.services.schedules.calendars import CalendarService
from rota.services.schedules.service import NewSchedule, ScheduleEdit, ScheduleService
from rota.store.schedules.calendars import link_calendars
from tests.services.harness import ANSWER
from tests.unit.schedules.test_calendar_files import calendar

MONDAY_7 = datetime(2026, 3, 2, 7, tzinfo=UTC)
CARNIVAL = CalendarDay(date(2026, 3, 2), date(2026, 3, 3), "Carnival")
FILE = calendar(
    "UID:1\nDTSTART;VALUE=DATE:20260302\nDTEND;VALUE=DATE:20260304\nSUMMARY:Carnival",
    "UID:2\nDTSTART;VALUE=DATE:20201225\nRRULE:FREQ=YEARLY\nSUMMARY:Christmas",
)


def clock():
    return MONDAY_7 - timedelta(hours=1)


@pytest.fixture
def calendars(workshop):
    return CalendarService(workshop.database, clock=clock)


@pytest.fixture
def schedules(workshop):
    return ScheduleService(workshop.database, clock=clock)


async def test_imported_file_is_listed_with_its_next_day(workshop, calendars):
    made = await calendars.import_file(workshop.user, "holidays", FILE, "de.ics")

    assert (made.name, made.source, made.next_day) == ("holidays", "de.ics", date(2026, 3, 2))
    assert made.days == 1 + 21  # Christmas, last year and for twenty years
    assert made.covers_until == date(2046, 3, 17)
    assert await calendars.all(workshop.user) == (made,)


async def test_importing_again_replaces_the_days_and_keeps_the_schedules(
    workshop, calendars, schedules
):
    await workshop.agent(ANSWER)
    await calendars.add_days(workshop.user, "holidays", [CARNIVAL])
    added = await schedules.add(
        workshop.user,
        NewSchedule("morning", "watcher", Draft(when="0 7 * * *"), calendars=("holidays",)),
    )

    await calendars.import_file(workshop.user, "holidays", FILE, "de.ics")

    _, days = await calendars.get(workshop.user, "holidays")
    assert CARNIVAL in days
    assert await schedules.calendars(workshop.user, added) == ("holidays",)


async def test_schedule_does_not_fire_on_a_day_of_its_calendar(workshop, calendars):
    await calendars.add_days(workshop.user, "holidays", [CARNIVAL])
    schedule = await workshop.due(MONDAY_7)
    await workshop.owner.execute(
        "INSERT INTO schedule_calendars (schedule_id, calendar_id, user_id)"
        " SELECT %s, id, user_id FROM calendars",
        [schedule.id],
    )
    scheduler = workshop.scheduler()

    for day in range(3):
        await scheduler.tick(MONDAY_7 + timedelta(days=day))

    rows = await workshop.rows("schedule_occurrences", "fire_time")
    assert [(row["outcome"], row["reason"]) for row in rows] == [
        ("suppressed", "2026-03-02 is a day off (Carnival) by holidays"),
        ("suppressed", "2026-03-03 is a day off (Carnival) by holidays"),
        ("fired", ""),
    ]


async def test_calendar_in_use_is_not_removed_until_its_schedule_lets_it_go(
    workshop, calendars, schedules
):
    await workshop.agent(ANSWER)
    await calendars.add_days(workshop.user, "holidays", [CARNIVAL])
    await schedules.add(
        workshop.user,
        NewSchedule("morning", "watcher", Draft(when="0 7 * * *"), calendars=("holidays",)),
    )
    with pytest.raises(ConflictError, match="kept by morning"):
        await calendars.remove(workshop.user, "holidays")

    await schedules.edit(workshop.user, "morning", ScheduleEdit(calendars=()))
    await calendars.remove(workshop.user, "holidays")

    assert await calendars.all(workshop.user) == ()


async def test_unknown_calendar_is_named_and_nothing_is_added(workshop, schedules):
    await workshop.agent(ANSWER)
    with pytest.raises(NotFoundError, match="'holidays'"):
        await schedules.add(
            workshop.user,
            NewSchedule("morning", "watcher", Draft(when="0 7 * * *"), calendars=("holidays",)),
        )
    assert await workshop.rows("agent_schedules") == []


async def test_strangers_calendar_is_not_found(workshop, calendars, schedules, bob):
    await calendars.add_days(bob, "holidays", [CARNIVAL])
    await workshop.agent(ANSWER)
    with pytest.raises(NotFoundError):
        await calendars.get(workshop.user, "holidays")
    with pytest.raises(NotFoundError):
        await schedules.add(
            workshop.user,
            NewSchedule("morning", "watcher", Draft(when="0 7 * * *"), calendars=("holidays",)),
        )


async def test_nobody_links_a_strangers_calendar_past_our_service(workshop, calendars, bob):
    await calendars.add_days(bob, "holidays", [CARNIVAL])
    schedule = await workshop.schedule()
    (of_bob,) = await workshop.rows("calendars")
    with pytest.raises(StatementError, match="ForeignKeyViolation"):
        async with workshop.database.acting_as(workshop.user) as conn:
            await conn.execute(
                "INSERT INTO schedule_calendars (schedule_id, calendar_id) VALUES (%s, %s)",
                [schedule.id, of_bob["id"]],
            )


async def test_person_is_removed_with_calendars_and_schedules(workshop, calendars, schedules):
    await workshop.agent(ANSWER)
    await calendars.add_days(workshop.user, "holidays", [CARNIVAL])
    await schedules.add(
        workshop.user,
        NewSchedule("morning", "watcher", Draft(when="0 7 * * *"), calendars=("holidays",)),
    )

    await workshop.owner.execute("DELETE FROM auth.users WHERE id = %s", [workshop.user])

    for table in ("calendars", "calendar_days", "schedule_calendars", "agent_schedules"):
        assert await workshop.rows(table) == []


async def test_file_without_days_changes_nothing(workshop, calendars):
    await calendars.add_days(workshop.user, "holidays", [CARNIVAL])
    with pytest.raises(InvalidInputError):
        await calendars.import_file(workshop.user, "holidays", calendar(), "empty.ics")
    assert (await calendars.get(workshop.user, "holidays"))[1] == (CARNIVAL,)


async def test_calendar_that_a_schedule_is_just_taking_is_not_removed(workshop, calendars):
    await calendars.add_days(workshop.user, "holidays", [CARNIVAL])
    schedule = await workshop.schedule()
    async with workshop.database.acting_as(workshop.user) as conn:
        await link_calendars(conn, schedule.id, ["holidays"])
        removal = asyncio.create_task(calendars.remove(workshop.user, "holidays"))
        await asyncio.sleep(0.3)
        assert not removal.done()  # it waits for what we decide

    with pytest.raises(ConflictError, match="kept by"):
        await removal


async def test_day_off_that_has_begun_is_the_next(workshop, calendars):
    days = [CalendarDay(date(2026, 2, 20), date(2026, 3, 20))]
    made = await calendars.add_days(workshop.user, "sabbatical", days)
    assert made.next_day == date(2026, 3, 2)


async def test_characters_that_the_database_cannot_hold_are_replaced(workshop, calendars):
    made = await calendars.import_file(workshop.user, "holidays", FILE, "f\udcff.ics")
    assert made.source == "f\ufffd.ics"
    odd = CalendarDay(date(2026, 3, 9), date(2026, 3, 9), "\udcff" * 300)
    await calendars.add_days(workshop.user, "other", [odd])
    assert (await calendars.get(workshop.user, "other"))[1][0].summary == "\ufffd" * 199 + "…"
    for ask in (calendars.get, calendars.remove):
        with pytest.raises(NotFoundError):
            await ask(workshop.user, "\udcff")
