"""Prices of models by genai-prices: a table that comes with the package, newer with a newer one.

`rota.agents.models.prices` asks here for what has no price of the operator's. Nothing is ever
fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from genai_prices import Usage, __version__
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from rota.domain.agents.prices import Price, Quote, normal_model, service_tier, tokens_of

PROVIDERS: Final[Mapping[str, str]] = {
    "anthropic": "anthropic",
    "anthropic_bedrock": "aws",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "baseten": "baseten",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "bedrock_mantle_anthropic": "aws",
    "bedrock_mantle_openai": "aws",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "google_anthropic_vertex": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "groq": "groq",
    "meta": "meta",
    "mistralai": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together": "together",
    "xai": "x-ai",
}
"""Providers of `init_chat_model` by the library's names; for others no price is guessed."""

_TABLE: Final = get_snapshot()


def find(model: str) -> tuple[Provider, ModelInfo] | None:
    """Return a model that has a price, with its provider."""
    provider, _, name = normal_model(model).partition(":")
    known_as = PROVIDERS.get(provider)
    if known_as is None or not name:
        return None
    try:
        found = _TABLE.find_provider_model(name, None, known_as, None)
    except LookupError:
        return None
    return found if _is_priced(found[1]) else None


def quote(model: str, at: datetime) -> Quote | None:
    """Return the price of a model at a time, or None where none is known."""
    found = find(model)
    if found is None:
        return None
    info = found[1]
    price, varies = _price_of(info.get_prices(at))
    key = f"genai-prices {__version__}: {info.id}"
    return Quote(model, price, "library", key, varies or not isinstance(info.prices, ModelPrice))


def cost(model: str, usage: Mapping[str, Any], at: datetime | None) -> Decimal | None:
    """Return the cost of a call by LangChain's `usage_metadata`, or None: no price is known."""
    found = find(model)
    if found is None:
        return None
    provider, info = found
    tokens = tokens_of(usage)
    tier = service_tier(usage)
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


def _price_of(prices: ModelPrice) -> tuple[Price, bool]:
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
