"""Sign-ins to accounts that are connected by OAuth, from their begin to their end.

What the end has to fit is sealed for the person who began, and kept by them: nothing is stored.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from rota.domain.agents.mail_accounts import ImapAccount
from rota.domain.errors import ConflictError, InvalidInputError, SetupRequiredError
from rota.domain.ids import UserId
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from rota.services.agents.grants import Connected, GrantService, may_act

if TYPE_CHECKING:
    from rota.agents.tools.oauth.clients import OAuthClient
    from rota.agents.tools.oauth.issuer import OAuthIssuer
    from rota.domain.agents.grants import Grant

LASTS: Final = timedelta(minutes=15)
_MICROSOFT: Final = "microsoft"


@dataclass(frozen=True, slots=True)
class SignInWanted:
    """What a person wants to sign in to.

    `callback` is where Google leads the browser; empty: to an address of the person's own machine
    that nothing answers, and that they paste. `reconnect`: to the connection of this name, whose
    account, scopes, servers and client stay.
    """

    kind: str
    name: str = ""
    account: str = ""
    to_act: bool = False
    reconnect: bool = False
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_file: str = field(default="", repr=False)
    tenant: str = ""
    callback: str = ""
    mailbox: ImapAccount | None = None


@dataclass(frozen=True, slots=True)
class SignInBegun:
    """A sign-in that waits for a person.

    `url` is the page to open; there they type `user_code`, if there is one. Who waits asks again
    after `interval` seconds. `sign_in` ends it, until `ends_at`.
    """

    url: str
    user_code: str
    interval: int | None
    ends_at: datetime
    sign_in: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _UnderWay:
    """What is sealed. `proof` is the verifier of PKCE, or the code of a device."""

    kind: str
    name: str
    account: str
    to_act: bool
    ends: float
    client: dict[str, str]
    scopes: tuple[str, ...]
    redirect_uri: str
    state: str
    proof: str
    mailbox: str


class ConnectionSignInService:
    """Begins and ends sign-ins, each for its person alone."""

    def __init__(
        self,
        connections: ConnectionService,
        grants: GrantService,
        cipher: Cipher,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._connections = connections
        self._grants = grants
        self._cipher = cipher
        self._clock = clock

    async def begin(self, user_id: UserId, wanted: SignInWanted) -> SignInBegun:
        """Return where a person signs in.

        Raises InvalidInputError, ConflictError where there is a connection of this name already,
        NotFoundError where there is none to connect again, and as `OAuthIssuer.device`.
        """
        name = await self._connections.free_name(user_id, wanted.kind, wanted.name)
        before: Grant | None = None
        if wanted.reconnect:
            wanted, before = await self._as_it_was(user_id, name, wanted)
        elif name in {one.name for one in await self._connections.all(user_id)}:
            raise ConflictError(
                f"There is a connection named {name} already. Choose another `name`, or "
                "`reconnect` it."
            )
        client = await self._client(user_id, name, wanted, before)
        async with self._grants.issuer() as issuer:
            if wanted.kind == _MICROSOFT:
                return await self._device(issuer, user_id, name, wanted, client)
        # A port that nothing is known to listen on: the browser shows the address all the same.
        own_machine = f"http://127.0.0.1:{49_152 + secrets.randbelow(16_384)}"
        request = issuer.authorization(
            wanted.kind,
            client,
            wanted.callback or own_machine,
            to_act=wanted.to_act,
            account=wanted.account,
        )
        ends_at = self._clock() + LASTS
        under_way = _under_way(
            name,
            wanted,
            client,
            request.scopes,
            ends_at,
            redirect_uri=request.redirect_uri,
            state=request.state,
            proof=request.verifier,
        )
        return SignInBegun(request.url, "", None, ends_at, self._sealed(user_id, under_way))

    async def finish(self, user_id: UserId, sign_in: str, answer: str = "") -> Connected | None:
        """Return the connection that was made; None while nobody has typed the code.

        `answer` is the address to which Google led the browser, or the code in it. Raises
        InvalidInputError for a `sign_in` that is not whole or somebody else's, and for an answer to
        another one; SetupRequiredError where it is over or was refused; and as `connect`.
        """
        one = self._opened(user_id, sign_in)
        if self._clock().timestamp() >= one.ends:
            raise SetupRequiredError("This sign-in took too long. Begin again.", what="connection")
        async with self._grants.issuer() as issuer:
            grant = await self._grant(issuer, one, answer)
        if grant is None:
            return None
        return await self._grants.connect(
            user_id,
            one.kind,
            grant,
            name=one.name,
            account=one.account if one.kind != _MICROSOFT else "",
            to_act=one.to_act,
            mailbox=ImapAccount.from_secret(one.mailbox) if one.mailbox else None,
        )

    async def _as_it_was(
        self, user_id: UserId, name: str, wanted: SignInWanted
    ) -> tuple[SignInWanted, Grant | None]:
        there = await self._connections.get(user_id, name)
        before = await self._grants.of(user_id, name)
        if before is not None and before.service_account:
            raise InvalidInputError(
                "This is connected by a service account. Give it a new key with "
                f"`rota connections reconnect {name} --service-account FILE`.",
                field="reconnect",
            )
        kept = replace(wanted, account=there.account, to_act=may_act(there))
        if before is not None and before.mailbox:
            kept = replace(kept, mailbox=ImapAccount.from_secret(before.mailbox))
        return kept, before

    async def _client(
        self, user_id: UserId, name: str, wanted: SignInWanted, before: Grant | None
    ) -> OAuthClient:
        # httpx and Authlib, for those requests only that need them.
        from rota.agents.tools.oauth.clients import (  # noqa: PLC0415
            OAuthClient,
            client,
            client_from_file,
            microsoft_client,
        )

        if wanted.client_file:
            return client_from_file(wanted.client_file, callback=wanted.callback)
        known = (
            await self._grants.known_client(user_id, wanted.kind, name=name)
            if before is None
            else OAuthClient(before.client_id, before.client_secret, before.tenant)
        )
        if wanted.kind == _MICROSOFT:
            return microsoft_client(wanted.client_id, wanted.tenant, known)
        if wanted.client_id:
            return client(wanted.client_id, wanted.client_secret)
        if known is None:
            raise InvalidInputError(
                "Name your client of Google's: `client_file`, or `client_id` and `client_secret`. "
                "docs/howto/gmail.md says how it is made.",
                field="client_id",
            )
        return known

    async def _device(
        self,
        issuer: OAuthIssuer,
        user_id: UserId,
        name: str,
        wanted: SignInWanted,
        client: OAuthClient,
    ) -> SignInBegun:
        device = await issuer.device(wanted.kind, client, to_act=wanted.to_act)
        ends_at = min(device.ends_at, self._clock() + LASTS)
        under_way = _under_way(
            name, wanted, client, device.scopes, ends_at, proof=device.device_code
        )
        return SignInBegun(
            device.page,
            device.user_code,
            device.interval,
            ends_at,
            self._sealed(user_id, under_way),
        )

    async def _grant(self, issuer: OAuthIssuer, one: _UnderWay, answer: str) -> Grant | None:
        # As above.
        from rota.agents.tools.oauth.authorization import AuthorizationRequest  # noqa: PLC0415
        from rota.agents.tools.oauth.clients import OAuthClient  # noqa: PLC0415
        from rota.agents.tools.oauth.issuer import DeviceRequest  # noqa: PLC0415

        client = OAuthClient(**one.client)
        if one.kind == _MICROSOFT:
            ends_at = datetime.fromtimestamp(one.ends, self._clock().tzinfo)
            device = DeviceRequest("", "", ends_at, 0, client, one.kind, one.scopes, one.proof)
            return await issuer.granted_by_now(device)
        request = AuthorizationRequest(
            "", one.redirect_uri, client, one.scopes, one.state, one.proof
        )
        return await issuer.exchange(one.kind, request, request.whole(answer))

    def _sealed(self, user_id: UserId, one: _UnderWay) -> str:
        sealed = self._cipher.encrypt(json.dumps(asdict(one)), identity=_identity(user_id))
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def _opened(self, user_id: UserId, sign_in: str) -> _UnderWay:
        try:
            sealed = base64.b64decode(
                sign_in + "=" * (-len(sign_in) % 4), altchars=b"-_", validate=True
            )
            text = self._cipher.decrypt(sealed, identity=_identity(user_id))
        except (ValueError, SetupRequiredError) as error:
            raise InvalidInputError(
                "This is no sign-in that you began here. Begin again.", field="sign_in"
            ) from error
        found: dict[str, Any] = json.loads(text)
        return _UnderWay(**found | {"scopes": tuple(found["scopes"])})


def _identity(user_id: UserId) -> str:
    return f"sign-in of {user_id} to a connection"


def _under_way(
    name: str,
    wanted: SignInWanted,
    client: OAuthClient,
    scopes: tuple[str, ...],
    ends_at: datetime,
    *,
    proof: str,
    redirect_uri: str = "",
    state: str = "",
) -> _UnderWay:
    return _UnderWay(
        wanted.kind,
        name,
        wanted.account,
        wanted.to_act,
        ends_at.timestamp(),
        asdict(client),
        scopes,
        redirect_uri,
        state,
        proof,
        wanted.mailbox.as_secret() if wanted.mailbox is not None else "",
    )
