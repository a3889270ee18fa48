"""API tokens over HTTP: a person makes them for programs. A token itself may not."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import KEPT_NOWHERE, StrictRoute, answer
from rota.api.callers import InPerson, Scope, Services
from rota.api.pages import Page, page_of
from rota.domain.identity.tokens import DEFAULT_LIFE, ApiToken
from rota.shown.identity import NewTokenShown, new_token_json
from rota.shown.models import model_of

router = APIRouter(prefix="/tokens", tags=["tokens"], route_class=StrictRoute)


class TokenWanted(BaseModel):
    """A token to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200, description="What you call it: the program that has it.")
    scopes: list[Scope] = Field(min_length=1, max_length=4, description="What it may do.")
    lasts: float | None = Field(
        default=DEFAULT_LIFE.total_seconds(),
        gt=0,
        allow_inf_nan=False,
        le=1e9,
        description="Seconds until it expires; null: never. Without this field 90 days.",
    )


_EXAMPLE: Final = {
    "ci": {
        "summary": "A token that looks and runs agents, for 90 days",
        "value": {"name": "ci", "scopes": ["read", "trigger"], "lasts": 7_776_000},
    }
}


@router.get("", response_model=page_of(model_of(ApiToken), "TokenPage"))
async def list_tokens(me: InPerson, app: Services, page: Page) -> Response:
    """List your tokens by their names, without their secrets, which rota does not keep."""
    found = await app.tokens.all(me.user_id)
    after = page.keys(str)
    rest = [token for token in found if after is None or token.name > after[0]]
    return answer(page.page(rest, lambda token: (token.name,), count=len(found)))


@router.post("", status_code=201, response_model=NewTokenShown)
async def create_token(
    me: InPerson, app: Services, wanted: Annotated[TokenWanted, Body(openapi_examples=_EXAMPLE)]
) -> Response:
    """Make a token for a program. Its secret is in this answer, and is not shown again.

    Only for a request with `Idempotency-Key` the answer is kept: encrypted, for a day.
    """
    lasts = None if wanted.lasts is None else timedelta(seconds=wanted.lasts)
    made = await app.tokens.create(me.user_id, wanted.name, wanted.scopes, lasts=lasts)
    return answer(new_token_json(made), 201, headers=KEPT_NOWHERE)


@router.delete("/{token}", status_code=204)
async def revoke_token(
    me: InPerson, app: Services, token: Annotated[str, Path(examples=["ci"])]
) -> Response:
    """Revoke a token by its name or id: it is worth nothing from now on."""
    await app.tokens.revoke(me.user_id, token)
    return Response(status_code=204)
