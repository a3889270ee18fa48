"""All encrypted columns: secrets of connections, and hidden arguments of calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from rota.domain.ids import UserId
from rota.store.database import Connection
from rota.store.statements import has_effect, many, value, values

_PAGE: Final = 200
_FIRST: Final = UUID(int=0)


class Kind(StrEnum):
    """The kind of row that a secret belongs to."""

    CONNECTION = "connection"
    CALL = "call"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A stored secret. `name` is the service of a connection, or the tool of a call."""

    id: UUID
    user_id: UserId
    name: str
    sealed: bytes


async def count_sealed(conn: Connection) -> int:
    """Return how many secrets are stored."""
    return await value(conn, "operations/count_sealed", int)


async def key_ids_of_connections(conn: Connection) -> tuple[str, ...]:
    """Return the fingerprints of the keys that secrets of connections are encrypted with."""
    return await values(conn, "operations/list_key_ids", str)


async def each_sealed(
    conn: Connection, kind: Kind, *, open_only: bool = False
) -> AsyncIterator[Sealed]:
    """Yield what is sealed, page by page; `open_only`: of calls those that are not over."""
    after = _FIRST
    while True:
        if kind is Kind.CONNECTION:
            page = await many(
                conn, "operations/list_sealed_connections", Sealed, after=after, limit=_PAGE
            )
        else:
            page = await many(
                conn,
                "operations/list_sealed_calls",
                Sealed,
                after=after,
                open_only=open_only,
                limit=_PAGE,
            )
        for found in page:
            yield found
        if len(page) < _PAGE:
            return
        after = page[-1].id


async def reseal(
    conn: Connection, kind: Kind, found: Sealed, resealed: bytes, *, key_id: str
) -> bool:
    """Store a secret as sealed anew; False where it is not the one of before any more.

    Of calls only the owner of the tables may.
    """
    if kind is Kind.CONNECTION:
        return await has_effect(
            conn,
            "operations/reseal_connection",
            id=found.id,
            sealed=found.sealed,
            resealed=resealed,
            key_id=key_id,
        )
    return await has_effect(
        conn, "operations/reseal_call", id=found.id, sealed=found.sealed, resealed=resealed
    )
