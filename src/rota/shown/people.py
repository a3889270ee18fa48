"""People as JSON: who may run agents, what there is of somebody, what their removal left."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import Field

from rota.domain.agents.people import People
from rota.services.agents.connection_removal import RemovedConnection
from rota.services.operations.person_data import PersonData, Removed
from rota.shown.models import Shown, model_of

RemovedConnectionShown = model_of(RemovedConnection)


class PersonShown(Shown):
    """Whether somebody may run agents. Without an id it is everybody who is not named."""

    user_id: UUID | None
    email: str | None
    may_run: bool


class PersonDataShown(Shown):
    """A person, and the number of their rows in each table that has some."""

    user_id: UUID
    email: str | None
    rows: dict[str, int]


class RemovedShown(PersonDataShown):
    """What was deleted of a person, and what is left of their connections at the providers."""

    runs_cancelled: int = Field(description="Runs that were under way.")
    connections: list[RemovedConnectionShown]  # type: ignore[valid-type]  # a type that is made


def people_json(found: People) -> list[dict[str, Any]]:
    """Return who may run agents: first everybody who is not named, then the named people."""
    return [
        {"user_id": None, "email": None, "may_run": found.open_to_all},
        *({"user_id": p.user_id, "email": p.email, "may_run": p.may_run} for p in found.persons),
    ]


def person_json(person: PersonData) -> dict[str, Any]:
    """Return what there is of a person."""
    return {"user_id": person.user_id, "email": person.email, "rows": dict(person.counts)}


def removed_json(removed: Removed) -> dict[str, Any]:
    """Return what became of a person who was removed."""
    return {
        **person_json(removed.person),
        "runs_cancelled": removed.cancelled,
        "connections": removed.connections,
    }
