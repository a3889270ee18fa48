"""What a model call cost: the operator's prices first, then those of a library.

The library (`rota.agents.models.library_prices`) is imported with the first model that has no
price of the operator's: that takes half a second. LangChain is not imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, Literal

from rota.domain.agents.prices import ANY_MODEL, FREE, Price, Tokens, find_override, normal_model

__all__ = ["Price", "PriceTable", "Quote"]

_FREE_PROVIDERS: Final = frozenset({"callable", "ollama", "scripted"})

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
    """Prices of model calls in US dollars.

    `overrides` are the operator's prices by `provider:model`, `provider:*` or `*`, the most exact
    one first, and all of them before the library. Models of `scripted`, `ollama` and `callable`
    cost nothing, unless an override names their provider.
    """

    def __init__(self, overrides: Mapping[str, Price]) -> None:
        self._overrides = dict(overrides)

    def cost(
        self, model: str, usage: Mapping[str, Any], *, at: datetime | None = None
    ) -> Decimal | None:
        """Return the cost of a call by LangChain's `usage_metadata`, or None: no price is known.

        `at` is when the call was made, for prices that changed; None: now.
        """
        own = self._own(model)
        if own is not None:
            return own.price.cost(tokens_of(usage))
        from rota.agents.models import library_prices  # noqa: PLC0415  as said above

        return library_prices.cost(model, usage, at)

    def knows(self, model: str) -> bool:
        """Return whether the cost of a model can be told."""
        if self._own(model) is not None:
            return True
        from rota.agents.models import library_prices  # noqa: PLC0415  as said above

        return library_prices.find(model) is not None

    def quote(self, model: str, *, at: datetime) -> Quote | None:
        """Return the price of a model at a time, or None where none is known."""
        own = self._own(model)
        if own is not None:
            return own
        from rota.agents.models import library_prices  # noqa: PLC0415  as said above

        return library_prices.quote(model, at)

    def _own(self, model: str) -> Quote | None:
        provider = normal_model(model).partition(":")[0]
        key = find_override(model, self._overrides)
        if provider in _FREE_PROVIDERS and key in {None, ANY_MODEL}:
            return Quote(model, FREE, "free", f"{provider}:*")
        return None if key is None else Quote(model, self._overrides[key], "operator", key)


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
