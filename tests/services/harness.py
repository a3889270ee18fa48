"""A workshop for tests of execution: real rows, real LangChain agents, tools that really run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool, tool
from psycopg.rows import dict_row

from rota.agents.models.building import BuiltModels, ChatModels
from rota.agents.tools.context import ToolContext, ToolRegistry
from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.errors import SetupRequiredError
from rota.domain.ids import ScheduleId, UserId
from rota.domain.schedules.schedule import Schedule
from rota.engine.agent_loop import AgentLoop
from rota.security.secrets.encryption import Cipher
from rota.services.agents.prices import CurrentPrices, ModelPriceService
from rota.services.notifications.incidents import IncidentService
from rota.services.notifications.service import NotificationService
from rota.services.operations.agent_hosts import AgentHost, AgentHosts
from rota.services.runs.attempt import Workbench
from rota.services.runs.batches import BATCH_SIZE
from rota.services.runs.scheduled_execution_service import ScheduledExecutionService
from rota.services.schedules.firing import Scheduler
from rota.store.database import Database
from rota.store.schedules import rows as schedule_rows

PAST = datetime(2020, 1, 1, tzinfo=UTC)
CIPHER = Cipher(b"k" * 32)
ANSWER = {"steps": [], "answer": "All quiet."}


def clock() -> datetime:
    return datetime.now(UTC)


@dataclass
class Toolbox:
    """Tools that count their calls: `look` reads, `send` has an effect, `boom` fails."""

    calls: list[tuple[str, Any]] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def registry(self) -> ToolRegistry:
        return ToolRegistry(
            {
                built.name: (lambda _context, built=built: built)
                for built in (self._look(), self._send(), self._boom(), self._wait(), self._setup())
            }
        )

    def _look(self) -> BaseTool:
        @tool
        async def look(query: str = "") -> str:
            """Look something up."""
            self.calls.append(("look", query))
            return json.dumps({"seen": query})

        return look

    def _send(self) -> BaseTool:
        @tool
        def send(to: str, text: str = "") -> str:
            """Send a message."""
            self.calls.append(("send", to))
            return f"sent to {to}"

        return send

    def _boom(self) -> BaseTool:
        @tool
        def boom() -> str:
            """Fail."""
            self.calls.append(("boom", None))
            raise RuntimeError("the tool exploded")

        return boom

    def _wait(self) -> BaseTool:
        @tool
        async def wait() -> str:
            """Wait for the test to open the gate."""
            self.calls.append(("wait", None))
            if self.gate is not None:
                await self.gate.wait()
            return "waited"

        return wait

    def _setup(self) -> BaseTool:
        @tool
        async def setup() -> str:
            """Need an account that nobody connected."""
            raise SetupRequiredError("Gmail is not connected.", what="connection:gmail")

        return setup


DECLARATIONS: dict[str, tuple[bool, bool, str]] = {
    # name: read_only, idempotent, default_tier
    "look": (True, True, "auto"),
    "send": (False, False, "requires_approval"),
    "boom": (True, False, "auto"),
    "wait": (True, True, "auto"),
    "setup": (True, True, "auto"),
}


@dataclass
class Workshop:
    """Makes agents and schedules, executes them, and reads what the database then holds."""

    database: Database
    owner: psycopg.AsyncConnection[Any]
    user: UserId
    toolbox: Toolbox = field(default_factory=Toolbox)

    async def declare_tools(self) -> None:
        for name, (read_only, idempotent, tier) in DECLARATIONS.items():
            await self.owner.execute(
                "INSERT INTO tools (name, read_only, idempotent, default_tier, brings_outside_text)"
                " VALUES (%s, %s, %s, %s, false)",
                [name, read_only, idempotent, tier],
            )

    async def declare(self, name: str, **columns: Any) -> None:
        for column, value in columns.items():
            await self.owner.execute(
                psycopg.sql.SQL("UPDATE tools SET {} = %s WHERE name = %s").format(
                    psycopg.sql.Identifier(column)
                ),
                [value, name],
            )

    async def agent(
        self,
        script: dict[str, Any] | None = None,
        *,
        name: str = "watcher",
        tools: Sequence[str] = (),
        model: str = "scripted:test",
        max_steps: int = 25,
        model_settings: dict[str, Any] | None = None,
    ) -> str:
        cursor = await self.owner.execute(
            "INSERT INTO agent_configurations"
            " (user_id, agent_name, model, model_settings, script, max_steps)"
            " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
            [
                self.user,
                name,
                model,
                json.dumps(model_settings or {}),
                json.dumps(script) if script is not None else None,
                max_steps,
            ],
        )
        row = await cursor.fetchone()
        assert row is not None
        for position, tool_name in enumerate(tools):
            await self.owner.execute(
                "INSERT INTO agent_tools (agent_id, tool_id, position)"
                " SELECT %s, id, %s FROM tools WHERE name = %s",
                [row[0], position, tool_name],
            )
        return name

    async def schedule(
        self,
        agent_name: str = "watcher",
        *,
        name: str = "morning",
        prompt: str | None = "Look.",
        user: UserId | None = None,
        **columns: Any,
    ) -> Schedule:
        """Insert a schedule, daily at 7:00 unless `columns` say otherwise."""
        kind = {"cron", "every_seconds", "instants"} & set(columns)
        values = {
            "user_id": user or self.user,
            "name": name,
            "agent_name": agent_name,
            "prompt": prompt,
            **({} if kind else {"cron": "0 7 * * *"}),
            **columns,
        }
        names = psycopg.sql.SQL(", ").join(map(psycopg.sql.Identifier, values))
        places = psycopg.sql.SQL(", ").join([psycopg.sql.Placeholder()] * len(values))
        cursor = await self.owner.execute(
            psycopg.sql.SQL("INSERT INTO agent_schedules ({}) VALUES ({}) RETURNING id").format(
                names, places
            ),
            list(values.values()),
        )
        row = await cursor.fetchone()
        assert row is not None
        return await self.fetch(row[0])

    async def fetch(self, schedule_id: Any) -> Schedule:
        async with self.database.connection() as conn:
            schedule = await schedule_rows.fetch_schedule(conn, ScheduleId(schedule_id))
        assert schedule is not None
        return schedule

    def scheduler(self, **options: Any) -> Scheduler:
        notifications = NotificationService(self.database)
        incidents = IncidentService(self.database, notifications)
        return Scheduler(self.database, notifications, incidents, **options)

    async def due(self, when: datetime, **columns: Any) -> Schedule:
        """Insert a schedule that has been planned, and is due at `when`."""
        return await self.schedule(next_fire_at=when, plan_from=PAST, **columns)

    def service(
        self,
        *,
        notifications: NotificationService | None = None,
        registry: ToolRegistry | None = None,
        models: Any = None,
        tool_context: Callable[..., ToolContext] | None = None,
        **options: Any,
    ) -> ScheduledExecutionService:
        def nothing_connected(user_id: UserId, now: Callable[[], datetime]) -> ToolContext:
            async def secret(service: str) -> str:
                raise SetupRequiredError(f"{service} is not connected.", what=service)

            def mail_folder() -> Path:
                raise SetupRequiredError("No mail folder.", what="mail_folder")

            return ToolContext(user_id, now, secret, mail_folder, httpx.AsyncClient())

        batch_size = options.pop("batch_size", BATCH_SIZE)
        bench = Workbench(
            self.database,
            notifications or NotificationService(self.database),
            registry=registry or self.toolbox.registry(),
            tool_context=tool_context or nothing_connected,
            models=_built(models) if models is not None else ChatModels(),
            clock=clock,
            **{"cipher": CIPHER, "prices": CurrentPrices(ModelPriceService(self.database))}
            | options,
        )
        return ScheduledExecutionService(bench, batch_size=batch_size)

    def hosts(self, url: str, *, blocked_after: float = 10.0, **options: Any) -> AgentHosts:
        """Return what a worker executes runs on, with loops, pools and services of its own."""

        async def open_host() -> AgentHost:
            loop = AgentLoop()
            loop.start()
            return await loop.run(furnish(loop))

        async def furnish(loop: AgentLoop) -> AgentHost:
            stack = AsyncExitStack()
            database = await stack.enter_async_context(Database(url).opened())
            own = replace(self, database=database)
            return AgentHost(loop, own.service(**options), stack.aclose)

        return AgentHosts(open_host, blocked_after=blocked_after)

    async def rows(self, table: str, order: str = "1") -> list[dict[str, Any]]:
        async with self.owner.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(f"SELECT * FROM {table} ORDER BY {order}")
            return await cursor.fetchall()

    async def row(self, table: str) -> dict[str, Any]:
        found = await self.rows(table)
        assert len(found) == 1, found
        return found[0]


def _built(models: Callable[..., Any]) -> Callable[..., BuiltModels]:
    """Make a factory of one model one that tells of fallbacks, of which there are none."""

    def build(configuration: AgentConfiguration, now: datetime) -> BuiltModels:
        made = models(configuration, now)
        if isinstance(made, BaseChatModel):
            return BuiltModels([(configuration.model, made)], [])
        return made

    return build
