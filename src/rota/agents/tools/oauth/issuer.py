"""Gets grants from providers, refreshes and revokes them.

Its errors name no connection: whoever knows its name adds the command that mends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import httpx
from authlib.oauth2.rfc7523.assertion import (  # type: ignore[import-untyped]  # no types
    sign_jwt_bearer_assertion,
)
from joserfc.jwk import RSAKey

from rota.agents.tools.oauth.answers import DeviceAnswer, Endpoint, RefusedError, Tokens, read
from rota.agents.tools.oauth.authorization import AuthorizationRequest, authorization_request
from rota.agents.tools.oauth.clients import OAuthClient, ServiceAccountKey, service_account_key
from rota.agents.tools.oauth.providers import (
    GOOGLE,
    SCOPES,
    Provider,
    address,
    provider_named,
    spelled,
)
from rota.agents.tools.oauth.refusals import refused_refresh, refused_request
from rota.domain.agents.grants import Grant
from rota.domain.errors import SetupRequiredError, UnavailableError

_JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_DEVICE_CODE: Final = "urn:ietf:params:oauth:grant-type:device_code"
_ASSERTION_LIVES: Final = timedelta(minutes=55)
_SLOW_DOWN: Final = 5
_LONGEST_INTERVAL: Final = 60


@dataclass(frozen=True, slots=True)
class DeviceRequest:
    """A code that a person types on a page of the provider's, on any machine."""

    page: str
    user_code: str
    ends_at: datetime
    interval: int
    client: OAuthClient
    kind: str
    scopes: tuple[str, ...]
    device_code: str = field(repr=False)


class OAuthIssuer:
    """A GrantIssuer, and the ways to a first grant.

    `endpoints` leads a provider's name to another server (ROTA_ENDPOINTS).
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        clock: Callable[[], datetime],
        endpoints: Mapping[str, str] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock = clock
        self._endpoints = dict(endpoints or {})
        self._sleep = sleep
        self._endpoint = Endpoint(http, clock=clock, sleep=sleep)

    def authorization(
        self,
        kind: str,
        client: OAuthClient,
        redirect_uri: str,
        *,
        to_act: bool = False,
        account: str = "",
    ) -> AuthorizationRequest:
        """Return the page where a person consents to a connection of this kind."""
        scopes = SCOPES[kind]
        return authorization_request(
            scopes.provider,
            self._address(scopes.provider, scopes.provider.authorization, client.tenant),
            client,
            scopes.wanted(to_act=to_act),
            redirect_uri,
            account=account,
        )

    async def exchange(self, kind: str, request: AuthorizationRequest, answer: str) -> Grant:
        """Return the grant for the address to which the provider led the browser.

        Raises InvalidInputError for what is no such address, SetupRequiredError for a refusal.
        """
        provider = SCOPES[kind].provider
        form = {
            "grant_type": "authorization_code",
            "code": request.code_of(provider, answer),
            "redirect_uri": request.redirect_uri,
            "code_verifier": request.verifier,
        }
        return await self._first(kind, request.client, request.scopes, form)

    async def device(
        self, kind: str, client: OAuthClient, *, to_act: bool = False
    ) -> DeviceRequest:
        """Ask for a code that a person types elsewhere; raises as `exchange`."""
        scopes = SCOPES[kind]
        form = {
            "client_id": client.id,
            "scope": " ".join((*scopes.wanted(to_act=to_act), *scopes.unnamed)),
        }
        url = self._address(scopes.provider, scopes.provider.device, client.tenant)
        try:
            found = await self._endpoint.ask(scopes.provider, url, form)
        except RefusedError as refused:
            raise refused_request(scopes.provider, refused) from refused
        told = read(DeviceAnswer, scopes.provider, found)
        return DeviceRequest(
            told.verification_uri,
            told.user_code,
            self._clock() + timedelta(seconds=told.expires_in),
            told.interval,
            client,
            kind,
            scopes.wanted(to_act=to_act),
            told.device_code,
        )

    async def wait_for(self, device: DeviceRequest) -> Grant:
        """Return the grant once the code was typed; raises as `exchange`."""
        wait = device.interval
        while True:
            await self._sleep(wait)
            try:
                return await self._typed(device)
            except _PendingError as pending:
                if pending.slow_down:
                    wait = min(wait + _SLOW_DOWN, _LONGEST_INTERVAL)
            except UnavailableError as error:  # RFC 8628: ask less often, and go on
                if error.permanent:
                    raise
                wait = min(wait * 2, _LONGEST_INTERVAL)
            if self._clock() >= device.ends_at:
                raise _not_in_time()

    async def granted_by_now(self, device: DeviceRequest) -> Grant | None:
        """Ask once; None while nobody has typed the code. Raises as `wait_for`."""
        if self._clock() >= device.ends_at:
            raise _not_in_time()
        try:
            return await self._typed(device)
        except _PendingError:
            return None

    async def _typed(self, device: DeviceRequest) -> Grant:
        form = {"grant_type": _DEVICE_CODE, "device_code": device.device_code}
        return await self._first(device.kind, device.client, device.scopes, form)

    async def service_account(
        self, kind: str, key_file: str, subject: str, *, to_act: bool = False
    ) -> Grant:
        """Return the grant of a service account to read as `subject`; it is tried.

        Raises InvalidInputError for what is no key, SetupRequiredError for a refusal.
        """
        key = service_account_key(key_file)
        return await self.refresh(
            Grant(
                provider=GOOGLE.name,
                client_id=key.client_id,
                scopes=SCOPES[kind].wanted(to_act=to_act),
                account=subject,
                service_account=key_file,
                subject=subject,
                granted_at=self._clock(),
            )
        )

    async def refresh(self, grant: Grant) -> Grant:
        """Return it with a new access token; raises as `GrantIssuer.refresh`."""
        provider = provider_named(grant.provider)
        if grant.service_account:
            form = {"grant_type": _JWT_BEARER, "assertion": self._assertion(grant)}
        else:
            form = _identified(OAuthClient(grant.client_id, grant.client_secret))
            form |= {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}
        url = self._address(provider, provider.token, grant.tenant)
        try:
            found = await self._endpoint.ask(provider, url, form)
        except RefusedError as refused:
            raise refused_refresh(provider, refused, grant, now=self._clock()) from refused
        return self._with(provider, grant, read(Tokens, provider, found))

    async def revoke(self, grant: Grant) -> None:
        """End it at the provider; raises as `GrantIssuer.revoke`."""
        provider = provider_named(grant.provider)
        if grant.service_account:
            return  # its access tokens end within the hour, and the key is the team's
        if not provider.revocation:
            raise UnavailableError(
                f"{provider.noun} has no way to revoke a grant from here. Take the app from your "
                "account at https://myapps.microsoft.com or "
                "https://account.live.com/consent/Manage.",
                service=provider.name,
                permanent=True,
            )
        url = self._address(provider, provider.revocation, grant.tenant)
        token = grant.refresh_token or grant.access_token
        try:
            await self._endpoint.ask(provider, url, {"token": token})
        except RefusedError as refused:
            if refused.error not in {"invalid_token", "invalid_grant"}:  # ended already
                raise refused_request(provider, refused) from refused

    async def _first(
        self, kind: str, client: OAuthClient, scopes: tuple[str, ...], form: dict[str, str]
    ) -> Grant:
        """Return a first grant; it has the `scopes` that were asked for unless it says others."""
        provider = SCOPES[kind].provider
        url = self._address(provider, provider.token, client.tenant)
        try:
            found = await self._endpoint.ask(provider, url, form | _identified(client))
        except RefusedError as refused:
            if refused.error in {"authorization_pending", "slow_down"}:
                raise _PendingError(slow_down=refused.error == "slow_down") from refused
            raise refused_request(provider, refused) from refused
        tokens = read(Tokens, provider, found)
        if not tokens.refresh_token:
            raise SetupRequiredError(
                f"{provider.noun} gave no refresh token, so the connection would end within the "
                "hour. Take the app from your account at the provider, then connect again.",
                what="connection",
            )
        grant = Grant(
            provider.name,
            client.id,
            client.secret,
            scopes=scopes,
            tenant=client.tenant,
            granted_at=self._clock(),
        )
        return self._with(provider, grant, tokens)

    def _with(self, provider: Provider, grant: Grant, tokens: Tokens) -> Grant:
        now = self._clock()
        left = tokens.refresh_token_expires_in
        return replace(
            grant,
            access_token=tokens.access_token,
            access_ends_at=now + timedelta(seconds=tokens.expires_in),
            refresh_token=tokens.refresh_token or grant.refresh_token,
            ends_at=grant.ends_at if left is None else now + timedelta(seconds=left),
            scopes=grant.scopes if tokens.scope is None else spelled(provider, tokens.scope),
        )

    def _assertion(self, grant: Grant) -> str:
        key: ServiceAccountKey = service_account_key(grant.service_account)
        now = int(self._clock().timestamp())
        signed = sign_jwt_bearer_assertion(
            RSAKey.import_key(key.private_key),
            issuer=key.email,
            audience=GOOGLE.token,
            subject=grant.subject,
            issued_at=now,
            expires_at=now + int(_ASSERTION_LIVES.total_seconds()),
            claims={"scope": " ".join(grant.scopes)},
            header={"alg": "RS256", "kid": key.key_id},
        )
        return str(signed)

    def _address(self, provider: Provider, url: str, tenant: str) -> str:
        return address(url, provider, self._endpoints, tenant=tenant)


class _PendingError(Exception):
    """Nobody has typed the code yet."""

    def __init__(self, *, slow_down: bool) -> None:
        super().__init__("pending")
        self.slow_down = slow_down


def _not_in_time() -> SetupRequiredError:
    return SetupRequiredError("The code was not entered in time. Begin again.", what="connection")


def _identified(client: OAuthClient) -> dict[str, str]:
    """Say which client asks. A public one has no secret, and must not send any."""
    return {"client_id": client.id} | ({"client_secret": client.secret} if client.secret else {})
