"""A rota for one test: an empty database, one person, and a worker in this process.

PostgreSQL, row-level security, the approval gate, the queue and the tools are real. A model is real
if an agent names a real one; `scripted:` needs none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rota.bootstrap.app import LOCAL_OWNER, App, Server, application
from rota.bootstrap.background import background, load_code, scheduler
from rota.domain.errors import UnavailableError
from rota.domain.ids import UserId
from rota.domain.runs.run import RunStatus
from rota.domain.runs.views import Result
from rota.services.agent_files.reading import parse_agent_file
from rota.services.schedules.firing import Scheduler
from rota.settings import read_settings
from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import migrate
from rota.store.schedules import firing
from rota.testing.clock import Clock

_UNDER_WAY: Final = (RunStatus.WAITING, RunStatus.QUEUED, RunStatus.RUNNING)
_POLL: Final = 0.02


@contextmanager
def server() -> Iterator[EmbeddedPostgres]:
    """Start a PostgreSQL for the life of the block, in a temporary directory; a few seconds.

    One serves all tests of a session. It is not safe from a crash of the machine, and quick.
    """
    with (
        TemporaryDirectory(prefix="rota-test-") as folder,
        EmbeddedPostgres.open(Path(folder), durable=False) as embedded,
    ):
        asyncio.run(migrate(embedded.owner_url))  # what every house is a copy of
        yield embedded


@dataclass(frozen=True)
class House:
    """An app with one person, and a worker that executes what is queued.

    `clock` gives the time to schedules, tools and callables. It stands still until it is set. A
    schedule begins at the clock's time of `apply`, or of the first `fire_due` after it was added.
    """

    app: App
    user: UserId
    clock: Clock
    _scheduler: Scheduler = field(repr=False)

    async def apply(self, agents: str) -> None:
        """Apply an agent file's text (YAML or JSON) as the operator, who may write scripts.

        Raises InvalidInputError, NotFoundError, ConflictError, as `rota agents apply`.
        """
        file = parse_agent_file(agents, source="agents", now=self.clock())
        await self.app.agent_files.apply(self.user, file, is_operator=True)
        await self._begin_schedules()

    async def run(self, agent_name: str, prompt: str = "", *, limit: float = 30.0) -> Result:
        """Run an agent now and return its result: an agent that fails has one too.

        Raises NotFoundError for an agent that there is not, SuspendedError where the run waits for
        a decision, UnavailableError after `limit` seconds.
        """
        run_id = await self.app.runs.request(self.user, agent_name, prompt)
        result = await self.app.runs.wait(self.user, run_id, limit=timedelta(seconds=limit))
        if result is None:
            raise UnavailableError(f"{agent_name} did not end within {limit:g} s.", service="run")
        return result

    async def fire_due(self, *, limit: float = 30.0) -> tuple[Result, ...]:
        """Fire what is due by the clock, wait for all runs, and return their results, oldest first.

        Raises UnavailableError after `limit` seconds.
        """
        before = {result.id for result in await self.app.results.latest(self.user, limit=1_000)}
        await self._begin_schedules()
        await self._scheduler.tick(self.clock())
        await self.settle(limit=limit)
        after = await self.app.results.latest(self.user, limit=1_000)
        return tuple(result for result in reversed(after) if result.id not in before)

    async def settle(self, *, limit: float = 30.0) -> None:
        """Wait until no run is under way; what waits for a decision is not.

        Raises UnavailableError after `limit` seconds.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit
        while await self._are_under_way():
            if loop.time() > deadline:
                raise UnavailableError(f"Runs are under way after {limit:g} s.", service="runs")
            await asyncio.sleep(_POLL)

    async def _begin_schedules(self) -> None:
        async with self.app.database.transaction() as conn:
            await firing.plan_unplanned_from(conn, self.clock())

    async def _are_under_way(self) -> bool:
        for status in _UNDER_WAY:
            if await self.app.runs.all(self.user, status=status, limit=1):
                return True
        return False


@asynccontextmanager
async def house(
    server: EmbeddedPostgres,
    *,
    now: datetime | None = None,
    tools: Mapping[str, str] | None = None,
    callables: Mapping[str, str] | None = None,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[House]:
    """Make an empty rota on a server, with one person, for the life of the block.

    `tools` and `callables` are what ROTA_TOOLS and ROTA_CALLABLES name: `package.module:attribute`
    by name. Declare tools with `house.app.tools`. `settings` are other variables (ROTA_MAIL,
    ANTHROPIC_API_KEY); those of the environment and of files are not read. The clock stands at
    `now` (aware), else at the time of the call.

    Raises InvalidInputError or SetupRequiredError for what cannot be registered.
    """
    clock = Clock(now or datetime.now(UTC))
    with server.copied_database() as (owner_url, app_url), TemporaryDirectory() as folder:
        read = read_settings(
            {
                **(settings or {}),
                "ROTA_DATA_DIR": folder,
                "ROTA_USER": LOCAL_OWNER,
                "ROTA_TOOLS": _named(tools),
                "ROTA_CALLABLES": _named(callables),
            }
        )
        code = await asyncio.to_thread(load_code, read)  # whose modules may run loops of their own
        own = Server(owner_url, app_url, server)
        async with application(read, own, clock=clock) as app, background(app, code) as work:
            stop = asyncio.Event()
            tasks = [
                asyncio.create_task(work.run_worker(stop)),
                asyncio.create_task(work.run_admission(stop)),
            ]
            try:
                yield House(app, await app.person(), clock, scheduler(app))
            finally:
                stop.set()
                await asyncio.gather(*tasks)


def _named(targets: Mapping[str, str] | None) -> str:
    return " ".join(f"{name}={target}" for name, target in (targets or {}).items())
