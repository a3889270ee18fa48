"""What a model call cost: the operator's prices first, then those of a library.

The library is genai-prices: a table that comes with the package, so that newer prices come with a
newer package. It is never asked to fetch anything. LangChain is not imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from genai_prices import Usage
from genai_prices import __version__ as library_version
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, ModelPrice, Provider, TieredPrices

from rota.domain.agents.prices import ANY_MODEL, FREE, Price, Tokens, find_override, normal_model

__all__ = ["Price", "PriceTable", "Quote"]

_FREE_PROVIDERS: Final = frozenset({"callable", "ollama", "scripted"})

_LIBRARY_NAMES: Final[Mapping[str, str]] = {
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

_TIERS: Final = ("priority", "flex")
"""OpenAI's service tiers, which langchain-openai puts before the names of its token counts."""


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of a model, and whose it is: the operator's (`key`), a library's, or no one's.

    `varies` says that the library knows more than these four numbers: prices by the length of the
    input, by the time of day, by the request. They are counted in the cost.
    """

    model: str
    price: Price
    source: Literal["operator", "free", "library"]
    key: str
    varies: bool = False


class PriceTable:
    """Prices of model calls in US dollars. Building one reads the library's table into memory.

    `overrides` are the operator's prices by `provider:model`, `provider:*` or `*`, the most exact
    one first, and all of them before the library. Models of `scripted`, `ollama` and `callable`
    cost nothing, unless an override names their provider.
    """

    def __init__(self, overrides: Mapping[str, Price]) -> None:
        self._overrides = dict(overrides)
        self._library = get_snapshot()

    def cost(
        self, model: str, usage: Mapping[str, Any], *, at: datetime | None = None
    ) -> Decimal | None:
        """Return the cost of a call by LangChain's `usage_metadata`, or None: no price is known.

        `at` is when the call was made, for prices that changed; None: now.
        """
        own = self._own(model)
        if own is not None:
            return own.price.cost(tokens_of(usage))
        known = self._of_library(model)
        return None if known is None else _library_cost(*known, usage, at)

    def knows(self, model: str) -> bool:
        """Return whether the cost of a model can be told."""
        return self._own(model) is not None or self._of_library(model) is not None

    def quote(self, model: str, *, at: datetime) -> Quote | None:
        """Return the price of a model at a time, or None where none is known."""
        own = self._own(model)
        if own is not None:
            return own
        known = self._of_library(model)
        if known is None:
            return None
        info = known[1]
        prices = info.get_prices(at)
        price, varies = _price_of(prices)
        key = f"genai-prices {library_version}: {info.id}"
        return Quote(
            model, price, "library", key, varies or not isinstance(info.prices, ModelPrice)
        )

    def _own(self, model: str) -> Quote | None:
        provider = normal_model(model).partition(":")[0]
        key = find_override(model, self._overrides)
        if provider in _FREE_PROVIDERS and key in {None, ANY_MODEL}:
            return Quote(model, FREE, "free", f"{provider}:*")
        return None if key is None else Quote(model, self._overrides[key], "operator", key)

    def _of_library(self, model: str) -> tuple[Provider, ModelInfo] | None:
        provider, _, name = normal_model(model).partition(":")
        known_as = _LIBRARY_NAMES.get(provider)
        if known_as is None or not name:
            return None
        try:
            found = self._library.find_provider_model(name, None, known_as, None)
        except LookupError:
            return None
        return found if _is_priced(found[1]) else None


def unknown_price(models: Sequence[str]) -> str:
    """Say that a limit in dollars cannot be kept, as these models' prices are not known."""
    return (
        f"No price is known for {', '.join(models)}, so the cost limit cannot be kept. Set one "
        f"with `rota prices set {models[0]} --input USD --output USD`, or take the limit away."
    )


def tokens_of(usage: Mapping[str, Any]) -> Tokens:
    """Read LangChain's `usage_metadata`, whose `input_tokens` include the cached ones.

    Anthropic's writes to its cache stand under their lifetime, and `cache_creation` is 0 then; the
    names of OpenAI's counts begin with the service tier.
    """
    details: Mapping[str, Any] = usage.get("input_token_details") or {}
    tier = service_tier(usage)
    prefix = "" if tier is None else f"{tier}_"
    read = _count(details, f"{prefix}cache_read")
    written = _count(details, f"{prefix}cache_creation")
    written += _count(details, "ephemeral_5m_input_tokens")
    written_1h = _count(details, "ephemeral_1h_input_tokens")
    return Tokens(
        # A provider that leaves cached tokens out of its count must not make others negative.
        input=max(_count(usage, "input_tokens"), read + written + written_1h),
        output=_count(usage, "output_tokens"),
        cache_read=read,
        cache_write=written,
        cache_write_1h=written_1h,
    )


def service_tier(usage: Mapping[str, Any]) -> str | None:
    """Return OpenAI's service tier, where it is another than the default."""
    details: Mapping[str, Any] = usage.get("input_token_details") or {}
    return next((tier for tier in _TIERS if tier in details), None)


def _count(counts: Mapping[str, Any], name: str) -> int:
    return max(0, int(counts.get(name) or 0))


def _library_cost(
    provider: Provider, model: ModelInfo, usage: Mapping[str, Any], at: datetime | None
) -> Decimal:
    tokens = tokens_of(usage)
    tier = service_tier(usage)
    counted = Usage(
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cache_read,
        cache_write_tokens=tokens.cache_write + tokens.cache_write_1h,
        cache_write_1h_tokens=tokens.cache_write_1h,
    )
    calculated = model.calc_price(
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
