"""The operator's prices of models. They replace the prices that rota knows by itself."""

from __future__ import annotations

import time
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Final

from rota.domain.agents.prices import (
    Price,
    Quote,
    find_override,
    normal_model,
    parse_price_key,
)
from rota.domain.errors import NotFoundError
from rota.domain.text.storable import storable_text
from rota.store.agents import prices as rows
from rota.store.database import Database

if TYPE_CHECKING:
    from rota.agents.models.prices import PriceTable

_FRESH_FOR: Final = 30.0
"""Seconds after which a worker reads the operator's prices again."""


class ModelPriceService:
    """Acts as the backend, because only the operator sets prices."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def overrides(self) -> dict[str, Price]:
        """Return the operator's prices by model, as a price table takes them."""
        async with self._database.connection() as conn:
            return dict(await rows.list_prices(conn))

    async def set(self, model: str, price: Price) -> str:
        """Write the price of `provider:model`, `provider:*` or `*`; return it as it is kept.

        Raises InvalidInputError.
        """
        key = parse_price_key(storable_text(model))
        async with self._database.transaction() as conn:
            await rows.upsert_price(conn, key, price)
        return key

    async def remove(self, model: str) -> str:
        """Delete a price of the operator's; raises NotFoundError and InvalidInputError."""
        key = parse_price_key(storable_text(model))
        async with self._database.transaction() as conn:
            if not await rows.delete_price(conn, key):
                raise NotFoundError("price of your own for", key, hint="See `rota prices show`.")
        return key

    async def quotes(
        self, models: Collection[str] | None = None, *, at: datetime, own_too: bool = True
    ) -> dict[str, Quote | None]:
        """Return the prices of models at a time by model, None where none is known.

        Of all models in use if none are named; with `own_too` also the operator's prices.
        """
        # It takes half a second to build.
        from rota.agents.models.prices import PriceTable  # noqa: PLC0415

        own = await self.overrides()
        table = PriceTable(own)
        named = models if models is not None else await self.models_in_use()
        wanted = sorted({*(own if own_too else ()), *named})
        return {normal_model(name): table.quote(name, at=at) for name in wanted}

    async def uses(self, key: str, price: Price) -> bool:
        """Return whether anybody's active agent names a model that a price of this key is for."""
        used = [find_override(name, {key: price}) for name in await self.models_in_use()]
        return any(used)

    async def models_in_use(self) -> tuple[str, ...]:
        """Return the models that anybody's active agents name."""
        async with self._database.connection() as conn:
            return await rows.list_models_in_use(conn)


class CurrentPrices:
    """The prices that a worker uses. The operator's prices are read again after half a minute."""

    def __init__(self, prices: ModelPriceService) -> None:
        self._prices = prices
        self._table: PriceTable | None = None
        self._read_at = 0.0

    async def __call__(self) -> PriceTable:
        """Return the price table; the first one takes half a second to build."""
        from rota.agents.models.prices import PriceTable  # noqa: PLC0415  not on a command's way

        if self._table is None or time.monotonic() - self._read_at > _FRESH_FOR:
            self._read_at = time.monotonic()
            self._table = PriceTable(await self._prices.overrides())
        return self._table
