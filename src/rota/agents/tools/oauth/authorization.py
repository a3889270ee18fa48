"""The page where a person consents, and the address to which it leads the browser back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from authlib.common.security import generate_token  # type: ignore[import-untyped]  # no types
from authlib.oauth2.rfc6749.parameters import (  # type: ignore[import-untyped]  # no types
    prepare_grant_uri,
)
from authlib.oauth2.rfc7636 import (  # type: ignore[import-untyped]  # no types
    create_s256_code_challenge,
)

from rota.agents.tools.oauth.answers import RefusedError
from rota.agents.tools.oauth.clients import OAuthClient
from rota.agents.tools.oauth.providers import Provider
from rota.agents.tools.oauth.refusals import refused_request
from rota.domain.errors import InvalidInputError
from rota.domain.text.cleaning import clean_line
from rota.domain.text.shortening import shorten

_WHOLE: Final = (
    "Paste the whole address to which the browser was led at the end: it begins with {redirect} "
    "and has code= in it."
)
_CODE: Final = re.compile(r"[A-Za-z0-9/_.%-]{8,1000}")
_AROUND: Final = re.compile(r"\s+|^[<\"']+|[>\"']+$")


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A page where a person consents. What it leads to must fit `state`, and `verifier` proves it.

    The verifier never leaves this process before the code is exchanged (PKCE, RFC 7636).
    """

    url: str
    redirect_uri: str
    client: OAuthClient
    scopes: tuple[str, ...]
    state: str = field(repr=False)
    verifier: str = field(repr=False)

    def is_answer(self, address: str) -> bool:
        """Return whether a request of the browser's is the answer to this, of whatever outcome."""
        found = parse_qs(urlsplit(address).query)
        return found.get("state") == [self.state] and ("code" in found or "error" in found)

    def whole(self, answer: str) -> str:
        """Return an answer as an address: a code alone is as good as that, by its verifier.

        Raises InvalidInputError for an address of another place than the one asked for.
        """
        answer = _AROUND.sub("", answer.strip())
        if _CODE.fullmatch(answer):
            return (
                f"{self.redirect_uri}?{urlencode({'state': self.state, 'code': unquote(answer)})}"
            )
        try:
            parts = urlsplit(answer)
        except ValueError:
            parts = urlsplit("")
        wanted = urlsplit(self.redirect_uri)
        place = (parts.scheme, parts.netloc, parts.path.rstrip("/"))
        if place != (wanted.scheme, wanted.netloc, wanted.path.rstrip("/")):
            whole = _WHOLE.format(redirect=self.redirect_uri)
            raise InvalidInputError(f"This is an address of another place. {whole}", field="answer")
        return answer

    def code_of(self, provider: Provider, address: str) -> str:
        """Return the code in the address to which the browser was led.

        Raises InvalidInputError for what is no such address, SetupRequiredError for a refusal.
        """
        address = _AROUND.sub("", address.strip())
        whole = _WHOLE.format(redirect=self.redirect_uri)
        try:
            found = parse_qs(urlsplit(address).query)
        except ValueError:
            found = {}
        if not {"code", "error"} & set(found):
            raise InvalidInputError(f"This address has no code. {whole}", field="answer")
        if found.get("state") != [self.state]:
            raise InvalidInputError(
                "This address belongs to another attempt to connect. Begin again, and open the "
                "page that is shown then.",
                field="answer",
            )
        if "error" in found:
            described = found.get("error_description", [""])[-1]
            refused = RefusedError(
                shorten(clean_line(found["error"][-1]), 100),
                shorten(clean_line(described), 300).rstrip("."),
            )
            raise refused_request(provider, refused)
        return found["code"][-1]


def authorization_request(
    provider: Provider,
    page: str,
    client: OAuthClient,
    scopes: tuple[str, ...],
    redirect_uri: str,
    *,
    account: str = "",
) -> AuthorizationRequest:
    """Return a new request, with a state and a verifier of its own."""
    state, verifier = generate_token(32), generate_token(64)
    url = prepare_grant_uri(
        page,
        client.id,
        "code",
        redirect_uri=redirect_uri,
        scope=list(scopes),
        state=state,
        code_challenge=create_s256_code_challenge(verifier),
        code_challenge_method="S256",
        login_hint=account if "@" in account else None,
        **dict(provider.asks),
    )
    return AuthorizationRequest(str(url), redirect_uri, client, scopes, state, verifier)
