"""Incidents: faults that last, such as missed fire times or a silent scheduler.

Schedulers and workers open and end them. An incident sends one notification when it begins, however
much follows, and one when it ends. A failed run is not an incident.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import structlog

from rota.domain.errors import UnavailableError
from rota.domain.ids import UserId
from rota.domain.notifications.notification import Category
from rota.domain.text.zones import zone_shown
from rota.services.notifications.service import NotificationService
from rota.store.database import Connection, Database
from rota.store.notifications import incidents as rows
from rota.store.notifications.incidents import Incident, IncidentKind, MissedSchedule

NAMED_SCHEDULES: Final = 20
"""Schedules that a message names; it says that there are more."""

log = structlog.get_logger(__name__)


class IncidentService:
    """Opens and ends incidents. All state is in the database, so any process may do it."""

    def __init__(self, database: Database, notifications: NotificationService) -> None:
        self._database = database
        self._notifications = notifications

    async def note_missed(self, conn: Connection, user_ids: Collection[UserId]) -> None:
        """Note, in the caller's transaction, that fires of these people were missed."""
        await rows.open_incidents(conn, IncidentKind.MISSED_FIRES, user_ids)

    async def note_on_time(self, conn: Connection, user_ids: Collection[UserId]) -> None:
        """Note, in the caller's transaction, that schedules of these people fire on time."""
        for incident in await rows.close_incidents(conn, IncidentKind.MISSED_FIRES, user_ids):
            await self._notify(
                conn,
                incident,
                Category.INFO,
                "Schedules fire on time again",
                f"Fires were missed from {incident.opened_at:%Y-%m-%d %H:%M} UTC on. Since now "
                "they come on time.",
            )

    async def announce(self) -> int:
        """Tell people of missed fires that they have not heard of; returns how many incidents.

        Comes after all batches of a tick, so that one message speaks of all its schedules.
        """
        async with self._database.transaction() as conn:
            found = await rows.claim_unannounced(conn, IncidentKind.MISSED_FIRES)
            for incident in found:
                await self._announce(conn, incident)
        return len(found)

    async def _announce(self, conn: Connection, incident: Incident) -> None:
        try:
            async with conn.transaction():
                missed = await rows.list_missed(conn, incident)
                if missed:  # else its schedules are gone
                    title, body = _missed_title(missed), _missed_body(missed)
                    await self._notify(conn, incident, Category.ERROR, title, body)
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001  whatever one person's rows hold, the others are told
            log.warning("incident_untold", incident_id=str(incident.id), error=str(error))

    async def scheduler_is_silent(
        self, operators: Sequence[UserId], *, overdue: int, silent_for: str
    ) -> None:
        """Tell the operators, once, that no scheduler looks at the clock."""
        async with self._database.transaction() as conn:
            await rows.open_incidents(conn, IncidentKind.SCHEDULER_SILENT, operators)
            for incident in await rows.claim_unannounced(conn, IncidentKind.SCHEDULER_SILENT):
                await self._notify(
                    conn,
                    incident,
                    Category.ERROR,
                    "No scheduler is running",
                    f"Workers are running, but no scheduler has looked at the clock for "
                    f"{silent_for}. {_overdue(overdue)} Start one with `rota scheduler` or "
                    "`rota up`; see `rota doctor`.",
                )

    async def scheduler_is_back(self, operators: Sequence[UserId]) -> None:
        """Tell the operators, once, that a scheduler looks at the clock again."""
        async with self._database.transaction() as conn:
            kind = IncidentKind.SCHEDULER_SILENT
            for incident in await rows.close_incidents(conn, kind, operators):
                await self._notify(
                    conn,
                    incident,
                    Category.INFO,
                    "A scheduler is running again",
                    f"No scheduler was running from {incident.opened_at:%Y-%m-%d %H:%M} UTC on.",
                )

    async def _notify(
        self, conn: Connection, incident: Incident, category: Category, title: str, body: str
    ) -> None:
        await self._notifications.notify_user(
            incident.user_id,
            title,
            body,
            category=category,
            metadata={"incident_id": str(incident.id)},
            conn=conn,
        )


def _missed_title(missed: Sequence[MissedSchedule]) -> str:
    counts = [item.fires for item in missed]
    if None in counts or len(missed) > NAMED_SCHEDULES:
        return "Scheduled runs were missed"
    total = sum(count for count in counts if count is not None)
    return "1 scheduled run was missed" if total == 1 else f"{total} scheduled runs were missed"


def _missed_body(missed: Sequence[MissedSchedule]) -> str:
    lines = ["No scheduler was running at their time:"]
    for item in missed[:NAMED_SCHEDULES]:
        zone = zone_shown(item.time_zone)
        first = f"{item.first.astimezone(zone):%Y-%m-%d %H:%M}"
        when = first
        if item.fires != 1:
            count = f"{item.fires} times" if item.fires is not None else "over a thousand times"
            when = f"{count}, from {first} to {item.last.astimezone(zone):%Y-%m-%d %H:%M}"
        late = "; the latest ran late" if item.ran_late else ""
        lines.append(f"- {item.name}: {when} ({zone}){late}")
    if len(missed) > NAMED_SCHEDULES:
        lines.append("- and more")
    lines.append("`rota schedules why NAME --at TIME` explains each.")
    return "\n".join(lines)


def _overdue(count: int) -> str:
    if not count:
        return "Nothing is overdue yet."
    number = "More than a thousand" if count >= 1_000 else str(count)
    return f"{number} {'fire is' if count == 1 else 'fires are'} overdue."
