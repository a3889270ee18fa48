"""Agents on their owner's behalf: listed, shown, and applied from files."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from rota.domain.agents import AgentConfiguration
from rota.domain.errors import NotFoundError
from rota.domain.ids import UserId
from rota.services.agent_files import AgentEntry, AgentFile
from rota.store import agents as rows
from rota.store import schedules as schedule_rows
from rota.store.database import Connection, Database

Change = Literal["created", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying a file did to one agent or schedule."""

    kind: Literal["agent", "schedule"]
    name: str
    change: Change


class AgentService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self, user_id: UserId) -> tuple[AgentConfiguration, ...]:
        """Return the agents that a person can run: their own, and shared ones."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_agents(conn, user_id)

    async def get(self, user_id: UserId, agent_name: str) -> AgentConfiguration:
        """Return an agent by name; raises NotFoundError."""
        async with self._database.acting_as(user_id) as conn:
            found = await rows.fetch_agent(conn, agent_name, user_id)
        if found is None:
            raise NotFoundError("agent", agent_name, hint="See `rota agents list`.")
        return found

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
            before = existing.get(schedule.name)
            change: Change
            if before is None:
                await schedule_rows.insert_schedule(
                    conn,
                    user_id=user_id,
                    name=schedule.name,
                    agent_name=entry.name,
                    cron=schedule.cron,
                    time_zone=schedule.time_zone,
                    prompt=schedule.prompt,
                    catch_up_window_seconds=3_600,
                )
                change = "created"
            else:
                await schedule_rows.update_schedule(
                    conn,
                    before.id,
                    agent_name=entry.name,
                    cron=schedule.cron,
                    time_zone=schedule.time_zone,
                    prompt=schedule.prompt,
                )
                zone = None if before.follows_owner_zone else before.time_zone
                same = (before.agent_name, before.cron, zone, before.prompt) == (
                    entry.name,
                    schedule.cron,
                    schedule.time_zone,
                    schedule.prompt,
                )
                change = "unchanged" if same else "updated"
            applied.append(Applied("schedule", schedule.name, change))
        return applied


def _check_tools(file: AgentFile, index: int, entry: AgentEntry, known: tuple[str, ...]) -> None:
    for number, name in enumerate(entry.tools):
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise file.error(f"no tool {name!r}; {hint}", (index, "tools", number))
