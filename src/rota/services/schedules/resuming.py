"""Resumes the schedules that rota paused for want of a setup, once it is there.

What fell due meanwhile is caught up as the schedule says: the latest of it or all, within its
catch-up window. The run that failed for it counts: where nothing fell due after it, it runs anew.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from rota.domain.ids import UserId
from rota.domain.schedules.firing import WALK_LIMIT
from rota.domain.schedules.schedule import CatchUp, Schedule
from rota.store.database import Connection, Database, act_as
from rota.store.schedules import rows
from rota.store.schedules.rows import WaitingForSetup

_TICK: Final = timedelta(microseconds=1)


async def resume_after_setup(
    database: Database, user_id: UserId, what: str, *, now: datetime
) -> tuple[Schedule, ...]:
    """Resume a person's schedules that rota paused because this was to be set up; return them.

    `what` is that of the SetupRequiredError which ended their last run. One that a person paused,
    or paused for another reason since, stays as it is.
    """
    async with database.connection() as conn:
        waiting = await rows.waiting_for_setup(conn, user_id, what)
    resumed = []
    for one in waiting:
        async with database.transaction() as conn:
            if (schedule := await _resume(conn, user_id, one, now)) is not None:
                resumed.append(schedule)
    return tuple(resumed)


async def resume_mended(database: Database, *, now: datetime) -> tuple[Schedule, ...]:
    """Resume everybody's schedules that wait for a connection which has worked again since."""
    async with database.connection() as conn:
        mended = await rows.mended_setups(conn, now)
    return tuple(
        [
            schedule
            for one in mended
            for schedule in await resume_after_setup(database, one.user_id, one.what, now=now)
        ]
    )


async def _resume(
    conn: Connection, user_id: UserId, waiting: WaitingForSetup, now: datetime
) -> Schedule | None:
    """Resume one schedule, in the caller's transaction; None where somebody else did."""
    paused = await rows.fetch_schedule(conn, waiting.schedule_id)
    if paused is None or not await rows.resume_after_setup(conn, paused.id):
        return None
    oldest = now - paused.policy.catch_up_window
    since = max(paused.paused_at or now, oldest)
    due = paused.timing.rule().fires_between(since, now, limit=WALK_LIMIT)
    wants_all = paused.policy.catch_up is CatchUp.ALL
    if due:
        await rows.set_plan_from(conn, paused.id, (due[0] if wants_all else due[-1]) - _TICK)
    failed_at = waiting.fire_time
    resumed = await rows.fetch_schedule(conn, paused.id)
    if failed_at is not None and failed_at >= oldest and (wants_all or not due):
        await act_as(conn, user_id)
        await rows.retry_run(conn, waiting.run_id)
    return resumed
