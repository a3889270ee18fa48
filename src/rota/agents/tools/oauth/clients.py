"""A person's own OAuth client, and a service account's key: what consoles let one download."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from rota.domain.errors import InvalidInputError

_ID: Final = re.compile(r"[!-~]{3,300}")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_WHERE: Final = "docs/howto/gmail.md says how it is made."


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """A client of a provider, made by the person or their team."""

    id: str
    secret: str = field(default="", repr=False)
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class ServiceAccountKey:
    """The key of a service account of Google's."""

    email: str
    client_id: str
    key_id: str
    private_key: str = field(repr=False)


def client(client_id: str, secret: str = "", tenant: str = "") -> OAuthClient:
    """Return a client of what was typed; raises InvalidInputError."""
    client_id, secret, tenant = client_id.strip(), secret.strip(), tenant.strip()
    if not _ID.fullmatch(client_id):
        raise InvalidInputError("A client id is one word; this is none.", field="client")
    if secret and not _ID.fullmatch(secret):
        raise InvalidInputError("A client secret is one word; this is none.", field="client")
    if tenant and not re.fullmatch(r"[A-Za-z0-9.-]{3,100}", tenant):
        raise InvalidInputError(
            "A tenant is the id of a directory or its domain, or common, organizations or "
            "consumers.",
            field="tenant",
        )
    return OAuthClient(client_id, secret, tenant)


def microsoft_client(client_id: str, tenant: str, known: OAuthClient | None) -> OAuthClient:
    """Return the app that a person named, or the one that is known; raises InvalidInputError."""
    if not client_id and known is not None:
        return replace(known, tenant=tenant or known.tenant)
    if not client_id:
        raise InvalidInputError(
            "Name your app at Microsoft: --client-id ID. docs/howto/microsoft.md says how it is "
            "made.",
            field="client_id",
        )
    return client(client_id, tenant=tenant)


def client_from_file(text: str, *, callback: str = "") -> OAuthClient:
    """Return the client in a file of Google's console; raises InvalidInputError.

    `callback` is the address of a server to which Google leads the browser, for which a client of
    the type Web application is right.
    """
    found = _object(text, "client")
    if found.get("type") == "service_account":
        raise InvalidInputError(
            "This is the key of a service account: give it as --service-account FILE.",
            field="client",
        )
    is_far = bool(callback) and urlsplit(callback).hostname not in _LOOPBACK
    if is_far and "installed" in found:
        raise InvalidInputError(
            "This client is of the type Desktop app, which leads back to one's own machine alone. "
            f"Make one of the type Web application, with the redirect URI {callback}.",
            field="client",
        )
    if "web" in found and not callback:
        raise InvalidInputError(
            "This client is of the type Web application, which cannot lead back to rota. Make one "
            f"of the type Desktop app: {_WHERE}",
            field="client",
        )
    inner = found.get("installed", found.get("web") if callback else None)
    if not isinstance(inner, dict) or not isinstance(inner.get("client_id"), str):
        raise InvalidInputError(
            f"This is not the file of a client of the type Desktop app. {_WHERE}", field="client"
        )
    return client(inner["client_id"], str(inner.get("client_secret", "")))


def service_account_key(text: str) -> ServiceAccountKey:
    """Return the key in a file of Google's console; raises InvalidInputError."""
    found = _object(text, "service_account")
    if found.get("type") != "service_account":
        raise InvalidInputError(
            "This is not the key of a service account."
            + (" It is a client: give it as --client FILE." if "installed" in found else ""),
            field="service_account",
        )
    names = ("client_email", "client_id", "private_key_id", "private_key")
    email, client_id, key_id, private = (str(found.get(name, "")) for name in names)
    try:
        load_pem_private_key(private.encode(), password=None)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(
            "The private key in this file cannot be read. Download a new key.",
            field="service_account",
        ) from error
    if not email:
        raise InvalidInputError("This file has no client_email.", field="service_account")
    return ServiceAccountKey(email, client_id, key_id, private)


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidInputError(
            "This file is not JSON as Google's console downloads it.", field=name
        )
    return found
