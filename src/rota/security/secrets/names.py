"""Tells by the name of a key, a header, an option or a variable that its value is a secret."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final, Literal

_WORDS: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
"""What a name is put together of: apiKey, API_KEY, api-key and "api key" are api and key."""

_LONGEST: Final = 100
"""Characters of a name that are looked at, its last ones."""

_SECRETS: Final = frozenset(
    {
        *("password", "passwords", "passwd", "passphrase", "passphrases", "passcode", "passcodes"),
        *("pwd", "secret", "secrets", "credential", "credentials"),
        *("authorization", "authorisation"),
        *("apikey", "apikeys", "otp", "otps", "totp", "csrf", "xsrf", "cvv", "cvc"),
    }
)
_ENDINGS: Final = (
    *("password", "passwd", "passphrase", "secret", "token"),
    *("apikey", "accesskey", "secretkey", "privatekey", "signingkey", "accountkey"),
    *("connectionstring",),
)
"""What words without a separator end with: PGPASSWORD, authtoken, clientsecret."""

_ALONE: Final = frozenset({"pass", "pin", "pins", "auth", "bearer", "cookie", "cookies"})
"""Secrets as the whole name, or its last word after one that says whose."""

_WHOSE: Final = frozenset(
    {
        *("user", "account", "login", "admin", "root", "my", "your", "new", "old", "app", "device"),
        *("db", "database", "server", "smtp", "imap", "ftp", "ssh", "mail", "email", "mysql", "pg"),
        *("redis", "http", "https", "proxy", "basic", "session", "set", "request", "wifi", "sudo"),
        *("card", "sim", "bank", "security", "unlock", "atm", "x"),
    }
)
_PAIRS: Final = frozenset(
    {
        *((of, key) for key in ("key", "keys") for of in (
            *("api", "access", "private", "secret", "signing", "encryption", "decryption"),
            *("account", "shared", "master", "session", "auth", "ssh", "deploy", "license"),
            *("role", "consumer", "hmac", "webhook", "recovery"),
        )),
        *((of, "string") for of in ("connection", "conn")),
        *((of, "strings") for of in ("connection", "conn")),
        *(("auth", what) for what in ("header", "headers", "code", "data", "string")),
        *(("pin", "code"), ("bearer", "header"), ("cookie", "header"), ("cookie", "jar")),
    }
)  # fmt: skip
_HARMLESS: Final = frozenset(
    {
        *("count", "counts", "limit", "limits", "usage", "budget", "cost", "costs", "price"),
        "rate",
        *("amount", "fee", "email", "mail", "phone", "number", "address", "symbol"),
        *("recipient", "recipients", "scanning"),
        *("policy", "policies", "rule", "rules", "length", "size", "strength", "format", "scope"),
        *("type", "types", "kind", "method", "mode", "algorithm", "provider", "issuer", "audience"),
        *("name", "names", "label", "title", "description", "id", "ids", "version", "status"),
        *("at", "in", "age", "ttl", "expiry", "expires", "expiration", "enabled", "required"),
        *("url", "urls", "uri", "endpoint", "path", "file", "env", "field", "fields", "arn"),
    }
)
"""Last words of what is only about a secret: token_count, cookie_policy, password_file."""

_PLACES: Final = frozenset(
    {
        *("page", "next", "continuation", "pagination", "sync", "start", "end", "stop", "first"),
        *("last", "eos", "bos", "pad", "unk", "sep", "mask", "special", "max", "min", "per"),
    }
)
"""Tokens that open nothing: where a list goes on, and what text is made of for a model."""

_COUNTED: Final = _PLACES | frozenset(
    {
        *("input", "output", "prompt", "completion", "total", "cached", "cache", "reasoning"),
        *("thinking", "used", "remaining", "context", "generated", "billed", "estimated", "num"),
    }
)

_OPENING: Final = frozenset(
    (of,) for of in ("auth", "access", "refresh", "session", "csrf", "xsrf", "api", "id", "bot")
)
"""Tokens that open something, however many there are."""

Judged = Literal["secret", "counted"] | None


def is_secret(name: str, value: Any) -> bool:
    """Return whether this value under this name is a secret; nothing and truth values never are.

    Tokens that are counted (`"tokens": 5`) are none.
    """
    if value in (None, "", [], {}) or isinstance(value, bool):
        return False
    judged = _judge(name[-_LONGEST:])
    return judged == "secret" or (judged == "counted" and not _is_count(value))


def is_secret_phrase(text: str) -> bool:
    """Return whether a text ends with two words that say it together, as API key does."""
    return split_words(text)[-2:] in _PAIRS


@lru_cache(maxsize=4_096)
def split_words(name: str) -> tuple[str, ...]:
    """Return the words that a name is put together of, without figures."""
    plain = unicodedata.normalize("NFKC", name)
    return tuple(word.lower() for word in _WORDS.findall(plain))


@lru_cache(maxsize=4_096)
def _judge(name: str) -> Judged:
    words = split_words(name)
    if not words or words[0] in {"no", "without"}:
        return None
    if words[-1] in _HARMLESS and words[-2:] != ("secret", "id"):  # of Vault's AppRole: a secret
        return None
    if words[-1] == "tokens" and words[-2:-1] not in _OPENING:
        return None if _COUNTED.intersection(words[:-1]) else "counted"
    is_one = any(_is_secret_word(words, place) for place in range(len(words)))
    return "secret" if is_one or _PAIRS.intersection(pairwise(words)) else None


def _is_secret_word(words: tuple[str, ...], place: int) -> bool:
    word = words[place]
    before = words[place - 1] if place else ""
    if word in _ALONE:
        return place == len(words) - 1 and (not before or before in _WHOSE)
    if word == "tokens":
        return (before,) in _OPENING
    if word.endswith("token"):
        return before not in _PLACES and word[: -len("token")] not in _PLACES
    return word in _SECRETS or word.endswith(_ENDINGS)


def _is_count(value: Any) -> bool:
    """Return whether a value, neither empty nor a truth value, counts something."""
    if isinstance(value, str):
        return value.isdecimal() and len(value) <= 9
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, int | float) for item in value)
    return isinstance(value, int | float | Decimal)
