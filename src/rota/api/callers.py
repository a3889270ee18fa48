"""Who calls: the person that a request acts as, and what the way they signed in lets them do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Request

from rota.api.problems import ApiError
from rota.bootstrap.app import App
from rota.domain.ids import UserId


class Scope(StrEnum):
    """What a caller may do; a session of a person has all."""

    READ = "read"
    TRIGGER = "trigger"
    MANAGE = "manage"
    DECIDE = "decide"


ALL_SCOPES: Final = frozenset(Scope)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is signed in. `by` says how; `is_operator`: whether the settings name them as one."""

    user_id: UserId
    scopes: frozenset[Scope]
    is_operator: bool
    by: Literal["session", "token", "jwt"]


def the_app(request: Request) -> App:
    """Return the services of this process."""
    app: App = request.app.state.rota
    return app


Services = Annotated[App, Depends(the_app)]
"""A route's parameter: the services."""


def needs(scope: Scope, *, operator: bool = False) -> Callable[..., Coroutine[Any, Any, Caller]]:
    """Return a dependency: the caller, who must have this scope, or be an operator with it.

    Raises ApiError 401 for nobody, 403 for too little. From then on the scopes are in the claims of
    each transaction that acts as the person, so that the database checks them, too.
    """

    async def find(request: Request) -> Caller:
        caller: Caller = await request.app.state.authenticate(request)
        if scope not in caller.scopes:
            raise ApiError(
                403,
                "insufficient-scope",
                f"This token may not do that: it lacks the scope `{scope}`.",
                headers={"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{scope}"'},
                scope=scope,
            )
        if operator and not caller.is_operator:
            raise ApiError(403, "operators-only", "Only an operator of this rota may do that.")
        the_app(request).limit_to(caller.scopes if caller.by == "token" else None)
        return caller

    return find


Reader = Annotated[Caller, Depends(needs(Scope.READ))]
Triggerer = Annotated[Caller, Depends(needs(Scope.TRIGGER))]
Manager = Annotated[Caller, Depends(needs(Scope.MANAGE))]
Decider = Annotated[Caller, Depends(needs(Scope.DECIDE))]
OperatorReads = Annotated[Caller, Depends(needs(Scope.READ, operator=True))]
OperatorManages = Annotated[Caller, Depends(needs(Scope.MANAGE, operator=True))]
