"""Exports all data of one person in open formats, and removes a person with all data."""

from __future__ import annotations

import asyncio
import json
import re
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Final, TypeAlias

from rota.domain.errors import ConflictError, NotFoundError
from rota.domain.ids import UserId
from rota.services.agents.connection_removal import RemovedConnection
from rota.services.operations.archives import named_entry, new_archive
from rota.store import users
from rota.store.agents import people
from rota.store.database import Database, act_as, despite_deadlocks
from rota.store.operations import person_data as rows
from rota.store.operations import processes
from rota.store.operations.person_data import WholeResult
from rota.version import __version__

_UNPRINTABLE: Final = re.compile(r"[^\w.-]+")
_PAUSE: Final = 0.5

EndConnections: TypeAlias = Callable[[UserId], Awaitable[tuple[RemovedConnection, ...]]]
"""Ends the grants of a person at their providers, and says what is left there."""


@dataclass(frozen=True, slots=True)
class PersonData:
    """A person, and the number of their rows in each table that has some."""

    user_id: UserId
    email: str | None
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Removed:
    """The person that a removal deleted, and the number of runs that it cancelled first.

    `connections` says what became of each at its provider.
    """

    person: PersonData
    cancelled: int
    connections: tuple[RemovedConnection, ...]


class PersonDataService:
    """Exports and removes a person's data.

    An export holds the rows that the person may read: row-level security decides.
    """

    def __init__(self, database: Database, *, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    async def count(self, user_id: UserId) -> PersonData:
        """Return what there is of a person."""
        async with self._database.transaction() as conn:
            await rows.see_one_moment(conn)
            email = await users.fetch_address(conn, user_id)
            tables = await rows.list_tables(conn)
            counts = {t.name: await rows.count_rows(conn, t, user_id) for t in tables}
        return PersonData(user_id, email, {name: n for name, n in counts.items() if n})

    async def export(self, user_id: UserId, file: Path) -> PersonData:
        """Write all of a person at one moment to a new zip file: JSON, and results as Markdown.

        Without secrets: people may not read those of their connections. Raises ConflictError where
        the file is there, UnavailableError where it cannot be written.
        """
        with new_archive(file) as archive:
            return await self._write(user_id, archive)

    async def export_to(self, user_id: UserId, file: IO[bytes]) -> PersonData:
        """Write the same archive to a file that is open."""
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            return await self._write(user_id, archive)

    async def _write(self, user_id: UserId, archive: zipfile.ZipFile) -> PersonData:
        now = self._clock()
        counts: dict[str, int] = {}
        async with self._database.transaction() as conn:
            await rows.see_one_moment(conn)
            email = await users.fetch_address(conn, user_id)
            tools = await rows.list_tools_of_agents(conn, user_id)
            tables = await rows.list_tables(conn)
            sign_ins = await rows.list_sign_ins(conn, user_id)
            await act_as(conn, user_id)
            for table in tables:
                with archive.open(
                    named_entry(f"tables/{table.name}.json", now), "w", force_zip64=True
                ) as entry:
                    count, before = 0, "[\n"
                    async for row in rows.each_row(conn, table, user_id):
                        entry.write(f"{before}{row}".encode())
                        count, before = count + 1, ",\n"
                    entry.write(b"\n]\n" if count else b"[]\n")
                if count:
                    counts[table.name] = count
            async for result in rows.each_result(conn, user_id):
                archive.writestr(
                    named_entry(_name_of(result), result.created_at), _markdown(result)
                )
        _write(archive, "tables/agent_tools.json", f"[{', '.join(tools)}]\n", now)
        for each in sign_ins:
            _write(archive, f"tables/{each.name}.json", f"{each.rows}\n", now)
        told = {"user_id": str(user_id), "email": email, "rota": __version__}
        text = json.dumps(
            {**told, "exported_at": now.isoformat(), "rows": counts},
            ensure_ascii=False,
            indent=2,
        )
        _write(archive, "person.json", f"{text}\n", now)
        return PersonData(user_id, email, counts)


async def remove(
    database: Database,
    person: PersonData,
    *,
    patience: float,
    end_connections: EndConnections | None = None,
) -> Removed:
    """Delete a person with all that is theirs; `database` is the owner's.

    First nothing of theirs may begin, and what is under way is cancelled; workers get `patience`
    seconds to end it. What they write after that finds no run. Then `end_connections` revokes their
    grants at the providers. Raises ConflictError on Supabase,
    where people have accounts of the project, NotFoundError where they are gone already.
    """
    user_id = person.user_id
    async with database.connection() as conn:
        if not await users.owns_people(conn):
            raise ConflictError(
                "People sign up themselves on this server, and their account may be another "
                "program's too. Delete it there (Authentication, Users): all that rota keeps of "
                "them goes with it."
            )

    async def stop() -> int:
        async with database.transaction() as conn:
            await people.set_may_run(conn, [user_id], may_run=False)
            return await rows.cancel_runs(conn, user_id)

    async def delete() -> bool:
        async with database.transaction() as conn:
            return await rows.delete_person(conn, user_id)

    cancelled = await despite_deadlocks(stop)
    await _until_nothing_runs(database, user_id, patience)
    ended = await end_connections(user_id) if end_connections is not None else ()
    if not await despite_deadlocks(delete):
        raise NotFoundError("user", str(user_id))
    return Removed(person, cancelled, ended)


async def _until_nothing_runs(database: Database, user_id: UserId, patience: float) -> None:
    left = patience
    while left > 0:
        async with database.connection() as conn:
            alive = [p for p in await processes.list_processes(conn) if p.is_alive]
            if not any(p.kind == "worker" for p in alive):
                return
            if not await rows.count_running(conn, user_id):
                return
        await asyncio.sleep(_PAUSE)
        left -= _PAUSE


def _name_of(result: WholeResult) -> str:
    name = _UNPRINTABLE.sub("-", result.schedule_name or result.agent_name).strip("-.")[:60]
    return f"results/{result.created_at:%Y-%m-%d-%H%M}-{name}-{str(result.id)[:8]}.md"


def _markdown(result: WholeResult) -> str:
    schedule = f", schedule {result.schedule_name}" if result.schedule_name else ""
    return (
        f"# {result.schedule_name or result.agent_name}\n\n"
        f"{result.created_at:%Y-%m-%d %H:%M} UTC, agent {result.agent_name}{schedule}: "
        f"{result.status}\n\n{result.content}\n"
    )


def _write(archive: zipfile.ZipFile, name: str, text: str, now: datetime) -> None:
    archive.writestr(named_entry(name, now), text)
