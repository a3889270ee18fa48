"""First grants of OAuth: what a provider granted is judged, tried and kept as a connection.

How a person consents is the command's (`rota.cli.agents.consent`). When grants are refreshed is
`ConnectionService`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from rota.domain.agents.connections import ConnectionInfo
from rota.domain.agents.grants import Grant, is_grant, why_it_ends
from rota.domain.agents.mail_accounts import ImapAccount
from rota.domain.errors import InvalidInputError, SetupRequiredError
from rota.domain.ids import UserId
from rota.services.agents.connection_checks import CHECKS
from rota.services.agents.connections import ConnectionService, secret_for_tools

if TYPE_CHECKING:
    from rota.agents.tools.oauth.clients import OAuthClient
    from rota.agents.tools.oauth.issuer import OAuthIssuer


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection that was made of a grant.

    `lacks` says what was wanted and not granted. `warning` says why the grant will end, if it will.
    """

    name: str
    account: str
    found: str
    lacks: str
    ends_at: datetime | None
    warning: str


class GrantService:
    """Makes connections of grants."""

    def __init__(
        self,
        connections: ConnectionService,
        *,
        clock: Callable[[], datetime],
        endpoints: Mapping[str, str] | None = None,
    ) -> None:
        """`endpoints` are the operator's other base URLs, by the name of an API or provider."""
        self._connections = connections
        self._clock = clock
        self._endpoints = endpoints or {}

    @asynccontextmanager
    async def issuer(self) -> AsyncIterator[OAuthIssuer]:
        """Give what speaks to the providers, for a block."""
        # httpx and Authlib, for those commands only that need them.
        import httpx  # noqa: PLC0415

        from rota.agents.tools.oauth.issuer import OAuthIssuer  # noqa: PLC0415

        async with httpx.AsyncClient() as http:
            yield OAuthIssuer(http, clock=self._clock, endpoints=self._endpoints)

    async def known_client(
        self, user_id: UserId, kind: str, *, name: str = ""
    ) -> OAuthClient | None:
        """Return the client of the connection of this name, or of another with its provider."""
        # As above.
        from rota.agents.tools.oauth.clients import OAuthClient  # noqa: PLC0415
        from rota.agents.tools.oauth.providers import SCOPES  # noqa: PLC0415

        provider = SCOPES[kind].provider
        connections = await self._connections.all(user_id)
        for one in sorted(connections, key=lambda one: one.name != name):
            if one.kind in SCOPES and SCOPES[one.kind].provider is provider:
                grant = await self.of(user_id, one.name)
                if grant is not None and not grant.service_account:
                    return OAuthClient(grant.client_id, grant.client_secret, grant.tenant)
        return None

    async def of(self, user_id: UserId, name: str) -> Grant | None:
        """Return the grant of a connection, None for one by a token; raises NotFoundError."""
        secret = await self._connections.open(user_id, name)
        return Grant.from_secret(secret) if is_grant(secret) else None

    async def connect(
        self,
        user_id: UserId,
        kind: str,
        grant: Grant,
        *,
        name: str = "",
        account: str = "",
        to_act: bool = False,
        mailbox: ImapAccount | None = None,
    ) -> Connected:
        """Try a new grant, and keep it as a connection; it replaces one of its name and kind.

        `account` is whose it should be; empty: whoever signed in. `mailbox` is where a mailbox is
        that is read by IMAP. Raises SetupRequiredError where what is needed to read was not
        granted, InvalidInputError for another account, and as tools of this kind do. Then nothing
        is kept.
        """
        # As above.
        from rota.agents.tools.oauth.providers import SCOPES  # noqa: PLC0415

        scopes = SCOPES[kind]
        missing = scopes.missing(grant.scopes, to_act=to_act)
        if set(missing) & set(scopes.reading):
            raise SetupRequiredError(
                f"{scopes.provider.noun} granted no {scopes.reads} ({', '.join(missing)}), so "
                "nothing was connected. Connect again, and leave its box ticked where you are "
                "asked.",
                what="connection",
            )
        if mailbox is not None:
            mailbox = replace(mailbox, smtp_host="" if missing or not to_act else mailbox.smtp_host)
            grant = replace(grant, mailbox=mailbox.as_secret(), account=mailbox.user)
        found = await self._account(kind, grant)
        if account and account.strip().lower() != found.lower():
            raise InvalidInputError(
                f"You signed in as {found}, not as {account}, so nothing was connected. Connect "
                "again, and choose the other account in the browser, or leave --account out.",
                field="account",
            )
        grant = replace(grant, account=found)
        seen = await CHECKS[kind](secret_for_tools(grant), self._endpoints)
        name = await self._connections.add_grant(user_id, kind, grant, name=name, is_checked=True)
        warning = why_it_ends(kind) if grant.ends_at is not None else ""
        lacks = scopes.acts if missing else ""
        return Connected(name, found, seen, lacks, grant.ends_at, warning)

    async def _account(self, kind: str, grant: Grant) -> str:
        """Return whose account it is: Google tells, a mail server only judges."""
        if grant.mailbox:
            return grant.account
        # As above.
        import httpx  # noqa: PLC0415

        from rota.agents.tools.oauth.accounts import google_account  # noqa: PLC0415

        async with httpx.AsyncClient() as http:
            return await google_account(kind, grant.access_token, self._endpoints, http=http)


def may_act(connection: ConnectionInfo) -> bool:
    """Tell whether a connection by OAuth was granted more than reading."""
    # As above.
    from rota.agents.tools.oauth.providers import SCOPES  # noqa: PLC0415

    granted = {scope.lower() for scope in connection.scopes}
    return granted >= {scope.lower() for scope in SCOPES[connection.kind].acting}
