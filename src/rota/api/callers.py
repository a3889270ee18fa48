"""Who calls: the person that a request acts as, and what the way they signed in lets them do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Depends, Request

from rota.api.idempotency import claim_key
from rota.api.origins import cookie_name
from rota.api.problems import ApiError
from rota.api.rates import Rates
from rota.bootstrap.app import App
from rota.domain.identity.scopes import ALL_SCOPES, Scope
from rota.domain.ids import UserId

__all__ = ["ALL_SCOPES", "Caller", "Scope"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is signed in. `by` says how; `is_operator`: whether the settings name them as one.

    `session_id` is that of the cookie's session.
    """

    user_id: UserId
    scopes: frozenset[Scope]
    is_operator: bool
    by: Literal["session", "token", "jwt"]
    session_id: UUID | None = None


def the_app(request: Request) -> App:
    """Return the services of this process."""
    app: App = request.app.state.rota
    return app


Services = Annotated[App, Depends(the_app)]
"""A route's parameter: the services."""


def require_scope(caller: Caller, scope: Scope) -> None:
    """Raise ApiError 403 for a caller without this scope."""
    if scope not in caller.scopes:
        raise ApiError(
            403,
            "insufficient-scope",
            f"This token may not do that: it lacks the scope `{scope}`.",
            headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
            scope=scope,
        )


def require_operator(caller: Caller) -> None:
    """Raise ApiError 403 for a caller who is no operator."""
    if not caller.is_operator:
        raise ApiError(403, "operators-only", "Only an operator of this rota may do that.")


def whose(caller: Caller, *, everybody: bool) -> UserId | None:
    """Return the caller, or None for what is everybody's or the operator's own.

    Raises ApiError 403 where somebody else than an operator asks for that.
    """
    if everybody:
        require_operator(caller)
        return None
    return caller.user_id


async def who_calls(request: Request) -> Caller:
    """Return who calls, within the limits on how often; raises ApiError 401 and 429."""
    rates: Rates | None = request.app.state.rates
    if rates is None:
        caller: Caller = await request.app.state.authenticate(request)
        return caller
    rates.check_failures(request)
    try:
        caller = await request.app.state.authenticate(request)
    except ApiError as error:
        is_tried = "authorization" in request.headers or cookie_name(request) in request.cookies
        if error.status == 401 and is_tried:
            rates.count_failure(request)
        raise
    rates.count(request, f"{caller.by} {caller.user_id}")
    return caller


@dataclass(frozen=True, slots=True)
class Need:
    """A dependency: the caller, who must have this scope, or be an operator with it.

    `scope` None: whoever is signed in. `in_person`: nobody by a token. Raises ApiError 401 for
    nobody, 403 for too little. From then on the scopes are in the claims of each transaction that
    acts as the person, so that the database checks them, too.
    """

    scope: Scope | None = None
    operator: bool = False
    in_person: bool = False

    @property
    def called(self) -> str:
        """What the reference calls it: a scope, `session`, or `any`."""
        return "session" if self.in_person else str(self.scope or "any")

    async def __call__(self, request: Request) -> Caller:
        """Return the caller."""
        caller = await who_calls(request)
        if self.in_person and caller.by == "token":
            raise ApiError(
                403,
                "in-person-only",
                "Only a person who is signed in sees, makes and ends tokens and sessions: a token "
                "cannot.",
            )
        if self.scope is not None:
            require_scope(caller, self.scope)
        if self.operator:
            require_operator(caller)
        app = the_app(request)
        app.limit_to(caller.scopes if caller.by == "token" else None)
        request.state.check(request)
        await claim_key(request, app, caller.user_id, caller.scopes)
        return caller


SignedIn = Annotated[Caller, Depends(Need())]
InPerson = Annotated[Caller, Depends(Need(in_person=True))]
Reader = Annotated[Caller, Depends(Need(Scope.READ))]
Triggerer = Annotated[Caller, Depends(Need(Scope.TRIGGER))]
Manager = Annotated[Caller, Depends(Need(Scope.MANAGE))]
Decider = Annotated[Caller, Depends(Need(Scope.DECIDE))]
OperatorDecides = Annotated[Caller, Depends(Need(Scope.DECIDE, operator=True))]
OperatorReads = Annotated[Caller, Depends(Need(Scope.READ, operator=True))]
OperatorManages = Annotated[Caller, Depends(Need(Scope.MANAGE, operator=True))]
