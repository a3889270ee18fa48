"""Prices of models as JSON."""

from __future__ import annotations

from typing import Any, Literal

from rota.domain.agents.prices import Price, Quote
from rota.domain.text.jsonable import fields_of
from rota.shown.models import Shown, model_of


class QuoteShown(Shown):
    """The price of a model in US dollars per million tokens, null where none is known."""

    model: str
    price: model_of(Price) | None  # type: ignore[valid-type]  # a type that is made
    source: Literal["operator", "library", "free"] | None = None
    key: str | None = None
    varies: bool | None = None


class PriceSetShown(Shown):
    """A price of the operator's. `is_used`: whether an agent names such a model."""

    model: str
    price: model_of(Price)  # type: ignore[valid-type]  # a type that is made
    is_used: bool


def quote_json(model: str, quote: Quote | None) -> dict[str, Any]:
    """Return the price of a model as JSON."""
    return {"model": model, "price": None} if quote is None else fields_of(quote)
