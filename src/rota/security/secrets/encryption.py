"""Secrets at rest: AES-256-GCM, with the row's identity as associated data.

What has a cipher seldom uses it, so cryptography is imported when it does: it takes long.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rota.domain.errors import InvalidInputError, SetupRequiredError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Cipher:
    """Encrypts and decrypts with one key. `key_id` names the key without revealing it."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse a key of the wrong size."""
        if len(self.key) != KEY_BYTES:
            raise InvalidInputError(f"An encryption key has {KEY_BYTES} bytes; this one does not.")

    @property
    def key_id(self) -> str:
        """First 16 hexadecimal digits of the key's SHA-256."""
        return hashlib.sha256(self.key).hexdigest()[:16]

    def encrypt(self, plaintext: str, *, identity: str) -> bytes:
        """Return nonce, ciphertext and tag; `identity` (the row's) must be given to decrypt."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  as said

        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self.key).encrypt(nonce, plaintext.encode(), identity.encode())

    def decrypt(self, sealed: bytes, *, identity: str) -> str:
        """Return the plaintext; raises SetupRequiredError for another key or a moved row."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  as said
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  as said

        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return AESGCM(self.key).decrypt(nonce, ciphertext, identity.encode()).decode()
        except InvalidTag:
            raise SetupRequiredError(
                "A stored secret cannot be decrypted with this rota's key. Set ROTA_SECRET_KEY "
                "to the key that it was stored with, or connect the account again.",
                what="secret_key",
            ) from None


def new_key() -> str:
    """Return a new key as text, as `load_key` reads it."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def load_key(configured: str | None, key_file: Path, *, called: str = "ROTA_SECRET_KEY") -> bytes:
    """Return the key that is configured, or from a file of mode 0600 that is made when missing.

    `configured` is 32 bytes as base64 or 64 hexadecimal digits, `called` where they were set.
    Raises InvalidInputError.
    """
    if configured:
        return _parse(configured.strip(), called)
    try:
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if key_file.stat().st_mode & 0o077:
            raise InvalidInputError(
                f"The key file {key_file} can be read by others. Run: chmod 600 {key_file}"
            ) from None
        return _parse(key_file.read_text(encoding="ascii").strip(), str(key_file))
    key = new_key()
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(f"{key}\n")
        handle.flush()
        os.fsync(handle.fileno())
    return base64.b64decode(key)


def _parse(text: str, source: str) -> bytes:
    try:
        key = bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise InvalidInputError(
            f"{source} must hold 32 bytes, as base64 or as 64 hexadecimal digits. "
            "Make one with: rota keys new"
        )
    return key
