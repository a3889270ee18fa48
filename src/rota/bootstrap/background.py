"""Wires what runs in the background: the scheduler's loop, and the executor of agents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from rota import logs
from rota.bootstrap.app import App, clock, make_cipher, make_database
from rota.bootstrap.mail import mail_folders, mail_path
from rota.bootstrap.tool_looks import look_at
from rota.domain.errors import RotaError
from rota.domain.ids import UserId
from rota.services.agents.connection_upkeep import (
    CHECK_EVERY,
    REFRESH_EVERY,
    TELL_EVERY,
    ConnectionUpkeep,
)
from rota.services.agents.connections import ConnectionService
from rota.services.agents.prices import CurrentPrices, ModelPriceService
from rota.services.approvals.expiry import LOOK_EVERY as EXPIRE_EVERY
from rota.services.approvals.expiry import ApprovalExpiry
from rota.services.audit.sealing import SEAL_EVERY, AuditSealer
from rota.services.notifications.incidents import IncidentService
from rota.services.notifications.service import NotificationService
from rota.services.operations import keys
from rota.services.operations.chores import Chore
from rota.services.operations.clocks import SharedClock
from rota.services.operations.health import PING_EVERY, DeadMansSwitch, SchedulerWatch
from rota.services.operations.retention import LOOK_EVERY
from rota.services.operations.scheduler_loop import SchedulerLoop
from rota.services.schedules.firing import Scheduler
from rota.services.schedules.resuming import resume_mended
from rota.settings import Settings
from rota.store.database import Database
from rota.store.operations import processes
from rota.store.operations.sealed import key_ids_of_connections

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from rota.agents.own_code.registered import RegisteredCallable
    from rota.agents.tools.context import ToolContext, ToolRegistry
    from rota.services.approvals.tool_tests import ToolTestService
    from rota.services.operations.background_tasks import BackgroundTaskService

T = TypeVar("T")
log = structlog.get_logger(__name__)

_CONNECTIONS: Final = 12
"""Connections that the runs of a worker share: each has one for milliseconds at a time."""


def scheduler(app: App) -> Scheduler:
    """Wire what fires the schedules that are due at a time."""
    incidents = IncidentService(app.database, app.notifications)
    return Scheduler(app.database, app.notifications, incidents)


def scheduler_loop(app: App) -> SchedulerLoop:
    """Wire what fires schedules; needs no LangChain."""
    logs.begin()
    sealer = AuditSealer(app.database)
    expiry = ApprovalExpiry(app.database, app.notifications)

    async def ask() -> datetime:
        async with app.database.connection() as conn:
            return (await processes.server_state(conn)).clock

    shared = SharedClock(ask, local=app.clock)

    async def now() -> datetime:
        await shared.read()
        return shared()

    upkeep = ConnectionUpkeep(
        app.database,
        ConnectionService(app.database, app.cipher, clock=shared, endpoints=app.endpoints),
        app.notifications,
        key_ids=lambda: app.cipher.key_ids,
    )

    async def prune() -> None:
        at = await now()
        await app.events.prune(at)
        await app.retention.prune_hourly(at)

    async def expire() -> None:
        await now()  # raises while the clock is not trusted: nothing expires then
        await expiry.look()

    async def seal() -> None:
        await sealer.seal(await now())

    async def refresh() -> None:
        await upkeep.refresh(await now())

    async def check() -> None:
        await upkeep.check(await now())

    async def tell() -> None:
        await upkeep.tell(await now())
        await resume_mended(app.database, now=shared())

    chores = [
        Chore("prune", LOOK_EVERY, prune),
        Chore("expire approvals", EXPIRE_EVERY, expire),
        Chore("seal the audit log", SEAL_EVERY, seal),
        Chore("refresh grants", REFRESH_EVERY, refresh),
        Chore("check connections", CHECK_EVERY, check),
        Chore("notify owners of connections", TELL_EVERY, tell),
    ]
    if app.settings.ping_url:
        switch = DeadMansSwitch(
            app.database, url=app.settings.ping_url, is_awake=lambda: loop.is_awake
        )
        chores.append(Chore("ping the dead man's switch", PING_EVERY / 4, switch.ping))
    loop = SchedulerLoop(
        app.database,
        scheduler(app),
        clock=shared,
        read_clock=shared.read,
        chores=chores,
        settings=app.settings.compared,
    )
    return loop


@dataclass(frozen=True, slots=True)
class OperatorsCode:
    """The tools and callables that ROTA_TOOLS and ROTA_CALLABLES name, beside rota's own tools."""

    tools: ToolRegistry
    callables: Mapping[str, RegisteredCallable]


def load_code(settings: Settings) -> OperatorsCode:
    """Import the operator's code; before any event loop runs, as a module may run one of its own.

    Raises SetupRequiredError and InvalidInputError, which name the entry.
    """
    # LangChain takes seconds to import, and most commands never run an agent.
    from rota.agents.own_code.registered import load_callables, tool_registry

    logs.begin()
    return OperatorsCode(
        tool_registry(settings.tools, called=settings.name_of("ROTA_TOOLS")),
        load_callables(settings.callables, called=settings.name_of("ROTA_CALLABLES")),
    )


@asynccontextmanager
async def background(app: App, code: OperatorsCode) -> AsyncIterator[BackgroundTaskService]:
    """Wire what runs agents: their own loop, database pool and HTTP client."""
    # LangChain takes seconds to import, and most commands never run an agent.
    import httpx

    from rota.agents.models.building import ChatModels
    from rota.engine.agent_loop import AgentLoop
    from rota.engine.queue import QueueWorker
    from rota.services.approvals.unknown_outcomes import LOOK_UP_EVERY, UnknownOutcomes
    from rota.services.operations.agent_hosts import AgentHost, AgentHosts
    from rota.services.operations.background_tasks import BackgroundTaskService
    from rota.services.runs.attempt import Workbench
    from rota.services.runs.scheduled_execution_service import ScheduledExecutionService

    logs.begin()
    settings = app.settings
    mail = await mail_folders(app)
    await _warn_of_key(app)

    async def open_host() -> AgentHost:
        loop = AgentLoop(threads=4 * settings.concurrency)
        loop.start()
        try:
            return await loop.run(furnish(loop))
        except BaseException:
            await loop.stop()
            raise

    async def furnish(loop: AgentLoop) -> AgentHost:
        """Make what executes runs, on the loop that it is for."""
        async with AsyncExitStack() as stack:
            database = await stack.enter_async_context(
                make_database(
                    settings, app.server, max_size=_CONNECTIONS, generic_plans=True
                ).opened()
            )
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=30.0))
            models = ChatModels(endpoints=settings.endpoints, api_keys=settings.api_keys)
            stack.push_async_callback(models.clients.close)
            prices = CurrentPrices(ModelPriceService(database))
            await prices()
            bench = Workbench(
                database,
                NotificationService(database),
                registry=code.tools,
                tool_context=_tool_contexts(app, database, mail, http),
                models=models,
                clock=app.clock,
                prices=prices,
                unwrapped_tools=settings.unwrapped_tools,
                callables=code.callables,
                cipher=make_cipher(settings),
            )
            execution = ScheduledExecutionService(bench, batch_size=settings.group_size)
            return AgentHost(loop, execution, stack.pop_all().aclose)

    async def look_up() -> None:
        async with httpx.AsyncClient(timeout=30.0) as http:
            await UnknownOutcomes(
                app.database,
                app.notifications,
                registry=code.tools,
                tool_context=_tool_contexts(app, app.database, mail, http),
                cipher=make_cipher(settings),
                clock=app.clock,
            ).look()

    hosts = AgentHosts(open_host)
    await hosts.open()
    try:
        yield BackgroundTaskService(
            app.database,
            scheduler_loop=scheduler_loop(app),
            worker=QueueWorker(
                app.database, concurrency=settings.concurrency, come_round=hosts.come_round
            ),
            hosts=hosts,
            chores=[Chore("look up unknown outcomes", LOOK_UP_EVERY, look_up)],
            settings=settings.compared,
            key_ids=lambda: _key_ids(app),
            watch=SchedulerWatch(
                app.database,
                IncidentService(app.database, app.notifications),
                operators=await app.told_operators(),
            ),
        )
    finally:
        await hosts.close()


async def _warn_of_key(app: App) -> None:
    """Log where secrets are stored and this worker's key opens none: it is the wrong one."""
    async with app.database.connection() as conn:
        if not await keys.opens_none(conn, app.cipher):
            return
        stored_with = await key_ids_of_connections(conn)
    log.error(
        "key_opens_nothing",
        key_id=app.cipher.key_id,
        stored_with=", ".join(stored_with) or "another",
    )


def _key_ids(app: App) -> tuple[str, ...] | None:
    """Return the fingerprints of the keys; None where the key file cannot be read any more."""
    try:
        return app.cipher.key_ids
    except (RotaError, OSError):  # a worker that could not report would be taken for dead
        return None


@asynccontextmanager
async def tool_tests(app: App, code: OperatorsCode) -> AsyncIterator[ToolTestService]:
    """Wire what calls a single tool as a person."""
    # As in `background`.
    import httpx

    from rota.services.approvals.tool_tests import ToolTestService

    mail = await mail_folders(app, of="this terminal")
    async with httpx.AsyncClient(timeout=30.0) as http:
        yield ToolTestService(
            app.database,
            registry=code.tools,
            tool_context=_tool_contexts(app, app.database, mail, http),
            clock=app.clock,
        )


def _tool_contexts(
    app: App,
    database: Database,
    mail: Callable[[UserId], Path],
    http: httpx.AsyncClient,
) -> Callable[[UserId, Callable[[], datetime]], ToolContext]:
    """Return what makes the context of a person's tools."""
    from rota.agents.tools.context import ToolContext

    connections = ConnectionService(
        database, make_cipher(app.settings), clock=app.clock, endpoints=app.endpoints
    )

    def tool_context(user_id: UserId, now: Callable[[], datetime]) -> ToolContext:
        return ToolContext(
            user_id=user_id,
            now=now,
            secret=lambda name: connections.secret(user_id, name),
            mail_folder=lambda: mail(user_id),
            http=http,
            endpoints=app.endpoints,
            connection=lambda name: connections.using(user_id, name),
            connected=lambda gives: connections.connected(user_id, gives),
            renew=lambda name, refused: connections.renew(user_id, name, refused),
        )

    return tool_context


def tool_definition(settings: Settings, name: str) -> str:
    """Return the hash of a registered tool as its code is now.

    Raises SetupRequiredError for one that is not registered, InvalidInputError for one that cannot
    be described.
    """
    from rota.agents.tools.definitions import hash_tool

    return look_at(settings, name, hash_tool, now=clock, mail=lambda: mail_path(settings))


def tool_problem(settings: Settings, name: str) -> str | None:
    """Return why no run would have a registered tool, None where it would; raises as above."""
    from rota.security.gate.arguments import wrapping_problem

    return look_at(settings, name, wrapping_problem, now=clock, mail=lambda: mail_path(settings))
