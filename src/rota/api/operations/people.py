"""People over HTTP: who may run agents, oneself, all that rota keeps of somebody, and removal."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer
from rota.api.callers import (
    Caller,
    InPerson,
    Manager,
    OperatorManages,
    OperatorReads,
    Reader,
    Services,
    require_operator,
)
from rota.api.downloads import download, new_file
from rota.api.pages import LARGEST_PAGE, Page, page_of
from rota.bootstrap.person_data import PATIENCE, person_to_remove, remove_person
from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.services.agents.people import Added
from rota.services.operations.person_data import PersonData
from rota.shown.models import Shown, model_of
from rota.shown.people import PersonShown, RemovedShown, people_json, removed_json

router = APIRouter(prefix="/people", tags=["people"], route_class=StrictRoute)

Person = Annotated[
    str,
    Path(
        description="An e-mail address or an id.",
        max_length=320,
        examples=["alice@example.com"],
    ),
]
AddedShown = model_of(Added, "AddedPerson")
_ZIP: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "A zip file: JSON, and results as Markdown.",
        "content": {
            "application/zip": {
                "schema": {"type": "string", "format": "binary"},
                "example": "PK...",
            }
        },
    }
}


_ME: Final[dict[str, Any]] = {
    "user_id": "b1c5a1f0-3c57-4d0e-8f3d-6d1f2a7b9c10",
    "email": "alice@example.com",
    "may_run": True,
    "time_zone": "Europe/Berlin",
    "is_operator": False,
}


class ToAdd(BaseModel):
    """People to add."""

    model_config = ConfigDict(extra="forbid", strict=True)

    emails: list[str] = Field(min_length=1, max_length=LARGEST_PAGE)
    may_run: bool = Field(True, description="Whether they may run agents with your model keys.")


class MayRun(BaseModel):
    """Whether somebody may run agents."""

    model_config = ConfigDict(extra="forbid", strict=True)

    may_run: bool


class OwnZone(BaseModel):
    """A time zone."""

    model_config = ConfigDict(extra="forbid", strict=True)

    time_zone: str = Field(max_length=100, description="An IANA name: `Europe/Berlin`.")


class Confirmation(BaseModel):
    """Whom to delete, once more."""

    model_config = ConfigDict(extra="forbid", strict=True)

    confirm: str = Field(description="The person's e-mail address, or the whole id.")


class AddedPeople(Shown):
    """The people that were asked for; not new if they were there already."""

    items: list[AddedShown]  # type: ignore[valid-type]  # a type that is made


class OwnZoneShown(Shown):
    """Your own time zone."""

    time_zone: str


class Me(PersonShown):
    """Who you are."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ME]})

    user_id: UUID
    time_zone: str
    is_operator: bool


@router.get("", response_model=page_of(PersonShown, "PersonPage"))
async def list_people(_: OperatorReads, app: Services, page: Page) -> Response:
    """List who may run agents: first everybody who is not named, then the people who are."""
    found = sorted(people_json(await app.people.all()), key=_keys)
    last = page.keys(bool, str, str)
    rest = [one for one in found if last is None or _keys(one) > last]
    return answer(page.page(rest, _keys, count=len(found)))


@router.post("", response_model=AddedPeople)
async def add_people(
    _: OperatorManages,
    app: Services,
    body: Annotated[
        ToAdd, Body(openapi_examples={"one": {"value": {"emails": ["bob@example.com"]}}})
    ],
) -> Response:
    """Add people, all or none. Not on Supabase, where people sign up."""
    return answer({"items": await app.people.add(body.emails, may_run=body.may_run)})


@router.get("/me", response_model=Me)
async def get_me(me: Reader, app: Services) -> Response:
    """Return who you are, your time zone, and whether you may run agents."""
    zone = await app.schedules.zone(me.user_id)
    return answer(
        {**_person(await app.people.get(me.user_id)), "time_zone": zone}
        | {"is_operator": me.is_operator}
    )


@router.put("/me/time-zone", response_model=OwnZoneShown)
async def set_time_zone(
    me: Manager,
    app: Services,
    body: Annotated[
        OwnZone, Body(openapi_examples={"berlin": {"value": {"time_zone": "Europe/Berlin"}}})
    ],
) -> Response:
    """Set your own time zone. Schedules that use it are planned again."""
    await app.schedules.set_zone(me.user_id, body.time_zone)
    return answer({"time_zone": await app.schedules.zone(me.user_id)})


@router.get("/me/export", response_class=Response, responses=_ZIP)
async def export_me(me: Reader, app: Services) -> Response:
    """Return all that rota keeps of you, without secrets."""
    return await _export(app, me.user_id)


@router.put("/everybody/may-run", response_model=PersonShown)
async def set_everybody(
    _: OperatorManages,
    app: Services,
    body: Annotated[MayRun, Body(openapi_examples={"no": {"value": {"may_run": False}}})],
) -> Response:
    """Say whether whoever is not named may run agents, people who are added later included."""
    await app.set_everybody(may_run=body.may_run)
    return answer({"user_id": None, "email": None, "may_run": body.may_run})


@router.put("/{person}/may-run", response_model=PersonShown)
async def set_person(
    _: OperatorManages,
    app: Services,
    person: Person,
    body: Annotated[MayRun, Body(openapi_examples={"yes": {"value": {"may_run": True}}})],
) -> Response:
    """Let a person run agents, or stop them. Their schedules are paused when they are next due."""
    user_id = await app.named(person)
    await app.people.set([user_id], may_run=body.may_run)
    return answer(_person(await app.people.get(user_id)))


@router.get("/{person}/export", response_class=Response, responses=_ZIP)
async def export_person(_: OperatorReads, app: Services, person: Person) -> Response:
    """Return all that rota keeps of a person, without secrets."""
    return await _export(app, await app.named(person))


@router.delete("/{person}", response_model=RemovedShown)
async def remove_person_and_data(
    me: InPerson,
    app: Services,
    person: Person,
    body: Annotated[
        Confirmation, Body(openapi_examples={"alice": {"value": {"confirm": "alice@example.com"}}})
    ],
) -> Response:
    """Delete a person with everything of theirs: yourself (`me`), or, as an operator, anybody.

    What they have under way is cancelled first. Grants of OAuth are revoked at their providers. It
    cannot be undone. On a server of your own it takes the owner's URL.
    """
    found = await person_to_remove(app, await _to_remove(me, app, person))
    if body.confirm.strip().lower() not in {str(found.user_id), (found.email or "").lower()} - {""}:
        raise InvalidInputError(
            f"To delete {found.email or found.user_id} with all that is theirs, confirm it with "
            "their e-mail address or their whole id.",
            field="confirm",
        )
    removed = await remove_person(app.settings, app.server, found, patience=PATIENCE)
    return answer(removed_json(removed))


async def _to_remove(me: Caller, app: Services, person: str) -> str:
    """Return whom a caller may delete; raises ApiError 403 for somebody else, there or not."""
    own = str(me.user_id)
    mine = await app.people.get(me.user_id)
    if person.lower() in {"me", own, (mine.email or own).lower()}:
        return own
    require_operator(me)
    return person


async def _export(app: Services, user_id: UserId) -> Response:
    file = new_file()
    made: PersonData = await app.person_data.export_to(user_id, file)
    return download(file, f"rota-{made.user_id}.zip", "application/zip")


def _person(found: Any) -> dict[str, Any]:
    return {"user_id": found.user_id, "email": found.email, "may_run": found.may_run}


def _keys(person: dict[str, Any]) -> tuple[bool, str, str]:
    """Return by what people are listed: everybody who is not named, then by address."""
    return person["user_id"] is not None, person["email"] or "", str(person["user_id"] or "")
