"""Connections, transactions, and the one place where a person's identity enters a transaction."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeAlias, TypeVar
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from rota.domain.errors import (
    InvalidInputError,
    LostTransactionError,
    RotaError,
    UnavailableError,
)
from rota.domain.ids import UserId
from rota.domain.text.sentences import sentence
from rota.store.errors import domain_error, has_stale_plan, is_outage
from rota.store.scopes import looks_only, scopes_of_task
from rota.store.statements import execute

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]

T = TypeVar("T")

WAKE_CHANNEL: Final = "rota_wake"
"""NOTIFY channel of the triggers: payload `schedules` (to plan) or `runs` (to admit)."""

CHECKED_FOR: Final = 1.0
"""Seconds that a connection of the pool counts as alive after it answered."""

_CONNECT_TIMEOUT: Final = 10.0

_ASK_AFTER: Final = 0.5
"""Seconds after which somebody asks why the pool has no connection yet."""

_PASSING_REFUSALS: Final = (
    "starting up",
    "shutting down",
    "recovery",
    "accepting",
    "too many",
    "slots",
)
"""What a server says that will have us soon; connecting gives no SQLSTATE."""

_DEADLOCKS: Final = 3
"""How often a transaction is tried: whoever comes second waits for the first, and passes."""

_RECONNECT_ROUND: Final = 3.0
"""Seconds after which the pool's pauses between attempts to connect, which double, begin anew."""


async def despite_deadlocks(work: Callable[[], Awaitable[T]]) -> T:
    """Do a transaction, and again where Postgres ended it so that another one could go on."""
    for _ in range(_DEADLOCKS - 1):
        try:
            return await work()
        except LostTransactionError as error:
            if not error.deadlock:
                raise
    return await work()


async def listen(conn: Connection, channel: str) -> None:
    """Hear what is notified on a channel from now on; `conn` is one of `Database.dedicated`."""
    await conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))


_before_commits: ContextVar[Callable[[Connection], Awaitable[None]] | None] = ContextVar(
    "before_commits", default=None
)


def before_commits(last: Callable[[Connection], Awaitable[None]] | None) -> None:
    """Have each transaction of this task end with this from now on; it is rolled back if it raises.

    Statements outside of a transaction are not preceded by it.
    """
    _before_commits.set(last)


async def act_as(conn: Connection, user_id: UserId, *, is_operator: bool = False) -> None:
    """Be this person until the transaction ends, where what the backend does comes first in it."""
    claims: dict[str, Any] = {
        "sub": str(user_id),
        "role": "authenticated",
        "rota_operator": is_operator,
    }
    if (scopes := scopes_of_task()) is not None:
        claims["rota_scopes"] = sorted(scopes)
    await execute(
        conn,
        "act_as_authenticated",
        claims=json.dumps(claims),
        looks_only=looks_only(),
    )


class Database:
    """A pool of autocommit connections to one database, for one event loop.

    Without autocommit, `conn.transaction()` would be a savepoint and a local role would leak into
    whatever runs next on the connection. `generic_plans` is for a pool that executes a few
    statements over and over: planning them anew each time would cost as much as they do.
    """

    def __init__(
        self,
        url: str,
        *,
        listen_url: str | None = None,
        prepared_statements: bool = True,
        generic_plans: bool = False,
        max_size: int = 10,
    ) -> None:
        self._generic_plans = generic_plans and prepared_statements
        self._is_direct = prepared_statements
        self._pipelines = prepared_statements and psycopg.Pipeline.is_supported()
        self.url = url
        self.listen_url = listen_url or url
        self._kwargs: dict[str, Any] = {
            "autocommit": True,
            "application_name": "rota",
            "prepare_threshold": 5 if prepared_statements else None,
        }
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            kwargs=self._kwargs,
            min_size=1,
            max_size=max_size,
            timeout=_CONNECT_TIMEOUT,
            open=False,
            configure=self._configure,
            check=self._check,
            reconnect_timeout=_RECONNECT_ROUND,
            reconnect_failed=AsyncConnectionPool.check,
            name="rota",
        )
        self._checked: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Database]:
        """Open the pool for the life of the block.

        Raises UnavailableError if nobody answers, or at once where the server refuses us, and
        InvalidInputError for a URL that libpq cannot read.
        """
        await self._pool.open()
        waiting = asyncio.ensure_future(self._pool.wait(_CONNECT_TIMEOUT))
        try:
            await asyncio.wait({waiting}, timeout=_ASK_AFTER)
            if not waiting.done():
                await self._raise_refusal()
            await waiting
        except RotaError:
            waiting.cancel()
            await self._pool.close()
            raise
        except PoolTimeout as error:
            await self._pool.close()
            raise UnavailableError(
                f"The database did not answer within {_CONNECT_TIMEOUT:.0f} s: "
                f"{await self._why_unreachable()}",
                service="database",
            ) from error
        try:
            yield self
        finally:
            await self._pool.close()

    async def _configure(self, conn: Connection) -> None:
        if self._generic_plans:
            await conn.execute("SET plan_cache_mode = force_generic_plan")

    async def _check(self, conn: Connection) -> None:
        """Ask a lent connection whether it lives, unless it answered a moment ago.

        One that broke within that moment fails its borrower, as one that breaks a moment later
        would.
        """
        now = time.monotonic()
        if now - self._checked.get(conn, -CHECKED_FOR) < CHECKED_FOR:
            return
        await AsyncConnectionPool.check_connection(conn)
        self._checked[conn] = now

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Lend a connection outside of a transaction, as the backend.

        Raises UnavailableError where none can be had, LostTransactionError where it breaks.
        """
        try:
            async with self._pool.connection() as conn:
                try:
                    yield conn
                except (psycopg.Error, RotaError) as error:
                    if has_stale_plan(error):
                        await conn.close()  # the pool makes another, which plans anew
                    raise
        except PoolTimeout as error:
            raise UnavailableError(
                "The database did not answer in time.", service="database"
            ) from error
        except psycopg.Error as error:
            if not is_outage(error):
                raise
            raise domain_error(error, {}) from error

    async def round_trip(self) -> None:
        """Return once a connection was free and has answered; raises UnavailableError."""
        async with self.connection() as conn:
            await AsyncConnectionPool.check_connection(conn)

    @asynccontextmanager
    async def pipelined(self) -> AsyncIterator[Connection]:
        """Lend a connection whose statements go out together once an answer is waited for.

        Behind a transaction pooler, which may not carry that, they go one by one.
        """
        async with self.connection() as conn:
            if not self._pipelines:
                yield conn
                return
            async with conn.pipeline():
                yield conn

    @asynccontextmanager
    async def transaction(self, *, is_rehearsal: bool = False) -> AsyncIterator[Connection]:
        """Run a transaction as the backend; committed at the end of the block.

        What a commit is refused for is raised as for a statement. Nothing stays of a rehearsal.
        The scopes of a request's token hold here, too.
        """
        async with self._transaction(is_rehearsal=is_rehearsal) as conn:
            if (scopes := scopes_of_task()) is not None:
                claims = json.dumps({"rota_scopes": sorted(scopes)})
                # Not by a query: a transaction may still have to choose its isolation level.
                told = sql.SQL("SET LOCAL request.jwt.claims = {}").format(sql.Literal(claims))
                await conn.execute(told)
            yield conn

    @asynccontextmanager
    async def _transaction(self, *, is_rehearsal: bool) -> AsyncIterator[Connection]:
        is_done = False
        async with self.connection() as conn:
            try:
                async with conn.transaction(force_rollback=is_rehearsal):
                    yield conn
                    last = _before_commits.get()
                    if last is not None and not looks_only():
                        await last(conn)
                    is_done = True
            except psycopg.Error as error:
                if not is_done:
                    raise
                raise domain_error(error, {}) from error

    @asynccontextmanager
    async def acting_as(
        self, user_id: UserId, *, is_operator: bool = False, is_rehearsal: bool = False
    ) -> AsyncIterator[Connection]:
        """Run a transaction as this person: role and claims are transaction-local.

        Exactly what PostgREST does, so row-level security decides what is seen and written even
        where the caller has a bug. `is_operator` lets them write scripts of agents too. Nothing
        stays of a rehearsal.
        """
        async with self._transaction(is_rehearsal=is_rehearsal) as conn:
            await act_as(conn, user_id, is_operator=is_operator)
            yield conn

    def acting_for(self, user_id: UserId | None) -> AbstractAsyncContextManager[Connection]:
        """Run a transaction as this person; as the backend for None, who is the operator."""
        return self.transaction() if user_id is None else self.acting_as(user_id)

    @asynccontextmanager
    async def dedicated(self, *, listening: bool = False) -> AsyncIterator[Connection]:
        """Open a connection of its own, outside the pool: to LISTEN on, or for the queue.

        Raises as `connection` does.
        """
        url = self.listen_url if listening else self.url
        try:
            conn = await psycopg.AsyncConnection.connect(
                url, connect_timeout=int(_CONNECT_TIMEOUT), **self._kwargs
            )
        except psycopg.OperationalError as error:
            raise UnavailableError(
                f"The database refused a connection: {error}", service="database"
            ) from error
        try:
            async with conn:
                if listening or self._is_direct:  # it waits for hours
                    await conn.execute("SET idle_session_timeout = 0")
                yield conn
        except psycopg.Error as error:
            raise domain_error(error, {}) from error

    async def hears_notifications(self) -> bool:
        """Notify ourselves and listen: False behind a transaction pooler, which drops LISTEN.

        False too where the server's queue of notifications is full.
        """
        async with self.dedicated(listening=True) as listener:
            await listen(listener, "rota_probe")
            async with self.connection() as conn:
                try:
                    await conn.execute("NOTIFY rota_probe")
                except psycopg.errors.ProgramLimitExceeded:
                    return False
            async for _ in listener.notifies(timeout=3.0, stop_after=1):
                return True
        return False

    async def _raise_refusal(self) -> None:
        """Raise where a server answers, and will not have us however long we wait."""
        said = await self._why_unreachable()
        if "FATAL" in said and not any(sign in said for sign in _PASSING_REFUSALS):
            said = said[said.index("FATAL") :].removeprefix("FATAL:").strip()
            raise UnavailableError(
                sentence(f"The database refused the connection: {said}"),
                service="database",
                permanent=True,
            )

    async def _why_unreachable(self) -> str:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                conn = await psycopg.AsyncConnection.connect(
                    self.url, connect_timeout=int(_CONNECT_TIMEOUT)
                )
        except psycopg.ProgrammingError:  # its text may quote a part of a password
            raise InvalidInputError(
                "The database URL cannot be read: check its parameters, and percent-encode what "
                "user and password hold beside letters and digits (% as %25, @ as %40, / as %2F)."
            ) from None
        except (psycopg.OperationalError, TimeoutError) as error:
            return " ".join(str(error).split()) or type(error).__name__
        await conn.close()
        return "it answers now; try again"
