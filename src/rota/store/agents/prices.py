"""Rows of model prices: the operator's own, in US dollars per million tokens."""

from __future__ import annotations

from rota.domain.agents.prices import Price
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.records import row_of
from rota.store.statements import execute, has_effect, many, values


async def list_prices(conn: Connection) -> tuple[tuple[str, Price], ...]:
    """Return all models that have a price, each with it."""
    return await many(
        conn, "agents/list_model_prices", lambda row: (row["model"], read(Price, row))
    )


async def upsert_price(conn: Connection, model: str, price: Price) -> None:
    """Insert or replace the price of a model."""
    await execute(conn, "agents/upsert_model_price", model=model, **row_of(price))


async def delete_price(conn: Connection, model: str) -> bool:
    """Delete the price of a model; False if there is none."""
    return await has_effect(conn, "agents/delete_model_price", model=model)


async def list_models_in_use(conn: Connection) -> tuple[str, ...]:
    """Return the models that anybody's active agents name."""
    return await values(conn, "agents/list_models_in_use", str)
