"""Prices of models from the package genai-prices. A newer version of the package has newer prices.

`rota.agents.models.prices` asks here if the operator set no price. Nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from genai_prices import Usage, __version__
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from rota.agents.models.providers import PROVIDERS
from rota.domain.agents.prices import Price, Quote, count_tokens, normal_model, service_tier

_TABLE: Final = get_snapshot()


def find(model: str) -> tuple[Provider, ModelInfo] | None:
    """Return a model that has a price, with its provider."""
    provider, _, name = normal_model(model).partition(":")
    known = PROVIDERS.get(provider)
    if known is None or known.prices is None or not name:
        return None
    try:
        found = _TABLE.find_provider_model(name, None, known.prices, None)
    except LookupError:
        return None
    return found if _is_priced(found[1]) else None


def quote(model: str, at: datetime) -> Quote | None:
    """Return the price of a model at a time, or None where none is known."""
    if (found := find(model)) is None:
        return None
    info = found[1]
    price, varies = _smallest_price(info.get_prices(at))
    key = f"genai-prices {__version__}: {info.id}"
    return Quote(model, price, "library", key, varies or not isinstance(info.prices, ModelPrice))


def cost(model: str, usage: Mapping[str, Any], at: datetime | None) -> Decimal | None:
    """Return the cost of a call by LangChain's `usage_metadata`, or None: no price is known."""
    if (found := find(model)) is None:
        return None
    provider, info = found
    tokens, tier = count_tokens(usage), service_tier(usage)
    counted = Usage(
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write + tokens.cache_write_1h,
        cache_write_1h_tokens=tokens.cache_write_1h,
    )
    calculated = info.calc_price(
        counted,
        provider,
        genai_request_timestamp=at,
        price_context=None if tier is None else {"service_tier": tier},
    )
    return calculated.total_price


def _is_priced(model: ModelInfo) -> bool:
    """Return whether a model of the library has prices: some are listed without."""
    prices = model.prices if isinstance(model.prices, ModelPrice) else model.prices[0].prices
    chats = prices.input_mtok is not None and prices.output_mtok is not None
    return chats or model.id.endswith(":free")


def _smallest_price(prices: ModelPrice) -> tuple[Price, bool]:
    """Return the four prices at the smallest input, and whether there are more than these."""
    read = (
        prices.input_mtok,
        prices.output_mtok,
        prices.cache_read_mtok,
        prices.cache_write_mtok,
    )
    varies = prices.requests_kcount is not None or any(isinstance(p, TieredPrices) for p in read)
    plain = [price.base if isinstance(price, TieredPrices) else price for price in read]
    return Price(plain[0] or Decimal(0), plain[1] or Decimal(0), plain[2], plain[3]), varies
