"""Rows of schedules and their occurrences."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter

from rota.domain.agents.connections import KINDS
from rota.domain.ids import RunId, ScheduleId, UserId
from rota.domain.schedules.occurrences import LastRun, Occurrence
from rota.domain.schedules.overlap import OverlapPolicy
from rota.domain.schedules.schedule import Schedule, ScheduleContent, WhichSchedules
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.records import columns_of, row_of
from rota.store.statements import Row, execute, has_effect, many, one_or_none, value, values


@dataclass(frozen=True, slots=True)
class ResultLocks:
    """Schedules that another session has locked, and schedules that this transaction may change."""

    locked: frozenset[ScheduleId]
    changed: frozenset[ScheduleId]


async def pause(conn: Connection, schedule_id: ScheduleId, note: str) -> bool:
    """Pause an active schedule; False if it is paused or gone."""
    return await has_effect(conn, "schedules/pause_schedule", schedule_id=schedule_id, note=note)


async def pause_of_run(conn: Connection, run_id: RunId, note: str) -> bool:
    """Pause the active schedule of a run; False if there is none."""
    return await has_effect(conn, "schedules/pause_schedule_of_run", run_id=run_id, note=note)


async def lock_for_results(
    conn: Connection,
    schedule_ids: Collection[ScheduleId],
    *,
    failing: Collection[ScheduleId],
    recovering: Collection[ScheduleId],
) -> ResultLocks:
    """Lock what results of these schedules touch of them, passing over what others have locked.

    Of `failing` a failure is counted, or they are paused; of `recovering` the count begins anew.
    """
    rows = await many(
        conn,
        "schedules/lock_schedules_of_results",
        Row,
        schedule_ids=schedule_ids,
        failing=failing,
        recovering=recovering,
    )
    return ResultLocks(
        locked=frozenset(row["id"] for row in rows if not row["is_free"]),
        changed=frozenset(row["id"] for row in rows if row["is_changed"]),
    )


async def count_failure(
    conn: Connection, schedule_id: ScheduleId, *, failed: bool
) -> tuple[int, int] | None:
    """Count a result; returns failures in a row and the limit, None where there is no limit."""
    return await one_or_none(
        conn,
        "schedules/count_failure",
        itemgetter("failures_in_row", "pause_after_failures"),
        schedule_id=schedule_id,
        failed=failed,
    )


async def fetch_schedule(conn: Connection, schedule_id: ScheduleId) -> Schedule | None:
    """Return a schedule, or None; under row-level security only one's own."""
    return await one_or_none(
        conn, "schedules/fetch_schedule", schedule_from_row, schedule_id=schedule_id
    )


async def lock_schedule(conn: Connection, schedule_id: ScheduleId) -> Schedule | None:
    """Return a schedule as `fetch_schedule` does, locked until the transaction ends."""
    return await one_or_none(
        conn, "schedules/lock_schedule", schedule_from_row, schedule_id=schedule_id
    )


async def schedule_at(
    conn: Connection, schedule_id: ScheduleId, at: datetime
) -> tuple[Schedule, datetime] | None:
    """Return a schedule as it was at `at`, and when it was changed; None: it is so still."""
    return await one_or_none(
        conn,
        "schedules/schedule_at",
        lambda row: (schedule_from_row(row), row["changed_at"]),
        schedule_id=schedule_id,
        at=at,
    )


async def insert_schedule(
    conn: Connection, user_id: UserId, content: ScheduleContent, *, paused: str | None = None
) -> ScheduleId:
    """Insert a schedule and return its id; raises ConflictError for a name that is taken.

    `paused` is the note of one that does not begin at once.
    """
    return await value(
        conn,
        "schedules/insert_schedule",
        ScheduleId,
        user_id=user_id,
        is_active=paused is None,
        pause_note=paused,
        **columns_of(content),
    )


async def update_schedule(
    conn: Connection, schedule_id: ScheduleId, content: ScheduleContent
) -> None:
    """Change a schedule, its rule from the present on; raises ConflictError for a taken name."""
    await execute(conn, "schedules/update_schedule", schedule_id=schedule_id, **columns_of(content))


async def list_schedules(conn: Connection, reference: str | None = None) -> tuple[Schedule, ...]:
    """Return the schedules that the transaction's person sees, by name.

    `reference`: at most 100, of this name, or whose ids begin so.
    """
    return await many(conn, "schedules/list_schedules", schedule_from_row, reference=reference)


async def page_of_schedules(
    conn: Connection, which: WhichSchedules, *, after: str | None, limit: int
) -> tuple[Schedule, ...]:
    """Return the schedules of these that the transaction's person sees, by name from `after` on."""
    return await many(
        conn,
        "schedules/page_schedules",
        schedule_from_row,
        **row_of(which),
        after=after,
        limit=limit,
    )


async def count_schedules(conn: Connection, which: WhichSchedules) -> int:
    """Return how many schedules of these the transaction's person sees."""
    return await value(conn, "schedules/count_schedules", int, **row_of(which))


async def lock_schedules(
    conn: Connection, names: Sequence[str] | None, which: WhichSchedules, *, limit: int
) -> tuple[Schedule, ...]:
    """Return schedules of these names or ids, or all of these, and lock them."""
    return await many(
        conn,
        "schedules/lock_schedules",
        schedule_from_row,
        **row_of(which),
        names=names,
        limit=limit,
    )


async def pause_many(conn: Connection, schedule_ids: Sequence[ScheduleId], note: str) -> None:
    """Pause schedules; without a note each keeps its own."""
    await execute(conn, "schedules/pause_schedules", schedule_ids=schedule_ids, note=note)


async def resume_many(conn: Connection, schedule_ids: Sequence[ScheduleId], note: str) -> None:
    """Resume schedules; a note is added to that of the pause."""
    await execute(conn, "schedules/resume_schedules", schedule_ids=schedule_ids, note=note)


async def delete_many(conn: Connection, schedule_ids: Sequence[ScheduleId]) -> None:
    """Delete schedules, as `delete_schedule`."""
    await execute(conn, "schedules/delete_schedules", schedule_ids=schedule_ids)


async def set_active(
    conn: Connection, schedule_id: ScheduleId, *, active: bool, note: str | None
) -> None:
    """Pause or resume a schedule."""
    await execute(
        conn, "schedules/set_schedule_active", schedule_id=schedule_id, active=active, note=note
    )


async def delete_schedule(conn: Connection, schedule_id: ScheduleId) -> None:
    """Delete a schedule; its occurrences go with it, its runs and results stay."""
    await execute(conn, "schedules/delete_schedule", schedule_id=schedule_id)


async def request_backfill(
    conn: Connection, schedule_id: ScheduleId, times: Sequence[datetime], overlap: OverlapPolicy
) -> tuple[RunId, ...]:
    """Ask, as the transaction's person, for runs of past fire times; raises NotFoundError."""
    return await values(
        conn,
        "schedules/request_backfill",
        RunId,
        schedule_id=schedule_id,
        fire_times=times,
        overlap=overlap,
    )


async def page_of_occurrences(
    conn: Connection,
    schedule_id: ScheduleId,
    *,
    outcome: str | None = None,
    before: datetime | None = None,
    limit: int,
) -> tuple[Occurrence, ...]:
    """Return a schedule's occurrences, newest first, from before a fire time (aware) on."""
    return await many(
        conn,
        "schedules/page_occurrences",
        Occurrence,
        schedule_id=schedule_id,
        outcome=outcome,
        before=before,
        limit=limit,
    )


async def count_occurrences(
    conn: Connection, schedule_id: ScheduleId, *, outcome: str | None
) -> int:
    """Return how many occurrences a schedule has."""
    return await value(
        conn, "schedules/count_occurrences", int, schedule_id=schedule_id, outcome=outcome
    )


async def list_last_runs(
    conn: Connection, schedule_ids: Sequence[ScheduleId]
) -> tuple[LastRun, ...]:
    """Return the latest run that is over of each of these schedules that had one."""
    return await many(conn, "schedules/list_last_runs", LastRun, schedule_ids=list(schedule_ids))


@dataclass(frozen=True, slots=True)
class WaitingForSetup:
    """A schedule that rota paused, and its run that lacked what is to be set up.

    `fire_time` is None for a run that a person asked for.
    """

    schedule_id: ScheduleId
    run_id: RunId
    fire_time: datetime | None


@dataclass(frozen=True, slots=True)
class MendedSetup:
    """What is set up again, and whose schedules wait for it."""

    user_id: UserId
    what: str


async def waiting_for_setup(
    conn: Connection, user_id: UserId, what: str
) -> tuple[WaitingForSetup, ...]:
    """Return a person's schedules that rota paused because their last run lacked this."""
    return await many(
        conn,
        "schedules/list_schedules_waiting_for_setup",
        WaitingForSetup,
        user_id=user_id,
        what=what,
    )


async def mended_setups(conn: Connection, now: datetime) -> tuple[MendedSetup, ...]:
    """Return the connections that have worked since a run failed for them and a schedule waits."""
    gives = {kind.name: kind.gives for kind in KINDS.values()}
    return await many(conn, "schedules/list_mended_setups", MendedSetup, now=now, gives=gives)


async def resume_after_setup(conn: Connection, schedule_id: ScheduleId) -> bool:
    """Resume a schedule that rota paused; False where it is not, or a person paused it."""
    return await has_effect(conn, "schedules/resume_after_setup", schedule_id=schedule_id)


async def set_plan_from(conn: Connection, schedule_id: ScheduleId, plan_from: datetime) -> None:
    """Have a schedule planned from a time that has passed: what was due since is caught up."""
    await execute(conn, "schedules/set_plan_from", schedule_id=schedule_id, plan_from=plan_from)


async def retry_run(conn: Connection, run_id: RunId) -> RunId:
    """Ask, as the transaction's person, for a run once more."""
    return await value(conn, "runs/request_retry", RunId, run_id=run_id)


async def occurrence_between(
    conn: Connection, schedule_id: ScheduleId, start: datetime, end: datetime
) -> Occurrence | None:
    """Return the first occurrence in [start, end), a single one before a range."""
    return await one_or_none(
        conn, "schedules/occurrence_at", Occurrence, schedule_id=schedule_id, start=start, end=end
    )


def schedule_from_row(row: Row) -> Schedule:
    """Make the value from a row of `agent_schedules` and its `resolved_time_zone`."""
    row.update(
        follows_owner_zone=row["time_zone"] is None,
        paused_by_rota=not row["is_active"]
        and row["pause_note"] is not None
        and row["pause_note"] == row.get("rota_pause_note"),  # schedulers do not ask for it
        time_zone=row["resolved_time_zone"],
        every=row["every_seconds"],
        anchor=row["anchor_at"],
        jitter=row["jitter_seconds"],
        overlap=row["overlap_policy"],
        catch_up_window=row["catch_up_window_seconds"],
        next_fire_time=row["next_fire_time"] or row["next_fire_at"],
    )
    return read(Schedule, row)
