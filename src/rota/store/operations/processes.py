"""Rows of processes that are alive: schedulers, workers and servers."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Final
from uuid import UUID

from rota.domain.operations.processes import ALIVE_WITHIN, Kind, Process, ServerState
from rota.store.database import Connection
from rota.store.statements import execute, has_effect, many, one, values

CROWDED: Final = 0.5
"""How full the server's queue of notifications is when rota announces nothing any more."""


async def report(
    conn: Connection,
    process_id: UUID,
    *,
    kind: Kind,
    host: str,
    pid: int,
    version: str,
    ticked_ago: float | None = None,
    clock: float | None = None,
    settings: Sequence[str] | None = None,
    key_ids: Sequence[str] | None = None,
    url: str | None = None,
) -> None:
    """Say that a process is alive; rows of processes gone for a day are removed.

    `ticked_ago`: seconds since a scheduler last looked at the clock, None if it never did.
    `clock`: what its machine's clock says, in seconds since 1970. `settings`: the names of those
    that it has. `key_ids`: the fingerprints of its keys, the newest first. `url`: where a server is
    opened.
    """
    await execute(
        conn,
        "operations/report_process",
        id=process_id,
        kind=kind,
        host=host,
        pid=pid,
        version=version,
        ticked_ago=ticked_ago,
        clock=clock,
        settings=list(settings) if settings is not None else None,
        key_ids=list(key_ids) if key_ids is not None else None,
        url=url,
    )


async def forget(conn: Connection, process_id: UUID) -> None:
    """Remove a process that ends in good order."""
    await execute(conn, "operations/forget_process", id=process_id)


async def scheduler_silence(conn: Connection) -> tuple[float | None, int]:
    """Return for how many seconds no scheduler has looked at the clock, and the overdue fires.

    None: no scheduler has been known for a day. At most 1,000 fires are counted, those overdue by
    a minute or more.
    """
    return await one(
        conn,
        "operations/scheduler_silence",
        itemgetter("seconds", "overdue"),
    )


async def mark_once(conn: Connection, name: str, *, every_seconds: float) -> bool:
    """Return True for one caller in each period, however many ask."""
    return await has_effect(conn, "operations/mark_once", name=name, seconds=every_seconds)


async def list_processes(conn: Connection) -> tuple[Process, ...]:
    """Return the processes known, the alive ones first."""
    return await many(conn, "operations/list_processes", Process, seconds=ALIVE_WITHIN)


async def server_state(conn: Connection) -> ServerState:
    """Return whether the server takes writes, and what its clock says."""
    return await one(conn, "operations/server_state", ServerState)


async def needless_rights(conn: Connection) -> tuple[str, ...]:
    """Return what the database allows and rota does not need, with the statement that ends it."""
    return await values(conn, "operations/list_needless_rights", str)


async def untimed_roles(conn: Connection) -> tuple[str, ...]:
    """Return roles that people log in as, and that may keep locks for as long as they like."""
    return await values(conn, "operations/list_untimed_roles", str)


async def notification_queue_problem(conn: Connection) -> str | None:
    """Return what is wrong with the server's queue of notifications from half full on, or None."""
    used, pids = await one(conn, "operations/notification_queue", itemgetter("used", "pids"))
    if used < CROWDED:
        return None
    named = f"process {', '.join(map(str, pids))}" if pids else "see pg_stat_activity"
    return (
        f"The queue of notifications is {used:.0%} full: a session that listens stays in a "
        f"transaction ({named}). End it (SELECT pg_terminate_backend(PROCESS)); rota polls until "
        "then."
    )
