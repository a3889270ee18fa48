"""Handles rows that cannot be read: keeps their readable columns, and says what is wrong.

PostgreSQL stores values that Python cannot read, such as JSON with a number of 5,000 digits, or a
date before Christ. If such a row is read together with others, the whole query fails. Then the rows
are read again one by one, and column by column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.rows import DictRow

from rota.domain.errors import RotaError, UnreadableError
from rota.domain.text.shortening import shorten

T = TypeVar("T")

_Row: TypeAlias = dict[str, Any]

_NAMES: Final = ("name", "agent_name", "id", "run_id")
"""Columns by which its owner knows a row."""

left_out: ContextVar[list[str] | None] = ContextVar("left_out", default=None)
"""Where `statements.many` says which rows it left out; None where it is to raise instead."""


@dataclass(frozen=True, slots=True)
class UnreadableRow:
    """A row that cannot become a value. `columns` are its readable columns."""

    columns: _Row
    error: UnreadableError


@contextmanager
def leaving_out_unreadable() -> Iterator[list[str]]:
    """Let `statements.many` leave out unreadable rows; yields what is to be said of each."""
    said: list[str] = []
    token = left_out.set(said)
    try:
        yield said
    finally:
        left_out.reset(token)


async def rows_of(
    cursor: psycopg.AsyncCursor[DictRow], kind: str
) -> Sequence[_Row | UnreadableRow]:
    """Return all rows that a statement has found; in place of one that cannot be read, why."""
    try:
        return await cursor.fetchall()
    except Exception:
        found = cursor.pgresult
        if found is None or found.status != ExecStatus.TUPLES_OK:  # the statement failed
            raise
    loaders = Transformer.from_context(cursor)
    names = [(found.fname(n) or b"").decode() for n in range(found.nfields)]

    def row(index: int) -> _Row | UnreadableRow:
        columns: _Row = {}
        wrong: list[str] = []
        for n, name in enumerate(names):
            value = found.get_value(index, n)
            try:
                loader = loaders.get_loader(found.ftype(n), Format(found.fformat(n)))
                columns[name] = None if value is None else loader.load(value)
            except Exception as error:  # noqa: BLE001  whatever it holds, the others are read
                wrong.append(f"{name} ({_in_words(error)})")
        return _unreadable(kind, columns, "; ".join(wrong)) if wrong else columns

    return [row(index) for index in range(found.ntuples)]


def required(row: _Row | UnreadableRow, make: Callable[[_Row], T], kind: str) -> T:
    """Return what is made of a row; raises UnreadableError."""
    found = made(row, make, kind)
    if isinstance(found, UnreadableRow):
        raise found.error
    return found


def made(row: _Row | UnreadableRow, make: Callable[[_Row], T], kind: str) -> T | UnreadableRow:
    """Return what is made of a row; in place of one that nothing can be made of, why."""
    if isinstance(row, UnreadableRow):
        return row
    try:
        return make(row)
    except Exception as error:  # noqa: BLE001  whatever it holds, the others are read
        return _unreadable(kind, row, _in_words(error))


def _unreadable(kind: str, columns: _Row, why: str) -> UnreadableRow:
    named = [str(columns[name]) for name in _NAMES if columns.get(name) is not None]
    row = f"{' '.join(named[:2])} in {kind}" if named else f"A row of {kind}"
    return UnreadableRow(columns, UnreadableError(f"{row} cannot be read: {why}."))


def _in_words(error: Exception) -> str:
    if isinstance(error, RotaError):
        return error.message.rstrip(".")
    said = " ".join(str(error).split()).partition(";")[0]  # behind it Python advises on Python
    return f"{type(error).__name__}: {shorten(said, 200)}" if said else type(error).__name__
