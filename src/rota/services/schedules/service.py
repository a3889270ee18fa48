"""Adds, reads, changes, pauses, resumes, removes and backfills schedules for their owner."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, Literal

from rota.domain.errors import (
    ChangedMeanwhileError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
)
from rota.domain.ids import RunId, ScheduleId, UserId
from rota.domain.runs.option_drafts import OptionChange, OptionDraft
from rota.domain.runs.options import RunOptions
from rota.domain.schedules.drafts import NONE, Draft
from rota.domain.schedules.firing import WALK_LIMIT
from rota.domain.schedules.forecast import UpcomingFire, check_that_it_runs, upcoming_fires
from rota.domain.schedules.occurrences import Occurrence
from rota.domain.schedules.overlap import OverlapPolicy
from rota.domain.schedules.rules.cron import parse_zone
from rota.domain.schedules.schedule import Schedule, ScheduleContent
from rota.domain.schedules.written_time import parse_moment
from rota.domain.text.storable import storable_text
from rota.services.agents.option_checks import (
    NOBODY_KNOWS,
    Registered,
    check_options,
    doubts_of_schedule,
)
from rota.services.agents.service import find_agent
from rota.services.references import id_prefix, the_one
from rota.services.schedules.resuming import resume_after_setup
from rota.store import users
from rota.store.agents import rows as agent_rows
from rota.store.database import Connection, Database, despite_deadlocks
from rota.store.schedules import calendars as calendar_rows
from rota.store.schedules import pauses as pause_rows
from rota.store.schedules import rows

Change = Literal["created", "updated", "unchanged", "removed", "kept"]
"""What applying a file did to something; `kept` is what it does not name, and leaves as it is."""

MOST_BACKFILLED: Final = 1_000
"""Fire times of one backfill."""

_FAR: Final = datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """What a person says of a schedule. `time_zone` None follows the person's own zone.

    `calendars` are the names of calendars whose days are days off; `paused` is the note of a
    schedule that does not begin at once.

    >>> new = rota.NewSchedule("noon", "clerk", rota.Draft(when="daily at 12:00"), prompt="Go.")
    >>> added = await app.schedules.add(me, new)
    >>> added.state
    'active'
    """

    name: str
    agent_name: str
    draft: Draft
    time_zone: str | None = None
    prompt: str | None = None
    calendars: tuple[str, ...] = ()
    paused: str | None = None
    options: RunOptions = field(default_factory=RunOptions)


@dataclass(frozen=True, slots=True)
class ScheduleEdit:
    """What a person changes of a schedule; None leaves it as it is.

    `time_zone` and `prompt` "none" take the value away; `calendars` replaces the whole list.
    `revision` is the one that the person saw: if somebody changed the schedule since, nothing is
    changed.

    >>> edit = rota.ScheduleEdit(draft=rota.Draft(when="weekdays at 9"), prompt="none")
    >>> changed = await app.schedules.edit(me, "each-morning", edit)
    >>> changed.timing.cron, changed.prompt, changed.revision
    ('0 9 * * 1-5', None, 2)
    """

    draft: Draft = field(default_factory=Draft)
    name: str | None = None
    agent_name: str | None = None
    prompt: str | None = None
    time_zone: str | None = None
    calendars: tuple[str, ...] | None = None
    revision: int | None = None
    options: OptionDraft | OptionChange = field(default_factory=OptionDraft)


@dataclass(frozen=True, slots=True)
class Backfill:
    """The past fire times of a range, and the new runs. A time that has run gets no new run."""

    schedule: Schedule
    fire_times: tuple[datetime, ...]
    runs: tuple[RunId, ...]


class ScheduleService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime],
        registered: Registered = NOBODY_KNOWS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._registered = registered

    async def add(self, user_id: UserId, new: NewSchedule) -> Schedule:
        """Store a schedule; raises InvalidInputError, NotFoundError, ConflictError.

        The agent must be there for this person. Rule and policy are checked as the scheduler reads
        them, and a rule that never fires is refused.
        """
        async with self._database.acting_as(user_id) as conn:
            content = await self._content(conn, user_id, new)
            if (taken := await _named(conn, new.name)) is not None:
                raise _name_taken(taken)
            schedule_id = await _insert(conn, user_id, content, new)
            return await self._find(conn, str(schedule_id))

    async def apply(self, conn: Connection, user_id: UserId, new: NewSchedule) -> Change:
        """Make a schedule say what `new` says, and nothing else, in the caller's transaction.

        One of that name is changed, or added if there is none; raises as `add` does, and
        ConflictError where it is another agent's. An interval keeps its anchor unless `new` starts
        it elsewhere.
        """
        found = await _named(conn, new.name)
        before = await rows.lock_schedule(conn, found.id) if found is not None else None
        if before is not None:
            if before.agent_name != new.agent_name:
                raise _name_taken(before)
            return await self._rewrite(conn, user_id, before, new)
        await _insert(conn, user_id, await self._content(conn, user_id, new), new)
        return "created"

    async def replace(self, user_id: UserId, found: Schedule, new: NewSchedule) -> Schedule:
        """Make a schedule say what `new` says, and nothing else; return it. Raises as `add` does.

        Whether it is paused stays. An interval keeps its anchor, as in `apply`. `found` is what the
        person saw; ChangedMeanwhileError: it is not at that revision any more.
        """
        async with self._database.acting_as(user_id) as conn:
            before = await _locked(conn, found.id, found.name, found.revision)
            if new.name != before.name and (taken := await _named(conn, new.name)) is not None:
                raise _name_taken(taken)
            await self._rewrite(conn, user_id, before, new)
            return await self._find(conn, str(found.id))

    async def _rewrite(
        self, conn: Connection, user_id: UserId, before: Schedule, new: NewSchedule
    ) -> Change:
        content = await self._content(conn, user_id, new, before)
        calendars = await calendar_rows.calendars_of_schedule(conn, before.id)
        if before.content == content and set(calendars) == set(new.calendars):
            return "unchanged"
        await rows.update_schedule(conn, before.id, content)
        await calendar_rows.link_calendars(conn, before.id, new.calendars)
        return "updated"

    async def edit(self, user_id: UserId, reference: str, edit: ScheduleEdit) -> Schedule:
        """Change a schedule and return it; raises as `add` does.

        The row is locked while it is read and written, so that of two people who change different
        things both succeed. What is as it is to be stays untouched, at its revision.
        ChangedMeanwhileError: it is not at `edit.revision` any more.
        """
        async with self._database.acting_as(user_id) as conn:
            seen = await self._find(conn, reference)
            found = await _locked(conn, seen.id, reference, edit.revision)
            name = edit.name if edit.name is not None else found.name
            check_name(name)
            if name != found.name and (taken := await _named(conn, name)) is not None:
                raise _name_taken(taken)
            options = await _edited_options(conn, user_id, found, edit, self._registered)
            own_zone, zone = await _zones(conn, user_id, found, edit.time_zone)
            timing = edit.draft.timing(zone, now=self._clock(), before=found.timing)
            if timing != found.timing:
                check_that_it_runs(timing, now=self._clock())
            prompt = found.prompt if edit.prompt is None else edit.prompt
            content = ScheduleContent(
                name=name,
                agent_name=edit.agent_name or found.agent_name,
                prompt=None if prompt == NONE else prompt,
                time_zone=own_zone,
                timing=timing,
                policy=edit.draft.policy(found.policy),
                options=options,
            )
            if content != found.content:
                await rows.update_schedule(conn, found.id, content)
            if edit.calendars is not None:
                await calendar_rows.link_calendars(conn, found.id, edit.calendars)
            return await self._find(conn, str(found.id))

    async def doubt(self, user_id: UserId, schedule: Schedule) -> str | None:
        """Say what may not be as it was meant: no prompt, or an unknown callable."""
        async with self._database.acting_as(user_id) as conn:
            return await doubt_of(conn, user_id, schedule, self._registered)

    async def find(self, user_id: UserId, name: str) -> Schedule | None:
        """Return the schedule of just this name or id; None where there is none."""
        async with self._database.acting_as(user_id) as conn:
            found = await rows.list_schedules(conn, storable_text(name))
        return next((s for s in found if name in {s.name, str(s.id)}), None)

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
            return await rows.page_of_occurrences(conn, schedule.id, limit=limit)

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
            joined = "; ".join(text for text in notes if text)
            await rows.set_active(conn, found.id, active=True, note=joined or None)
            return await self._find(conn, str(found.id))

    async def resume_after_setup(self, user_id: UserId, what: str) -> tuple[Schedule, ...]:
        """Resume the schedules that rota paused because this was to be set up; return them.

        What fell due meanwhile is caught up. See `rota.services.schedules.resuming`.
        """
        return await resume_after_setup(self._database, user_id, what, now=self._clock())

    async def remove(
        self, user_id: UserId, reference: str, *, revision: int | None = None
    ) -> Schedule:
        """Delete a schedule and return it.

        Its results stay. Runs under way end as they would; runs that wait for their turn are
        cancelled. ChangedMeanwhileError: it is not at this revision any more.
        """

        async def delete() -> Schedule:
            async with self._database.acting_as(user_id) as conn:
                seen = await self._find(conn, reference)
                found = await _locked(conn, seen.id, reference, revision)
                await rows.delete_schedule(conn, found.id)
                return found

        # A result that is being stored locks its run before its schedule; this, the other way.
        return await despite_deadlocks(delete)

    async def backfill(
        self,
        user_id: UserId,
        reference: str,
        start: str,
        end: str,
        overlap: OverlapPolicy = OverlapPolicy.BUFFER_ALL,
        *,
        dry_run: bool = False,
    ) -> Backfill:
        """Ask for runs of the past fire times from `start` to `end`, both included, in order.

        An `end` that is a day means the whole day, of today as far as it is over. Days off and
        inactive times are left out, as they would have been. Raises InvalidInputError for more than
        `MOST_BACKFILLED`, an end in the future, or a policy that would skip runs.
        """
        if overlap not in {OverlapPolicy.BUFFER_ALL, OverlapPolicy.ALLOW_ALL}:
            raise InvalidInputError(
                "A backfill runs one after another (buffer_all) or side by side (allow_all).",
                field="overlap",
            )
        now = self._clock()
        async with self._database.acting_as(user_id) as conn:
            found = await self._find(conn, reference)
            zone = parse_zone(found.timing.time_zone)
            first = parse_moment(start, zone, now=now, field="from", alone="past")
            last = parse_moment(end, zone, now=now, field="to", alone="past", whole_day=True)
            today = datetime.combine(now.astimezone(zone), time.max, tzinfo=zone)
            last = now if last == today else last
            if last > now or last < first:
                raise InvalidInputError(
                    "A backfill goes from an earlier to a later time, and ends in the past.",
                    field="to",
                )
            times = found.timing.rule().fires_between(
                first - timedelta(microseconds=1), last, limit=MOST_BACKFILLED + 1
            )
            if len(times) > MOST_BACKFILLED:
                raise InvalidInputError(
                    f"There are more than {MOST_BACKFILLED} fire times in this range. "
                    "Choose a shorter one."
                )
            days_off = await calendar_rows.days_of_schedules(conn, [found.id], first, last)
            allowed = found.timing.filter(days_off.get(found.id, ()))
            times = [time for time in times if allowed.objection(time) is None]
            runs = () if dry_run else await rows.request_backfill(conn, found.id, times, overlap)
            return Backfill(found, tuple(times), runs)

    async def upcoming(
        self,
        user_id: UserId,
        schedules: Sequence[Schedule],
        *,
        runs: int | None = None,
        length: timedelta | None = None,
        looks: int = WALK_LIMIT,
    ) -> tuple[tuple[UpcomingFire, ...], ...]:
        """Return the fires that lie ahead of each schedule, as if none were paused by itself.

        Up to `length` from now, up to the last of `runs` that will run, or that its `max_runs` lets
        run; of `looks` fire times at most. None for a rule that cannot be read: its scheduler
        pauses it and says so.
        """
        async with self._database.acting_as(user_id) as conn:
            return await upcoming(
                conn,
                user_id,
                schedules,
                now=self._clock(),
                runs=runs,
                length=length,
                looks=looks,
            )

    async def zone(self, user_id: UserId) -> str:
        """Return the person's own zone."""
        async with self._database.acting_as(user_id) as conn:
            return await users.fetch_time_zone(conn, user_id)

    async def set_zone(self, user_id: UserId, time_zone: str) -> None:
        """Set the person's own zone; schedules that follow it are planned anew."""
        parse_zone(time_zone)
        async with self._database.acting_as(user_id) as conn:
            await users.set_time_zone(conn, user_id, time_zone)

    async def _content(
        self, conn: Connection, user_id: UserId, new: NewSchedule, before: Schedule | None = None
    ) -> ScheduleContent:
        """Return what to store of a schedule that is said as a whole, checked in every part."""
        check_name(new.name)
        agent = await find_agent(conn, user_id, new.agent_name)
        zone = new.time_zone
        if zone is None:
            zone = await users.fetch_time_zone(conn, user_id)
        timing = new.draft.timing(zone, now=self._clock())
        if before is not None and timing.every and timing.every == before.timing.every:
            timing = replace(timing, anchor=timing.anchor or before.timing.anchor)
        if before is None or timing != before.timing:
            check_that_it_runs(timing, now=self._clock())
        check_options(new.options, agent, self._registered)
        return ScheduleContent(
            name=new.name,
            agent_name=new.agent_name,
            prompt=new.prompt,
            time_zone=new.time_zone,
            timing=timing,
            policy=new.draft.policy(),
            options=new.options.as_json(),
        )

    async def _find(self, conn: Connection, reference: str) -> Schedule:
        return await find_schedule(conn, reference)


async def doubt_of(
    conn: Connection, user_id: UserId, schedule: Schedule, registered: Registered
) -> str | None:
    """Say what may not be as it was meant, as `ScheduleService.doubt`."""
    agent = await agent_rows.fetch_agent(conn, schedule.agent_name, user_id)
    if agent is None:
        return None
    try:
        options = RunOptions.parse(schedule.options)
    except InvalidInputError:  # written past rota; whoever shows it says so
        return None
    return doubts_of_schedule(
        schedule.prompt,
        options,
        registered,
        agent_name=agent.agent_name,
        model=agent.model,
        script=agent.script,
    )


async def upcoming(
    conn: Connection,
    user_id: UserId,
    schedules: Sequence[Schedule],
    *,
    now: datetime,
    runs: int | None = None,
    length: timedelta | None = None,
    looks: int = WALK_LIMIT,
) -> tuple[tuple[UpcomingFire, ...], ...]:
    """Return the fires that lie ahead of each schedule, as `ScheduleService.upcoming`."""
    until = now + length if length is not None else None
    asking = [schedule.id for schedule in schedules if schedule.uses_calendars]
    days_off = await calendar_rows.days_of_schedules(conn, asking, now, until or _FAR)
    pauses = await pause_rows.pauses_of_people(conn, [user_id])
    listed: list[tuple[UpcomingFire, ...]] = []
    for schedule in schedules:
        counts = [count for count in (runs, schedule.runs_left) if count is not None]
        try:
            fires = upcoming_fires(
                schedule.timing,
                days_off.get(schedule.id, ()),
                pauses[user_id],
                after=now,
                until=until,
                runs=min(counts, default=None),
                looks=looks,
            )
        except InvalidInputError:
            fires = ()
        listed.append(fires)
    return tuple(listed)


async def find_schedule(conn: Connection, reference: str) -> Schedule:
    """Return a schedule of the transaction's person by name, id, or the beginning of its id.

    Raises NotFoundError, and InvalidInputError where it fits several.
    """
    found = await rows.list_schedules(conn, storable_text(reference))
    named = [s for s in found if reference in {s.name, str(s.id)}]
    if len(named) == 1:
        return named[0]
    if id_prefix(reference) is None:
        found = ()
    return the_one("schedule", reference, found, hint="See `rota schedules list`.")


async def _locked(
    conn: Connection, schedule_id: ScheduleId, reference: str, revision: int | None
) -> Schedule:
    """Return a schedule, locked; raises where it was removed, or is not at this revision."""
    found = await rows.lock_schedule(conn, schedule_id)
    if found is None:  # removed between the two looks
        raise NotFoundError("schedule", reference, hint="See `rota schedules list`.")
    if revision is not None and revision != found.revision:
        raise ChangedMeanwhileError(
            f"{found.name} was changed meanwhile: it has revision "
            f"{found.revision}, not {revision}. Read it again."
        )
    return found


async def _named(conn: Connection, name: str) -> Schedule | None:
    """Return the person's schedule of just this name."""
    return next((s for s in await rows.list_schedules(conn, name) if s.name == name), None)


def _name_taken(schedule: Schedule) -> ConflictError:
    return ConflictError(
        f"There is a schedule named {schedule.name!r} already, of the agent {schedule.agent_name}; "
        f"choose another name, or first remove that one (`rota schedules remove`)."
    )


async def _insert(
    conn: Connection, user_id: UserId, content: ScheduleContent, new: NewSchedule
) -> ScheduleId:
    schedule_id = await rows.insert_schedule(conn, user_id, content, paused=new.paused)
    await calendar_rows.link_calendars(conn, schedule_id, new.calendars)
    return schedule_id


async def _edited_options(
    conn: Connection,
    user_id: UserId,
    found: Schedule,
    edit: ScheduleEdit,
    registered: Registered,
) -> Mapping[str, Any]:
    """Return the options to store, checked against the agent if they or the agent are changed."""
    if edit.agent_name is None and not edit.options:
        return found.options
    options = edit.options.options(RunOptions.parse(found.options))
    if edit.agent_name is not None or options.asks_of_agent:
        agent = await find_agent(conn, user_id, edit.agent_name or found.agent_name)
        check_options(options, agent, registered)
    return options.as_json()


async def _zones(
    conn: Connection, user_id: UserId, found: Schedule, wanted: str | None
) -> tuple[str | None, str]:
    """Return the zone to store, None for the person's own, and the zone that this comes to."""
    if wanted is None:
        return found.content.time_zone, found.timing.time_zone
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
