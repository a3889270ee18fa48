"""Applies an agent file, all of it or nothing; also validates, exports and removes agents."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

from rota.agents.models.providers import CALLABLE, parse_model
from rota.domain.errors import ConflictError, InvalidInputError
from rota.domain.ids import UserId
from rota.domain.runs.limits import Limits
from rota.domain.runs.option_kinds import counted, from_file
from rota.domain.schedules.schedule import Schedule
from rota.services.agent_files.faults import Faults
from rota.services.agent_files.writing import Entry, agent_entry, schedule_entry
from rota.services.agents.option_checks import (
    NOBODY_KNOWS,
    Registered,
    doubts_of_schedule,
    missing_callable,
    missing_endpoint,
    needed_key,
)
from rota.services.agents.service import find_agent
from rota.services.schedules.service import Change, NewSchedule, ScheduleService
from rota.store.agents import rows
from rota.store.database import Connection, Database, despite_deadlocks
from rota.store.operations import processes
from rota.store.runs import views as run_views
from rota.store.schedules import calendars as calendar_rows
from rota.store.schedules import rows as schedule_rows

if TYPE_CHECKING:  # pydantic takes a tenth of a second to import, and few commands read a file
    from rota.services.agent_files.reading import AgentEntry, AgentFile, ScheduleEntry


T = TypeVar("T")
Keys: TypeAlias = Sequence[Collection[str]] | None
"""The names of the keys that each process has; None where nobody knows them."""

_GROUPS: Final = frozenset({"model_settings", "limits", "day_limits"})
"""Fields of a file that are told of one by one."""


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a file changed in one agent or schedule, calendar or rule.

    `doubt` is a warning: something in the file may not be what its author meant. `fields` are the
    changed fields of an agent or a schedule that was updated.
    """

    kind: Literal["agent", "schedule", "calendar", "rule", "settings"]
    name: str
    change: Change
    doubt: str | None = None
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exported:
    """Exported agents, in the form of an agent file. `left_out` says in words what is missing."""

    agents: tuple[Entry, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Removed:
    """A removed agent, and the names of the schedules that were removed with it."""

    agent: str
    schedules: tuple[str, ...]


class AgentFileService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(
        self,
        database: Database,
        schedules: ScheduleService,
        registered: Registered = NOBODY_KNOWS,
    ) -> None:
        self._database = database
        self._schedules = schedules
        self._registered = registered

    async def apply(
        self,
        user_id: UserId,
        *files: AgentFile,
        is_operator: bool = False,
        prune: bool = False,
    ) -> tuple[Applied, ...]:
        """Write the agents and schedules of files as the person's own, all of it or nothing.

        Other schedules of these agents are kept, and told of; with `prune` they are removed.
        Raises InvalidInputError, with the line, for what is not there or may not be; scripts may
        not, unless it is the operator who writes. All that is wrong is told at once.
        """
        keys = await self.keys()

        async def write() -> tuple[Applied, ...]:
            async with self._database.acting_as(user_id, is_operator=is_operator) as conn:
                return await self.write(
                    conn, user_id, files, keys, is_operator=is_operator, prune=prune
                )

        return await despite_deadlocks(write)

    async def validate(
        self, user_id: UserId, file: AgentFile, *, is_operator: bool = False
    ) -> tuple[Applied, ...]:
        """Return what `apply` would do, and do nothing; raises as it does."""
        keys = await self.keys()
        async with self._database.acting_as(
            user_id, is_operator=is_operator, is_rehearsal=True
        ) as conn:
            return await self.write(
                conn, user_id, [file], keys, is_operator=is_operator, prune=False
            )

    async def write(
        self,
        conn: Connection,
        user_id: UserId,
        files: Sequence[AgentFile],
        keys: Keys,
        *,
        is_operator: bool,
        prune: bool,
    ) -> tuple[Applied, ...]:
        """Write files in the caller's transaction, as `apply` does; `keys` are those of `keys`."""
        faults, applied = Faults(_named_twice(files)), list[Applied]()
        for file in files:
            with faults.gathered():
                applied += await self._apply(conn, user_id, file, keys, is_operator=is_operator)
        faults.check(by_line=len(files) == 1)
        entries = [entry for file in files for entry in file.agents]
        named = {schedule.name for entry in entries for schedule in entry.schedules}
        agents = {entry.name for entry in entries}
        meant = {one.name for entry in entries for one in entry.schedules if one.paused}
        there = await schedule_rows.list_schedules(conn)
        paused = {one.name for one in there if one.state == "paused"} - meant
        applied = [_with_pause(one) if one.name in paused else one for one in applied]
        for other in there:
            if other.agent_name in agents and other.name not in named:
                if prune:
                    await schedule_rows.delete_schedule(conn, other.id)
                applied.append(Applied("schedule", other.name, "removed" if prune else "kept"))
        return tuple(applied)

    async def _apply(
        self,
        conn: Connection,
        user_id: UserId,
        file: AgentFile,
        keys: Keys,
        *,
        is_operator: bool,
    ) -> list[Applied]:
        known = await rows.tool_names(conn)
        applied: list[Applied] = []
        faults = Faults(file.places.faults)
        for index, entry in zip(file.indexes, file.agents, strict=True):
            if not is_operator and await _is_new_script(conn, user_id, entry):
                place = (index, "script")
                faults.add(file.places.error("scripts are the operator's to write", place))
                continue
            faults.add(*_unknown_tools(file, index, entry, known))
            if index in file.unfit:
                continue
            is_there = False
            with faults.gathered(), file.places.naming((index,)):
                applied.append(await self._apply_agent(conn, user_id, entry, keys))
                is_there = True
            for number, schedule in enumerate(entry.schedules if is_there else ()):
                at = (index, "schedules", number)
                with faults.gathered(), file.places.naming_schedule(at, schedule):
                    # What fails is undone by itself, so that the others are looked at too.
                    async with conn.transaction():
                        applied.append(await self._apply_schedule(conn, user_id, entry, schedule))
        faults.check()
        return applied

    async def export(self, user_id: UserId, names: Sequence[str] = ()) -> Exported:
        """Return agents with the person's schedules of them, as a file has them.

        All of their own if none is named. Raises NotFoundError, and InvalidInputError for a row
        that no file can say.
        """
        async with self._database.acting_as(user_id) as conn:
            return await self.read(conn, user_id, names)

    async def read(self, conn: Connection, user_id: UserId, names: Sequence[str] = ()) -> Exported:
        """Return agents as `export` does, in the caller's transaction."""
        if names:
            agents = [await find_agent(conn, user_id, name) for name in dict.fromkeys(names)]
        else:
            found = await rows.list_agents(conn, user_id)
            agents = [agent for agent in found if agent.user_id is not None]
        chosen = {agent.agent_name for agent in agents}
        entries = {agent.agent_name: agent_entry(agent) for agent in agents}
        left_out: list[str] = []
        calendars = await calendar_rows.calendars_of_schedules(conn)
        for schedule in await schedule_rows.list_schedules(conn):
            if schedule.agent_name in chosen:
                entry = schedule_entry(schedule, calendars.get(schedule.id, ()))
                entries[schedule.agent_name].setdefault("schedules", []).append(entry)
                if schedule.paused_by_rota:
                    left_out.append(
                        f"the pause of {schedule.name}, which rota paused here "
                        f"({(schedule.pause_note or '').rstrip('.')}): it begins where you "
                        "apply the file anew"
                    )
            elif not names:
                left_out.append(
                    f"the schedule {schedule.name}, of {schedule.agent_name}: that agent is "
                    "not your own; name it to export it too"
                )
        return Exported(tuple(entries.values()), tuple(left_out))

    async def remove(
        self, user_id: UserId, agent_name: str, *, with_schedules: bool = False
    ) -> Removed:
        """Delete an agent of the person's own; what it did stays.

        Raises NotFoundError, and ConflictError while schedules run it (unless they are to go too),
        runs of it are not over, or calls of it wait for a decision.
        """

        async def delete() -> Removed:
            async with self._database.acting_as(user_id) as conn:
                return await self.delete(conn, user_id, agent_name, with_schedules=with_schedules)

        return await despite_deadlocks(delete)

    async def delete(
        self, conn: Connection, user_id: UserId, agent_name: str, *, with_schedules: bool
    ) -> Removed:
        """Delete an agent in the caller's transaction, as `remove` does."""
        agent = await find_agent(conn, user_id, agent_name)
        if agent.user_id is None:
            raise ConflictError(
                f"{agent_name} is a shared agent. Only the operator can remove it.",
                status="shared",
            )
        of_it = [
            schedule
            for schedule in await schedule_rows.list_schedules(conn)
            if schedule.agent_name == agent_name
        ]
        if of_it and not with_schedules:
            raise ConflictError(_still_scheduled(agent_name, of_it))
        for schedule in of_it:
            await schedule_rows.delete_schedule(conn, schedule.id)
        await _check_unused(conn, user_id, agent_name)
        await rows.delete_agent(conn, user_id, agent_name)
        return Removed(agent_name, tuple(schedule.name for schedule in of_it))

    async def _apply_agent(
        self, conn: Connection, user_id: UserId, entry: AgentEntry, keys: Keys
    ) -> Applied:
        before = await rows.fetch_agent(conn, entry.name, user_id)
        agent_id, is_new = await rows.upsert_agent(
            conn,
            user_id=user_id,
            agent_name=entry.name,
            description=entry.description,
            model=entry.model,
            model_settings=entry.model_settings,
            system_prompt=entry.system_prompt,
            script=entry.script,
            max_steps=entry.max_steps,
            fallback_models=entry.fallback_models,
            limits=from_file(Limits, entry.limits, "limits.").as_json(),
            max_concurrency=entry.max_concurrency,
        )
        await rows.replace_agent_tools(conn, agent_id, entry.tools)
        after = await rows.fetch_agent(conn, entry.name, user_id)
        change: Change = "created" if is_new else "unchanged" if before == after else "updated"
        return Applied(
            "agent",
            entry.name,
            change,
            "; ".join(_doubts(entry, keys, self._registered)) or None,
            _changed(before, after, agent_entry) if change == "updated" else (),
        )

    async def keys(self) -> Keys:
        """Return the names of the keys of each worker, of this process where none runs.

        Asked before a file is written, which takes a connection of its own.
        """
        if self._registered.keys is None:
            return None
        async with self._database.connection() as conn:
            alive = [p for p in await processes.list_processes(conn) if p.is_alive]
        of_workers = [p.settings for p in alive if p.kind == "worker" and p.settings is not None]
        return of_workers or [self._registered.keys]

    async def _apply_schedule(
        self, conn: Connection, user_id: UserId, agent: AgentEntry, entry: ScheduleEntry
    ) -> Applied:
        new = NewSchedule(
            name=entry.name,
            agent_name=agent.name,
            draft=entry.draft(),
            time_zone=entry.time_zone,
            prompt=entry.prompt,
            calendars=entry.except_calendars,
            paused=entry.paused,
            options=entry.options(),
        )
        doubt = doubts_of_schedule(
            new.prompt,
            new.options,
            self._registered,
            agent_name=agent.name,
            model=agent.model,
            script=agent.script,
        )
        before = await _schedule_named(conn, entry.name)
        change = await self._schedules.apply(conn, user_id, new)
        after = await _schedule_named(conn, entry.name) if change == "updated" else None
        names = _changed(before, after, lambda found: schedule_entry(*found))
        if entry.when is not None:
            names = tuple("when" if name == "cron" else name for name in names)
        return Applied("schedule", entry.name, change, doubt, names)


async def _is_new_script(conn: Connection, user_id: UserId, entry: AgentEntry) -> bool:
    """Return whether a file gives an agent another script than the one that it has."""
    if entry.script is None:
        return False
    found = await rows.fetch_agent(conn, entry.name, user_id)
    return found is None or found.user_id is None or found.script != entry.script


def _named_twice(files: Sequence[AgentFile]) -> Iterator[InvalidInputError]:
    """Yield a fault for each agent or schedule that an earlier file names too."""
    seen: dict[tuple[str, str], AgentFile] = {}
    for file in files:
        for kind, name, place in _names(file):
            other = seen.setdefault((kind, name), file)
            if other is not file:
                said = f"{other.places.source} has {kind} {name!r} too"
                yield file.places.error(said, place)


def _names(file: AgentFile) -> Iterator[tuple[str, str, tuple[int | str, ...]]]:
    for index, entry in zip(file.indexes, file.agents, strict=True):
        if index not in file.unfit:
            yield "an agent", entry.name, (index, "name")
        for number, schedule in enumerate(entry.schedules):
            yield "a schedule", schedule.name, (index, "schedules", number, "name")


def _doubts(entry: AgentEntry, keys: Keys, registered: Registered) -> Iterator[str]:
    """Say what the models of an agent need, and is not there."""
    if entry.model.startswith(CALLABLE):
        if (doubt := missing_callable(entry.model.removeprefix(CALLABLE), registered)) is not None:
            yield doubt
        return
    if (doubt := missing_endpoint(entry.model_settings, registered)) is not None:
        yield doubt
    told: set[str | None] = {None}
    provider, _ = parse_model(entry.model)
    for spec in (entry.model, *entry.fallback_models):
        # A fallback of the same provider takes its endpoint too, which has a key of its own.
        is_same = parse_model(spec)[0] == provider
        key = needed_key(spec, entry.model_settings if is_same else {})
        if key in told or keys is None or any(key in there for there in keys):
            continue
        told.add(key)
        needs = "the worker needs" if spec == entry.model else f"the fallback {spec} needs"
        yield (
            f"{needs} {key}, which is not set; write it into ~/.config/rota/.env and start rota "
            "again"
        )


async def _schedule_named(conn: Connection, name: str) -> tuple[Schedule, tuple[str, ...]] | None:
    """Return the person's schedule of this name with the names of its calendars."""
    for found in await schedule_rows.list_schedules(conn, name):
        if found.name == name:
            return found, await calendar_rows.calendars_of_schedule(conn, found.id)
    return None


def _changed(before: T | None, after: T | None, write: Callable[[T], Entry]) -> tuple[str, ...]:
    """Return the fields of a file that differ: nothing where what was there says none."""
    if before is None or after is None:
        return ()
    try:
        was, now = write(before), write(after)
    except InvalidInputError:  # written past rota; no file could say it
        return ()
    changed: list[str] = []
    for name in dict.fromkeys([*now, *was]):
        old, new = was.get(name), now.get(name)
        if name in _GROUPS:
            old, new = old or {}, new or {}
            inner = dict.fromkeys([*new, *old])
            changed += [f"{name}.{key}" for key in inner if old.get(key) != new.get(key)]
        elif old != new:
            changed.append(name)
    return tuple(changed)


def _with_pause(applied: Applied) -> Applied:
    """Say of a schedule that was there before that it is still paused."""
    if applied.kind == "agent":
        return applied
    said = f"it is still paused; `rota schedules resume {applied.name}` resumes it"
    return replace(applied, doubt=f"{applied.doubt}; {said}" if applied.doubt else said)


async def _check_unused(conn: Connection, user_id: UserId, agent_name: str) -> None:
    runs, actions = await run_views.count_use_of_agent(conn, user_id, agent_name)
    if runs:
        raise ConflictError(
            f"{agent_name} has {counted(runs, 'run')} under way or waiting. Let them end, or "
            "cancel them (`rota runs list`, `rota runs cancel`)."
        )
    if actions:
        raise ConflictError(
            f"{agent_name} has {counted(actions, 'call')} that did not end. "
            "Decide, or let them end (`rota approvals list --status all`)."
        )


def _still_scheduled(agent_name: str, schedules: Sequence[Schedule]) -> str:
    named = ", ".join(schedule.name for schedule in schedules[:5])
    more = f" and {len(schedules) - 5} more" if len(schedules) > 5 else ""
    return (
        f"{agent_name} is run by schedules: {named}{more}. Remove them too with --with-schedules, "
        "or give them another agent (`rota schedules edit NAME --agent`)."
    )


def _unknown_tools(
    file: AgentFile, index: int, entry: AgentEntry, known: tuple[str, ...]
) -> Iterator[InvalidInputError]:
    for number, name in enumerate(entry.tools):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            declare = f"rota tools declare {name}"
            hint = (
                f"did you mean {near[0]!r}? Otherwise declare it first: {declare}"
                if near
                else f"the tools are {', '.join(known)}; to declare this one: {declare}"
            )
            yield file.places.error(f"no tool {name!r}; {hint}", (index, "tools", number))
