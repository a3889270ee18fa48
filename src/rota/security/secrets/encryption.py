"""Secrets at rest: AES-256-GCM, with the row's identity as associated data.

Most commands have a cipher and do not use it. So the package cryptography, which is slow to
import, is imported at the first use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rota.domain.errors import InvalidInputError, SetupRequiredError

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


@dataclass(frozen=True, slots=True)
class Cipher:
    """Encrypts with one key, and decrypts with that or an older one.

    `source` returns the keys, the newest first, and is called at each use. So a process that runs
    for weeks gets a key that `rota keys rotate` made.
    """

    key: bytes = field(repr=False)
    older: tuple[bytes, ...] = field(default=(), repr=False)
    source: Callable[[], Sequence[bytes]] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse a key of the wrong size."""
        if any(len(key) != KEY_BYTES for key in (self.key, *self.older)):
            raise InvalidInputError(f"An encryption key has {KEY_BYTES} bytes; this one does not.")

    @property
    def keys(self) -> tuple[bytes, ...]:
        """The keys as they are now, the newest first."""
        return (self.key, *self.older) if self.source is None else tuple(self.source())

    @property
    def key_id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the newest key."""
        return _id_of(self.keys[0])

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of all keys, the newest first."""
        return tuple(map(_id_of, self.keys))

    def encrypt(self, plaintext: str, *, identity: str) -> bytes:
        """Return nonce, ciphertext and tag; `identity` (the row's) must be given to decrypt."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  as said

        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self.keys[0]).encrypt(nonce, plaintext.encode(), identity.encode())

    def decrypt(self, sealed: bytes, *, identity: str) -> str:
        """Return the plaintext; raises SetupRequiredError for another key or a moved row."""
        return self.open(sealed, identity=identity)[0]

    def open(self, sealed: bytes, *, identity: str) -> tuple[str, bool]:
        """Return the plaintext, and whether the newest key opened it; raises as `decrypt`."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415  as said
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415  as said

        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for place, key in enumerate(self.keys):
            try:
                opened = AESGCM(key).decrypt(nonce, ciphertext, identity.encode())
            except InvalidTag:
                continue
            return opened.decode(), place == 0
        raise SetupRequiredError(
            "A stored secret cannot be decrypted with this rota's key. Write the key that it was "
            "stored with after this one (in secret.key on a line of its own, in ROTA_SECRET_KEY "
            "after a space), or connect the account again.",
            what="secret_key",
        )


def _id_of(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:16]


def new_key() -> str:
    """Return a new key as text, as `load_key` reads it."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def load_keys(
    configured: str | None, key_file: Path, *, called: str = "ROTA_SECRET_KEY"
) -> tuple[bytes, ...]:
    """Return the keys that are configured, or those of a file of mode 0600, made when missing.

    The newest is first: `configured` has them separated by spaces or commas, a file has one a line.
    Each is 32 bytes as base64 or 64 hexadecimal digits. `called` is where they were set. Raises
    InvalidInputError.
    """
    if configured:
        return _parse(configured, called)
    try:
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return KeyFile(key_file).keys()
    key = new_key()
    _write(descriptor, [key])
    return (base64.b64decode(key),)


class KeyFile:
    """A file of keys, the newest first, that is read again when it has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read: tuple[tuple[int, ...], tuple[bytes, ...]] | None = None

    def keys(self) -> tuple[bytes, ...]:
        """Return the keys; raises InvalidInputError where others can read them too."""
        found = self.path.stat()
        mark = (found.st_ino, found.st_mtime_ns, found.st_size, found.st_mode)
        if self._read is None or self._read[0] != mark:
            if found.st_mode & 0o077:
                raise InvalidInputError(
                    f"The key file {self.path} can be read by others. Run: chmod 600 {self.path}"
                )
            text = self.path.read_text(encoding="ascii", errors="replace")
            self._read = (mark, _parse(text, str(self.path)))
        return self._read[1]

    def add(self) -> None:
        """Put a new key before the others, in one step: whoever reads finds the old or the new."""
        found = self.path.stat()
        keys = [base64.b64encode(key).decode() for key in self.keys()]
        draft = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchown(descriptor, found.st_uid, found.st_gid)
            _write(descriptor, [new_key(), *keys])
            draft.replace(self.path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise


def _write(descriptor: int, keys: Sequence[str]) -> None:
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write("".join(f"{key}\n" for key in keys))
        handle.flush()
        os.fsync(handle.fileno())


def _parse(text: str, source: str) -> tuple[bytes, ...]:
    keys = tuple(map(_parse_one, text.replace(",", " ").split()))
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise InvalidInputError(
            f"{source} must hold 32 bytes, as base64 or as 64 hexadecimal digits; of several keys "
            "the newest is first. Make one with: rota keys new"
        )
    return keys


def _parse_one(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if len(text) == 2 * KEY_BYTES else base64.b64decode(text)
    except (ValueError, binascii.Error):
        return b""
