"""SQL by name: one statement per file, in the room of the store that calls it.

A store module calls one of these with the statement's name, what is to be made of its rows, and its
parameters: `await many(conn, "agents/list_tools", DeclaredTool)`. Nothing above the store does, and
nothing above it hears of psycopg: errors of the database are raised as store/errors.py says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg.rows import AsyncRowFactory, class_row, dict_row, scalar_row

from rota.store.errors import domain_error

T = TypeVar("T")

Row: TypeAlias = dict[str, Any]

Make: TypeAlias = type[T] | Callable[[Row], T]
"""A value from a row: a class that has the columns as its fields, or a function of the row."""

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
        return (await conn.execute(statement(name), parameters or None)).rowcount
    except psycopg.Error as error:
        raise domain_error(error, parameters) from error


async def one(conn: _Connection, name: str, make: Make[T], /, **parameters: Any) -> T:
    """Return what a statement finds that always has a row: an aggregate, INSERT ... RETURNING."""
    return _there(await one_or_none(conn, name, make, **parameters), name)


async def one_or_none(
    conn: _Connection, name: str, make: Make[T], /, **parameters: Any
) -> T | None:
    """Return what is made of the first row, None where there is none."""
    return next(iter(await many(conn, name, make, **parameters)), None)


async def many(conn: _Connection, name: str, make: Make[T], /, **parameters: Any) -> tuple[T, ...]:
    """Return what is made of the rows, in their order."""
    if isinstance(make, type):
        return tuple(await _fetch(conn, name, class_row(make), parameters))
    return tuple([make(row) for row in await _fetch(conn, name, dict_row, parameters)])


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
            await cursor.execute(statement(name), parameters or None)
            return await cursor.fetchall()
    except psycopg.Error as error:
        raise domain_error(error, parameters) from error


def _there(found: T | None, name: str) -> T:
    if found is None:
        raise RuntimeError(f"{name} returned no row")
    return found
