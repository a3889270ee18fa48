"""Secrets that rota makes and does not keep: of tokens, sessions and links only a hash stays.

A secret has 256 random bits, so it needs no slow hash: nobody can try them all.
"""

from __future__ import annotations

import hashlib
import secrets


def new_secret(prefix: str = "") -> str:
    """Return a secret of letters, digits, `-` and `_`."""
    return f"{prefix}{secrets.token_urlsafe(32)}"


def hash_of(secret: str) -> bytes:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
