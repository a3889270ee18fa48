"""Signs data that rota must recognise later as its own: HMAC-SHA256, with a key per purpose."""

from __future__ import annotations

import hashlib
import hmac

from rota.security.secrets.encryption import Cipher


def sign(message: bytes, cipher: Cipher, *, purpose: str) -> bytes:
    """Return the signature of a message by a key that is derived from the operator's newest."""
    return _sign(message, cipher.keys[0], purpose)


def is_signed(message: bytes, signature: bytes, cipher: Cipher, *, purpose: str) -> bool:
    """Return whether the signature is of this message, for this purpose, with one of the keys."""
    return any(hmac.compare_digest(_sign(message, key, purpose), signature) for key in cipher.keys)


def _sign(message: bytes, key: bytes, purpose: str) -> bytes:
    derived = hmac.digest(key, f"rota {purpose}".encode(), hashlib.sha256)
    return hmac.digest(derived, message, hashlib.sha256)
