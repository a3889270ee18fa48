"""Signs people in at an issuer of OpenID Connect: authorization code with PKCE, state and nonce.

What the callback has to fit is sealed and kept in the browser that began. So a callback that
another browser was led to signs nobody in.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpx
from authlib.common.urls import add_params_to_uri  # type: ignore[import-untyped]  # it has none
from authlib.oauth2.rfc7636 import (  # type: ignore[import-untyped]  # as above
    create_s256_code_challenge,
)

from rota.domain.errors import NotSignedInError, SetupRequiredError, UnavailableError
from rota.domain.identity.issuers import OidcClient
from rota.domain.identity.sign_ins import SIGN_IN_LASTS, SignInUnderWay
from rota.domain.ids import UserId
from rota.domain.text.shortening import quoted
from rota.security.secrets.encryption import Cipher
from rota.security.secrets.one_time import new_secret
from rota.services.identity.identities import IdentityService
from rota.services.identity.jwts import verified
from rota.services.identity.signing_keys import SigningKeys, fetch_json

METADATA_IS_KEPT: Final = timedelta(minutes=10)
_IDENTITY: Final = "sign-in under way"
_AGAIN: Final = "Begin again at /sign-in."


@dataclass(frozen=True, slots=True)
class _Issuer:
    authorization: str
    token: str
    userinfo: str | None
    auth_methods: tuple[str, ...]
    keys: SigningKeys


class OidcService:
    """Acts for whoever comes: nobody is signed in yet."""

    def __init__(
        self,
        oidc_client: OidcClient | None,
        identities: IdentityService,
        cipher: Cipher,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = oidc_client
        self._identities = identities
        self._cipher = cipher
        self._clock = clock
        self._issuer: _Issuer | None = None
        self._read_at: datetime | None = None

    async def begin(self, redirect_uri: str) -> tuple[str, str]:
        """Return where to send the browser, and what it keeps until it comes back.

        Raises SetupRequiredError where no issuer is set, UnavailableError where it does not answer.
        """
        client, issuer = self._known(), await self._metadata()
        under_way = SignInUnderWay(
            new_secret(), new_secret(), new_secret(), self._clock().timestamp()
        )
        url = add_params_to_uri(
            issuer.authorization,
            [
                ("response_type", "code"),
                ("client_id", client.client_id),
                ("redirect_uri", redirect_uri),
                ("scope", "openid email"),
                ("state", under_way.state),
                ("nonce", under_way.nonce),
                ("code_challenge", create_s256_code_challenge(under_way.verifier)),
                ("code_challenge_method", "S256"),
            ],
        )
        sealed = self._cipher.encrypt(under_way.written(), identity=_IDENTITY)
        return str(url), base64.urlsafe_b64encode(sealed).decode()

    async def finish(
        self, kept: str | None, answer: Mapping[str, str], redirect_uri: str
    ) -> UserId:
        """Return who came back from the issuer with this answer, to the browser that kept `kept`.

        Raises NotSignedInError, SetupRequiredError and UnavailableError.
        """
        client = self._known()
        under_way = self._opened(kept)
        state = answer.get("state", "")
        if not hmac.compare_digest(state.encode(), under_way.state.encode()):
            raise NotSignedInError(f"This answer is not to a sign-in of this browser. {_AGAIN}")
        if answer.get("iss", client.issuer) != client.issuer:
            raise NotSignedInError(f"This answer is another issuer's. {_AGAIN}")
        if "error" in answer:
            said = answer.get("error_description") or answer["error"]
            raise NotSignedInError(f"The issuer signed nobody in: {quoted(said, 200)}. {_AGAIN}")
        if not answer.get("code"):
            raise NotSignedInError(f"This answer has no code. {_AGAIN}")
        issuer = await self._metadata()
        tokens = await self._redeem(
            client, issuer, answer["code"], under_way.verifier, redirect_uri
        )
        claims = await self._claims(client, issuer, tokens, under_way.nonce)
        email = await self._verified_email(client, issuer, tokens, claims)
        return await self._identities.person(
            client.issuer, claims["sub"], email=email, match_email=client.match_email
        )

    def _known(self) -> OidcClient:
        if self._client is None:
            raise SetupRequiredError(
                "No issuer is set up to sign in at (ROTA_OIDC_ISSUER, docs/howto/sign-in.md).",
                what="oidc",
            )
        return self._client

    def _opened(self, kept: str | None) -> SignInUnderWay:
        try:
            sealed = base64.urlsafe_b64decode((kept or "").encode())
            under_way = SignInUnderWay.read(self._cipher.decrypt(sealed, identity=_IDENTITY))
        except (ValueError, SetupRequiredError) as error:
            raise NotSignedInError(f"No sign-in of this browser is under way. {_AGAIN}") from error
        if self._clock().timestamp() - under_way.began > SIGN_IN_LASTS.total_seconds():
            raise NotSignedInError(f"This sign-in took too long. {_AGAIN}")
        return under_way

    async def _metadata(self) -> _Issuer:
        now = self._clock()
        is_fresh = self._read_at is not None and now - self._read_at < METADATA_IS_KEPT
        if self._issuer is not None and is_fresh:
            return self._issuer
        client = self._known()
        found = await fetch_json(f"{client.issuer.rstrip('/')}/.well-known/openid-configuration")
        try:
            self._issuer = _read(found, client)
        except (KeyError, TypeError, ValueError) as error:
            raise UnavailableError(
                f"What {client.issuer} says of itself is not as it should be: {error}.",
                service="issuer",
            ) from error
        self._read_at = now
        return self._issuer

    async def _redeem(
        self, client: OidcClient, issuer: _Issuer, code: str, verifier: str, redirect_uri: str
    ) -> Mapping[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": client.client_id,
        }
        auth = None
        if client.secret is not None and "client_secret_basic" in issuer.auth_methods:
            # RFC 6749, 2.3.1: both are encoded as in a form first.
            auth = httpx.BasicAuth(quote(client.client_id, safe=""), quote(client.secret, safe=""))
        elif client.secret is not None:
            form["client_secret"] = client.secret
        tokens = await fetch_json(issuer.token, form=form, auth=auth, refusals=(400, 401, 403))
        if not isinstance(tokens, Mapping) or not isinstance(tokens.get("id_token"), str):
            error = tokens.get("error") if isinstance(tokens, Mapping) else None
            raise NotSignedInError(
                f"The issuer did not take the code: {quoted(str(error), 100)}. {_AGAIN}"
            )
        return tokens

    async def _claims(
        self, client: OidcClient, issuer: _Issuer, tokens: Mapping[str, Any], nonce: str
    ) -> dict[str, Any]:
        claims = await verified(
            tokens["id_token"],
            issuer.keys,
            secret=None,
            now=self._clock(),
            expected={
                "iss": {"essential": True, "value": client.issuer},
                "aud": {"essential": True, "value": client.client_id},
                "azp": {"value": client.client_id},
                "nonce": {"essential": True, "value": nonce},
                "sub": {"essential": True},
                "exp": {"essential": True},
                "iat": {"essential": True},
            },
        )
        if isinstance(claims["aud"], list) and len(claims["aud"]) > 1 and "azp" not in claims:
            raise NotSignedInError(f"The issuer's answer is for several programs. {_AGAIN}")
        return claims

    async def _verified_email(
        self,
        client: OidcClient,
        issuer: _Issuer,
        tokens: Mapping[str, Any],
        claims: Mapping[str, Any],
    ) -> str | None:
        if not client.match_email:
            return None
        told: Any = claims
        if "email" not in claims and issuer.userinfo is not None:
            token = str(tokens.get("access_token", ""))
            told = await fetch_json(issuer.userinfo, headers={"Authorization": f"Bearer {token}"})
            if not isinstance(told, Mapping) or told.get("sub") != claims["sub"]:
                return None
        email = told.get("email")
        is_verified = told.get("email_verified") is True
        return email if is_verified and isinstance(email, str) else None


def _read(found: Any, client: OidcClient) -> _Issuer:
    if found["issuer"] != client.issuer:
        raise ValueError(f"it calls itself {quoted(str(found['issuer']), 100)}")
    named = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")
    ends = {name: found[name] if name != named[-1] else found.get(name) for name in named}
    for name, url in ends.items():
        if url is None:
            continue
        if not isinstance(url, str) or urlsplit(url).scheme != urlsplit(client.issuer).scheme:
            raise ValueError(f"{name} is no address as that of the issuer")
    methods = found.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return _Issuer(
        ends["authorization_endpoint"],
        ends["token_endpoint"],
        ends["userinfo_endpoint"],
        tuple(map(str, methods)),
        SigningKeys(ends["jwks_uri"]),
    )
