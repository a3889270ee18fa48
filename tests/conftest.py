"""Real PostgreSQL for every test: one server a run, one migrated template a process, and a clean
database a test. Nothing leaves the machine."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
import structlog
from hypothesis import settings

from benchmarks.rig.server import open_to_all
from rota.domain.ids import UserId
from rota.store.database import Database
from rota.store.migrations import migrate
from tests import postgres, supabase
from tests.postgres import Lender, TestServer
from tests.supabase import Server15, SupabaseDatabase

KEPT = {postgres.OWN_SERVER, "ROTA_REQUIRE_POSTGRES15", "ROTA_TEST_MAILBOXES"}
LOOPBACK = {"127.0.0.1", "::1", "localhost"}


# The same examples each time: a check that fails on some days says nothing about a change. To look
# for more, run a property test by itself with --hypothesis-profile=default.
settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


def pytest_configure() -> None:
    """Take what the person's environment would change, keys above all, from the tests."""
    for name in list(os.environ):
        foreign = name.startswith(("ROTA_", "PGQUEUER_", "LANGSMITH_", "LANGCHAIN_", "PG"))
        if name not in KEPT and (foreign or name.endswith("_API_KEY")):
            del os.environ[name]
    os.environ["LANGSMITH_TRACING"] = "false"
    # Below nohup what a test starts would be deaf to Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["ROTA_CONFIG"] = os.devnull  # nor what their files say


def _log_plainly() -> None:
    """Log as structlog does by itself, but for tracebacks: drawing one by Rich takes seconds."""
    structlog.reset_defaults()
    *others, _ = structlog.get_config()["processors"]
    plain = structlog.dev.plain_traceback
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)
    structlog.configure(processors=[*others, renderer])


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Let later tests log: a command sets logs up on an error stream that ends with the test."""
    loggers = [logging.getLogger(name) for name in ("", "httpx", "psycopg.pool", "pgqueuer")]
    before = [(list(each.handlers), list(each.filters), each.level) for each in loggers]
    _log_plainly()
    yield
    logging.captureWarnings(False)
    for logger, (handlers, filters, level) in zip(loggers, before, strict=True):
        logger.handlers[:], logger.filters[:] = handlers, filters
        logger.setLevel(level)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse connections past this machine: a test that needs one is not a test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            host = address[0] if isinstance(address, tuple) else str(address)
            if host not in LOOPBACK:
                raise RuntimeError(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]  # as the caller gave it

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    """One server for all processes of this run."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    with postgres.server(shared) as server:
        yield server


def need_postgres15() -> None:
    """Skip where there are no binaries of 15; fail where there have to be."""
    if (reason := supabase.why_missing()) is not None:
        if os.environ.get("ROTA_REQUIRE_POSTGRES15"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def plain15() -> Iterator[Server15]:
    """A PostgreSQL 15 as it comes. Its tests bear the mark `postgres15`."""
    need_postgres15()
    with supabase.postgres15("admin") as server:
        yield server


@pytest.fixture(scope="session")
def supabase_server() -> Iterator[Server15]:
    """A PostgreSQL 15 as Supabase makes it. Its tests bear the mark `postgres15`."""
    need_postgres15()
    with supabase.postgres15("supabase_admin") as server:
        supabase.make_supabase(server)
        yield server


@pytest.fixture
def supabase_database(supabase_server: Server15) -> Iterator[SupabaseDatabase]:
    """A new project on Supabase; `postgres` made the role `rota_backend` there already."""
    with supabase_server.database("postgres", supabase.TEMPLATE) as name:
        yield SupabaseDatabase(supabase_server, name)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: TestServer) -> Iterator[str]:
    """A migrated database that tests are copied from; in which everybody may run agents."""
    with postgres_server.database() as name:
        asyncio.run(migrate(postgres_server.owner_of(name)))
        open_to_all(postgres_server.owner_of(name))
        yield name


@pytest.fixture
def empty_database(postgres_server: TestServer) -> Iterator[str]:
    """Name of a database without a schema."""
    with postgres_server.database() as name:
        yield name


@pytest.fixture(scope="session")
def lender(postgres_server: TestServer, migrated_template: str) -> Iterator[Lender]:
    """What lends migrated databases."""
    made = postgres_server.lender(migrated_template)
    yield made
    made.close()


@pytest.fixture
def migrated_database(lender: Lender) -> Iterator[str]:
    """Name of a database with the schema, and with the rows that it begins with."""
    with lender.database() as name:
        yield name


@pytest.fixture
def owner_url(postgres_server: TestServer, migrated_database: str) -> str:
    """URL of the role that owns the tables."""
    return postgres_server.owner_of(migrated_database)


@pytest.fixture
def database_url(postgres_server: TestServer, migrated_database: str) -> str:
    """URL of rota's own role: neither superuser nor exempt from RLS, and owner of no table."""
    return postgres_server.backend_of(migrated_database)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database as rota opens it."""
    async with Database(database_url).opened() as opened:
        yield opened


@pytest.fixture
async def owner(owner_url: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A connection as the owner, to arrange and to look past row-level security."""
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as conn:
        yield conn


async def _person(owner: psycopg.AsyncConnection[tuple[object, ...]], name: str) -> UserId:
    cursor = await owner.execute(
        "INSERT INTO auth.users (email) VALUES (%s) RETURNING id", [f"{name}@example.com"]
    )
    row = await cursor.fetchone()
    assert row is not None
    return UserId(row[0])


@pytest.fixture
async def alice(owner: psycopg.AsyncConnection[tuple[object, ...]]) -> UserId:
    """Somebody."""
    return await _person(owner, "alice")


@pytest.fixture
async def bob(owner: psycopg.AsyncConnection[tuple[object, ...]]) -> UserId:
    """A stranger to Alice."""
    return await _person(owner, "bob")
