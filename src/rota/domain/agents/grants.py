"""OAuth grants: what a provider gave so that rota reads an account while its owner is away.

`rota.agents.tools.oauth` gets, refreshes and revokes them. `rota.services.agents` says when, and
keeps them, encrypted. Tools see the access token and no more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Final, Protocol

AUDIENCE_PAGE: Final = "https://console.cloud.google.com/auth/audience"
"""Where the owner of a Google app publishes it."""

PUBLISH: Final = (
    "Google ends grants after seven days while the app's publishing status is Testing. Publish the "
    f"app ({AUDIENCE_PAGE}), then connect it again: a grant of before keeps its end."
)
"""Why a Google grant dies after a week, and what to do."""

_MARK: Final = '{"grant":'


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant with its secrets. Sealed as a whole: no part of it is stored elsewhere.

    `provider` names a row of the table in `rota.agents.tools.oauth`. `access_ends_at` is the end of
    the access token, `ends_at` that of the grant itself, None where the provider sets none.
    `service_account` is a service account's key as JSON; then `subject` is whose account it reads.
    `tenant` is the directory of Microsoft's that is asked. `mailbox` is an `ImapAccount` as JSON,
    to which the access token belongs, where tools get one.
    """

    provider: str
    client_id: str = ""
    client_secret: str = ""
    refresh_token: str = ""
    access_token: str = ""
    access_ends_at: datetime | None = None
    ends_at: datetime | None = None
    scopes: tuple[str, ...] = ()
    account: str = ""
    service_account: str = ""
    subject: str = ""
    granted_at: datetime | None = None
    tenant: str = ""
    mailbox: str = ""

    def __repr__(self) -> str:
        return f"Grant({self.provider!r} of {self.account!r})"

    def as_secret(self) -> str:
        """Return all of it, to be encrypted."""
        return f"{_MARK}{json.dumps(asdict(self), default=datetime.isoformat)}}}"

    @classmethod
    def from_secret(cls, secret: str) -> Grant:
        """Return what `as_secret` returned; what a later rota added is left out."""
        stored: Mapping[str, Any] = json.loads(secret)["grant"]
        known = {f.name: stored[f.name] for f in fields(cls) if f.name in stored}
        for name in ("access_ends_at", "ends_at", "granted_at"):
            known[name] = datetime.fromisoformat(known[name]) if known.get(name) else None
        return cls(**known | {"scopes": tuple(known.get("scopes", ()))})


def why_it_ends(kind: str) -> str:
    """Say why a grant for this kind of connection has an end; empty where that is not known."""
    return PUBLISH if kind in {"gmail", "google-calendar"} else ""


def is_grant(secret: str) -> bool:
    """Return whether an opened secret is a grant, rather than a token that somebody pasted."""
    return secret.startswith(_MARK)


class GrantIssuer(Protocol):
    """Speaks to the providers of grants. Its errors hold the provider's words, cleaned."""

    async def refresh(self, grant: Grant) -> Grant:
        """Return it with a new access token, and the refresh token that is valid from now on.

        Raises ReconnectRequiredError where the grant is at its end, SetupRequiredError where a
        person has to mend something else, UnavailableError where it may pass.
        """

    async def revoke(self, grant: Grant) -> None:
        """End it at the provider; one that has ended already is no error.

        Raises UnavailableError where the provider could not be reached, or has no such call.
        """
