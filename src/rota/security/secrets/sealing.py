"""Encrypts the arguments of a pending action that holds a secret, for its later execution."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rota.domain.ids import ActionId
from rota.security.secrets.encryption import Cipher


def action_identity(action_id: ActionId) -> str:
    """Return what the sealed arguments of an action are bound to."""
    return f"action:{action_id}"


def seal_arguments(arguments: Mapping[str, Any], cipher: Cipher, action_id: ActionId) -> bytes:
    """Encrypt all arguments of an action, bound to its id."""
    return cipher.encrypt(
        json.dumps(dict(arguments), ensure_ascii=False), identity=action_identity(action_id)
    )


def unseal_arguments(sealed: bytes, cipher: Cipher, action_id: ActionId) -> Mapping[str, Any]:
    """Decrypt them; raises SetupRequiredError for another key, or another action's arguments."""
    arguments: Mapping[str, Any] = json.loads(
        cipher.decrypt(sealed, identity=action_identity(action_id))
    )
    return arguments
