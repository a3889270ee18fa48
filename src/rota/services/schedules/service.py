"""Schedules on their owner's behalf: added, read, changed, paused, resumed, removed, backfilled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.ids import RunId, ScheduleId, UserId
from rota.domain.runs.option_drafts import OptionDraft
from rota.domain.runs.options import parse_run_options
from rota.domain.schedules.drafts import NONE, Draft
from rota.domain.schedules.overlap import OverlapPolicy
from rota.domain.schedules.rules.cron import parse_zone
from rota.domain.schedules.schedule import Schedule
from rota.domain.schedules.timing import Timing
from rota.domain.schedules.written_time import parse_moment
from rota.services.agents.option_checks import check_options
from rota.store import users
from rota.store.agents import rows as agent_rows
from rota.store.database import Connection, Database, despite_deadlocks
from rota.store.schedules import calendars as calendar_rows
from rota.store.schedules import rows
from rota.store.schedules.rows import Occurrence

SHORTEST_PREFIX: Final = 4
"""Characters of an id that are enough, if they fit one alone."""

MOST_BACKFILLED: Final = 1_000
"""Fire times of one backfill."""


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """What a person says of a schedule. `time_zone` None follows the person's own zone.

    `calendars` are the names of calendars whose days are days off; `paused` is the note of a
    schedule that does not begin at once.
    """

    name: str
    agent_name: str
    draft: Draft
    time_zone: str | None = None
    prompt: str | None = None
    calendars: tuple[str, ...] = ()
    paused: str | None = None
    options: OptionDraft = field(default_factory=OptionDraft)


@dataclass(frozen=True, slots=True)
class ScheduleEdit:
    """What a person changes of a schedule; None leaves it as it is.

    `time_zone` and `prompt` "none" take the value away; `calendars` replaces the whole list.
    `revision` is the one that the person saw: if somebody changed the schedule since, nothing is
    changed.
    """

    draft: Draft = field(default_factory=Draft)
    name: str | None = None
    agent_name: str | None = None
    prompt: str | None = None
    time_zone: str | None = None
    calendars: tuple[str, ...] | None = None
    revision: int | None = None
    options: OptionDraft = field(default_factory=OptionDraft)


@dataclass(frozen=True, slots=True)
class Upcoming:
    """A fire that lies ahead; `suppressed` says why it will not run, where that is known."""

    schedule: Schedule
    fire_time: datetime
    suppressed: str | None


class ScheduleService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def add(self, user_id: UserId, new: NewSchedule) -> Schedule:
        """Store a schedule; raises InvalidInputError, NotFoundError, ConflictError.

        The agent must be there for this person. Rule and policy are checked as the scheduler reads
        them, and a rule that never fires is refused.
        """
        check_name(new.name)
        async with self._database.acting_as(user_id) as conn:
            agent = await _require_agent(conn, new.agent_name, user_id)
            zone = new.time_zone or await users.fetch_time_zone(conn, user_id)
            timing = new.draft.timing(zone, now=self._clock())
            self._check_that_it_fires(timing)
            policy = new.draft.policy()
            options = new.options.options()
            check_options(options, agent)
            schedule_id = await rows.insert_schedule(
                conn,
                user_id=user_id,
                name=new.name,
                agent_name=new.agent_name,
                prompt=new.prompt,
                time_zone=new.time_zone,
                timing=timing,
                policy=policy,
                options=options.as_json(),
                paused=new.paused,
            )
            await calendar_rows.link_calendars(conn, schedule_id, new.calendars)
            return await _fetch(conn, schedule_id)

    async def edit(self, user_id: UserId, reference: str, edit: ScheduleEdit) -> Schedule:
        """Change a schedule and return it; raises as `add` does.

        The row is locked while it is read and written, so that of two people who change different
        things both succeed. ConflictError: it is not at `edit.revision` any more.
        """
        async with self._database.acting_as(user_id) as conn:
            found = await rows.lock_schedule(conn, (await self._find(conn, reference)).id)
            if found is None:  # removed between the two looks
                raise NotFoundError("schedule", reference, hint="See `rota schedules list`.")
            if edit.revision is not None and edit.revision != found.revision:
                raise ConflictError(
                    f"{found.name} was changed meanwhile: it is at revision {found.revision}, not "
                    f"{edit.revision}. Look at it again."
                )
            name = edit.name if edit.name is not None else found.name
            check_name(name)
            options = await _edited_options(conn, user_id, found, edit)
            own_zone, zone = await _zones(conn, user_id, found, edit.time_zone)
            timing = edit.draft.timing(zone, now=self._clock(), before=found.timing)
            if timing != found.timing:
                self._check_that_it_fires(timing)
            prompt = found.prompt if edit.prompt is None else edit.prompt
            await rows.update_schedule(
                conn,
                found.id,
                name=name,
                agent_name=edit.agent_name or found.agent_name,
                prompt=None if prompt == NONE else prompt,
                time_zone=own_zone,
                timing=timing,
                policy=edit.draft.policy(found.policy),
                options=options,
            )
            if edit.calendars is not None:
                await calendar_rows.link_calendars(conn, found.id, edit.calendars)
            return await _fetch(conn, found.id)

    async def all(self, user_id: UserId) -> tuple[Schedule, ...]:
        """Return the person's schedules by name."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_schedules(conn)

    async def get(self, user_id: UserId, reference: str) -> Schedule:
        """Return a schedule by name, id, or the beginning of its id; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            return await self._find(conn, reference)

    async def calendars(self, user_id: UserId, schedule: Schedule) -> tuple[str, ...]:
        """Return the names of the calendars whose days are days off for a schedule."""
        async with self._database.acting_as(user_id) as conn:
            return await calendar_rows.calendars_of_schedule(conn, schedule.id)

    async def occurrences(
        self, user_id: UserId, schedule: Schedule, *, limit: int
    ) -> tuple[Occurrence, ...]:
        """Return what became of a schedule's latest fire times, newest first."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_occurrences(conn, schedule.id, limit=limit)

    async def pause(self, user_id: UserId, reference: str, note: str = "") -> Schedule:
        """Pause a schedule; one that is paused already keeps its note unless a new one is given."""
        async with self._database.acting_as(user_id) as conn:
            found = await self._find(conn, reference)
            await rows.set_active(conn, found.id, active=False, note=note or found.pause_note)
            return await self._find(conn, str(found.id))

    async def resume(self, user_id: UserId, reference: str, note: str = "") -> Schedule:
        """Resume a schedule: it fires next in the future, never a time that has passed.

        A scheduler writes the notes of pausing and resuming to the fires of the pause.
        """
        async with self._database.acting_as(user_id) as conn:
            found = await self._find(conn, reference)
            found.timing.check()
            notes = [found.pause_note, note and f"resumed: {note}"]
            said = "; ".join(text for text in notes if text)
            await rows.set_active(conn, found.id, active=True, note=said or None)
            return await self._find(conn, str(found.id))

    async def remove(self, user_id: UserId, reference: str) -> Schedule:
        """Delete a schedule and return it.

        Its results stay. Runs under way end as they would; runs that wait for their turn are
        cancelled.
        """

        async def delete() -> Schedule:
            async with self._database.acting_as(user_id) as conn:
                found = await self._find(conn, reference)
                await rows.delete_schedule(conn, found.id)
                return found

        # A result that is being stored locks its run before its schedule; this, the other way.
        return await despite_deadlocks(delete)

    async def backfill_times(
        self, user_id: UserId, reference: str, start: str, end: str
    ) -> tuple[Schedule, tuple[datetime, ...]]:
        """Return a schedule and its past fire times from `start` to `end`, both included.

        Days off and inactive times are left out, as they would have been. Raises
        InvalidInputError for more than `MOST_BACKFILLED`, or an end in the future.
        """
        now = self._clock()
        async with self._database.acting_as(user_id) as conn:
            found = await self._find(conn, reference)
            zone = ZoneInfo(found.timing.time_zone)
            first = parse_moment(start, zone, now=now, field="from", alone="past")
            last = parse_moment(end, zone, now=now, field="to", alone="past")
            if last > now or last < first:
                raise InvalidInputError(
                    "A backfill goes from an earlier to a later time, and ends in the past.",
                    field="to",
                )
            times = found.rule().fires_between(
                first - timedelta(microseconds=1), last, limit=MOST_BACKFILLED + 1
            )
            if len(times) > MOST_BACKFILLED:
                raise InvalidInputError(
                    f"There are more than {MOST_BACKFILLED} fire times in it; take a shorter range."
                )
            objections = await self._objections(conn, found, first, last)
            return found, tuple(time for time in times if objections(time) is None)

    async def backfill(
        self,
        user_id: UserId,
        schedule: Schedule,
        times: Sequence[datetime],
        overlap: OverlapPolicy = OverlapPolicy.BUFFER_ALL,
    ) -> tuple[RunId, ...]:
        """Ask for runs of past fire times, in order; those that ran already are left alone."""
        if overlap not in {OverlapPolicy.BUFFER_ALL, OverlapPolicy.ALLOW_ALL}:
            raise InvalidInputError(
                "A backfill runs one after another (buffer_all) or side by side (allow_all).",
                field="overlap",
            )
        async with self._database.acting_as(user_id) as conn:
            return await rows.request_backfill(conn, schedule.id, times, overlap)

    async def upcoming(
        self, user_id: UserId, *, length: timedelta, most: int
    ) -> tuple[tuple[Upcoming, ...], ...]:
        """Return, for each active schedule, its fires in the time to come: `most` at most each."""
        now = self._clock()
        async with self._database.acting_as(user_id) as conn:
            found = [s for s in await rows.list_schedules(conn) if s.state == "active"]
            listed: list[tuple[Upcoming, ...]] = []
            for schedule in found:
                try:
                    times = schedule.rule().fires_between(now, now + length, limit=most)
                    objections = await self._objections(conn, schedule, now, now + length)
                except InvalidInputError:  # its scheduler pauses it and says so
                    continue
                left = schedule.policy.max_runs
                times = times if left is None else times[: max(0, left - schedule.runs_started)]
                listed.append(tuple(Upcoming(schedule, time, objections(time)) for time in times))
            return tuple(listed)

    async def zone(self, user_id: UserId) -> str:
        """Return the person's own zone."""
        async with self._database.acting_as(user_id) as conn:
            return await users.fetch_time_zone(conn, user_id)

    async def set_zone(self, user_id: UserId, time_zone: str) -> None:
        """Set the person's own zone; schedules that follow it are planned anew."""
        parse_zone(time_zone)
        async with self._database.acting_as(user_id) as conn:
            await users.set_time_zone(conn, user_id, time_zone)

    def next_fires(self, timing: Timing, count: int) -> list[datetime]:
        """Return the next fires (aware, UTC) of a timing from now; raises InvalidInputError."""
        return timing.rule().fires_after(self._clock(), count)

    def _check_that_it_fires(self, timing: Timing) -> None:
        now = self._clock()
        anchored = replace(timing, anchor=timing.anchor or timing.starts_at or now)
        if anchored.rule().next_after(now) is None:
            raise InvalidInputError(
                "This never fires: all of its times lie in the past.", field="when"
            )

    async def _objections(
        self, conn: Connection, schedule: Schedule, first: datetime, last: datetime
    ) -> Callable[[datetime], str | None]:
        days = await calendar_rows.days_of_schedules(
            conn,
            [schedule.id],
            first=(first - timedelta(days=1)).astimezone(UTC).date(),
            last=(last + timedelta(days=1)).astimezone(UTC).date(),
        )
        return schedule.timing.filter(days.get(schedule.id, ())).objection

    async def _find(self, conn: Connection, reference: str) -> Schedule:
        found = await rows.find_schedules(conn, reference)
        named = [s for s in found if reference in {s.name, str(s.id)}]
        if len(named) == 1:
            return named[0]
        if not found or len(reference) < SHORTEST_PREFIX:
            raise NotFoundError("schedule", reference, hint="See `rota schedules list`.")
        if len(found) > 1:
            raise InvalidInputError(f"{reference!r} fits more than one schedule; write more of it.")
        return found[0]


async def _fetch(conn: Connection, schedule_id: ScheduleId) -> Schedule:
    found = await rows.fetch_schedule(conn, schedule_id)
    if found is None:  # written in this very transaction
        raise RuntimeError("a schedule was written and is not there")
    return found


async def _require_agent(conn: Connection, agent_name: str, user_id: UserId) -> AgentConfiguration:
    found = await agent_rows.fetch_agent(conn, agent_name, user_id)
    if found is None:
        raise NotFoundError("agent", agent_name, hint="See `rota agents list`.")
    return found


async def _edited_options(
    conn: Connection, user_id: UserId, found: Schedule, edit: ScheduleEdit
) -> Mapping[str, Any]:
    """Return the options to store, checked against the agent if they or the agent are changed."""
    if edit.agent_name is None and not edit.options:
        return found.options
    options = edit.options.options(parse_run_options(found.options))
    if edit.agent_name is not None or options.asks_of_agent:
        agent = await _require_agent(conn, edit.agent_name or found.agent_name, user_id)
        check_options(options, agent)
    return options.as_json()


async def _zones(
    conn: Connection, user_id: UserId, found: Schedule, wanted: str | None
) -> tuple[str | None, str]:
    """Return the zone to store, None for the person's own, and the zone that this comes to."""
    if wanted is None:
        return (
            None if found.follows_owner_zone else found.timing.time_zone
        ), found.timing.time_zone
    if wanted == NONE:
        return None, await users.fetch_time_zone(conn, user_id)
    return wanted, wanted


def check_name(name: str) -> None:
    """Raise InvalidInputError for a name that the database would refuse."""
    if not name or len(name) > 100 or name != name.strip() or not name.isprintable():
        raise InvalidInputError(
            f"The name {name!r} must be one line of 1 to 100 characters, without spaces around it.",
            field="name",
        )
