"""Signatures of what rota itself has to recognise later: HMAC-SHA256, a key for each purpose."""

from __future__ import annotations

import hashlib
import hmac

from rota.security.secrets.encryption import Cipher


def sign(message: bytes, cipher: Cipher, *, purpose: str) -> bytes:
    """Return the signature of a message by a key that is derived from the operator's."""
    key = hmac.digest(cipher.key, f"rota {purpose}".encode(), hashlib.sha256)
    return hmac.digest(key, message, hashlib.sha256)


def is_signed(message: bytes, signature: bytes, cipher: Cipher, *, purpose: str) -> bool:
    """Return whether the signature is of this message, for this purpose, with this key."""
    return hmac.compare_digest(sign(message, cipher, purpose=purpose), signature)
