"""Runs by hand: made, claimed, spoilt, and executed by a worker of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from rota.domain.ids import RunId, UserId
from rota.domain.runs.run import Run, Trigger
from rota.engine.admission import admit
from rota.engine.queue import QueueWorker
from rota.services.notifications.incidents import IncidentService
from rota.services.notifications.service import NotificationService
from rota.services.operations.agent_hosts import AgentHosts
from rota.services.operations.background_tasks import BackgroundTaskService
from rota.services.operations.health import SchedulerWatch
from rota.services.operations.scheduler_loop import SchedulerLoop
from rota.store.database import Connection, Database
from rota.store.reading import read
from tests.services.harness import Workshop, clock


async def until(condition: Callable[[], Awaitable[Any]], *, seconds: float = 30.0) -> Any:
    """Return what a condition comes to, once it is true."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


async def make_run(
    workshop: Workshop,
    agent_name: str = "watcher",
    *,
    user: UserId | None = None,
    trigger: Trigger = Trigger.MANUAL,
    **columns: Any,
) -> Run:
    """Insert a waiting run."""
    row = {
        "user_id": user or workshop.user,
        "agent_name": agent_name,
        "prompt": "Look.",
        "trigger": trigger,
        **columns,
    }
    insert = sql.SQL("INSERT INTO public.agent_runs ({}) VALUES ({}) RETURNING id").format(
        sql.SQL(", ").join(map(sql.Identifier, row)), sql.SQL(", ").join(map(sql.Placeholder, row))
    )
    values = {
        name: Jsonb(value) if isinstance(value, dict) else value for name, value in row.items()
    }
    async with workshop.database.transaction() as conn:
        cursor = await conn.execute(insert, values)
        (run_id,) = await cursor.fetchone()
        return await fetch_run(conn, run_id)


async def fetch_run(conn: Connection, run_id: RunId) -> Run | None:
    """Return a run as its row has it."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute("SELECT * FROM public.agent_runs WHERE id = %s", [run_id])
        row = await cursor.fetchone()
    return read(Run, row) if row is not None else None


async def queue_runs(database: Database) -> int:
    """Admit what waits."""
    async with database.transaction() as conn:
        return (await admit(conn)).count


async def limit_agent(workshop: Workshop, *, shared: bool = False, **limits: Any) -> None:
    """Set the limits of every agent; `shared` makes them the operator's."""
    await workshop.owner.execute(
        "UPDATE agent_configurations SET limits = %s, user_id = CASE WHEN %s THEN NULL"
        " ELSE user_id END",
        [json.dumps(limits), shared],
    )


@asynccontextmanager
async def working(
    workshop: Workshop, url: str, *, blocked_after: float = 10.0, **options: Any
) -> AsyncIterator[AgentHosts]:
    """Execute what is queued for the life of the block, as a worker's process does."""
    hosts = workshop.hosts(url, blocked_after=blocked_after, **options)
    await hosts.open()
    notifications = NotificationService(workshop.database)
    incidents = IncidentService(workshop.database, notifications)
    tasks = BackgroundTaskService(
        workshop.database,
        scheduler_loop=SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock),
        worker=QueueWorker(workshop.database, concurrency=20, come_round=hosts.come_round),
        hosts=hosts,
        watch=SchedulerWatch(workshop.database, incidents, operators=()),
    )
    stop = asyncio.Event()
    running = asyncio.create_task(tasks.run_worker(stop))
    try:
        yield hosts
    finally:
        stop.set()
        await running
        await hosts.close()


async def results(workshop: Workshop, count: int = 1, *, seconds: float = 30.0) -> list[Any]:
    """Wait for so many results and return them, by run."""

    async def enough() -> list[Any]:
        rows = await workshop.rows("agent_execution_results", "created_at")
        return rows if len(rows) >= count else []

    found: list[Any] = await until(enough, seconds=seconds)
    return found


class Turns(BaseChatModel):
    """A model that answers with its turns, one after the other, whatever it is asked."""

    turns: list[AIMessage]

    @property
    def _llm_type(self) -> str:
        return "turns"

    def bind_tools(self, tools: Any, **_: Any) -> Turns:
        return self

    def _generate(self, messages: Any, *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.turns.pop(0))])


def scripted_turns(*turns: str | AIMessage) -> Turns:
    """Return a model for a graph of a test's own."""
    return Turns(turns=[AIMessage(turn) if isinstance(turn, str) else turn for turn in turns])
