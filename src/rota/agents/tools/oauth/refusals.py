"""What a provider's refusal means for a person, and what they can do, in one or two sentences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rota.agents.tools.oauth.answers import RefusedError
from rota.agents.tools.oauth.providers import GOOGLE, Provider
from rota.domain.agents.connections import ReconnectRequiredError
from rota.domain.agents.grants import PUBLISH, Grant
from rota.domain.errors import RotaError, SetupRequiredError

TESTING: Final = timedelta(days=7)
"""How long a grant lives of a Google app whose publishing status is Testing."""

_ABOUT_TESTING: Final = (TESTING - timedelta(hours=12), TESTING + timedelta(days=2))
_LARGE_SKEW: Final = timedelta(minutes=4)

_UNKNOWN_CLIENT: Final = frozenset({"invalid_client", "deleted_client", "disabled_client"})
_SIGN_IN_AGAIN: Final = frozenset({50076, 50078, 50079, 50158, 53000, 53003, 530034, 530035})


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What words or codes mean. Microsoft's words differ by language; its codes do not.

    `sentence` has {noun} for the provider and {said} for its words.
    """

    sentence: str
    errors: frozenset[str] = frozenset()
    codes: frozenset[int] = frozenset()

    def holds_for(self, refused: RefusedError) -> bool:
        return refused.error in self.errors or bool(refused.codes & self.codes)


_REQUESTS: Final = (
    _Meaning(
        "The Microsoft app does not allow devices to sign in: switch on Allow public client flows "
        "on its page Authentication {said}.",
        codes=frozenset({7000218}),
    ),
    _Meaning(
        "This account and the Microsoft app do not belong together {said}. Are the client id and "
        "--tenant right, and does the app allow this kind of account?",
        codes=frozenset({50020, 50059, 90002, 500207, 700016, 9002346}),
    ),
    _Meaning(
        "An administrator of your team has to allow this app first {said}.",
        frozenset({"admin_policy_enforced", "org_internal", "consent_required"}),
        frozenset({65001, 90008, 90094, 90095}),
    ),
    _Meaning(
        "The rules of your team do not let this app sign in {said}. Its administrator can allow "
        "that (Conditional Access, or the users of the app).",
        codes=frozenset({50105, 53000, 53001, 53002, 53003, 530034, 530035}),
    ),
    _Meaning(
        "{noun} says that consent was refused {said}. Nothing was connected.",
        frozenset({"access_denied", "authorization_declined"}),
    ),
    _Meaning(
        "The code was not entered in time {said}. Begin again.",
        frozenset({"expired_token", "code_expired", "bad_verification_code"}),
    ),
    _Meaning(
        "{noun} does not accept the client {said}. Was it deleted, or its secret changed? Connect "
        "again with its id and secret as they are now.",
        _UNKNOWN_CLIENT | {"unauthorized_client"},
    ),
)
"""Refusals of a consent, a code or a client; the first that holds."""

_USED_CODE: Final = _Meaning(
    "{noun} did not accept the answer {said}: each works once, for some minutes. Begin again.",
    frozenset({"invalid_grant"}),
)
"""The refusal of a code, where no other meaning holds. For a refresh the same word says more."""

_ENDS: Final = (
    _Meaning(
        "The password was changed, and {noun} ended the grant {said}.", codes=frozenset({50173})
    ),
    _Meaning(
        "The grant was not used for so long that {noun} ended it {said}.",
        codes=frozenset({70008, 70043, 700082, 700084}),
    ),
    _Meaning(
        "{noun} wants you to sign in again {said}.",
        frozenset({"interaction_required"}),
        _SIGN_IN_AGAIN,
    ),
)
"""Ends of a grant that Microsoft has a code for; the first that holds."""


def refused_refresh(
    provider: Provider, refused: RefusedError, grant: Grant, *, now: datetime
) -> RotaError:
    """Return the error for a grant that the provider no longer takes."""
    if grant.service_account:
        return refused_service_account(refused, grant)
    ends = _first(_ENDS, refused)
    if ends is not None:
        return ReconnectRequiredError(ends.sentence.format(noun=provider.noun, said=refused.said))
    if refused.error == "invalid_grant" and _first(_REQUESTS, refused) is None:
        return ReconnectRequiredError(_ended(provider, refused, grant, now))
    return refused_request(provider, refused)


def refused_request(provider: Provider, refused: RefusedError) -> RotaError:
    """Return the error for any other refusal: of a consent, a code, a client."""
    meaning = _first((*_REQUESTS, _USED_CODE), refused)
    sentence = "{noun} refused {said}." if meaning is None else meaning.sentence
    return SetupRequiredError(
        sentence.format(noun=provider.noun, said=refused.said), what="connection"
    )


def _first(meanings: Iterable[_Meaning], refused: RefusedError) -> _Meaning | None:
    return next((one for one in meanings if one.holds_for(refused)), None)


def refused_service_account(refused: RefusedError, grant: Grant) -> RotaError:
    """Return the error for a service account that gets no token."""
    said, skew = refused.said, refused.skew
    what = "connection"
    if refused.error == "unauthorized_client":
        return SetupRequiredError(
            f"The team has not delegated these scopes to the service account {said}. An "
            "administrator does it at https://admin.google.com/ac/owl/domainwidedelegation, for "
            f"its client id {grant.client_id} and {', '.join(grant.scopes)}.",
            what=what,
        )
    if skew is not None and abs(skew) > _LARGE_SKEW:
        minutes = round(abs(skew).total_seconds() / 60)
        direction = "ahead of" if skew > timedelta(0) else "behind"
        return SetupRequiredError(
            f"This machine's clock is {minutes:,} minutes {direction} Google's, so Google takes no "
            f"signature {said}. Set the clock.",
            what=what,
        )
    if "email" in refused.description.lower():
        return SetupRequiredError(
            f"Google knows no account {grant.subject} in this team {said}.", what=what
        )
    if refused.error in {"invalid_grant", *_UNKNOWN_CLIENT}:
        return SetupRequiredError(
            f"Google does not accept the service account's key {said}. Was it deleted? Connect it "
            "again with a new one.",
            what=what,
        )
    return refused_request(GOOGLE, refused)


def _ended(provider: Provider, refused: RefusedError, grant: Grant, now: datetime) -> str:
    said = refused.said
    if refused.subtype == "invalid_rapt":
        return (
            f"Your team lets sessions with Google end, and this one has {said}. Its administrator "
            "can exempt apps that are trusted (Security, Google Cloud session control)."
        )
    if provider is GOOGLE and _died_of_testing(grant, now):
        return f"The grant has ended {said}. {PUBLISH}"
    return (
        f"{provider.noun} has ended the grant {said}: it was revoked, the password was changed, or "
        "nothing used it for months."
    )


def _died_of_testing(grant: Grant, now: datetime) -> bool:
    """Return whether a grant died by its age, as those of apps in testing do."""
    if grant.ends_at is not None:
        return grant.ends_at - timedelta(hours=1) <= now
    if grant.granted_at is None:
        return False
    youngest, oldest = _ABOUT_TESTING
    return youngest <= now - grant.granted_at <= oldest
