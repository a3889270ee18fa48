"""One attempt at a run that sends a mail; it kills itself at a point (`test_killed_sender`).

Arguments: database URL, run, the point.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx

from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.agents.tools.mail.sending.imap_copies import MailCopies
from rota.agents.tools.mail.sending.smtp import SmtpServer
from rota.domain.ids import RunId
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from rota.services.runs.call_ledger import CallLedger
from rota.services.runs.scheduled_execution_service import ScheduledExecutionService
from rota.store.database import Database
from tests.chaos.one_attempt import interrupt, kill
from tests.services.harness import Workshop, clock
from tests.services.running import fetch_run

POINTS = ("before_smtp", "after_smtps_answer", "after_the_copy", "before_the_outcome_is_stored")


@asynccontextmanager
async def sending(workshop: Workshop) -> AsyncIterator[ScheduledExecutionService]:
    """Give what executes runs with the built-in tools, and with the connections of their owners."""
    connections = ConnectionService(workshop.database, Cipher(bytes(32)), clock=clock)
    async with httpx.AsyncClient() as http:

        def context(user: Any, now: Any) -> ToolContext:
            return ToolContext(
                user,
                now,
                lambda name: connections.secret(user, name),
                lambda: None,  # type: ignore[arg-type, return-value]
                http,
                connection=lambda name: connections.using(user, name),
                connected=lambda gives: connections.connected(user, gives),
            )

        yield workshop.service(registry=builtin_tools(), tool_context=context)


async def attempt(url: str, run_id: str, at: str) -> None:
    """Execute the run."""
    interrupt(SmtpServer, "send", before="before_smtp", after="after_smtps_answer", at=at)
    keep_sent = MailCopies.keep_sent

    def keep(self: MailCopies, message: bytes, message_id: str) -> None:
        keep_sent(self, message, message_id)
        kill("after_the_copy", at)

    MailCopies.keep_sent = keep  # type: ignore[method-assign]
    interrupt(CallLedger, "finished", before="before_the_outcome_is_stored", at=at)
    async with Database(url).opened() as database:
        workshop = Workshop(database, owner=None, user=None)  # type: ignore[arg-type]
        async with database.connection() as conn:
            run = await fetch_run(conn, RunId(UUID(run_id)))
        async with sending(workshop) as service:
            await service.execute_run(run)


if __name__ == "__main__":
    asyncio.run(attempt(*sys.argv[1:]))
