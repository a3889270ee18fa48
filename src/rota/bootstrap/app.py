"""The composition root of every command: settings become a database and services.

Loops, agents and LangChain are wired in `rota.bootstrap.background`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from rota.agents.tools.builtin import builtin_facts
from rota.domain.errors import InvalidInputError, SetupRequiredError
from rota.domain.identity.issuers import OidcClient, SupabaseProject
from rota.domain.ids import UserId
from rota.security.secrets.encryption import Cipher, KeyFile, load_keys
from rota.services.references import unknown_person
from rota.settings import Settings
from rota.store import roles, users
from rota.store.database import Database
from rota.store.embedded.files import default_data_dir
from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import MigrationReport, migrate, pending_migrations
from rota.store.scopes import limited_to

if TYPE_CHECKING:
    from rota.services.agent_files.applying import AgentFileService
    from rota.services.agent_files.applying_sets import FileSetService
    from rota.services.agent_files.editing import AgentEditService
    from rota.services.agents.connection_removal import ConnectionRemoval
    from rota.services.agents.connection_sign_ins import ConnectionSignInService
    from rota.services.agents.connections import ConnectionService
    from rota.services.agents.grants import GrantService
    from rota.services.agents.option_checks import Registered
    from rota.services.agents.people import PeopleService
    from rota.services.agents.preferences import PreferenceService
    from rota.services.agents.prices import ModelPriceService
    from rota.services.agents.service import AgentService
    from rota.services.agents.tools import ToolService
    from rota.services.approvals.deputies import DeputyService
    from rota.services.approvals.rules import RuleService
    from rota.services.approvals.service import ApprovalService
    from rota.services.audit.checkpoints import Checkpoints
    from rota.services.audit.service import AuditService
    from rota.services.identity.identities import IdentityService
    from rota.services.identity.jwts import JwtService
    from rota.services.identity.links import LinkService
    from rota.services.identity.oidc import OidcService
    from rota.services.identity.sessions import SessionService
    from rota.services.identity.tokens import TokenService
    from rota.services.notifications.service import NotificationService
    from rota.services.operations.event_feed import EventFeed
    from rota.services.operations.idempotency import IdempotencyService
    from rota.services.operations.person_data import PersonDataService
    from rota.services.operations.readiness import ReadinessService
    from rota.services.operations.retention import RetentionService
    from rota.services.operations.status import StatusService
    from rota.services.runs.following import RunFollower
    from rota.services.runs.limits import LimitService
    from rota.services.runs.results import ResultService
    from rota.services.runs.service import RunService
    from rota.services.runs.usage import UsageService
    from rota.services.schedules.bulk import BulkService
    from rota.services.schedules.calendars import CalendarService
    from rota.services.schedules.explanations import ExplanationService
    from rota.services.schedules.pauses import PauseService
    from rota.services.schedules.service import ScheduleService
    from rota.services.schedules.views import ScheduleViewService

LOCAL_OWNER: Final = "owner@localhost"
"""The one person of an embedded server."""

Progress = Callable[[str], None]
_ALWAYS: Final = frozenset({"registered", "endpoints"})
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Server:
    """A database to work on. `owner_url` may change the schema; `app_url` is rota's own role."""

    owner_url: str
    app_url: str
    embedded: EmbeddedPostgres | None


class Service(Generic[T]):
    """A service of an App, `room.module:Class` of `rota.services`, made when it is first used.

    Importing all services takes longer than most commands do. Constructor parameters without a
    default get the attribute of the App that has their name, often another service; so do those of
    `_ALWAYS`, which have a default for tests.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __set_name__(self, owner: type[App], name: str) -> None:
        self._name = name

    def __get__(self, app: App, owner: type[App]) -> T:
        module, _, kind = self._path.partition(":")
        make: Callable[..., T] = getattr(import_module(f"rota.services.{module}"), kind)
        needs = [
            name
            for name, p in signature(make).parameters.items()
            if p.default is p.empty or name in _ALWAYS
        ]
        made = make(**{name: getattr(app, name) for name in needs})
        vars(app)[self._name] = made  # the next access finds this attribute first
        return made


def clock() -> datetime:
    """Return the wall clock's time: the only place that reads it."""
    return datetime.now(UTC)


class App:
    """Everything that a command needs, on one event loop, without LangChain.

    >>> me = await app.person()
    >>> [agent.agent_name for agent in await app.agents.all(me)]
    ['clerk', 'orchestrator']
    """

    agent_files: Service[AgentFileService] = Service("agent_files.applying:AgentFileService")
    agent_edits: Service[AgentEditService] = Service("agent_files.editing:AgentEditService")
    file_sets: Service[FileSetService] = Service("agent_files.applying_sets:FileSetService")
    agents: Service[AgentService] = Service("agents.service:AgentService")
    connections: Service[ConnectionService] = Service("agents.connections:ConnectionService")
    grants: Service[GrantService] = Service("agents.grants:GrantService")
    connection_removal: Service[ConnectionRemoval] = Service(
        "agents.connection_removal:ConnectionRemoval"
    )
    connection_sign_ins: Service[ConnectionSignInService] = Service(
        "agents.connection_sign_ins:ConnectionSignInService"
    )
    people: Service[PeopleService] = Service("agents.people:PeopleService")
    preferences: Service[PreferenceService] = Service("agents.preferences:PreferenceService")
    prices: Service[ModelPriceService] = Service("agents.prices:ModelPriceService")
    tools: Service[ToolService] = Service("agents.tools:ToolService")
    approvals: Service[ApprovalService] = Service("approvals.service:ApprovalService")
    deputies: Service[DeputyService] = Service("approvals.deputies:DeputyService")
    rules: Service[RuleService] = Service("approvals.rules:RuleService")
    audit: Service[AuditService] = Service("audit.service:AuditService")
    checkpoints: Service[Checkpoints] = Service("audit.checkpoints:Checkpoints")
    identities: Service[IdentityService] = Service("identity.identities:IdentityService")
    jwts: Service[JwtService] = Service("identity.jwts:JwtService")
    links: Service[LinkService] = Service("identity.links:LinkService")
    oidc: Service[OidcService] = Service("identity.oidc:OidcService")
    sessions: Service[SessionService] = Service("identity.sessions:SessionService")
    tokens: Service[TokenService] = Service("identity.tokens:TokenService")
    notifications: Service[NotificationService] = Service(
        "notifications.service:NotificationService"
    )
    events: Service[EventFeed] = Service("operations.event_feed:EventFeed")
    idempotency: Service[IdempotencyService] = Service("operations.idempotency:IdempotencyService")
    person_data: Service[PersonDataService] = Service("operations.person_data:PersonDataService")
    readiness: Service[ReadinessService] = Service("operations.readiness:ReadinessService")
    retention: Service[RetentionService] = Service("operations.retention:RetentionService")
    status: Service[StatusService] = Service("operations.status:StatusService")
    limits: Service[LimitService] = Service("runs.limits:LimitService")
    follower: Service[RunFollower] = Service("runs.following:RunFollower")
    results: Service[ResultService] = Service("runs.results:ResultService")
    runs: Service[RunService] = Service("runs.service:RunService")
    usage: Service[UsageService] = Service("runs.usage:UsageService")
    calendars: Service[CalendarService] = Service("schedules.calendars:CalendarService")
    explanations: Service[ExplanationService] = Service("schedules.explanations:ExplanationService")
    pauses: Service[PauseService] = Service("schedules.pauses:PauseService")
    schedules: Service[ScheduleService] = Service("schedules.service:ScheduleService")
    schedule_bulk: Service[BulkService] = Service("schedules.bulk:BulkService")
    schedule_views: Service[ScheduleViewService] = Service("schedules.views:ScheduleViewService")

    def __init__(
        self,
        settings: Settings,
        server: Server,
        database: Database,
        cipher: Cipher,
        *,
        clock: Callable[[], datetime] = clock,
    ) -> None:
        self.settings = settings
        self.server = server
        self.database = database
        self.cipher = cipher
        self.clock = clock

    @property
    def endpoints(self) -> Mapping[str, str]:
        """The operator's base URLs of APIs, by their names in ROTA_ENDPOINTS."""
        return self.settings.endpoints

    @property
    def supabase(self) -> SupabaseProject | None:
        """The project whose JWTs count."""
        return self.settings.supabase

    @property
    def oidc_client(self) -> OidcClient | None:
        """This rota as a client of an issuer of OpenID Connect."""
        return self.settings.oidc

    @property
    def registered(self) -> Registered:
        """What of endpoints, tools, keys and callables this process has."""
        from rota.services.agents.option_checks import Registered

        return Registered(
            self.settings.endpoints,
            self._argument_names,
            keys=self.settings.compared,
            callables=self.settings.callables,
        )

    def _argument_names(self, tool_name: str) -> Collection[str] | None:
        # LangChain takes seconds to import; only a pre-check with arguments asks.
        from rota.bootstrap.tool_looks import argument_names

        return argument_names(self.settings, tool_name, now=self.clock)

    async def person(self) -> UserId:
        """Return whom commands act as: the sole owner of an embedded server, else `--as`.

        Raises SetupRequiredError where nobody is named, NotFoundError for somebody unknown.
        """
        named = self.settings.user
        if self.server.embedded is not None and named in {None, LOCAL_OWNER}:
            return await self._local_owner()
        if named is None:
            raise SetupRequiredError(
                "Name the person to act as, with --as EMAIL or ROTA_USER.", what="user"
            )
        return await self.named(named, hint=hint_at_setting(self.settings, "ROTA_USER", named))

    def limit_to(self, scopes: Collection[str] | None) -> None:
        """Let this task do no more as a person from now on than these scopes allow; None: all."""
        limited_to(None if scopes is None else frozenset(scopes))

    async def set_everybody(self, *, may_run: bool) -> None:
        """Say whether whoever is not named may run agents.

        Raises InvalidInputError for an embedded server, where everybody is its owner.
        """
        if self.server.embedded is not None and not may_run:
            raise InvalidInputError(
                "The embedded server is open to everybody. Name the people to refuse."
            )
        await self.people.set_everybody(may_run=may_run)

    async def named(self, who: str, *, hint: str = "") -> UserId:
        """Return a person by e-mail address or id; raises NotFoundError."""
        async with self.database.connection() as conn:
            found = await users.find_user(conn, who)
        if found is None:
            raise unknown_person(who, hint=hint)
        return found

    async def address_of(self, user_id: UserId) -> str | None:
        """Return a person's e-mail address."""
        async with self.database.connection() as conn:
            return await users.fetch_address(conn, user_id)

    async def told_operators(self) -> tuple[UserId, ...]:
        """Return who is told when rota itself is ill: those configured, or the sole owner.

        Raises NotFoundError for somebody in ROTA_OPERATOR who is unknown.
        """
        named = self.settings.operators
        if named:
            found = [
                await self.named(who, hint=hint_at_setting(self.settings, "ROTA_OPERATOR", who))
                for who in named
            ]
            return tuple(dict.fromkeys(found))
        return (await self._local_owner(),) if self.server.embedded is not None else ()

    async def operators(self) -> frozenset[UserId]:
        """Return the operators: those configured, and the local owner of an embedded server."""
        told = frozenset(await self.told_operators())
        if self.server.embedded is None:
            return told
        return told | {await self._local_owner()}

    async def _local_owner(self) -> UserId:
        async with self.database.connection() as conn:
            return await users.ensure_user(conn, LOCAL_OWNER)


def hint_at_setting(settings: Settings, variable: str, who: str) -> str:
    """Say which setting names a person who is unknown, and how they become known."""
    if variable not in settings.names:
        return ""
    name = settings.name_of(variable)
    return f"{name} names them: mend it, or add them with `rota people add {who}`."


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
async def application(
    settings: Settings, server: Server, *, clock: Callable[[], datetime] = clock
) -> AsyncIterator[App]:
    """Open the database, and have the services wired to it as they are asked for.

    `clock` returns what time it is, aware: the wall clock's, except in tests.

    The schema of an embedded server is brought up to date first; on another one an outdated
    schema raises SetupRequiredError, because who may change it is the operator's decision.
    """
    if server.embedded is not None:
        await migrate(server.owner_url)
    database = make_database(settings, server)
    async with database.opened():
        async with database.connection() as conn:
            await roles.require_rights(conn)
            missing = await pending_migrations(conn)
            command = await roles.migrating_command(conn)
        if missing:
            raise SetupRequiredError(
                f"The schema lacks {len(missing)} of its migrations; run `{command}`.",
                what="migrations",
            )
        app = App(settings, server, database, make_cipher(settings), clock=clock)
        if server.embedded is not None:
            await app.tools.refresh(builtin_facts())
            await app.people.set_everybody(may_run=True)  # everybody who can connect is its owner
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


async def backend_role_problem(server: Server) -> str | None:
    """Say in one line what a server lacks for rota to work as a role of its own; None for nothing.

    The embedded server makes that role itself.
    """
    if server.embedded is not None:
        return None
    database = Database(server.owner_url, prepared_statements=False)
    async with database.opened(), database.connection() as conn:
        return await roles.backend_role_problem(conn)


def make_database(
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


def make_cipher(settings: Settings) -> Cipher:
    """Return what encrypts secrets; the key is made on first use where none is configured."""
    folder = data_dir(settings)
    if settings.secret_key is None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    called = settings.name_of("ROTA_SECRET_KEY")
    newest, *older = load_keys(settings.secret_key, folder / "secret.key", called=called)
    if settings.secret_key is not None:
        return Cipher(newest, tuple(older))
    return Cipher(newest, tuple(older), KeyFile(folder / "secret.key").keys)


def find_cipher(settings: Settings) -> Cipher | None:
    """Return what encrypts secrets, or None where there is no key yet; none is made."""
    if settings.secret_key is None and not (data_dir(settings) / "secret.key").exists():
        return None
    return make_cipher(settings)
