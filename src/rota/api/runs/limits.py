"""Limits over HTTP: what holds for oneself, and what operators set."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer, etag_of, require_match
from rota.api.callers import OperatorManages, OperatorReads, Reader, Services
from rota.api.problems import responses
from rota.domain.errors import InvalidInputError
from rota.domain.runs.limits import OwnLimits
from rota.services.runs.limits import (
    LARGEST_CONCURRENCY,
    LARGEST_QUOTA,
    LARGEST_TOKENS,
    LimitKeyword,
    LimitsShown,
)
from rota.shown.models import model_of

router = APIRouter(prefix="/limits", tags=["limits"], route_class=StrictRoute)

_Concurrency = Annotated[int, Field(ge=1, le=LARGEST_CONCURRENCY)]
_Tokens = Annotated[int, Field(ge=1, le=LARGEST_TOKENS)]
_Quota = Annotated[int, Field(ge=1, le=LARGEST_QUOTA)]
_Dollars = Annotated[Decimal, Field(gt=0, le=LARGEST_TOKENS)]


class ConcurrencyChange(BaseModel):
    """The limit of all people together."""

    model_config = ConfigDict(extra="forbid")

    max_concurrency: LimitKeyword | _Concurrency = Field(description="A number, or `none`.")


class LimitsChange(BaseModel):
    """Limits to set; those that are left out stay.

    `none` is no limit. `default` is what everybody has; for everybody, of a quota, what rota has.
    """

    model_config = ConfigDict(extra="forbid")

    max_concurrency: LimitKeyword | _Concurrency | None = None
    day_tokens: LimitKeyword | _Tokens | None = None
    day_cost_usd: LimitKeyword | _Dollars | None = None
    max_schedules: LimitKeyword | _Quota | None = None
    min_interval_seconds: LimitKeyword | _Quota | None = None
    max_waiting_runs: LimitKeyword | _Quota | None = None
    max_rules: LimitKeyword | _Quota | None = None
    max_rule_bytes: LimitKeyword | _Quota | None = None
    max_notifications: LimitKeyword | _Quota | None = None

    def changes(self) -> dict[Any, Any]:
        """Return what is set; raises InvalidInputError where nothing is."""
        named = {name: value for name in self.model_fields_set if (value := getattr(self, name))}
        if not named:
            raise InvalidInputError(
                f"Name what to set: {', '.join(type(self).model_fields)}.", field="max_concurrency"
            )
        return named


Person = Annotated[
    str,
    Path(description="An e-mail address or an id.", max_length=320, examples=["ann@example.com"]),
]
Changes = Annotated[
    LimitsChange,
    Body(openapi_examples={"a day": {"value": {"day_tokens": 200_000, "day_cost_usd": "5.00"}}}),
]
_STALE = responses(412, 428)
_QUOTAS = {
    "max_schedules": 200,
    "min_interval_seconds": 10,
    "max_waiting_runs": 1_000,
    "max_rules": 500,
    "max_rule_bytes": 1_000_000,
    "max_notifications": 10_000,
}
_SET = {"max_concurrency": 5, "day_tokens": None, "day_cost_usd": "5.00"}
_OWN = {**_SET, "under_way": 1, "quotas": _QUOTAS}
_EVERYONE: dict[str, Any] = {
    **_SET,
    "user_id": None,
    "email": None,
    "unlimited": [],
    "under_way": 0,
}
_ALL = {
    "in_all": {"max_concurrency": 20, "under_way": 3},
    "everyone": {**_EVERYONE, "quotas": dict.fromkeys(_QUOTAS)},
    "persons": [],
    "quotas": _QUOTAS,
}


def _example(value: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"example": value}}}}


@router.get("", response_model=model_of(OwnLimits), responses=_example(_OWN))
async def get_own_limits(me: Reader, app: Services) -> Response:
    """Return the limits that hold for you, and how many of your runs are queued or running."""
    return answer(await app.limits.own(me.user_id))


@router.get("/all", response_model=model_of(LimitsShown), responses=_example(_ALL))
async def get_all_limits(me: OperatorReads, app: Services) -> Response:  # noqa: ARG001  it checks
    """Return all limits that are set: for all together, for each person, and of single people."""
    return _shown(await app.limits.show())


@router.patch("/together", response_model=model_of(LimitsShown), responses=_STALE)
async def set_limit_together(
    request: Request,
    me: OperatorManages,  # noqa: ARG001  it checks
    app: Services,
    change: Annotated[
        ConcurrencyChange, Body(openapi_examples={"ten": {"value": {"max_concurrency": 10}}})
    ],
) -> Response:
    """Set how many runs of all people together may be queued or running."""
    await app.limits.set_in_all(
        change.max_concurrency, check=lambda now: require_match(request, _etag(now))
    )
    return _shown(await app.limits.show())


@router.patch("/everyone", response_model=model_of(LimitsShown), responses=_STALE)
async def set_limits_of_everyone(
    request: Request,
    me: OperatorManages,  # noqa: ARG001  it checks
    app: Services,
    change: Changes,
) -> Response:
    """Set the limits of each person who has none of their own."""
    await app.limits.set_for(
        None, change.changes(), check=lambda now: require_match(request, _etag(now))
    )
    return _shown(await app.limits.show())


@router.patch("/people/{person}", response_model=model_of(LimitsShown), responses=_STALE)
async def set_limits_of_person(
    request: Request,
    me: OperatorManages,  # noqa: ARG001  it checks
    app: Services,
    person: Person,
    change: Changes,
) -> Response:
    """Set limits of one person."""
    changes = change.changes()
    whose = await app.named(person)
    await app.limits.set_for(whose, changes, check=lambda now: require_match(request, _etag(now)))
    return _shown(await app.limits.show())


def _shown(found: LimitsShown) -> Response:
    return answer(found, etag=_etag(found))


def _etag(found: LimitsShown) -> str:
    """Return the ETag of what is set: how many runs are under way is none of it."""
    return etag_of(
        replace(
            found,
            in_all=replace(found.in_all, under_way=0),
            everyone=replace(found.everyone, under_way=0),
            persons=tuple(replace(one, under_way=0) for one in found.persons),
        )
    )
