"""Executes SQL statements by name: one statement per file, in the package that calls it.

A store module passes the statement's name, the type of its rows, and the parameters:
`await many(conn, "agents/find_tools", DeclaredTool)`. A mapping becomes `jsonb`, another collection
becomes an array. Only the store calls these functions, and only the store knows psycopg: errors of
the database are raised as store/errors.py says.

People may write rows without rota, so a row may be unreadable. Code that works for everybody uses
`each`, which returns such rows separately. `many` raises UnreadableError. Where a person looks at
their own rows, `many` leaves such rows out and notes it (`unreadable.leaving_out_unreadable`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache, partial
from importlib.resources import files
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg.rows import AsyncRowFactory, dict_row, scalar_row
from psycopg.types.json import Jsonb

from rota.store.errors import domain_error
from rota.store.reading import read
from rota.store.unreadable import UnreadableRow, left_out, made, rows_of

T = TypeVar("T")

Row: TypeAlias = dict[str, Any]

Make: TypeAlias = type[T] | Callable[[Row], T]
"""A value from a row: a dataclass, read as store/reading.py says, or a function of the row."""

_Connection: TypeAlias = psycopg.AsyncConnection[Any]


@cache
def statement(name: str) -> bytes:
    """Return the text of `store/<room>/queries/<verb>_<what>.sql` for "room/verb_what".

    A name without a room is one of `store/queries/`: what every room needs (identity, migrations,
    people). Raises FileNotFoundError for an unknown name.
    """
    room, _, verb_and_what = name.rpartition("/")
    return files("rota.store").joinpath(room, "queries", f"{verb_and_what}.sql").read_bytes()


async def execute(conn: _Connection, name: str, /, **parameters: Any) -> int:
    """Run a statement; returns how many rows it wrote or found."""
    try:
        return (await conn.execute(statement(name), _adapted(parameters))).rowcount
    except psycopg.Error as error:
        raise domain_error(error, parameters) from error


async def has_effect(conn: _Connection, name: str, /, **parameters: Any) -> bool:
    """Run a statement; returns whether it wrote or found a row."""
    return await execute(conn, name, **parameters) > 0


async def one(conn: _Connection, name: str, make: Make[T], /, **parameters: Any) -> T:
    """Return what a statement finds that always has a row: an aggregate, INSERT ... RETURNING."""
    return _there(await one_or_none(conn, name, make, **parameters), name)


async def one_or_none(
    conn: _Connection, name: str, make: Make[T], /, **parameters: Any
) -> T | None:
    """Return what is made of the first row, None where there is none; raises UnreadableError."""
    for found in await each(conn, name, make, **parameters):
        if isinstance(found, UnreadableRow):
            raise found.error
        return found
    return None


async def many(conn: _Connection, name: str, make: Make[T], /, **parameters: Any) -> tuple[T, ...]:
    """Return what is made of the rows, in their order; raises UnreadableError."""
    return _readable(await _each(conn, name, make, parameters))


def _readable(rows: Iterable[T | UnreadableRow]) -> tuple[T, ...]:
    said = left_out.get()
    readable: list[T] = []
    for found in rows:
        if not isinstance(found, UnreadableRow):
            readable.append(found)
        elif said is None:
            raise found.error
        else:
            said.append(found.error.message)
    return tuple(readable)


async def page(conn: _Connection, name: str, make: Make[T], /, **parameters: Any) -> tuple[T, ...]:
    """Return a page of a list as `many` does; planned anew each time.

    Which index serves depends on the filters. A plan that is kept knows nothing of them, and one
    that was made for rare rows would read all rows of a person for the first page of them.
    """
    return _readable(await _each(conn, name, make, parameters, prepare=False))


async def each(
    conn: _Connection, name: str, make: Make[T], /, **parameters: Any
) -> tuple[T | UnreadableRow, ...]:
    """Return what is made of the rows, in their order; in place of one that cannot be read, why."""
    return await _each(conn, name, make, parameters)


async def _each(
    conn: _Connection,
    name: str,
    make: Make[T],
    parameters: Mapping[str, Any],
    *,
    prepare: bool | None = None,
) -> tuple[T | UnreadableRow, ...]:
    kind = name.partition("/")[0]
    try:
        async with conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement(name), _adapted(parameters), prepare=prepare)
            rows = await rows_of(cursor, kind)
    except psycopg.Error as error:
        raise domain_error(error, parameters) from error
    from_row = partial(read, make) if isinstance(make, type) else make
    return tuple([made(row, from_row, kind) for row in rows])


async def value(conn: _Connection, name: str, kind: Callable[[Any], T], /, **parameters: Any) -> T:
    """Return the first column of a row that is always there, as this kind."""
    return _there(await value_or_none(conn, name, kind, **parameters), name)


async def value_or_none(
    conn: _Connection, name: str, kind: Callable[[Any], T], /, **parameters: Any
) -> T | None:
    """Return the first column of the first row; None where that is NULL, or no row is there."""
    found = next(iter(await _fetch(conn, name, scalar_row, parameters)), None)
    return None if found is None else kind(found)


async def values(
    conn: _Connection, name: str, kind: Callable[[Any], T], /, **parameters: Any
) -> tuple[T, ...]:
    """Return the first column of each row, as this kind."""
    return tuple([kind(found) for found in await _fetch(conn, name, scalar_row, parameters)])


async def _fetch(
    conn: _Connection, name: str, rows: AsyncRowFactory[T], parameters: Mapping[str, Any]
) -> list[T]:
    try:
        async with conn.cursor(row_factory=rows) as cursor:
            await cursor.execute(statement(name), _adapted(parameters))
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise domain_error(error, parameters) from error


def _adapted(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return parameters as psycopg takes them; None for none, as `%` is no placeholder then."""
    return {name: _parameter(value) for name, value in parameters.items()} or None


def _parameter(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Jsonb(dict(value))
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return list(value)
    return value


def _there(found: T | None, name: str) -> T:
    if found is None:
        raise RuntimeError(f"{name} returned no row")
    return found
