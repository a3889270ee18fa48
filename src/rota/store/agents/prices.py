"""Rows of model prices: the operator's own, in US dollars per million tokens."""

from __future__ import annotations

from rota.domain.agents.prices import Price
from rota.store.database import Connection
from rota.store.statements import Row, execute, many, values


async def list_prices(conn: Connection) -> tuple[tuple[str, Price], ...]:
    """Return all models that have a price, each with it."""
    return await many(conn, "agents/list_model_prices", _model_price)


async def upsert_price(conn: Connection, model: str, price: Price) -> None:
    """Insert or replace the price of a model."""
    await execute(
        conn,
        "agents/upsert_model_price",
        model=model,
        input=price.input,
        output=price.output,
        cached_input=price.cached_input,
        cache_write=price.cache_write,
    )


async def delete_price(conn: Connection, model: str) -> bool:
    """Delete the price of a model; False if there is none."""
    return await execute(conn, "agents/delete_model_price", model=model) > 0


async def list_models_in_use(conn: Connection) -> tuple[str, ...]:
    """Return the models that anybody's active agents name."""
    return await values(conn, "agents/list_models_in_use", str)


def _model_price(row: Row) -> tuple[str, Price]:
    price = Price(
        *[row[f"{kind}_usd"] for kind in ("input", "output", "cached_input", "cache_write")]
    )
    return row["model"], price
