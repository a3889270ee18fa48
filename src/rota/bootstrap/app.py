"""The composition root: settings become a database, services and loops, wired once, here."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import UUID

from rota.agents.tools.builtin import builtin_facts
from rota.domain.errors import NotFoundError, SetupRequiredError
from rota.domain.ids import UserId
from rota.security.secrets.encryption import Cipher, load_key
from rota.settings import Settings
from rota.store import users
from rota.store.database import Connection, Database
from rota.store.embedded.server import EmbeddedPostgres, default_data_dir
from rota.store.migrations import MigrationReport, migrate, pending_migrations

if TYPE_CHECKING:
    from rota.services.agent_files.applying import AgentFileService
    from rota.services.agents.connections import ConnectionService
    from rota.services.agents.prices import ModelPriceService
    from rota.services.agents.service import AgentService
    from rota.services.agents.tools import ToolService
    from rota.services.approvals.deputies import DeputyService
    from rota.services.approvals.rules import RuleService
    from rota.services.approvals.service import ApprovalService
    from rota.services.audit.service import AuditService
    from rota.services.notifications.service import NotificationService
    from rota.services.operations.retention import RetentionService
    from rota.services.runs.limits import LimitService
    from rota.services.runs.results import ResultService
    from rota.services.runs.service import RunService
    from rota.services.runs.usage import UsageService
    from rota.services.schedules.calendars import CalendarService
    from rota.services.schedules.explanations import ExplanationService
    from rota.services.schedules.service import ScheduleService

LOCAL_OWNER: Final = "owner@localhost"
"""The one person of an embedded server."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Server:
    """A database to work on. `owner_url` may change the schema; `app_url` is rota's own role."""

    owner_url: str
    app_url: str
    embedded: EmbeddedPostgres | None


@dataclass(frozen=True)
class App:
    """Everything that a command needs, on one event loop, without LangChain.

    A service is imported and wired when it is first asked for: importing all of them takes longer
    than most commands do.
    """

    settings: Settings
    server: Server
    database: Database
    cipher: Cipher

    @cached_property
    def notifications(self) -> NotificationService:
        from rota.services.notifications.service import NotificationService

        return NotificationService(self.database)

    @cached_property
    def connections(self) -> ConnectionService:
        from rota.services.agents.connections import ConnectionService

        return ConnectionService(self.database, self.cipher, clock=clock)

    @cached_property
    def agents(self) -> AgentService:
        from rota.services.agents.service import AgentService

        return AgentService(self.database)

    @cached_property
    def agent_files(self) -> AgentFileService:
        from rota.services.agent_files.applying import AgentFileService

        return AgentFileService(self.database, self.schedules)

    @cached_property
    def tools(self) -> ToolService:
        from rota.services.agents.tools import ToolService

        return ToolService(self.database)

    @cached_property
    def schedules(self) -> ScheduleService:
        from rota.services.schedules.service import ScheduleService

        return ScheduleService(self.database, clock=clock)

    @cached_property
    def calendars(self) -> CalendarService:
        from rota.services.schedules.calendars import CalendarService

        return CalendarService(self.database, clock=clock)

    @cached_property
    def explanations(self) -> ExplanationService:
        from rota.services.schedules.explanations import ExplanationService

        return ExplanationService(self.database, self.schedules, clock=clock)

    @cached_property
    def runs(self) -> RunService:
        from rota.services.runs.service import RunService

        return RunService(self.database)

    @cached_property
    def results(self) -> ResultService:
        from rota.services.runs.results import ResultService

        return ResultService(self.database)

    @cached_property
    def prices(self) -> ModelPriceService:
        from rota.services.agents.prices import ModelPriceService

        return ModelPriceService(self.database)

    @cached_property
    def usage(self) -> UsageService:
        from rota.services.runs.usage import UsageService

        return UsageService(self.database, clock=clock)

    @cached_property
    def retention(self) -> RetentionService:
        from rota.services.audit.checkpoints import Checkpoints
        from rota.services.operations.retention import RetentionService

        return RetentionService(self.database, Checkpoints(self.cipher))

    @cached_property
    def limits(self) -> LimitService:
        from rota.services.runs.limits import LimitService

        return LimitService(self.database)

    @cached_property
    def approvals(self) -> ApprovalService:
        from rota.services.approvals.service import ApprovalService

        return ApprovalService(self.database, self.cipher, self.notifications)

    @cached_property
    def deputies(self) -> DeputyService:
        from rota.services.approvals.deputies import DeputyService

        return DeputyService(self.database)

    @cached_property
    def audit(self) -> AuditService:
        from rota.services.audit.checkpoints import Checkpoints
        from rota.services.audit.service import AuditService

        return AuditService(self.database, Checkpoints(self.cipher))

    @cached_property
    def rules(self) -> RuleService:
        from rota.services.approvals.rules import RuleService

        return RuleService(self.database, clock=clock)

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
    """Open the database, and have the services wired to it as they are asked for.

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
        app = App(settings, server, database, cipher_of(settings))
        if server.embedded is not None:
            await app.tools.refresh(builtin_facts())
        yield app


async def bring_up_to_date(server: Server) -> MigrationReport:
    """Apply pending migrations, and refresh the rows of built-in tools, as the schema's owner.

    Raises as `migrate`.
    """
    from rota.services.agents.tools import ToolService

    report = await migrate(server.owner_url)
    async with Database(server.owner_url, prepared_statements=False).opened() as database:
        await ToolService(database).refresh(builtin_facts())
    return report


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


def cipher_of(settings: Settings) -> Cipher:
    """Return what encrypts secrets; the key is made on first use where none is configured."""
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
