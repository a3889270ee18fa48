"""Deputies over HTTP: who may decide for whom, as the operator says."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from rota.api.answers import StrictRoute, answer
from rota.api.callers import OperatorDecides, Reader, Services, whose
from rota.api.pages import Page, page_of
from rota.domain.approvals.deputies import Deputy
from rota.domain.ids import UserId
from rota.shown.models import model_of

router = APIRouter(prefix="/deputies", tags=["deputies"], route_class=StrictRoute)

DeputyShown = model_of(Deputy)
Person = Annotated[
    str,
    Path(
        description="Whose requests these are: an e-mail address or an id.",
        max_length=320,
        examples=["alice@example.com"],
    ),
]
StandsIn = Annotated[
    str,
    Path(
        description="Who decides for them: an e-mail address or an id.",
        max_length=320,
        examples=["bob@example.com"],
    ),
]


@router.get("", response_model=page_of(DeputyShown, "DeputyPage"))
async def list_deputies(
    me: Reader,
    app: Services,
    page: Page,
    everybody: Annotated[
        bool, Query(description="Those of everybody; for operators.", examples=[True])
    ] = False,
) -> Response:
    """List your deputies, and the people that you stand in for."""
    user_id = whose(me, everybody=everybody)
    found = await (app.deputies.list_all() if user_id is None else app.deputies.list_of(user_id))
    last = page.keys(str, str, str, str)
    listed = [one for one in found if last is None or _keys(one) > last]
    return answer(page.page(sorted(listed, key=_keys), _keys, count=len(found)))


@router.put(
    "/{person}/{deputy}",
    response_model=DeputyShown,
    responses={201: {"model": DeputyShown, "description": "They were not their deputy before."}},
)
async def put_deputy(
    _: OperatorDecides, app: Services, person: Person, deputy: StandsIn
) -> Response:
    """Let a deputy decide on requests that a person does not decide in time.

    The deputy sees a request once its owner is reminded of it, or warned that it expires.
    """
    made = await app.deputies.add_by_address(*await _both(app, person, deputy))
    return answer(made.deputy, 201 if made.is_new else 200)


@router.delete("/{person}/{deputy}", status_code=204)
async def delete_deputy(
    _: OperatorDecides, app: Services, person: Person, deputy: StandsIn
) -> Response:
    """Remove a deputy, who no longer decides from now on."""
    await app.deputies.remove(*await _both(app, person, deputy))
    return Response(status_code=204)


async def _both(app: Services, person: str, deputy: str) -> tuple[UserId, UserId]:
    return await app.named(person), await app.named(deputy)


def _keys(one: Deputy) -> tuple[str, str, str, str]:
    return one.user_name, one.deputy_name, str(one.user_id), str(one.deputy_id)
