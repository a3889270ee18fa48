"""What is shown of who somebody is: their tokens, sessions, and the session that asks."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from pydantic import ConfigDict, create_model

from rota.domain.identity.scopes import Scope
from rota.domain.identity.sessions import Session
from rota.domain.identity.tokens import ApiToken, NewToken
from rota.domain.text.jsonable import fields_of
from rota.shown.models import Shown, model_of

NewTokenShown: Final = create_model(
    "NewToken",
    __base__=model_of(ApiToken),
    __doc__="A token that was just made. Its secret is shown this once.",
    secret=(str, ...),
)

SessionShown: Final = create_model(
    "SessionOfPerson",
    __base__=model_of(Session),
    __doc__="A session of a person at a browser. `is_present`: it is the one that asks.",
    is_present=(bool, ...),
)

_EXAMPLE_OF_SESSION: Final[dict[str, Any]] = {
    "user_id": "b1c5a1f0-3c57-4d0e-8f3d-6d1f2a7b9c10",
    "email": "alice@example.com",
    "scopes": ["read", "trigger"],
    "is_operator": False,
    "signed_in_by": "token",
    "session_id": None,
    "csrf_token": None,
}


class PresentSession(Shown):
    """Who is signed in, and how.

    `csrf_token` is what a page sends in X-CSRF-Token; null for programs, which need none.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE_OF_SESSION]})

    user_id: UUID
    email: str | None
    scopes: list[Scope]
    is_operator: bool
    signed_in_by: str
    session_id: UUID | None
    csrf_token: str | None


def new_token_json(made: NewToken) -> dict[str, Any]:
    """Return a new token with its secret."""
    return {**fields_of(made.token), "secret": made.secret}


def session_json(session: Session, present: UUID | None) -> dict[str, Any]:
    """Return a session, and whether it is the one that asks."""
    return {**fields_of(session), "is_present": session.id == present}
