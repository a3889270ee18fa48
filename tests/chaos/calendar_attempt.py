"""One attempt at a run that makes an event; it kills itself at a point (`test_killed_calendar`).

Arguments: database URL, run, the point.
"""

from __future__ import annotations

import asyncio
import sys
from uuid import UUID

from rota.agents.tools.calendar.caldav import CalDavCalendars
from rota.domain.ids import RunId
from rota.services.runs.call_ledger import CallLedger
from rota.store.database import Database
from tests.chaos.one_attempt import interrupt
from tests.chaos.sending_attempt import sending
from tests.services.harness import Workshop
from tests.services.running import fetch_run

POINTS = ("before_the_event", "after_the_event", "before_the_outcome_is_stored")


async def attempt(url: str, run_id: str, at: str) -> None:
    """Execute the run."""
    interrupt(CalDavCalendars, "create", before="before_the_event", after="after_the_event", at=at)
    interrupt(CallLedger, "finished", before="before_the_outcome_is_stored", at=at)
    async with Database(url).opened() as database:
        workshop = Workshop(database, owner=None, user=None)  # type: ignore[arg-type]
        async with database.connection() as conn:
            run = await fetch_run(conn, RunId(UUID(run_id)))
        async with sending(workshop) as service:
            await service.execute_run(run)


if __name__ == "__main__":
    asyncio.run(attempt(*sys.argv[1:]))
