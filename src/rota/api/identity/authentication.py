"""Finds who calls: a token or a JWT in the header Authorization, or the cookie of a session.

Nothing else signs anybody in: no parameter of a URL, since URLs end in logs and histories.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from fastapi import Request

from rota.api.callers import Caller
from rota.api.origins import check_csrf, cookie_name
from rota.api.problems import ApiError
from rota.bootstrap.app import App
from rota.domain.errors import NotSignedInError, RotaError
from rota.domain.identity.scopes import ALL_SCOPES
from rota.domain.identity.tokens import TOKEN_PREFIX
from rota.domain.ids import UserId

OPERATORS_ARE_READ_EACH: Final = 10.0
"""Seconds for which a process believes that the settings name the same people."""

log = structlog.get_logger(__name__)


class Authentication:
    """What `make_api` asks who calls, over the services of one process."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._operators: frozenset[UserId] = frozenset()
        self._read_at: float | None = None

    async def __call__(self, request: Request) -> Caller:
        """Return who calls; raises ApiError with status 401 for nobody, 403 for another site."""
        given = request.headers.getlist("authorization")
        if given:
            return await self._by_header(given)
        secret = request.cookies.get(cookie_name(request))
        if not secret:
            raise nobody("Sign in first, or send a token: `Authorization: Bearer rota_...`.")
        session = await self._app.sessions.find(secret)
        if session is None:
            raise nobody("Your session is over. Sign in again.")
        check_csrf(request, secret)
        return Caller(
            session.user_id,
            ALL_SCOPES,
            await self.is_operator(session.user_id),
            "session",
            session.id,
        )

    async def _by_header(self, given: list[str]) -> Caller:
        scheme, _, credential = given[0].partition(" ")
        if len(given) > 1 or scheme.lower() != "bearer" or not credential.strip():
            raise nobody("The header Authorization is read as `Bearer TOKEN`, once.")
        credential = credential.strip()
        if not credential.startswith(TOKEN_PREFIX):
            try:
                user_id = await self._app.jwts.person(credential)
            except NotSignedInError as error:
                raise nobody(error.message, error="invalid_token") from error
            return Caller(user_id, ALL_SCOPES, await self.is_operator(user_id), "jwt")
        bearer = await self._app.tokens.bearer(credential)
        if bearer is None:
            raise nobody(
                "This token is not valid: it is unknown, revoked or expired.", error="invalid_token"
            )
        return Caller(
            bearer.user_id, bearer.scopes, await self.is_operator(bearer.user_id), "token"
        )

    async def is_operator(self, user_id: UserId) -> bool:
        """Return whether the settings name this person as an operator."""
        now = time.monotonic()
        if self._read_at is None or now - self._read_at > OPERATORS_ARE_READ_EACH:
            try:
                self._operators = frozenset(await self._app.operators())
            except RotaError as error:
                log.warning("operators_unknown", error=error.message)
                self._operators = frozenset()
            self._read_at = now
        return user_id in self._operators


def nobody(said: str, *, error: str = "") -> ApiError:
    """Return the problem of a request that nobody signed in for."""
    challenge = f'Bearer error="{error}"' if error else "Bearer"
    return ApiError(401, "not-signed-in", said, headers={"WWW-Authenticate": challenge})
