"""One attempt at a run whose model obeys a mail; it kills itself at a point (`test_killed_reader`).

Arguments: database URL, run, mail folder, the model server's URL, a file for effects, the point.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.tools import tool

from rota.agents.models.building import ChatModels
from rota.agents.tools.context import ToolContext, ToolRegistry
from rota.agents.tools.mail.folder_tools import mail_get_message_tool, mail_search_tool
from rota.domain.ids import RunId
from rota.services.approvals.held_calls import HeldCalls
from rota.services.runs.step_log import StepLog
from rota.store.database import Database
from tests.chaos.one_attempt import interrupt, kill
from tests.services.harness import Workshop, clock
from tests.services.running import fetch_run

POINTS = ("a_mail_was_read", "before_the_gate", "held")


def _reading(context: ToolContext, mailbox: Path) -> ToolContext:
    return replace(context, mail_folder=lambda: mailbox, now=clock)


def registry(mailbox: Path, effects: Path) -> ToolRegistry:
    """Return the mail readers, and tools whose effects are lines of a file."""

    @tool
    async def post(url: str, body: str = "") -> str:
        """Post something to a URL."""
        with effects.open("a") as file:
            file.write(f"{url}\n")
        return "posted"

    return ToolRegistry(
        {
            "mail_search": lambda c: mail_search_tool(context=_reading(c, mailbox)),
            "mail_get_message": lambda c: mail_get_message_tool(context=_reading(c, mailbox)),
            "post": lambda _c: post,
        }
    )


async def attempt(url: str, run_id: str, mailbox: str, model: str, effects: str, at: str) -> None:
    """Execute the run."""
    interrupt(HeldCalls, "hold", before="before_the_gate", after="held", at=at)
    original = StepLog.record

    async def record(self: StepLog, step: Any, *, durable: bool = False) -> None:
        is_read = step.name == "mail_get_message" and step.status == "finished"
        await original(self, step, durable=durable or is_read)
        if is_read:
            kill("a_mail_was_read", at)

    StepLog.record = record  # type: ignore[method-assign]
    async with Database(url).opened() as database:
        workshop = Workshop(database, owner=None, user=None)  # type: ignore[arg-type]
        service = workshop.service(
            registry=registry(Path(mailbox), Path(effects)),
            models=ChatModels(endpoints={"local": model}),
        )
        async with database.connection() as conn:
            run = await fetch_run(conn, RunId(UUID(run_id)))
        await service.execute_run(run)


if __name__ == "__main__":
    asyncio.run(attempt(*sys.argv[1:]))
