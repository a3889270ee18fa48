"""Secrets out of whatever is stored for people to read or written to a log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from rota.domain.content import REDACTED, SecretText

_SECRET_KEY: Final = re.compile(
    r"(?i)^(.*[_-])?(passw(or)?d|passphrase|secret|token|api[_-]?key|authorization|cookie"
    r"|credentials?|private[_-]?key|access[_-]?key|refresh[_-]?token|client[_-]?secret)([_-].*)?$"
)
_SECRET_TEXT: Final = re.compile(
    r"(?:"
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic, Stripe
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}"  # GitHub
    r"|\bxox[abprs]-[A-Za-z0-9-]{10,}"  # Slack
    r"|\bya29\.[A-Za-z0-9_-]{10,}"  # Google OAuth
    r"|\bAIza[A-Za-z0-9_-]{30,}"  # Google API key
    r"|\bAKIA[A-Z0-9]{16}\b"  # AWS
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"  # JWT
    r"|\b\d{8,10}:[A-Za-z0-9_-]{35}\b"  # Telegram bot
    r"|(?i:\bbearer\s+)[A-Za-z0-9._~+/-]{8,}=*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # user:password in a URL
    r")"
)


def redact_text(text: str) -> str:
    """Replace what looks like a secret by its form alone."""
    return _SECRET_TEXT.sub(REDACTED, text)


def redact(value: Any) -> Any:
    """Return a JSON value with secrets replaced: by their key's name, and by their form."""
    if isinstance(value, SecretText):
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {
            key: REDACTED
            if _SECRET_KEY.match(str(key)) and isinstance(item, str | bytes)
            else redact(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value
