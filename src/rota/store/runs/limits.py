"""Rows of limits: for everybody, for single persons, and for all runs together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import get_args

from rota.domain.ids import UserId
from rota.domain.runs.limits import LimitInAll, LimitName, OwnLimits, PersonLimits, Quotas
from rota.store.database import Connection
from rota.store.statements import execute, many, one


async def list_limits(conn: Connection) -> tuple[PersonLimits, ...]:
    """Return everybody's limits first, if there are any, then those of persons."""
    return await many(conn, "runs/list_limits", PersonLimits)


async def fetch_limit_in_all(conn: Connection) -> LimitInAll:
    """Return the limit of all runs together."""
    return await one(conn, "runs/fetch_limit_in_all", LimitInAll)


async def fetch_quotas(conn: Connection, user_id: UserId | None) -> Quotas:
    """Return the quotas of a person; with None those of whoever has none of their own."""
    return await one(conn, "runs/fetch_quotas", Quotas, user_id=user_id)


async def fetch_own_limits(conn: Connection) -> OwnLimits:
    """Return the limits that hold for the transaction's person."""
    return await one(conn, "runs/fetch_own_limits", OwnLimits)


async def lock_limits(conn: Connection) -> None:
    """Let nobody else set limits until the transaction ends."""
    await execute(conn, "runs/lock_limits")


async def set_limit_in_all(conn: Connection, max_concurrency: int | None) -> None:
    """Set the limit of all runs together; None takes it away."""
    await execute(conn, "runs/set_limit_in_all", max_concurrency=max_concurrency)


async def set_limits(
    conn: Connection,
    user_id: UserId | None,
    values: Mapping[LimitName, int | Decimal | None],
    *,
    unlimited: Sequence[LimitName] = (),
) -> None:
    """Set the limits that are named, everybody's where `user_id` is None; others stay.

    None is as everybody has it, in everybody's own row no limit. `unlimited` names those of the
    None values that are no limit for this person.
    """
    await execute(
        conn,
        "runs/set_limits",
        user_id=user_id,
        unlimited=unlimited,
        changed=values.keys(),
        **{name: values.get(name) for name in get_args(LimitName)},
    )
