"""Compares host names, and the hosts of URLs, in rules."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

import idna

LONGEST_HOST: Final = 253

_LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_ASCII_HOST: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DOTTED_QUAD: Final = re.compile(r"(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2})){3}", re.ASCII)
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)
_DEVIATING: Final = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")
"""Letters that one version of IDNA maps to others and the next one keeps: two names, by reader."""

_PORT: Final = re.compile(r"\d{0,5}", re.ASCII)
_SCHEMES: Final = frozenset({"http", "https", "ftp", "ftps", "ws", "wss"})
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([/?#].*)?", re.IGNORECASE | re.DOTALL)


def ascii_host(name: str) -> str | None:
    """Return a host's name in lower-case ASCII, None for what is not read by all alike.

    International names become punycode (IDNA 2008 with the mapping of UTS 46). An IPv4 address is
    one of four decimal numbers; its other spellings, and IPv6 addresses, are not read.
    """
    text = name.removesuffix(".")
    if not text or len(text) > LONGEST_HOST:
        return None
    if not text.isascii():
        if _DEVIATING.intersection(text):
            return None
        try:
            text = idna.encode(text, uts46=True, std3_rules=True).decode("ascii")
        except (idna.IDNAError, UnicodeError, ValueError):
            return None
    text = text.lower()
    if len(text) > LONGEST_HOST or not _ASCII_HOST.fullmatch(text):
        return None
    # Browsers and libraries read a name that ends in a number as an address, in many spellings.
    if _NUMBER.fullmatch(text.rpartition(".")[2]) and not is_ipv4(text):
        return None
    return text


def is_ipv4(host: str) -> bool:
    """Return whether a host is an IPv4 address, as four decimal numbers."""
    return bool(_DOTTED_QUAD.fullmatch(host)) and all(int(n) < 256 for n in host.split("."))


def is_host_within(host: str, name: str) -> bool:
    """Return whether a host is the named one, or a subdomain of it; addresses have none."""
    return host == name or (not is_ipv4(name) and host.endswith(f".{name}"))


def url_host(text: str) -> str | None:
    """Return the host of a URL, None if programs may read different hosts.

    What stands before an `@` is a name and a password, never the host.
    """
    found = _URL.fullmatch(text)
    if found is None or found[1].lower() not in _SCHEMES:
        return None
    # Browsers read a backslash as a slash, and pass over line breaks and tabs; libraries do not.
    if "\\" in text or any(ord(c) <= 32 or ord(c) == 127 for c in text):
        return None
    userinfo, _, place = found[2].rpartition("@")
    host, _, port = place.partition(":")
    is_plain = "@" not in userinfo and "%" not in host and _PORT.fullmatch(port)
    read = ascii_host(host) if is_plain else None
    try:  # a second parser: if the two differ, the tool's library may agree with either
        other = urlsplit(text).hostname
    except ValueError:
        return None
    return read if other is not None and ascii_host(other) == read else None
