"""`rota schedules why`: explains why a schedule ran or did not run at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from rota.domain.ids import UserId
from rota.domain.schedules.occurrences import Occurrence, Outcome
from rota.domain.schedules.rules.intervals import length_in_words
from rota.domain.schedules.schedule import Schedule
from rota.domain.schedules.timing import FireFilter
from rota.domain.schedules.written_time import parse_moment
from rota.domain.text.zones import zone_shown
from rota.services.schedules.service import ScheduleService
from rota.store.database import Connection, Database
from rota.store.schedules import calendars, pauses, rows

Verdict = (
    Outcome
    | Literal[
        "paused", "overdue", "upcoming", "not_a_fire_time", "did_not_exist", "ended", "pruned"
    ]
)

_MAY_RUN: Final = frozenset({"fired", "upcoming", "overdue", "pruned"})

_TICK: Final = timedelta(microseconds=1)
_LATEST: Final = 5
_BEFORE: Final = frozenset({"did_not_exist", "not_a_fire_time", "pruned"})
"""Verdicts of times that nobody has anything to say of, nor of those before them."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation for a schedule's time `at`: a verdict, and the reasons in sentences.

    `previous_fire` and `next_fire` are the fire times around it, by the rule that was valid then.
    `previous_without_run` and `next_without_run` say why one of them has no run, in sentences; None
    where it has one, or may have.
    """

    schedule_name: str
    time_zone: str
    at: datetime
    verdict: Verdict
    why: tuple[str, ...]
    occurrence: Occurrence | None
    previous_fire: datetime | None
    next_fire: datetime | None
    previous_without_run: str | None = None
    next_without_run: str | None = None


class ExplanationService:
    """Explains by the occurrence of the time. Without one, by the schedule as it was then."""

    def __init__(
        self, database: Database, schedules: ScheduleService, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._schedules = schedules
        self._clock = clock

    async def why(self, user_id: UserId, reference: str, at: str) -> Explanation:
        """Explain a time, written as people do, in the schedule's zone.

        A time to the minute means any second of it. Raises InvalidInputError, NotFoundError.
        """
        schedule = await self._schedules.get(user_id, reference)
        now = self._clock()
        zone = zone_shown(schedule.timing.time_zone)
        start = parse_moment(at, zone, now=now, field="at", alone="past")
        return await self._explain(user_id, schedule, start, now)

    async def latest(self, user_id: UserId, reference: str) -> tuple[Explanation, ...]:
        """Explain the last fire times, the newest first; the next one where there was none yet."""
        schedule = await self._schedules.get(user_id, reference)
        now = self._clock()
        found: list[Explanation] = []
        fire = schedule.timing.rule().latest_at_or_before(now)
        while fire is not None and len(found) < _LATEST:
            explained = await self._explain(user_id, schedule, fire, now)
            if explained.verdict in _BEFORE:
                break
            found.append(explained)
            fire = explained.previous_fire
        if not found and (fire := schedule.timing.rule().next_after(now)) is not None:
            found.append(await self._explain(user_id, schedule, fire, now))
        return tuple(found)

    async def _explain(
        self, user_id: UserId, schedule: Schedule, start: datetime, now: datetime
    ) -> Explanation:
        zone = zone_shown(schedule.timing.time_zone)
        is_whole_minute = not start.second and not start.microsecond
        end = start + timedelta(seconds=60 if is_whole_minute else 1)
        async with self._database.acting_as(user_id) as conn:
            occurrence = await rows.occurrence_between(conn, schedule.id, start, end)
            earlier = await rows.schedule_at(conn, schedule.id, start)
            schedule_then, changed_at = earlier if earlier is not None else (schedule, None)
            rule = schedule_then.timing.rule()
            fire = rule.next_after(start - _TICK)
            if occurrence is not None:
                verdict, why = _explain_occurrence(occurrence, zone)
            elif fire is None or fire >= end:
                verdict = "not_a_fire_time"
                why = (f"Its rule does not include this time: {rule.in_words()}.",)
            else:
                verdict, why = await _explain_fire(conn, user_id, schedule_then, fire, now)
            found = occurrence.fire_time if occurrence is not None else start
            previous_fire = rule.latest_at_or_before(min(found, start) - _TICK)
            next_fire = rule.next_after(max(found, end - _TICK))
            without_run = [
                await _why_without_run(conn, user_id, schedule_then, near, now)
                for near in (previous_fire, next_fire)
            ]
        if changed_at is not None:
            why += (f"The schedule was changed since, at {_format_moment(changed_at, zone)}.",)
        return Explanation(
            schedule.name,
            schedule.timing.time_zone,
            start,
            verdict,
            why,
            occurrence,
            previous_fire,
            next_fire,
            *without_run,
        )


async def _explain_fire(
    conn: Connection, user_id: UserId, schedule: Schedule, fire: datetime, now: datetime
) -> tuple[Verdict, tuple[str, ...]]:
    """Say what becomes of a fire time that has no row."""
    days_off = await calendars.days_of_schedules(conn, [schedule.id], fire, fire)
    paused = await pauses.pauses_of_people(conn, [user_id], over_after=fire)
    allowed = schedule.timing.filter(days_off.get(schedule.id, ()), paused[user_id])
    return _explain_without_occurrence(schedule, fire, allowed, now)


async def _why_without_run(
    conn: Connection, user_id: UserId, schedule: Schedule, fire: datetime | None, now: datetime
) -> str | None:
    """Say why a fire time has no run, None where it has one or may have."""
    if fire is None:
        return None
    occurrence = await rows.occurrence_between(conn, schedule.id, fire, fire + _TICK)
    if occurrence is not None:
        verdict, why = _explain_occurrence(occurrence, zone_shown(schedule.timing.time_zone))
    else:
        verdict, why = await _explain_fire(conn, user_id, schedule, fire, now)
    return None if verdict in _MAY_RUN else " ".join(why) or f"It was {verdict}."


def _explain_without_occurrence(
    schedule: Schedule, fire: datetime, allowed: FireFilter, now: datetime
) -> tuple[Verdict, tuple[str, ...]]:
    """Say what becomes of a fire time that has no row, by the schedule as it was then."""
    if (state := _state_at(schedule, fire)) is not None:
        return state
    if fire > now:
        return _explain_ahead(fire, allowed, now)
    if schedule.next_fire_time is not None and schedule.next_fire_time > fire:
        # A scheduler has gone past it, and left a row: each fire time has one.
        return "pruned", ("The record of it is no longer kept.",)
    if (hold := allowed.hold(fire, now)) is not None:
        return "skipped", (f"No scheduler has taken it yet, and none will run it: {hold}.",)
    if schedule.next_fire_at is not None and schedule.next_fire_at > now:
        jitter = _length_in_words(schedule.next_fire_at - now)
        return "upcoming", (f"Its jitter delays it. It fires in {jitter}.",)
    return "overdue", (
        f"It is due for {_length_in_words(now - fire)}, and no scheduler has taken it yet.",
        "Start `rota up` or `rota scheduler`; `rota doctor` shows who is running.",
    )


def _explain_ahead(
    fire: datetime, allowed: FireFilter, now: datetime
) -> tuple[Verdict, tuple[str, ...]]:
    if (suppression := allowed.suppression(fire)) is not None:
        return "suppressed", (f"It will not fire: {suppression}.",)
    if (hold := allowed.hold(fire)) is not None:
        return "skipped", (f"It will not fire: {hold}.",)
    return "upcoming", (f"It will fire in {_length_in_words(fire - now)}.",)


def _state_at(schedule: Schedule, fire: datetime) -> tuple[Verdict, tuple[str, ...]] | None:
    """Return why a schedule in this state fires nothing at a time of its rule, or None."""
    zone = zone_shown(schedule.timing.time_zone)
    if fire < schedule.created_at:
        made = _format_moment(schedule.created_at, zone)
        return "did_not_exist", (f"The schedule was made later, at {made}.",)
    if not schedule.is_active:
        since = f" since {_format_moment(schedule.paused_at, zone)}" if schedule.paused_at else ""
        note = f": {schedule.pause_note}" if schedule.pause_note else " (no note)"
        return "paused", (f"It was paused{since}{note}.",)
    if schedule.completed_at is not None and schedule.completed_at <= fire:
        return "ended", (_why_ended(schedule, zone),)
    if fire <= schedule.plan_from:
        planned = _format_moment(schedule.plan_from, zone)
        return "not_a_fire_time", (f"Its rule was set later, at {planned}.",)
    return None


def _explain_occurrence(occurrence: Occurrence, zone: ZoneInfo) -> tuple[Verdict, tuple[str, ...]]:
    sentences: list[str] = []
    if occurrence.last_fire_time is not None:
        count = occurrence.fire_count or "more than a thousand"
        sentences.append(
            f"One of {count} fire times from {_format_moment(occurrence.fire_time, zone)} to "
            f"{_format_moment(occurrence.last_fire_time, zone)}."
        )
    reason = occurrence.reason
    if reason:
        sentences.append(f"{reason[0].upper()}{reason[1:]}.")
    if occurrence.outcome == "fired":
        sentences.append(_describe_run(occurrence, zone))
    return occurrence.outcome, tuple(sentences)


def _describe_run(occurrence: Occurrence, zone: ZoneInfo) -> str:
    if occurrence.run_id is None:
        return "Its run has been pruned."
    if occurrence.result_status is not None and occurrence.run_status != "cancelled":
        return f"Its run ended with status {occurrence.result_status}."
    match occurrence.run_status:
        case "cancelled":
            return f"Its run was cancelled: {occurrence.cancel_reason or 'no reason was given'}."
        case "running":
            started = occurrence.run_started_at
            since = f" since {_format_moment(started, zone)}" if started is not None else ""
            return f"Its run is under way{since}."
        case "queued":
            return "Its run is queued: no worker has taken it yet."
        case _:
            return "Its run waits for other runs."


def _why_ended(schedule: Schedule, zone: ZoneInfo) -> str:
    limit = schedule.policy.max_runs
    if schedule.runs_left == 0:
        times = "once" if limit == 1 else f"{limit} times"
        return f"It had run {times}, which is its limit."
    if schedule.timing.ends_at is not None:
        return f"It ended at {_format_moment(schedule.timing.ends_at, zone)}."
    return "It had no fire time left."


def _format_moment(moment: datetime, zone: ZoneInfo) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _length_in_words(length: timedelta) -> str:
    return length_in_words(timedelta(seconds=max(1, round(length.total_seconds()))))
