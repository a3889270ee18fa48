"""JWTs: read strictly. A key verifies one algorithm, and the token's header does not choose it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from joserfc import jws, jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import OctKey

from rota.domain.errors import NotSignedInError
from rota.domain.identity.issuers import SupabaseProject
from rota.domain.ids import UserId
from rota.services.identity.signing_keys import ALGORITHM_OF, SigningKeys
from rota.store import users
from rota.store.database import Database

LEEWAY: Final = 60
"""Seconds that the clocks of an issuer and of this machine may differ."""

LONGEST: Final = 10_000
"""Characters of a JWT."""

_NOT_VALID: Final = "This token is not valid: it is no API token and no JWT of the issuer."


class JwtService:
    """Reads the JWTs of a Supabase project: of signed-in people, whose ids are those here."""

    def __init__(
        self, database: Database, supabase: SupabaseProject | None, *, clock: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._project = supabase
        self._clock = clock
        self._keys = SigningKeys(supabase.keys_url) if supabase is not None else None

    async def person(self, token: str) -> UserId:
        """Return who is signed in by a JWT.

        Raises NotSignedInError, and UnavailableError where the project's keys cannot be had.
        """
        project = self._project
        if project is None or self._keys is None:
            raise NotSignedInError(_NOT_VALID)
        claims = await verified(
            token,
            self._keys,
            secret=project.secret,
            now=self._clock(),
            expected={
                "iss": {"essential": True, "value": project.issuer},
                "aud": {"essential": True, "value": "authenticated"},
                "role": {"essential": True, "value": "authenticated"},
                "sub": {"essential": True},
                "exp": {"essential": True},
            },
        )
        if claims["role"] != "authenticated":  # a list may not name several
            raise NotSignedInError(_NOT_VALID)
        if claims.get("is_anonymous", False) is not False and not project.anonymous:
            raise NotSignedInError("Sign in with an account: this rota takes no anonymous sign-in.")
        try:
            user_id = UserId(UUID(claims["sub"]))
        except ValueError as error:
            raise NotSignedInError(_NOT_VALID) from error
        async with self._database.connection() as conn:
            if await users.find_user(conn, str(user_id)) is None:
                raise NotSignedInError("The person of this token is not there any more.")
        return user_id


async def verified(
    token: str,
    keys: SigningKeys,
    *,
    secret: str | None,
    now: datetime,
    expected: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the claims of a JWT whose signature, times and `expected` claims are right.

    `secret` verifies HS256, and nothing else does. Raises NotSignedInError, UnavailableError.
    """
    try:
        if len(token) > LONGEST:
            raise NotSignedInError(_NOT_VALID)
        header = jws.extract_compact(token.encode()).headers()
        alg, kid = header.get("alg"), header.get("kid")
        if secret is not None and alg == "HS256":
            read = jwt.decode(token, OctKey.import_key(secret), algorithms=["HS256"])
        else:
            key = await keys.find(kid) if isinstance(kid, str) else None
            if key is None:
                raise NotSignedInError(_NOT_VALID)
            read = jwt.decode(token, key, algorithms=[ALGORITHM_OF[key.key_type]])
        seconds = int(now.timestamp())
        jwt.JWTClaimsRegistry(now=seconds, leeway=LEEWAY, **expected).validate(read.claims)
    except ExpiredTokenError as error:
        raise NotSignedInError("This token has expired. Sign in again.") from error
    except ClaimError as error:
        raise NotSignedInError(
            f"This token is not valid here: its claim {error.claim!r} is missing, or is not what "
            "it should be."
        ) from error
    except (JoseError, ValueError, TypeError, RecursionError) as error:
        raise NotSignedInError(_NOT_VALID) from error
    return read.claims
