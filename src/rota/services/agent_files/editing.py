"""Writes one agent as a whole, removes it, and says and restores what it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from rota.domain.agents.configuration import AgentConfiguration, AgentVersion
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.ids import UserId
from rota.services.agent_files.applying import AgentFileService, Applied
from rota.services.agent_files.reading import read_agent_value
from rota.services.agent_files.writing import Entry, version_entry
from rota.services.agents.service import find_agent
from rota.store.agents import rows
from rota.store.database import Connection, Database, despite_deadlocks

Check = Callable[[AgentConfiguration | None], None]
"""Raises where a person's own agent, None for none, is not what somebody saw who changes it."""

_COLUMNS: Final = ("is_active",)


@dataclass(frozen=True, slots=True)
class AgentWritten:
    """An agent that was written. `warnings` say what may not be as it was meant."""

    agent: AgentConfiguration
    is_new: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgentChange:
    """One change of an agent: the `fields` of an agent file that it changed.

    `entry` is the agent after it, as a file has it; None where no file could say it.
    """

    version: int
    change: Literal["created", "updated", "removed"]
    by: Literal["owner", "operator"]
    changed_at: datetime
    fields: tuple[str, ...]
    entry: Entry | None


def _no_check(_: AgentConfiguration | None) -> None:
    pass


class AgentEditService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(
        self,
        database: Database,
        agent_files: AgentFileService,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._agent_files = agent_files
        self._clock = clock

    async def put(
        self,
        user_id: UserId,
        entry: Mapping[str, Any],
        *,
        is_operator: bool = False,
        check: Check = _no_check,
    ) -> AgentWritten:
        """Make or replace an agent of the person's own; its schedules stay as they are.

        `check` is asked while nobody else can change the agent. Raises InvalidInputError for all
        that is wrong, with fields.
        """
        if entry.get("schedules"):
            raise InvalidInputError("schedules: they are written by themselves.", field="schedules")
        file = read_agent_value(entry, now=self._clock())
        keys = await self._agent_files.keys()
        name = str(entry["name"])

        async def write() -> AgentWritten:
            async with self._database.acting_as(user_id, is_operator=is_operator) as conn:
                before = await _lock(conn, user_id, name)
                check(before)
                changes = await self._agent_files.write(
                    conn, user_id, [file], keys, is_operator=is_operator, prune=False
                )
                (made,) = (one for one in changes if one.kind == "agent")
                if before is None and made.change != "created":
                    raise ConflictError(f"{name} was made meanwhile. Read it again.")
                after = await find_agent(conn, user_id, name)
                return AgentWritten(after, before is None, _warnings(made))

        return await despite_deadlocks(write)

    async def remove(self, user_id: UserId, agent_name: str, *, check: Check = _no_check) -> None:
        """Delete an agent as `AgentFileService.remove` does; `check` as in `put`."""

        async def delete() -> None:
            async with self._database.acting_as(user_id) as conn:
                found = await _lock(conn, user_id, agent_name)
                if found is not None:
                    check(found)
                await self._agent_files.delete(conn, user_id, agent_name, with_schedules=False)

        await despite_deadlocks(delete)

    async def history(
        self, user_id: UserId, agent_name: str, *, before: int | None = None, limit: int = 50
    ) -> tuple[AgentChange, ...]:
        """Return the changes of an agent, the latest first; `before` a version.

        Also of one that is gone. Raises NotFoundError where there never was one.
        """
        async with self._database.acting_as(user_id) as conn:
            found = await self._versions(conn, user_id, agent_name, before=before, limit=limit + 1)
        following = [*found[1:], None]
        return tuple(
            _change(agent_name, one, previous)
            for one, previous in zip(found, following, strict=True)
        )[:limit]

    async def restore(
        self,
        user_id: UserId,
        agent_name: str,
        version: int,
        *,
        is_operator: bool = False,
        check: Check = _no_check,
    ) -> AgentWritten:
        """Make the person's own agent what it was at a version, also where it is gone by now.

        Raises NotFoundError for a version that is not there, and as `put`: a tool may be gone.
        """
        async with self._database.acting_as(user_id) as conn:
            found = await self._versions(conn, user_id, agent_name, before=version + 1, limit=1)
        if not found or found[0].version != version:
            raise NotFoundError(
                "version", str(version), hint=f"See `rota agents history {agent_name}`."
            )
        entry = version_entry(agent_name, found[0].configuration)
        return await self.put(user_id, entry, is_operator=is_operator, check=check)

    async def _versions(
        self,
        conn: Connection,
        user_id: UserId,
        agent_name: str,
        *,
        before: int | None,
        limit: int,
    ) -> tuple[AgentVersion, ...]:
        owners = (user_id, None)
        for owner in owners:
            if await rows.list_versions(conn, owner, agent_name, limit=1):
                return await rows.list_versions(conn, owner, agent_name, before=before, limit=limit)
        raise NotFoundError("agent", agent_name, hint="See `rota agents list`.")


async def _lock(conn: Connection, user_id: UserId, agent_name: str) -> AgentConfiguration | None:
    """Return the person's own agent, which nobody else can change from now on."""
    await rows.lock_agent(conn, user_id, agent_name)
    found = await rows.fetch_agent(conn, agent_name, user_id)
    return found if found is not None and found.user_id is not None else None


def _warnings(made: Applied) -> tuple[str, ...]:
    return () if made.doubt is None else (f"{made.doubt[:1].upper()}{made.doubt[1:]}.",)


def _change(name: str, version: AgentVersion, before: AgentVersion | None) -> AgentChange:
    now, was = _entry(name, version), _entry(name, before)
    columns = dict.fromkeys([*(now or {}), *(was or {})])
    fields = tuple(
        one
        for one in columns
        if version.change == "updated"
        and now is not None
        and was is not None
        and now.get(one) != was.get(one)
    )
    if version.change == "updated" and before is not None:
        active = [one.configuration.get("is_active") for one in (version, before)]
        fields += _COLUMNS if active[0] != active[1] else ()
    by: Literal["owner", "operator"] = "owner" if version.by_owner else "operator"
    return AgentChange(version.version, version.change, by, version.changed_at, fields, now)


def _entry(name: str, version: AgentVersion | None) -> Entry | None:
    if version is None:
        return None
    try:
        return version_entry(name, version.configuration)
    except InvalidInputError:  # written past rota; no file could say it
        return None
