"""Applying an agent file: its agents and schedules are written as the person's own, all or none."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal

from rota.domain.ids import UserId
from rota.domain.runs.limits import Limits
from rota.domain.runs.option_kinds import from_file
from rota.services.schedules.service import Change, NewSchedule, ScheduleService
from rota.store.agents import rows
from rota.store.database import Connection, Database, despite_deadlocks
from rota.store.schedules import rows as schedule_rows

if TYPE_CHECKING:  # pydantic takes a tenth of a second to import, and few commands read a file
    from rota.services.agent_files.reading import AgentEntry, AgentFile, ScheduleEntry


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a file did to one agent or schedule."""

    kind: Literal["agent", "schedule"]
    name: str
    change: Change


class AgentFileService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database, schedules: ScheduleService) -> None:
        self._database = database
        self._schedules = schedules

    async def apply(
        self,
        user_id: UserId,
        file: AgentFile,
        *,
        is_operator: bool = False,
        prune: bool = False,
    ) -> tuple[Applied, ...]:
        """Write a file's agents and schedules as the person's own, all of it or nothing.

        Other schedules of these agents are kept, and told of; with `prune` they are removed.
        Raises InvalidInputError, with the line, for what is not there or may not be; scripts may
        not, unless it is the operator who writes.
        """
        if not is_operator:
            _check_scripts(file)

        async def write() -> tuple[Applied, ...]:
            async with self._database.acting_as(user_id, is_operator=is_operator) as conn:
                return tuple(await self._apply(conn, user_id, file, prune=prune))

        return await despite_deadlocks(write)

    async def _apply(
        self, conn: Connection, user_id: UserId, file: AgentFile, *, prune: bool
    ) -> list[Applied]:
        known = await rows.tool_names(conn)
        applied: list[Applied] = []
        for index, entry in enumerate(file.agents):
            _check_tools(file, index, entry, known)
            applied.append(await self._apply_agent(conn, user_id, entry))
            for number, schedule in enumerate(entry.schedules):
                with file.places.naming_schedule((index, "schedules", number), schedule):
                    applied.append(await self._apply_schedule(conn, user_id, entry.name, schedule))
        named = {schedule.name for entry in file.agents for schedule in entry.schedules}
        agents = {entry.name for entry in file.agents}
        for other in await schedule_rows.list_schedules(conn):
            if other.agent_name in agents and other.name not in named:
                if prune:
                    await schedule_rows.delete_schedule(conn, other.id)
                applied.append(Applied("schedule", other.name, "removed" if prune else "kept"))
        return applied

    async def _apply_agent(self, conn: Connection, user_id: UserId, entry: AgentEntry) -> Applied:
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
        return Applied("agent", entry.name, change)

    async def _apply_schedule(
        self, conn: Connection, user_id: UserId, agent_name: str, entry: ScheduleEntry
    ) -> Applied:
        new = NewSchedule(
            name=entry.name,
            agent_name=agent_name,
            draft=entry.draft(),
            time_zone=entry.time_zone,
            prompt=entry.prompt,
            calendars=entry.except_calendars,
            options=entry.options(),
        )
        return Applied("schedule", entry.name, await self._schedules.apply(conn, user_id, new))


def _check_scripts(file: AgentFile) -> None:
    for index, entry in enumerate(file.agents):
        if entry.script is not None:
            raise file.places.error("scripts are the operator's to write", (index, "script"))


def _check_tools(file: AgentFile, index: int, entry: AgentEntry, known: tuple[str, ...]) -> None:
    for number, name in enumerate(entry.tools):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise file.places.error(f"no tool {name!r}; {hint}", (index, "tools", number))
