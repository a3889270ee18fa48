"""Rows of incidents: the fault, its begin and end, and whether its owner was notified."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import execute, many


class IncidentKind(StrEnum):
    """The kind of a fault."""

    MISSED_FIRES = "missed_fires"
    SCHEDULER_SILENT = "scheduler_silent"


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident of one person; open until it recovers."""

    id: UUID
    user_id: UserId
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class MissedSchedule:
    """The fire times that a schedule missed in an incident. `fires` None: too many to count."""

    name: str
    time_zone: str
    fires: int | None
    first: datetime
    last: datetime
    ran_late: bool


async def open_incidents(
    conn: Connection, kind: IncidentKind, user_ids: Collection[UserId]
) -> None:
    """Open an incident for each person, or add to the one that is open."""
    parameters = {"kind": kind, "user_ids": sorted(user_ids)}
    await execute(conn, "notifications/close_stale_incidents", **parameters)
    await execute(conn, "notifications/open_incidents", **parameters)


async def close_incidents(
    conn: Connection, kind: IncidentKind, user_ids: Collection[UserId]
) -> tuple[Incident, ...]:
    """End the announced incidents of these people and return them; each is returned once."""
    return await many(
        conn, "notifications/close_incidents", Incident, kind=kind, user_ids=sorted(user_ids)
    )


async def claim_unannounced(conn: Connection, kind: IncidentKind) -> tuple[Incident, ...]:
    """Take incidents that nobody was told of; each is given to one caller."""
    return await many(conn, "notifications/claim_unannounced_incidents", Incident, kind=kind)


async def list_missed(conn: Connection, incident: Incident) -> tuple[MissedSchedule, ...]:
    """Return what was missed in an incident, by schedule: the first 21."""
    return await many(
        conn,
        "notifications/list_missed",
        MissedSchedule,
        user_id=incident.user_id,
        since=incident.opened_at,
    )
