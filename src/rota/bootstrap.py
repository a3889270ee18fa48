"""The composition root: settings become a database, services and loops, wired once, here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from rota.domain.errors import NotFoundError, SetupRequiredError
from rota.domain.ids import UserId
from rota.sample import sample_mailbox_path
from rota.security.secrets.encryption import Cipher, load_key
from rota.services.agents.connections import ConnectionService
from rota.services.agents.prices import CurrentPrices, ModelPriceService
from rota.services.agents.service import AgentService
from rota.services.agents.tools import ToolService
from rota.services.approvals.deputies import DeputyService
from rota.services.approvals.expiry import ApprovalTimes
from rota.services.approvals.rules import RuleService
from rota.services.approvals.service import ApprovalService
from rota.services.audit.checkpoints import Checkpoints
from rota.services.audit.sealing import AuditSealer
from rota.services.audit.service import AuditService
from rota.services.notifications.incidents import IncidentService
from rota.services.notifications.service import NotificationService
from rota.services.operations.retention import RetentionService
from rota.services.operations.scheduler_loop import SchedulerLoop
from rota.services.operations.watch import DeadMansSwitch, SchedulerWatch
from rota.services.runs.limits import LimitService
from rota.services.runs.results import ResultService
from rota.services.runs.service import RunService
from rota.services.runs.usage import UsageService
from rota.services.schedules.calendars import CalendarService
from rota.services.schedules.explanations import ExplanationService
from rota.services.schedules.firing import Scheduler
from rota.services.schedules.service import ScheduleService
from rota.settings import Settings
from rota.store import users
from rota.store.database import Connection, Database
from rota.store.embedded.server import EmbeddedPostgres, default_data_dir
from rota.store.migrations import migrate, pending_migrations

if TYPE_CHECKING:
    from rota.services.operations.background_tasks import BackgroundTaskService

LOCAL_OWNER: Final = "owner@localhost"
"""The one person of an embedded server."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Server:
    """A database to work on. `owner_url` may change the schema; `app_url` is rota's own role."""

    owner_url: str
    app_url: str
    embedded: EmbeddedPostgres | None


@dataclass(frozen=True, slots=True)
class App:
    """Everything that a command needs, on one event loop, without LangChain."""

    settings: Settings
    server: Server
    database: Database
    notifications: NotificationService
    connections: ConnectionService
    agents: AgentService
    tools: ToolService
    schedules: ScheduleService
    calendars: CalendarService
    explanations: ExplanationService
    runs: RunService
    results: ResultService
    prices: ModelPriceService
    usage: UsageService
    retention: RetentionService
    limits: LimitService
    approvals: ApprovalService
    deputies: DeputyService
    audit: AuditService
    rules: RuleService

    async def person(self) -> UserId:
        """Return whom commands act as: the sole owner of an embedded server, else `--as`.

        Raises SetupRequiredError where nobody is named, NotFoundError for somebody unknown.
        """
        named = self.settings.user
        if named is None:
            if self.server.embedded is None:
                raise SetupRequiredError(
                    "Name the person to act as, with --as EMAIL or ROTA_USER.", what="user"
                )
            named = LOCAL_OWNER
        async with self.database.connection() as conn:
            found = await _find_user(conn, named)
            if found is None and self.server.embedded is not None and named == LOCAL_OWNER:
                found = await users.ensure_user(conn, named)
        if found is None:
            raise NotFoundError("user", named)
        return found

    async def named(self, who: str) -> UserId:
        """Return a person by e-mail address or id; raises NotFoundError."""
        async with self.database.connection() as conn:
            found = await _find_user(conn, who)
        if found is None:
            raise NotFoundError("user", who)
        return found

    async def operator(self) -> UserId | None:
        """Return who is told when rota itself is ill: the one configured, or the sole owner.

        Raises NotFoundError for a ROTA_OPERATOR who is unknown.
        """
        named = self.settings.operator
        if named is None:
            return await self.person() if self.server.embedded is not None else None
        async with self.database.connection() as conn:
            found = await _find_user(conn, named)
        if found is None:
            raise NotFoundError("user", named, hint="ROTA_OPERATOR names them.")
        return found


async def _find_user(conn: Connection, named: str) -> UserId | None:
    """Return a person by e-mail address or id, or None."""
    found = await users.find_user(conn, named)
    if found is None and _is_uuid(named):
        candidate = UserId(UUID(named))
        found = candidate if await users.user_exists(conn, candidate) else None
    return found


def clock() -> datetime:
    """Return the wall clock's time: the only place that reads it."""
    return datetime.now(UTC)


def data_dir(settings: Settings) -> Path:
    """Return the directory of the embedded database and rota's own files."""
    return settings.data_dir or default_data_dir()


@contextmanager
def database_server(settings: Settings, *, progress: Progress = lambda _: None) -> Iterator[Server]:
    """Start, or join, the embedded server; or name the configured one."""
    if settings.database_url is not None:
        yield Server(settings.database_url, settings.database_url, None)
        return
    with EmbeddedPostgres.open(data_dir(settings), progress=progress) as embedded:
        yield Server(embedded.owner_url, embedded.app_url, embedded)


@asynccontextmanager
async def application(settings: Settings, server: Server) -> AsyncIterator[App]:
    """Open the database and wire the services.

    The schema of an embedded server is brought up to date first; on another one an outdated
    schema raises SetupRequiredError, because who may change it is the operator's decision.
    """
    if server.embedded is not None:
        await migrate(server.owner_url)
    database = database_of(settings, server)
    async with database.opened():
        async with database.connection() as conn:
            missing = await pending_migrations(conn)
        if missing:
            raise SetupRequiredError(
                f"The database's schema lacks {len(missing)} migration(s); run `rota migrate`.",
                what="migrations",
            )
        notifications = NotificationService(database)
        schedules = ScheduleService(database, clock=clock)
        approvals = ApprovalService(database, _cipher(settings))
        yield App(
            settings=settings,
            server=server,
            database=database,
            notifications=notifications,
            connections=ConnectionService(database, _cipher(settings), clock=clock),
            agents=AgentService(database, clock=clock),
            tools=ToolService(database),
            schedules=schedules,
            calendars=CalendarService(database, clock=clock),
            explanations=ExplanationService(database, schedules, clock=clock),
            runs=RunService(database),
            results=ResultService(database),
            prices=ModelPriceService(database),
            usage=UsageService(database, clock=clock),
            retention=RetentionService(database, Checkpoints(_cipher(settings))),
            limits=LimitService(database),
            audit=AuditService(database, Checkpoints(_cipher(settings))),
            approvals=approvals,
            deputies=DeputyService(database),
            rules=RuleService(database, approvals, clock=clock),
        )


def scheduler_loop(app: App) -> SchedulerLoop:
    """Wire what fires schedules; needs no LangChain."""
    incidents = IncidentService(app.database, app.notifications)
    url = app.settings.ping_url
    return SchedulerLoop(
        app.database,
        Scheduler(app.database, app.notifications, incidents),
        clock=clock,
        dead_mans_switch=DeadMansSwitch(app.database, url=url) if url else None,
        retention=app.retention,
        approval_times=ApprovalTimes(app.database, app.notifications),
        audit_sealer=AuditSealer(app.database),
    )


@asynccontextmanager
async def background(app: App) -> AsyncIterator[BackgroundTaskService]:
    """Wire what runs agents: their own loop, database pool and HTTP client."""
    # LangChain takes seconds to import, and most commands never run an agent.
    import httpx  # noqa: PLC0415  as said above

    from rota.agents.models.building import ChatModels  # noqa: PLC0415  as said above
    from rota.agents.own_code.registered import load_callables, tool_registry  # noqa: PLC0415  as said above
    from rota.agents.tools.context import ToolContext  # noqa: PLC0415  as said above
    from rota.engine.agent_loop import AgentLoop  # noqa: PLC0415  as said above
    from rota.engine.queue import QueueWorker  # noqa: PLC0415  as said above
    from rota.services.operations.agent_sides import AgentSide, AgentSides  # noqa: PLC0415  as said above
    from rota.services.operations.background_tasks import BackgroundTaskService  # noqa: PLC0415  as said above
    from rota.services.runs.scheduled_execution_service import ScheduledExecutionService  # noqa: PLC0415  as said above

    settings = app.settings
    mail = await _mail_folders(app)
    registry = tool_registry(settings.tools)
    callables = load_callables(settings.callables)

    async def open_side() -> AgentSide:
        loop = AgentLoop(threads=4 * settings.concurrency)
        loop.start()
        try:
            return await loop.run(furnish(loop))
        except BaseException:
            await loop.stop()
            raise

    async def furnish(loop: AgentLoop) -> AgentSide:
        """Make what executes runs, on the loop that it is for."""
        async with AsyncExitStack() as stack:
            side = await furnish_with(stack, loop)
            return replace(side, close=stack.pop_all().aclose)

    async def furnish_with(stack: AsyncExitStack, loop: AgentLoop) -> AgentSide:
        database = await stack.enter_async_context(
            database_of(
                settings, app.server, max_size=settings.concurrency + 2, generic_plans=True
            ).opened()
        )
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30.0))
        connections = ConnectionService(database, _cipher(settings), clock=clock)

        def tool_context(user_id: UserId, now: Callable[[], datetime]) -> ToolContext:
            return ToolContext(
                user_id=user_id,
                now=now,
                secret=lambda service: connections.secret(user_id, service),
                mail_folder=lambda: mail(user_id),
                http=http,
                endpoints=settings.endpoints,
            )

        prices = CurrentPrices(ModelPriceService(database))
        await prices()
        execution = ScheduledExecutionService(
            database,
            NotificationService(database),
            registry=registry,
            tool_context=tool_context,
            models=ChatModels(endpoints=settings.endpoints, api_keys=settings.api_keys),
            clock=clock,
            prices=prices,
            unwrapped_tools=settings.unwrapped_tools,
            callables=callables,
            group_size=settings.group_size,
            cipher=_cipher(settings),
        )
        return AgentSide(loop, execution, stack.aclose)

    sides = AgentSides(open_side)
    await sides.open()
    try:
        yield BackgroundTaskService(
            app.database,
            scheduler_loop=scheduler_loop(app),
            worker=QueueWorker(app.database, concurrency=settings.concurrency),
            sides=sides,
            watch=SchedulerWatch(
                app.database,
                IncidentService(app.database, app.notifications),
                operator=await app.operator(),
            ),
        )
    finally:
        await sides.close()


def tool_definition(settings: Settings, name: str) -> str:
    """Return the hash of a registered tool as its code is now.

    Raises SetupRequiredError for one that is not registered, InvalidInputError for one that cannot
    be described.
    """
    # LangChain takes seconds to import, and most commands never look at a tool.
    import httpx  # noqa: PLC0415  as said above

    from rota.agents.own_code.registered import tool_registry  # noqa: PLC0415  as said above
    from rota.agents.tools.context import ToolContext  # noqa: PLC0415  as said above
    from rota.agents.tools.definitions import hash_of  # noqa: PLC0415  as said above

    async def secret(service: str) -> str:
        raise SetupRequiredError("The tool is only looked at.", what=service)

    context = ToolContext(
        user_id=UserId(UUID(int=0)),
        now=clock,
        secret=secret,
        mail_folder=lambda: mail_path(settings),
        http=httpx.AsyncClient(),
        endpoints=settings.endpoints,
    )
    return hash_of(tool_registry(settings.tools).build(name, context))


def remember_mail(settings: Settings, path: Path) -> None:
    """Keep `rota up --mail PATH` for later starts without it."""
    folder = data_dir(settings)
    (folder / "mail").write_text(str(path.expanduser().resolve()), encoding="utf-8")


def mail_path(settings: Settings) -> Path:
    """Return the mail folder of an embedded server's owner: named, remembered, or the sample."""
    if settings.mail is not None:
        return settings.mail
    remembered = data_dir(settings) / "mail"
    if remembered.is_file():
        return Path(remembered.read_text(encoding="utf-8").strip())
    return sample_mailbox_path()


async def _mail_folders(app: App) -> Callable[[UserId], Path]:
    """Return who may read which mail folder on this machine's disk: one person, one folder.

    A folder on disk is the operator's, not a row's: on a shared database it is the folder of the
    person named by ROTA_USER, and nobody else's.
    """
    settings = app.settings
    if app.server.embedded is not None:
        owner: UserId | None = await app.person()
        path: Path | None = mail_path(settings)
    else:
        owner = await app.person() if settings.mail is not None else None
        path = settings.mail

    def folder(user_id: UserId) -> Path:
        if path is None or user_id != owner:
            raise SetupRequiredError(
                "No mail folder is set up for you. The operator sets ROTA_MAIL to an mbox file or "
                "a Maildir, and ROTA_USER to its owner.",
                what="mail_folder",
            )
        return path

    return folder


def database_of(
    settings: Settings, server: Server, *, max_size: int = 10, generic_plans: bool = False
) -> Database:
    """Return the database, not opened yet."""
    return Database(
        server.app_url,
        listen_url=settings.database_listen_url,
        prepared_statements=settings.prepared_statements,
        generic_plans=generic_plans,
        max_size=max_size,
    )


def _cipher(settings: Settings) -> Cipher:
    folder = data_dir(settings)
    if settings.secret_key is None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Cipher(load_key(settings.secret_key, folder / "secret.key"))


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
