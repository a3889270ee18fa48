"""The cost of a model's use by a price per token, and which of the operator's prices applies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final, Literal

from rota.domain.errors import InvalidInputError

ANY_MODEL: Final = "*"

_TIERS: Final = ("priority", "flex")
"""OpenAI's service tiers, which langchain-openai puts before the names of its token counts."""

_MILLION: Final = Decimal(1_000_000)
_HIGHEST: Final = Decimal(1_000_000)
_FORM: Final = re.compile(r"[a-z][a-z0-9_]*:\S(?:.{0,198}\S)?")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. A price that is None equals the price of other input.

    `cached_input` is for input that the provider read from its cache, `cache_write` for input that
    it wrote there.
    """

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    cache_write: Decimal | None = None

    def cost(self, tokens: Tokens) -> Decimal:
        """Return US dollars, exactly."""
        cached = self.input if self.cached_input is None else self.cached_input
        written = self.input if self.cache_write is None else self.cache_write
        total = (
            self.input * tokens.plain_input
            + cached * tokens.cache_read
            + written * (tokens.cache_write + tokens.cache_write_1h)
            + self.output * tokens.output
        )
        return total / _MILLION


FREE: Final = Price(Decimal(0), Decimal(0), Decimal(0), Decimal(0))


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of one model call. `input` includes what was read from or written to a cache.

    `cache_write_1h` is what was written to be kept for an hour; some providers charge more for it.
    """

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    cache_write_1h: int = 0

    @property
    def plain_input(self) -> int:
        """Input that no cache had to do with."""
        return self.input - self.cache_read - self.cache_write - self.cache_write_1h


def parse_price_key(text: str) -> str:
    """Return what a price is for: `provider:model`, `provider:*`, or `*` for any model.

    Providers are written as rows write them; case and hyphens do not matter in them. Raises
    InvalidInputError.
    """
    if text.strip() == ANY_MODEL:
        return ANY_MODEL
    key = normal_model(text)
    if not _FORM.fullmatch(key):
        raise InvalidInputError(
            f"{text!r} is not of the form provider:model, such as openai:gpt-5-mini, nor "
            "provider:* or *.",
            field="model",
        )
    return key


def normal_model(spec: str) -> str:
    """Return `provider:model` as prices are kept by it; what has no colon stays as it is."""
    provider, colon, model = spec.strip().partition(":")
    return f"{provider.strip().lower().replace('-', '_')}:{model.strip()}" if colon else spec


def parse_usd(text: str, field: str) -> Decimal:
    """Return a price in US dollars per million tokens; raises InvalidInputError."""
    try:
        amount = Decimal(text.strip())
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= _HIGHEST:
        raise InvalidInputError(
            f"{text!r} is no price: give US dollars per million tokens, such as 0.25.", field=field
        )
    return amount


def find_override(model: str, overrides: Mapping[str, Price]) -> str | None:
    """Return the key of the price that holds for `provider:model`, the most exact one first."""
    exact = normal_model(model)
    provider = exact.partition(":")[0]
    return next((k for k in (exact, f"{provider}:*", ANY_MODEL) if k in overrides), None)


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of a model, and its source: the operator's (`key`), a library's, or none.

    `varies` says that the library has more than these four numbers: prices by the length of the
    input, by the time of day, or by the request. The cost of a call includes them.
    """

    model: str
    price: Price
    source: Literal["operator", "free", "library"]
    key: str
    varies: bool = False


def count_tokens(usage: Mapping[str, Any]) -> Tokens:
    """Read LangChain's `usage_metadata`, whose `input_tokens` include the cached ones.

    Anthropic's writes to its cache are under their lifetime, and `cache_creation` is 0 then; the
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
