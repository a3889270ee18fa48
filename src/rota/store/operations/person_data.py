"""All rows of one person: counted, read as JSON, and deleted with them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from psycopg import sql
from psycopg.rows import class_row

from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.migrations import tables_made
from rota.store.operations.backups import quoted
from rota.store.statements import execute, has_effect, many, statement, value, values

_ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class PersonTable:
    """A table with rows of people, and the columns that they may read."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WholeResult:
    """A result with its full text."""

    id: UUID
    created_at: datetime
    agent_name: str
    schedule_name: str | None
    status: str
    content: str


async def see_one_moment(conn: Connection) -> None:
    """Have a transaction, whose first statement this is, read one moment, with times in UTC."""
    await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    await conn.execute("SET LOCAL TimeZone = 'UTC'")


async def list_tables(conn: Connection) -> tuple[PersonTable, ...]:
    """Return the tables with rows of people."""
    return await many(
        conn, "operations/list_tables_of_people", PersonTable, made=list(tables_made())
    )


async def count_rows(conn: Connection, table: PersonTable, user_id: UserId) -> int:
    """Return how many rows of a table are this person's, as far as the transaction sees."""
    count = sql.SQL("SELECT count(*) FROM public.{} WHERE user_id = %s").format(quoted(table.name))
    cursor = await conn.execute(count, [user_id])
    (found,) = await cursor.fetchone() or (0,)
    return int(found)


async def each_row(conn: Connection, table: PersonTable, user_id: UserId) -> AsyncIterator[str]:
    """Yield a person's rows of a table, each as JSON in one line."""
    columns = sql.SQL(", ").join(map(quoted, table.columns))
    select = sql.SQL(
        "SELECT to_jsonb(r)::text FROM (SELECT {} FROM public.{} WHERE user_id = %s) AS r"
    ).format(columns, quoted(table.name))
    async with conn.cursor(f"rows_{uuid4().hex}") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        await cursor.execute(select, [user_id])
        async for (row,) in cursor:
            yield row


async def list_tools_of_agents(conn: Connection, user_id: UserId) -> tuple[str, ...]:
    """Return which tools a person's agents have, each as JSON."""
    return await values(conn, "operations/each_tool_of_persons_agents", str, user_id=user_id)


@dataclass(frozen=True, slots=True)
class SignInTable:
    """How a person signs in: a table's name, and its rows as JSON, without hashes."""

    name: str
    rows: str


async def list_sign_ins(conn: Connection, user_id: UserId) -> tuple[SignInTable, ...]:
    """Return a person's tokens, sessions and identities; the backend alone may read them."""
    return await many(conn, "operations/each_sign_in_of_person", SignInTable, user_id=user_id)


async def each_result(conn: Connection, user_id: UserId) -> AsyncIterator[WholeResult]:
    """Yield a person's results, the oldest first."""
    async with conn.cursor(f"results_{uuid4().hex}", row_factory=class_row(WholeResult)) as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        await cursor.execute(statement("operations/each_result_of_person"), {"user_id": user_id})
        async for result in cursor:
            yield result


async def cancel_runs(conn: Connection, user_id: UserId) -> int:
    """Cancel what a person has under way; returns how many runs."""
    return await execute(conn, "operations/cancel_runs_of_person", user_id=user_id)


async def count_running(conn: Connection, user_id: UserId) -> int:
    """Return how many runs of a person a worker has in hand."""
    return await value(conn, "operations/count_running_of_person", int, user_id=user_id)


async def delete_person(conn: Connection, user_id: UserId) -> bool:
    """Delete a person with all that is theirs, as the owner; False where they are gone already.

    Their schedules, runs and actions are locked first, in the order that all of rota locks in.
    """
    await execute(conn, "operations/lock_all_of_person", user_id=user_id)
    was_there = await has_effect(conn, "operations/delete_person", user_id=user_id)
    await execute(conn, "operations/delete_events_of_person", user_id=user_id)
    return was_there
