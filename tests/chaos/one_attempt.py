"""Attempts at runs, each in a process that kills itself at a point of it: a child of the tests.

Reads lines of JSON, `[database_url, run_id, file, point]`; effects are lines appended to the file.
Answers each with how the process of the attempt ended. What takes long to import is imported once.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from langchain_core.tools import BaseTool, tool

from rota.agents.tools.context import ToolRegistry
from rota.domain.ids import RunId
from rota.services.approvals.held_calls import HeldCalls
from rota.services.runs.call_ledger import CallLedger
from rota.services.runs.result_writer import ResultWriter
from rota.store.approvals import actions as action_rows
from rota.store.database import Database
from tests.services.harness import Workshop
from tests.services.running import fetch_run

POINTS = {
    # point: whether the action has begun, and whether the tool has had its effect
    "before_the_gate": (False, False),
    "in_the_transaction_that_begins": (False, False),
    "begun": (True, False),
    "begun_and_recorded": (True, False),
    "before_the_effect": (True, False),
    "after_the_effect": (True, True),
    "before_the_outcome_is_stored": (True, True),
    "outcome_stored": (True, True),
    "before_the_result_is_stored": (True, True),
    "result_stored": (True, True),
}
STORED = {"outcome_stored", "before_the_result_is_stored", "result_stored"}


def registry(effects: Path, reached: Callable[[str], None] = lambda _point: None) -> ToolRegistry:
    """Return the tool `send`, whose effects are lines of a file."""

    @tool
    def send(to: str, text: str = "") -> str:
        """Send a message."""
        reached("before_the_effect")
        with effects.open("a") as file:
            file.write(f"{to}\n")
        reached("after_the_effect")
        return f"sent to {to}"

    def build(_context: Any) -> BaseTool:
        return send

    return ToolRegistry({"send": build})


def interrupt(owner: Any, name: str, *, before: str = "", after: str = "", at: str) -> None:
    """Have a method, or a function of a module, end this process before or after it works."""
    original = getattr(owner, name)

    async def interrupted(*args: Any, **kwargs: Any) -> Any:
        kill(before, at)
        answer = await original(*args, **kwargs)
        kill(after, at)
        return answer

    setattr(owner, name, interrupted)


def kill(point: str, at: str) -> None:
    """End this process as kill -9 does, if this is the point."""
    if point == at:
        os.kill(os.getpid(), signal.SIGKILL)


async def attempt(url: str, run_id: str, effects: str, at: str) -> None:
    """Execute a run."""
    interrupt(HeldCalls, "hold", before="before_the_gate", after="begun", at=at)
    interrupt(action_rows, "start", after="in_the_transaction_that_begins", at=at)
    interrupt(CallLedger, "starting", after="begun_and_recorded", at=at)
    interrupt(
        HeldCalls, "ended", before="before_the_outcome_is_stored", after="outcome_stored", at=at
    )
    interrupt(
        ResultWriter, "store", before="before_the_result_is_stored", after="result_stored", at=at
    )
    async with Database(url).opened() as database:
        workshop = Workshop(database, owner=None, user=None)  # type: ignore[arg-type]
        service = workshop.service(registry=registry(Path(effects), lambda point: kill(point, at)))
        async with database.connection() as conn:
            run = await fetch_run(conn, RunId(UUID(run_id)))
        await service.execute_run(run)


def fork(arguments: list[str]) -> int:
    """Make an attempt in a process of its own; returns its exit status, negative for a signal."""
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)  # what it logs is no answer
        try:
            asyncio.run(attempt(*arguments))
        except BaseException:  # noqa: BLE001  whatever it is, the child ends here
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(f"{fork(json.loads(line))}\n")
        sys.stdout.flush()
