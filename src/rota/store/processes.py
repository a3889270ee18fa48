"""Rows of processes that are alive: schedulers and workers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from psycopg.rows import class_row

from rota.store.database import Connection
from rota.store.statements import statement

Kind = Literal["scheduler", "worker"]

ALIVE_WITHIN: Final = 15.0
"""Seconds since a process was last seen for it to count as alive; it reports every five."""


@dataclass(frozen=True, slots=True)
class Process:
    """One row of `rota.processes`."""

    id: UUID
    kind: Kind
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    is_alive: bool


async def report(
    conn: Connection, process_id: UUID, *, kind: Kind, host: str, pid: int, version: str
) -> None:
    """Say that a process is alive; rows of processes gone for a day are removed."""
    await conn.execute(
        statement("report_process"),
        {"id": process_id, "kind": kind, "host": host, "pid": pid, "version": version},
    )


async def forget(conn: Connection, process_id: UUID) -> None:
    """Remove a process that ends in good order."""
    await conn.execute("DELETE FROM rota.processes WHERE id = %s", [process_id])


async def list_processes(conn: Connection) -> tuple[Process, ...]:
    """Return the processes known, the alive ones first."""
    async with conn.cursor(row_factory=class_row(Process)) as cursor:
        await cursor.execute(statement("list_processes"), {"seconds": ALIVE_WITHIN})
        return tuple(await cursor.fetchall())
