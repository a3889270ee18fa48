"""Copies the rows of all of rota's tables out and in, by COPY, in one transaction.

It does not copy the schema: migrations make it. So a backup can be restored on another server with
another version of PostgreSQL, and with the rights that rota's migrations give. A restore drops the
foreign keys and creates them again after the rows, which checks them. Triggers are off meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import psycopg
from psycopg import sql

from rota.domain.errors import ConflictError, SetupRequiredError, UnavailableError
from rota.domain.ids import ActionId, RunId, UserId
from rota.domain.operations.backups import (
    BookedMigration,
    KeptSequence,
    KeptTable,
    UnderWay,
)
from rota.domain.runs.run import RunStatus
from rota.store import users
from rota.store.database import Connection
from rota.store.errors import domain_error
from rota.store.migrations import tables_made
from rota.store.roles import url_of_owner
from rota.store.statements import execute, many, one, value

PEOPLE: Final = KeptTable("auth.users", ("id", "email", "created_at"))
"""Copied beside rota's tables. On Supabase, where they are not rota's, they have to be there."""

_BOOKED: Final = "rota.schema_migrations"
"""What the target has booked itself: a restore leaves it as it is."""

_LEFT_OUT: Final = frozenset(
    {
        _BOOKED,
        "public.person_events",  # kept for an hour
        "rota.processes",  # of the other machine
        "rota.sessions",  # of browsers that were signed in then
        "rota.sign_in_links",
        "rota.pgqueuer_log",
        "rota.pgqueuer_statistics",
    }
)
"""Tables that a backup does not have. A restore empties them, but for the first."""

_SESSION: Final = (
    "SET LOCAL search_path = pg_catalog",
    "SET LOCAL TimeZone = 'UTC'",
    "SET LOCAL DateStyle = ISO",
    "SET LOCAL IntervalStyle = postgres",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
)
_SEQUENCES: Final = "operations/list_kept_sequences"
_MANY_MISSING: Final = 5
_RESTORED: Final = "pg_temp.restored_people"


@dataclass(frozen=True, slots=True)
class _Table:
    name: str
    columns: Sequence[str]
    is_owned: bool


@dataclass(frozen=True, slots=True)
class _ForeignKey:
    table: str
    name: str
    definition: str


@dataclass(frozen=True, slots=True)
class _Column:
    table: str
    column: str


@dataclass(frozen=True, slots=True)
class _SequenceColumn:
    sequence: str
    table: str
    column: str


@dataclass(frozen=True, slots=True)
class CancelledRun:
    """A run that a restore cancels; a `running` one has still to be ended."""

    id: RunId
    user_id: UserId
    action_id: ActionId | None
    status: RunStatus


@asynccontextmanager
async def session(url: str, *, reads_only: bool) -> AsyncIterator[Connection]:
    """Run one transaction as the tables' owner; one that only reads sees one moment.

    Raises UnavailableError where nobody answers, else as statements do.
    """
    try:
        # Behind a transaction pooler a prepared statement may be another session's.
        conn = await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=10, prepare_threshold=None
        )
    except psycopg.OperationalError as error:
        raise UnavailableError(
            f"The database refused a connection: {' '.join(str(error).split())}",
            service="database",
        ) from error
    async with conn:
        if reads_only:
            await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
            await conn.set_read_only(True)
        try:
            async with conn.transaction():
                for setting in _SESSION:
                    await conn.execute(setting)
                yield conn
        except psycopg.Error as error:
            raise domain_error(error, {}) from error


async def list_booked(conn: Connection) -> tuple[BookedMigration, ...]:
    """Return the migrations that a database has; none where rota never was."""
    if not await value(conn, "has_schema_migrations", bool):
        return ()
    return await many(conn, "operations/list_booked_migrations", BookedMigration)


async def list_tables(conn: Connection) -> tuple[KeptTable, ...]:
    """Return rota's tables, people aside; raises SetupRequiredError for another than their owner.

    Whoever obeys row-level security would copy what they see.
    """
    found = await _own_tables(conn)
    if not all(table.is_owned for table in found):
        raise SetupRequiredError(
            f"{conn.info.user} does not own rota's tables, and may not read all of them past "
            "row-level security. Name the role that does, as for `rota migrate`: "
            f"--database-url {await url_of_owner(conn)}.",
            what="owner",
        )
    return tuple(KeptTable(t.name, tuple(t.columns)) for t in found if t.name not in _LEFT_OUT)


async def require_owner(url: str) -> None:
    """Raise SetupRequiredError unless this is a URL of the tables' owner."""
    async with session(url, reads_only=True) as conn:
        await list_tables(conn)


async def list_sequences(conn: Connection, tables: Iterable[KeptTable]) -> tuple[KeptSequence, ...]:
    """Return where the sequences have come to: they never go back, so ask after the rows."""
    names = [table.name for table in tables]
    return await many(conn, _SEQUENCES, KeptSequence, tables=names)


async def holds_rows(conn: Connection, tables: Sequence[KeptTable]) -> bool:
    """Return whether a database has anything of a person's, or an agent that somebody wrote."""
    names = [table.name for table in tables]
    has_any = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {} IS NOT NULL)")
    for found in await many(conn, "operations/list_columns_of_people", _Column, tables=names):
        cursor = await conn.execute(has_any.format(quoted(found.table), quoted(found.column)))
        if await cursor.fetchone() == (True,):
            return True
    return await value(conn, "operations/has_agents_of_its_own", bool)


async def copy_out(conn: Connection, table: KeptTable, write: Callable[[bytes], object]) -> int:
    """Copy a table's rows, as PostgreSQL's text format, and return how many there are."""
    statement = sql.SQL("COPY {} ({}) TO STDOUT").format(quoted(table.name), _columns(table))
    async with conn.cursor() as cursor:
        async with cursor.copy(statement) as copy:
            async for block in copy:
                write(bytes(block))
        return cursor.rowcount


async def copy_in(
    conn: Connection,
    kept: Sequence[KeptTable],
    blocks_of: Callable[[KeptTable], Iterator[bytes]],
) -> None:
    """Replace the rows of all of rota's tables by those that were `kept`, people among them.

    Raises ConflictError where the rows do not belong together, or people are not there.
    """
    names = [table.name for table in await _own_tables(conn) if table.name != _BOOKED]
    keys = await many(conn, "operations/list_foreign_keys", _ForeignKey, tables=names)
    for name in names:
        await conn.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(quoted(name)))
    for key in keys:
        drop = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
        await conn.execute(drop.format(quoted(key.table), quoted(key.name)))
    await conn.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(quoted, names))))
    for table in kept:
        if table.name == PEOPLE.name:
            await _copy_people(conn, table, blocks_of(table))
        else:
            await _copy_rows(conn, table, table.name, blocks_of(table))
    for key in keys:
        add = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}")
        await conn.execute(add.format(*map(quoted, (key.table, key.name, key.definition))))
    for name in names:
        await conn.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(quoted(name)))


async def advance_sequences(conn: Connection, reached: Iterable[KeptSequence]) -> None:
    """Let each sequence go on above all that it gave out: here, where `reached`, and in the rows.

    So no number means two things. A worker of before the restore never holds the token of a later
    attempt. No entry of the audit log has the number of another one in a kept copy.
    """
    names = [table.name for table in await _own_tables(conn)]
    highest: dict[str, int] = {}
    for sequence in (*reached, *await many(conn, _SEQUENCES, KeptSequence, tables=names)):
        last = sequence.value if sequence.is_called else sequence.value - 1
        highest[sequence.name] = max(last, highest.get(sequence.name, 0))
    for numbered in await many(
        conn, "operations/list_sequence_columns", _SequenceColumn, tables=names
    ):
        top = sql.SQL("SELECT max({}) FROM {}")
        cursor = await conn.execute(top.format(quoted(numbered.column), quoted(numbered.table)))
        found = await cursor.fetchone()
        highest[numbered.sequence] = max(highest[numbered.sequence], (found and found[0]) or 0)
    for name, last in highest.items():
        if last > 0:
            await conn.execute("SELECT setval(%s::regclass, %s)", [name, last])


async def what_is_left(conn: Connection) -> UnderWay:
    """Return what is not over."""
    return await one(conn, "operations/count_restored", UnderWay)


async def cancel_runs(conn: Connection, why: str) -> tuple[CancelledRun, ...]:
    """Cancel what was under way, and return it."""
    return await many(conn, "operations/cancel_runs_of_backup", CancelledRun, why=why)


async def skip_due(conn: Connection) -> int:
    """Have schedules that are due fire at their next time from now, and return how many."""
    return await execute(conn, "operations/skip_due_schedules")


async def _own_tables(conn: Connection) -> tuple[_Table, ...]:
    return await many(conn, "operations/list_kept_tables", _Table, made=tables_made())


async def _copy_people(conn: Connection, table: KeptTable, blocks: Iterator[bytes]) -> None:
    columns = _columns(table)
    make = "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM auth.users WITH NO DATA"
    await conn.execute(sql.SQL(make).format(quoted(_RESTORED), columns))
    await _copy_rows(conn, table, _RESTORED, blocks)
    if await users.owns_people(conn):
        await conn.execute("DELETE FROM auth.users")
        insert = sql.SQL("INSERT INTO auth.users ({}) SELECT {} FROM {}")
        await conn.execute(insert.format(columns, columns, quoted(_RESTORED)))
        return
    absent = sql.SQL(
        "SELECT coalesce(r.email, r.id::text) FROM {} AS r "
        "WHERE NOT EXISTS (SELECT FROM auth.users AS u WHERE u.id = r.id) ORDER BY 1"
    )
    cursor = await conn.execute(absent.format(quoted(_RESTORED)))
    missing = [str(email) for (email,) in await cursor.fetchall()]
    if missing:
        more = f" and {len(missing) - _MANY_MISSING} more" if len(missing) > _MANY_MISSING else ""
        raise ConflictError(
            f"Of the people of this backup {len(missing)} have no account here: "
            f"{', '.join(missing[:_MANY_MISSING])}{more}. People sign up themselves on this "
            "server, with ids of their own: restore its own backup of `auth.users` first."
        )


async def _copy_rows(
    conn: Connection, table: KeptTable, target: str, blocks: Iterable[bytes]
) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(quoted(target), _columns(table))
    async with conn.cursor() as cursor:
        async with cursor.copy(statement) as copy:
            for block in blocks:
                await copy.write(block)
        if cursor.rowcount != table.rows:
            raise ConflictError(
                f"The backup has {cursor.rowcount} rows of {table.name} and says that there are "
                f"{table.rows}: it is damaged. Nothing was changed."
            )


def _columns(table: KeptTable) -> sql.Composable:
    return sql.SQL(", ").join(map(quoted, table.columns))


def quoted(name: str) -> sql.SQL:
    """Return a name of the catalog's, which has quoted it, for a statement.

    A name of a backup has to be one of those.
    """
    return sql.SQL(cast("Any", name))
