"""The cost of a model call, by the operator's prices first, then by those of a library.

Used by workers and by `rota prices show`. No other command imports this module, because importing
the library takes a while. LangChain is not imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from rota.agents.models import library_prices
from rota.domain.agents.prices import (
    ANY_MODEL,
    FREE,
    Price,
    Quote,
    count_tokens,
    find_override,
    normal_model,
)

_FREE_PROVIDERS: Final = frozenset({"callable", "ollama", "scripted"})


class PriceTable:
    """Prices of model calls in US dollars.

    `overrides` are the operator's prices by `provider:model`, `provider:*` or `*`. The most exact
    one applies, and each comes before the library. Models of `scripted`, `ollama` and `callable`
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
        own = self._own_quote(model)
        if own is not None:
            return own.price.cost(count_tokens(usage))
        return library_prices.cost(model, usage, at)

    def knows(self, model: str) -> bool:
        """Return whether the cost of a model can be told."""
        return self._own_quote(model) is not None or library_prices.find(model) is not None

    def quote(self, model: str, *, at: datetime) -> Quote | None:
        """Return the price of a model at a time, or None where none is known."""
        return self._own_quote(model) or library_prices.quote(model, at)

    def _own_quote(self, model: str) -> Quote | None:
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
