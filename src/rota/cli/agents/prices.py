"""`rota prices`: the operator lists, shows and sets the prices of models."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import NotFoundError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.prices import Price, Quote

group = CommandGroup()
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="provider:model, provider:*, or * for any model.")
]
_UNIT: Final = "US dollars per million tokens."


@group.command("show", person=False)
def show(
    common: CommonOptions,
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]", help="provider:model")] = None,
) -> None:
    """Show the price of a model and where it is set. Default: your prices, and models in use."""
    from rota.shown.prices import quote_json

    named = None if model is None else [model]
    quotes = common.as_operator(
        lambda app: app.prices.quotes(named, at=app.clock(), own_too=model is None)
    )
    if model is not None and None in quotes.values():
        raise NotFoundError("price", model, hint="`rota prices set` says what it costs.")
    if common.json:
        listed = [quote_json(name, quote) for name, quote in quotes.items()]
        output.print_json(listed if model is None else listed[0])
        return
    output.table(
        ["MODEL", "INPUT", "OUTPUT", "CACHED INPUT", "CACHE WRITE", "WHOSE"],
        [_row(name, quote) for name, quote in quotes.items()],
        empty="There are no prices of your own, and no agents.",
        optional=["CACHE WRITE", "CACHED INPUT"],
    )
    output.say(_UNIT)


@group.command("set", person=False)
def set_price(
    common: CommonOptions,
    model: Model,
    input_usd: Annotated[str, typer.Option("--input", metavar="USD", help=_UNIT)],
    output_usd: Annotated[str, typer.Option("--output", metavar="USD", help=_UNIT)],
    cached_input: Annotated[
        str | None,
        typer.Option(
            "--cached-input",
            metavar="USD",
            help="US dollars per million input tokens read from a cache. Default: as --input.",
        ),
    ] = None,
    cache_write: Annotated[
        str | None,
        typer.Option(
            "--cache-write",
            metavar="USD",
            help="US dollars per million input tokens written to a cache. Default: as --input.",
        ),
    ] = None,
) -> None:
    """Set your own price for a model. It replaces the price that rota knows."""
    from rota.domain.agents.prices import Price, parse_usd

    price = Price(
        parse_usd(input_usd, "input"),
        parse_usd(output_usd, "output"),
        None if cached_input is None else parse_usd(cached_input, "cached_input"),
        None if cache_write is None else parse_usd(cache_write, "cache_write"),
    )

    key, used = common.as_operator(lambda app: _set(app, model, price))
    unused = "" if used else " No agent uses such a model yet."
    done = f"Set {key}: {_number(price.input)} in, {_number(price.output)} out.{unused}"
    output.print_done(done, {"model": key, "price": price, "is_used": used}, as_json=common.json)


@group.command("remove", person=False)
def remove(common: CommonOptions, model: Model) -> None:
    """Remove one of your prices. The price that rota knows is used again."""
    key = common.as_operator(lambda app: app.prices.remove(model))
    output.print_done(f"Removed your price of {key}.", {"model": key}, as_json=common.json)


async def _set(app: App, model: str, price: Price) -> tuple[str, bool]:
    key = await app.prices.set(model, price)
    return key, await app.prices.uses(key, price)


def _row(model: str, quote: Quote | None) -> tuple[str, ...]:
    if quote is None:
        return (model, "?", "?", "", "", "no price is known")
    price = quote.price
    whose = {
        "operator": f"yours ({quote.key})",
        "free": "costs nothing",
        "library": quote.key + (" (and more by length, time or request)" if quote.varies else ""),
    }
    return (
        model,
        _number(price.input),
        _number(price.output),
        _number(price.cached_input),
        _number(price.cache_write),
        whose[quote.source],
    )


def _number(amount: Decimal | None) -> str:
    """Show an amount with two decimals at least; nothing where it is as other input."""
    if amount is None:
        return ""
    exact = amount.normalize()
    exponent = exact.as_tuple().exponent
    return f"{exact:.2f}" if isinstance(exponent, int) and exponent >= -2 else f"{exact:f}"
