"""Prices of models over HTTP: who may run agents sees them, operators set them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer
from rota.api.callers import OperatorManages, Reader, Services
from rota.api.pages import Page, page_of
from rota.domain.agents.prices import Price, parse_usd
from rota.domain.errors import NotFoundError
from rota.shown.prices import PriceSetShown, QuoteShown, quote_json

router = APIRouter(prefix="/prices", tags=["prices"], route_class=StrictRoute)

Model = Annotated[
    str,
    Path(
        description="`provider:model`, `provider:*`, or `*` for any model.",
        max_length=300,
        examples=["openai:gpt-5-mini"],
    ),
]


class PriceAsked(BaseModel):
    """US dollars per million tokens, as decimal numbers in strings."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input: str = Field(max_length=30)
    output: str = Field(max_length=30)
    cached_input: str | None = Field(None, max_length=30, description="As `input` unless said.")
    cache_write: str | None = Field(None, max_length=30, description="As `input` unless said.")


@router.get("", response_model=page_of(QuoteShown, "PricePage"))
async def list_prices(me: Reader, app: Services, page: Page) -> Response:
    """List the operator's prices, and those of the models that your agents name.

    Operators see those of everybody's agents.
    """
    own = [agent for agent in await app.agents.all(me.user_id) if agent.model]
    named = None if me.is_operator else {m for a in own for m in (a.model, *a.fallback_models)}
    quotes = await app.prices.quotes(named, at=app.clock())
    last = page.keys(str)
    rest = [quote_json(n, q) for n, q in sorted(quotes.items()) if last is None or n > last[0]]
    return answer(page.page(rest, lambda one: (one["model"],), count=len(quotes)))


@router.get("/{model:path}", response_model=QuoteShown)
async def get_price(_me: Reader, app: Services, model: Model) -> Response:
    """Return the price of a model, and where it is set. 404 where none is known."""
    ((name, quote),) = (await app.prices.quotes([model], at=app.clock(), own_too=False)).items()
    if quote is None:
        raise NotFoundError("price", name, hint="An operator says what it costs.")
    return answer(quote_json(name, quote))


@router.put("/{model:path}", response_model=PriceSetShown)
async def put_price(
    _me: OperatorManages,
    app: Services,
    model: Model,
    body: Annotated[
        PriceAsked,
        Body(openapi_examples={"mini": {"value": {"input": "0.25", "output": "2.00"}}}),
    ],
) -> Response:
    """Set your own price for a model. It replaces the price that rota knows."""
    price = Price(
        parse_usd(body.input, "input"),
        parse_usd(body.output, "output"),
        None if body.cached_input is None else parse_usd(body.cached_input, "cached_input"),
        None if body.cache_write is None else parse_usd(body.cache_write, "cache_write"),
    )
    key = await app.prices.set(model, price)
    used = await app.prices.uses(key, price)
    return answer({"model": key, "price": price, "is_used": used})


@router.delete("/{model:path}", status_code=204)
async def delete_price(_me: OperatorManages, app: Services, model: Model) -> Response:
    """Remove one of your prices. The price that rota knows is used again."""
    await app.prices.remove(model)
    return Response(status_code=204)
