"""Firing: plans schedules, claims due schedules, writes occurrences and runs, and admits runs.

Any number of schedulers may run at once, because rows are claimed with SKIP LOCKED. The claim, the
occurrence, the waiting run and the next fire time commit together.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeAlias

import structlog

from rota.domain.agents.people import MAY_NOT_RUN
from rota.domain.errors import InvalidInputError, RotaError, StatementError, UnavailableError
from rota.domain.ids import RunId, ScheduleId, UserId
from rota.domain.notifications.notification import Category
from rota.domain.schedules.firing import (
    MISSED_ROWS_LIMIT,
    FirePlan,
    PassedFires,
    PlannedFire,
    next_fire,
    plan_fires,
)
from rota.domain.schedules.overlap import Overlap, OverlapDecision, OverlapPolicy
from rota.domain.schedules.schedule import Schedule
from rota.domain.schedules.timing import NamedDay
from rota.domain.text.shortening import shorten
from rota.domain.text.storable import storable_text
from rota.domain.text.zones import OTHER_ZONE
from rota.engine.admission import AHEAD, Admission, admit
from rota.engine.pace import BatchSize
from rota.services.notifications.incidents import IncidentService
from rota.services.notifications.service import NotificationService
from rota.store.database import Connection, Database
from rota.store.schedules import calendars, firing, pauses, rows
from rota.store.schedules.firing import Fire, Planned
from rota.store.unreadable import UnreadableRow

BATCH: Final = 500
"""Schedules that one transaction claims at most: few enough that a crash repeats little."""

LONGEST_PLANNING: Final = 1.0
"""Seconds that one transaction works out fires; schedules that are years behind take a while."""

MOST_LINES: Final = 100
"""Lines of the log for runs that come together."""

LONGEST_REASON: Final = 900
"""Characters of what is said of a schedule that is paused: a note has room for 1,000."""

CLOCK_STEP: Final = timedelta(minutes=1)
"""How far the clock may step back before what was planned by it is planned anew."""

_TICK: Final = timedelta(microseconds=1)
_DAY: Final = timedelta(days=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Tick:
    """What one round of a scheduler did.

    `runs_waiting`, `queue_ran_low` and `admission_locked` come from the last admission (Admission).
    `next_run_in`: seconds until the next run that waits for its time, None if there is none.
    """

    planned: int
    fired: int
    missed: int
    admitted: int
    next_fire_at: datetime | None
    runs_waiting: bool = False
    queue_ran_low: bool = False
    admission_locked: bool = False
    next_run_in: float | None = None


@dataclass(slots=True)
class _Batch:
    """The rows to write for the due schedules of one transaction."""

    fires: list[Fire] = field(default_factory=list)
    passed: list[tuple[Schedule, PassedFires]] = field(default_factory=list)
    planned: list[Planned] = field(default_factory=list)
    invalid: list[tuple[Schedule, Exception]] = field(default_factory=list)
    is_whole: bool = True
    room: dict[UserId, int | None] = field(default_factory=dict)
    """How many more runs of each person may wait (None: any number)."""

    def add(self, other: _Batch) -> None:
        """Count another batch in."""
        self.fires += other.fires
        self.passed += other.passed
        self.planned += other.planned
        self.invalid += other.invalid
        self.is_whole &= other.is_whole

    @property
    def missed(self) -> list[tuple[Schedule, PassedFires]]:
        return [item for item in self.passed if item[1].outcome == "missed"]

    @property
    def on_time(self) -> set[UserId]:
        return {fire.schedule.user_id for fire in self.fires if not fire.is_catch_up}


_Work: TypeAlias = Callable[[Connection, Sequence[Schedule]], Awaitable[_Batch]]
"""What is done with claimed schedules, in the transaction that has claimed them."""


class Scheduler:
    """Fires what is due at a given instant.

    All state is in the database. It remembers only how many rows it handles within BATCH_SECONDS.
    """

    def __init__(
        self,
        database: Database,
        notifications: NotificationService,
        incidents: IncidentService,
        *,
        ahead: int = AHEAD,
    ) -> None:
        self._database = database
        self._notifications = notifications
        self._incidents = incidents
        self._ahead = ahead
        self._batch = BatchSize(BATCH)
        self._admitted_at_once = BatchSize(AHEAD)

    async def tick(self, now: datetime) -> Tick:
        """Fire, plan and admit everything that is due at `now` (aware)."""
        fired = missed = planned = admitted = 0
        on_time: set[UserId] = set()
        while True:
            batches, newly_admitted = await self._fire_all(now)
            fired += sum(len(batch.fires) for batch in batches)
            missed += sum(len(batch.missed) for batch in batches)
            on_time.update(*(batch.on_time for batch in batches))
            admitted += newly_admitted
            async with self._database.connection() as conn:
                outlook = await firing.outlook(conn, planned_after=now + CLOCK_STEP)
            newly_planned = await self._plan_all(now) if outlook.unplanned else 0
            if outlook.planned_ahead:
                newly_planned += await self._replan_all(now)
            planned += newly_planned
            if not newly_planned:
                break
        if outlook.incident:
            # Before what this look has missed is told: nothing has recovered from that yet.
            async with self._database.transaction() as conn:
                await self._incidents.note_on_time(conn, on_time)
            await self._incidents.announce()
        last = Admission()
        if outlook.runs_waiting:
            async with self._database.transaction() as conn:
                last = await self._admit(conn)
        return Tick(
            planned,
            fired,
            missed,
            admitted + last.count,
            outlook.next_fire_at,
            runs_waiting=last.runs_waiting,
            queue_ran_low=last.ran_low,
            admission_locked=last.locked,
            next_run_in=outlook.next_run_in,
        )

    async def _fire_all(self, now: datetime) -> tuple[list[_Batch], int]:
        """Fire whatever is due, a batch at a time; returns the batches, and the admissions."""
        batches: list[_Batch] = []
        committed: list[Fire] = []
        admitted = 0
        try:
            while True:
                began = time.monotonic()
                limit = self._batch.items
                async with self._database.transaction() as conn:
                    due = await firing.claim_due(conn, now=now, limit=limit)
                    if not due:
                        break
                    batch = await self._set_aside_invalid(conn, due, partial(self._fire, now=now))
                    batches.append(batch)
                    if batch.fires:
                        admitted += (await self._admit(conn)).count
                committed += batch.fires
                self._batch.took(len(due), time.monotonic() - began)
                is_idle = not (batch.planned or batch.invalid)  # all of them are locked
                if (len(due) < limit and batch.is_whole) or is_idle:  # others have what is left
                    break
        finally:
            _tell_of(committed)
        return batches, admitted

    async def _admit(self, conn: Connection) -> Admission:
        began = time.monotonic()
        admission = await admit(conn, ahead=self._ahead, most=self._admitted_at_once.items)
        self._admitted_at_once.took(admission.count, time.monotonic() - began)
        return admission

    async def _set_aside_invalid(
        self, conn: Connection, claimed: Sequence[Schedule | UnreadableRow], work: _Work
    ) -> _Batch:
        """Do the work on claimed schedules, and pause those of them that it cannot be done on.

        Whatever is wrong with one schedule, the others fire.
        """
        readable = [item for item in claimed if not isinstance(item, UnreadableRow)]
        batch = await _done_apart(conn, readable, work) if readable else _Batch()
        for schedule, error in batch.invalid:
            await self._pause(conn, schedule.id, schedule.user_id, schedule.name, error)
        for row in claimed:
            if isinstance(row, UnreadableRow):
                named = row.columns["id"], row.columns["user_id"], row.columns["name"]
                await self._pause(conn, *named, row.error)
        return batch

    async def _fire(self, conn: Connection, due: Sequence[Schedule], *, now: datetime) -> _Batch:
        standings = await firing.standings(conn, {schedule.user_id for schedule in due})
        if denied := [s for s in due if not standings[s.user_id].may_run]:
            await self._pause_denied(conn, denied)
            due = tuple(s for s in due if standings[s.user_id].may_run)
        days_off = await _days_off(conn, due, now)
        paused = await pauses.pauses_of_people(
            conn,
            {schedule.user_id for schedule in due},
            over_after=min((s.next_fire_time or now for s in due), default=now),
        )
        batch = _Batch(room={user_id: found.room for user_id, found in standings.items()})
        plans: list[tuple[Schedule, FirePlan]] = []
        deadline = time.monotonic() + LONGEST_PLANNING
        for schedule in due:
            if time.monotonic() > deadline:  # the others stay due, and are claimed anew
                batch.is_whole = False
                break
            try:
                plan = plan_fires(
                    schedule,
                    due_since=schedule.next_fire_time or now,
                    days_off=days_off.get(schedule.id, ()),
                    pauses=paused.get(schedule.user_id, ()),
                    now=now,
                )
            except Exception as error:  # noqa: BLE001  as in _set_aside_invalid
                batch.invalid.append((schedule, error))
                continue
            plans.append((schedule, plan))
        overlaps = await _judge_overlaps(conn, plans)
        locked = await _find_locked(conn, overlaps)
        for schedule, plan in plans:
            if schedule.id in locked:  # it stays due, for as long as its owner holds a run of it
                continue
            overlap = overlaps.get(schedule.id, Overlap())
            started = await self._start_runs(conn, schedule, plan, overlap, batch)
            batch.passed += [(schedule, item) for item in plan.passed]
            following = None if started == schedule.runs_left else plan.next
            batch.planned.append(Planned(schedule.id, following, started))
        await firing.insert_passed(conn, batch.passed)
        await firing.insert_fires(conn, batch.fires)
        await firing.set_next_fires(conn, batch.planned, now)
        if batch.missed:
            log.warning("fires_missed", count=len(batch.missed))
            await self._incidents.note_missed(conn, {s.user_id for s, _ in batch.missed})
        return batch

    async def _start_runs(
        self, conn: Connection, schedule: Schedule, plan: FirePlan, overlap: Overlap, batch: _Batch
    ) -> int:
        """Write the runs of a plan as its overlap policy lets them; returns how many."""
        if overlap.decision is OverlapDecision.SKIP:
            batch.passed += [
                (schedule, _skipped_fire(schedule, fire, overlap)) for fire in plan.fires
            ]
            return 0
        room = batch.room[schedule.user_id]
        fires = plan.fires[:room]
        batch.passed += [(schedule, _without_room(fire)) for fire in plan.fires[len(fires) :]]
        if not fires:
            return 0
        if room is not None:
            batch.room[schedule.user_id] = room - len(fires)
        if overlap.decision is OverlapDecision.CANCEL_AND_RUN:
            fire_time = fires[0].fire_time
            await firing.cancel_runs(
                conn, schedule.id, f"the fire of {fire_time:%Y-%m-%d %H:%M:%S} UTC took its place"
            )
        serial = schedule.policy.overlap is not OverlapPolicy.ALLOW_ALL
        batch.fires += [
            Fire(RunId(uuid.uuid4()), schedule, fire.fire_time, fire.late, serial) for fire in fires
        ]
        return len(fires)

    async def _plan_all(self, now: datetime) -> int:
        planned = 0
        while True:
            began = time.monotonic()
            async with self._database.transaction() as conn:
                found = await firing.claim_unplanned(conn, limit=self._batch.items)
                if not found:
                    return planned
                batch = await self._set_aside_invalid(conn, found, partial(self._plan, now=now))
                planned += len(batch.planned)
            self._batch.took(len(found), time.monotonic() - began)

    async def _plan(self, conn: Connection, found: Sequence[Schedule], *, now: datetime) -> _Batch:
        batch = _Batch()
        kept: list[tuple[ScheduleId, datetime]] = []
        for schedule in found:
            try:
                plan, passed = _first_plan(schedule, now)
            except Exception as error:  # noqa: BLE001  as in _set_aside_invalid
                batch.invalid.append((schedule, error))
                continue
            batch.planned.append(plan)
            if plan.next is not None and plan.next.fire_time == schedule.next_fire_time:
                kept.append((schedule.id, plan.next.fire_time))
            batch.passed += [(schedule, item) for item in passed]
        await firing.insert_passed(conn, batch.passed)
        await firing.delete_missed(conn, kept)
        await firing.set_next_fires(conn, batch.planned, now)
        return batch

    async def _pause_denied(self, conn: Connection, schedules: Sequence[Schedule]) -> None:
        """Pause schedules of people who may not run agents, and tell each of them once."""
        for schedule in schedules:
            await rows.pause(conn, schedule.id, MAY_NOT_RUN)
        for user_id in sorted({schedule.user_id for schedule in schedules}):
            log.warning("schedules_paused", user_id=str(user_id), reason=MAY_NOT_RUN)
            if await firing.claim_telling(conn, user_id):
                await self._notifications.notify_user(
                    user_id,
                    "Your schedules are paused",
                    f"{MAY_NOT_RUN} Each schedule is paused when it is due. Resume them "
                    "afterwards.",
                    category=Category.ERROR,
                    conn=conn,
                )

    async def _replan_all(self, now: datetime) -> int:
        """Plan anew what a clock planned that was ahead; returns how many schedules."""
        replanned = 0
        while True:
            async with self._database.transaction() as conn:
                found = await firing.claim_planned_ahead(
                    conn, planned_after=now + CLOCK_STEP, limit=BATCH
                )
                if not found:
                    break
                batch = await self._set_aside_invalid(conn, found, partial(self._replan, now=now))
                replanned += len(batch.planned)
        if replanned:
            log.warning(
                "schedules_replanned",
                count=replanned,
                hint="a scheduler's clock was ahead; `rota doctor` compares clocks",
            )
        return replanned

    async def _replan(
        self, conn: Connection, found: Sequence[Schedule], *, now: datetime
    ) -> _Batch:
        """Plan schedules from where the clock went wrong, as if it had not."""
        batch = _Batch()
        since = await firing.delete_ahead(conn, [schedule.id for schedule in found], now)
        for schedule in found:
            try:
                after = min(now, since.get(schedule.id, now) - _TICK)
                if schedule.plan_from < now + _DAY:  # else it was set by that clock too
                    after = max(after, schedule.plan_from)
                following = next_fire(schedule, schedule.timing.rule(), after)
            except Exception as error:  # noqa: BLE001  as in _set_aside_invalid
                batch.invalid.append((schedule, error))
                continue
            if schedule.runs_left == 0:
                following = None
            batch.planned.append(Planned(schedule.id, following))
        await firing.set_next_fires(conn, batch.planned, now)
        return batch

    async def _pause(
        self,
        conn: Connection,
        schedule_id: ScheduleId,
        user_id: UserId,
        name: str,
        error: Exception,
    ) -> None:
        """Pause a schedule that cannot be read, planned or fired, and tell its owner."""
        is_explained = isinstance(error, RotaError) and not isinstance(error, StatementError)
        reason = str(error) if is_explained else f"it cannot be worked out ({_in_brief(error)})."
        if isinstance(error, InvalidInputError) and error.field == "time_zone":
            reason = f"{reason} {OTHER_ZONE}"
        reason = shorten(storable_text(reason), LONGEST_REASON)
        try:
            async with conn.transaction():
                await rows.pause(conn, schedule_id, reason)
            async with conn.transaction():
                await self._notifications.notify_user(
                    user_id,
                    f"{name} is paused",
                    f"The schedule cannot be planned: {reason}",
                    category=Category.ERROR,
                    metadata={"schedule_id": str(schedule_id)},
                    conn=conn,
                )
        except UnavailableError:
            raise
        except Exception as failure:  # its owner reads the reason in the schedule
            log.exception("pausing_failed", schedule_id=str(schedule_id), error=str(failure))
        log.warning(
            "schedule_paused",
            schedule_id=str(schedule_id),
            reason=reason,
            exc_info=None if isinstance(error, RotaError) else error,
        )


async def _done_apart(conn: Connection, schedules: Sequence[Schedule], work: _Work) -> _Batch:
    """Do the work on schedules; where it fails, on half of them at a time.

    So the one that it fails on is found, and nothing of it stays.
    """
    try:
        async with conn.transaction():
            return await work(conn, schedules)
    except UnavailableError:
        raise
    except Exception as error:
        if conn.closed:
            raise
        if len(schedules) == 1:
            return _Batch(invalid=[(schedules[0], error)])
    half = len(schedules) // 2
    batch = await _done_apart(conn, schedules[:half], work)
    batch.add(await _done_apart(conn, schedules[half:], work))
    return batch


def _tell_of(fires: Sequence[Fire]) -> None:
    """Log a line for each run, and one for a herd, whose lines would make it late."""
    if len(fires) > MOST_LINES:
        log.info("runs_due", count=len(fires))
        return
    for fire in fires:
        log.info(
            "run_due",
            schedule=fire.schedule.name,
            run_id=str(fire.run_id),
            fire_time=fire.fire_time.isoformat(timespec="seconds"),
            late=fire.is_catch_up,
        )


def _in_brief(error: Exception) -> str:
    return error.reason if isinstance(error, StatementError) else type(error).__name__


def _first_plan(schedule: Schedule, now: datetime) -> tuple[Planned, list[PassedFires]]:
    """Plan a schedule from when its rule was set: what fell due since then is caught up.

    A fire that a change came upon, as it was due or delayed by its jitter, is kept if the rule has
    it still. Returns rows for the fires of a pause too, where one has just ended.
    """
    schedule.timing.check()
    since = min(schedule.plan_from, now)
    passed = _fires_of_pause(schedule, since) if schedule.paused_at is not None else []
    if schedule.runs_left == 0:
        return Planned(schedule.id, None), passed
    rule, kept = schedule.timing.rule(), schedule.next_fire_time
    if kept is not None:
        first = next_fire(schedule, rule, kept - _TICK)
        if first is not None and first.fire_time == kept:
            return Planned(schedule.id, first), passed
    return Planned(schedule.id, next_fire(schedule, rule, since)), passed


def _skipped_fire(schedule: Schedule, fire: PlannedFire, overlap: Overlap) -> PassedFires:
    since = f"{overlap.since:%Y-%m-%d %H:%M:%S} UTC" if overlap.since else "before"
    state = "waited for its owner's decision" if overlap.parked else "was still under way"
    reason = f"the run of {since} {state} (overlap policy {schedule.policy.overlap})"
    return PassedFires(fire.fire_time, fire.fire_time, 1, "skipped", reason)


def _without_room(fire: PlannedFire) -> PassedFires:
    reason = "its owner has the most waiting runs that are allowed (quota max_waiting_runs)"
    return PassedFires(fire.fire_time, fire.fire_time, 1, "skipped", reason)


def _fires_of_pause(schedule: Schedule, until: datetime) -> list[PassedFires]:
    """Return rows for the fire times that a pause suppressed."""
    start = schedule.paused_at or until
    rule = schedule.timing.rule()
    times = rule.fires_between(start, until, limit=MISSED_ROWS_LIMIT + 1)
    reason = f"paused: {schedule.pause_note}" if schedule.pause_note else "paused"
    if len(times) <= MISSED_ROWS_LIMIT:
        return [PassedFires(time, time, 1, "suppressed", reason) for time in times]
    last = rule.latest_at_or_before(until) or times[-1]
    return [PassedFires(times[0], last, None, "suppressed", reason)]


async def _days_off(
    conn: Connection, due: Sequence[Schedule], now: datetime
) -> Mapping[ScheduleId, Sequence[NamedDay]]:
    """Return the days off by the calendars of the schedules that are due."""
    asking = [schedule for schedule in due if schedule.uses_calendars]
    if not asking:
        return {}
    earliest = min(schedule.next_fire_time or now for schedule in asking)
    return await calendars.days_of_schedules(conn, [s.id for s in asking], earliest, now)


async def _judge_overlaps(
    conn: Connection, plans: Sequence[tuple[Schedule, FirePlan]]
) -> dict[ScheduleId, Overlap]:
    """Return what becomes of the fires of schedules whose policy asks for their unfinished runs.

    Of several fires at once (catch-up of all) each one runs, one after another: who wants every
    missed fire does not want all but one of them skipped.
    """
    policies = {
        schedule.id: schedule.policy.overlap
        for schedule, plan in plans
        if len(plan.fires) == 1 and schedule.policy.overlap is not OverlapPolicy.ALLOW_ALL
    }
    return await firing.judge_overlaps(conn, policies) if policies else {}


async def _find_locked(
    conn: Connection, overlaps: Mapping[ScheduleId, Overlap]
) -> frozenset[ScheduleId]:
    """Return the schedules that have a run to cancel which another session has locked."""
    cancelling = [
        schedule_id
        for schedule_id, overlap in overlaps.items()
        if overlap.decision is OverlapDecision.CANCEL_AND_RUN
    ]
    return await firing.lock_runs(conn, cancelling) if cancelling else frozenset()
