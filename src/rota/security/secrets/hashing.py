"""Hashes of a call's arguments and of a tool's definition, over canonical JSON (RFC 8785).

An approval is bound to these hashes: the call that runs must be the call that the person saw. The
hashes do not protect secrets.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import rfc8785


def arguments_hash(arguments: Mapping[str, Any]) -> str:
    """SHA-256 of the canonical JSON (RFC 8785) of arguments, in hexadecimal."""
    return hashlib.sha256(rfc8785.dumps(dict(arguments))).hexdigest()


def definition_hash(
    name: str, description: str, schema: Mapping[str, Any], hints: Mapping[str, bool]
) -> str:
    """SHA-256 of the canonical JSON of what a tool is, in hexadecimal."""
    definition: dict[str, Any] = {
        "name": name,
        "description": description,
        "schema": dict(schema),
        "annotations": dict(hints),
    }
    return hashlib.sha256(rfc8785.dumps(definition)).hexdigest()
