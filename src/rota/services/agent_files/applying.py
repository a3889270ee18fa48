"""Applying an agent file: its agents and schedules are written as the person's own, all or none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Literal

from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.domain.schedules.schedule import Schedule
from rota.services.agent_files.reading import AgentEntry, AgentFile, ScheduleEntry
from rota.services.agents.option_checks import check_options
from rota.store import users
from rota.store.agents import rows
from rota.store.database import Connection, Database
from rota.store.schedules import calendars as calendar_rows
from rota.store.schedules import rows as schedule_rows

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a file did to one agent or schedule."""

    kind: Literal["agent", "schedule"]
    name: str
    change: Change


class AgentFileService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def apply(self, user_id: UserId, file: AgentFile) -> tuple[Applied, ...]:
        """Write a file's agents and schedules as the person's own, all of it or nothing.

        Raises InvalidInputError with the line for a tool that does not exist.
        """
        async with self._database.acting_as(user_id) as conn:
            known = await rows.tool_names(conn)
            applied: list[Applied] = []
            for index, entry in enumerate(file.agents):
                _check_tools(file, index, entry, known)
                applied.append(await self._apply_agent(conn, user_id, entry))
                await _check_options(conn, user_id, file, index, entry)
                applied += await self._apply_schedules(conn, user_id, entry)
            return tuple(applied)

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
            limits=entry.limits.limits().as_json(),
            max_concurrency=entry.max_concurrency,
        )
        await rows.replace_agent_tools(conn, agent_id, entry.tools)
        after = await rows.fetch_agent(conn, entry.name, user_id)
        change: Change = "created" if is_new else "unchanged" if before == after else "updated"
        return Applied("agent", entry.name, change)

    async def _apply_schedules(
        self, conn: Connection, user_id: UserId, entry: AgentEntry
    ) -> list[Applied]:
        applied: list[Applied] = []
        existing = {
            schedule.name: schedule for schedule in await schedule_rows.list_schedules(conn)
        }
        for schedule in entry.schedules:
            change = await self._apply_schedule(
                conn, user_id, entry.name, schedule, existing.get(schedule.name)
            )
            applied.append(Applied("schedule", schedule.name, change))
        return applied

    async def _apply_schedule(
        self,
        conn: Connection,
        user_id: UserId,
        agent_name: str,
        entry: ScheduleEntry,
        before: Schedule | None,
    ) -> Change:
        zone = entry.time_zone or await users.fetch_time_zone(conn, user_id)
        timing = entry.draft().timing(zone, now=self._clock())
        policy = entry.draft().policy()
        options = entry.options().as_json()
        if before is None:
            schedule_id = await schedule_rows.insert_schedule(
                conn,
                user_id=user_id,
                name=entry.name,
                agent_name=agent_name,
                prompt=entry.prompt,
                time_zone=entry.time_zone,
                timing=timing,
                policy=policy,
                options=options,
            )
            await calendar_rows.link_calendars(conn, schedule_id, entry.except_calendars)
            return "created"
        if timing.every is not None and timing.every == before.timing.every:
            # A file without `start` does not move the anchor of an interval that runs already.
            timing = replace(timing, anchor=timing.anchor or before.timing.anchor)
        await schedule_rows.update_schedule(
            conn,
            before.id,
            name=entry.name,
            agent_name=agent_name,
            prompt=entry.prompt,
            time_zone=entry.time_zone,
            timing=timing,
            policy=policy,
            options=options,
        )
        calendars = await calendar_rows.calendars_of_schedule(conn, before.id)
        await calendar_rows.link_calendars(conn, before.id, entry.except_calendars)
        own_zone = None if before.follows_owner_zone else before.time_zone
        was = (before.agent_name, own_zone, before.prompt, before.timing, before.policy)
        same = was == (agent_name, entry.time_zone, entry.prompt, timing, policy)
        same = same and set(calendars) == set(entry.except_calendars)
        same = same and before.options == options
        return "unchanged" if same else "updated"


async def _check_options(
    conn: Connection, user_id: UserId, file: AgentFile, index: int, entry: AgentEntry
) -> None:
    """Check what schedules ask of the agent that was just written, tools and all."""
    agent = await rows.fetch_agent(conn, entry.name, user_id)
    if agent is None:  # written in this very transaction
        raise RuntimeError("an agent was written and is not there")
    for number, schedule in enumerate(entry.schedules):
        try:
            check_options(schedule.options(), agent)
        except InvalidInputError as error:
            place = (index, "schedules", number, error.field or "")
            raise file.error(error.message, place) from error


def _check_tools(file: AgentFile, index: int, entry: AgentEntry, known: tuple[str, ...]) -> None:
    for number, name in enumerate(entry.tools):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise file.error(f"no tool {name!r}; {hint}", (index, "tools", number))
