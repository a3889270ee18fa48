"""Redacts secrets in text that people read: stored text and log lines.

A secret is found by the name that it is under, or by its form. Each pattern reads a character only
a bounded number of times, so that a long text cannot make it slow. Text that is redacted already
stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, TypeGuard

from rota.domain.text.shortening import shorten
from rota.domain.text.storable import REDACTED, SecretText
from rota.security.secrets.names import is_secret, is_secret_phrase, split_words

_DEEPEST: Final = 64
"""Levels of a value that are looked through; what lies deeper is taken for a secret."""

_PASSES: Final = 8
"""What was redacted may show its neighbours in another light; two passes are the rule."""

_VALUES: Final = frozenset({"value", "values"})
_PAIRS: Final[Mapping[str, frozenset[str]]] = {
    "name": _VALUES,
    **dict.fromkeys(("key", "header", "field"), _VALUES | {"content"}),
}
"""Where an object has a name, as the headers of a request do, and where its value. The content of
what has a name is not a header's."""

_MARGIN: Final = 2_000

_CHOICES: Final = frozenset({"pass", "pin", "auth", "bearer"})
"""Names that are words of any list of two, too."""

_FORMS: Final = re.compile(
    r"(?:"
    r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}"  # OpenAI, Anthropic
    r"|\b(?:sk|pk|rk)_(?:live|test)_[A-Za-z0-9]{10,}"  # Stripe
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_-]{16,}"
    r"|\bxox[abeprs]-[A-Za-z0-9-]{10,}|\bxapp-[A-Za-z0-9-]{10,}"  # Slack
    r"|\bya29\.[A-Za-z0-9_-]{10,}|\bGOCSPX-[A-Za-z0-9_-]{16,}|\bAIza[A-Za-z0-9_-]{30,}"  # Google
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS
    r"|\bnpm_[A-Za-z0-9]{30,}|\bhf_[A-Za-z0-9]{20,}"
    r"|\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"  # SendGrid
    r"|\b\d{8,10}:[A-Za-z0-9_-]{35}\b"  # Telegram bot
    r"|(?i:\bbearer[ \t]{1,8})[A-Za-z0-9._~+/-]{8,}=*"
    r"|\bAGE-SECRET-KEY-1[0-9A-Z]{20,}"
    r"|-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[\s\S]*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\Z)"
    r")"
)
_DOTTED: Final = re.compile(r"(?<![A-Za-z0-9_.-])[A-Za-z0-9_.-]++")
_JWT_BEGINS: Final = re.compile(r"\beyJ[A-Za-z0-9_-]{8}")
_LEFT_OPEN: Final = frozenset({"...", "…"})
"""What stands in a message where a person is to write their password."""
_USER_INFO: Final = re.compile(r"(?<=://)[^\s/<>]+(?=@)")
_NAMED: Final = re.compile(
    r"(?<![\w.-])(?:"
    r"(?P<option>--[A-Za-z][\w-]*+)[ \t]{1,4}(?=[^\s:=-])"
    r"|(?P<name>[\w.-]++)\\{0,4}[\"']?[ \t]{0,4}(?P<sign>=>|={1,3}|:=?)[ \t]{0,4}"
    r")"
)
_WORD_BEFORE: Final = re.compile(r"(?<![\w.-])[A-Za-z]{1,20}[ ]\Z")
_QUOTED: Final = re.compile(
    r"(?P<quote>\\{0,4}[\"'`])(?P<text>(?:(?!(?P=quote))(?:\\.|[^\\\n])){0,1000}+)(?P=quote)"
)
_COOKIES: Final = re.compile(r"[^\s=;,]++=[^\s;]*+(?:;[ \t]?[^\s=;,]++(?:=[^\s;]*+)?)*+")
_CREDENTIALS: Final = re.compile(
    r"(?i:basic|bearer|negotiate|token|apikey)[ \t]{1,4}\S++|(?i:digest)[ \t][^\n]*+"
)
_WORD: Final = re.compile(r"\S++")
_WORD_OF_A_LIST: Final = re.compile(r"[^\s&;]++")  # key=value&key=value
_NEXT_OF_JSON: Final = re.compile(r"(?<![\]},)])[\]},)]++(?=[\"'\\])")
_SIGNS_AFTER: Final = re.compile(r"(?<![\]},).;:\"'])[\]},).;:\"']++\Z")
_NO_SECRET: Final = frozenset({"none", "null", "true", "false"})


def redact(value: Any) -> Any:
    """Return a JSON value with secrets replaced, by their name and by their form. Never raises."""
    return _redact(value, _DEEPEST)


def redact_text(text: str) -> str:
    """Replace what looks like a secret by its form, or by the name before it.

    A text that is JSON is looked through as the value that it holds.
    """
    return _redact_text(text, _DEEPEST)


def redact_error(error: BaseException, limit: int = 2_000) -> str:
    """Return an error's type and text without secrets, at most `limit` characters of it."""
    return redact_beginning(f"{type(error).__name__}: {error}", limit)


def redact_beginning(text: str, limit: int) -> str:
    """Return the first `limit` characters of a text without secrets, or somewhat fewer.

    `…` stands at the end of what was cut.

    Not more is looked at than that takes: what a tool says may be megabytes, and a loop waits.
    """
    looked_at = 2 * limit + _MARGIN
    if len(text) <= looked_at:
        return shorten(redact_text(text), limit)
    redacted = redact_text(text[:looked_at])
    whole = redacted[: max(0, len(redacted) - _MARGIN)]  # no secret that was cut in two
    return shorten(f"{whole}…", limit)


def _redact(value: Any, levels: int) -> Any:
    if isinstance(value, str):
        return REDACTED if isinstance(value, SecretText) else _redact_text(value, levels)
    if not isinstance(value, Mapping | list | tuple):
        return value
    if levels == 0:
        return REDACTED
    if isinstance(value, Mapping):
        names = _names_beside(value)
        named = [(_redact_forms(k) if isinstance(k, str) else k, item) for k, item in value.items()]
        return {
            key: REDACTED
            if is_secret(str(key), item) or is_secret(names.get(str(key).lower(), ""), item)
            else _redact(item, levels - 1)
            for key, item in named
        }
    if len(value) == 2 and _is_name(value[0]) and split_words(value[0][-100:])[0] not in _CHOICES:
        name, item = value
        if is_secret(name, item):
            return [name, REDACTED]
    return [_redact(item, levels - 1) for item in value]


def _names_beside(item: Mapping[Any, Any]) -> dict[str, str]:
    """Return which values of an object have their name beside them: {"name": ..., "value": ...}."""
    lower = {str(key).lower(): value for key, value in item.items()}
    named: dict[str, str] = {}
    for key, values in _PAIRS.items():
        name = lower.get(key)
        if _is_name(name):
            named.update(dict.fromkeys(values, name))
    return named


def _is_name(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and " " not in value and bool(split_words(value[-100:]))


def _redact_text(text: str, levels: int) -> str:
    if (value := _as_json(text)) is not None:
        redacted = _redact(value, levels - 1) if levels else REDACTED
        return text if redacted == value else _as_text(redacted)
    for _ in range(_PASSES):
        before = text
        text = _redact_forms(_redact_named(_USER_INFO.sub(_without_user, text)))
        if text == before:
            break
    return text


def _as_json(text: str) -> Any:
    """Return the object or list that a text is, None for any other text."""
    bare = text.strip()
    if not (bare.startswith("{") and bare.endswith("}")) and not (
        bare.startswith("[") and bare.endswith("]")
    ):
        return None
    try:
        return json.loads(bare)
    except (ValueError, RecursionError):
        return None


def _as_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates can be written as an escape alone
        return json.dumps(value)
    return text


def _redact_forms(text: str) -> str:
    has_age_key = "AGE-SECRET-KEY-" in text
    text = _FORMS.sub(REDACTED, text)
    if has_age_key:  # it ends at the first small letter, where the next secret may begin
        text = _FORMS.sub(REDACTED, text)
    return _DOTTED.sub(_without_jwt, text) if "eyJ" in text else text


def _without_jwt(found: re.Match[str]) -> str:
    """Redact a run of letters and dots from where three parts begin as those of a JWT do."""
    run = found[0]
    parts = run.split(".")
    start = 0
    for part, *others in zip(parts, parts[1:], parts[2:], strict=False):
        begins = _JWT_BEGINS.search(part)
        if begins is not None and all(len(other) >= 8 for other in others):
            return run[: start + begins.start()] + REDACTED
        start += len(part) + 1
    return run


def _without_user(found: re.Match[str]) -> str:
    """Redact what comes before the host of an address; a mere name stays, but in a web address."""
    info = found[0]
    scheme = found.string[max(0, found.start() - 8) : found.start() - 3].lower()
    named, colon, password = info.partition(":")
    if set(named) & set("?#\"'\\"):  # past the host
        return info
    is_web = scheme.endswith(("http", "https"))
    if password in _LEFT_OPEN and not is_web:
        return info
    return REDACTED if colon or is_web or len(info) >= 16 else info


def _redact_named(text: str) -> str:
    """Redact values behind their names: key=value, "key": "value", Header: value, --option value.

    Of a value that is not in quotes, its first word.
    """
    done = at = 0
    parts: list[str] = []
    while (found := _NAMED.search(text, at)) is not None:
        at = found.end()
        span = _secret_behind(text, found)
        if span is not None:
            parts += (text[done : span[0]], REDACTED)
            done = at = span[1]
    return "".join([*parts, text[done:]]) if parts else text


def _secret_behind(text: str, found: re.Match[str]) -> tuple[int, int] | None:
    """Return where the secret behind a name begins and ends, if there is one."""
    name = found["option"] or found["name"]
    start = found.end()
    if not is_secret(name, "?"):
        before = _WORD_BEFORE.search(text[max(0, found.start() - 24) : found.start()])
        if before is None or not is_secret_phrase(before[0] + name[-100:]):
            return None
        name = before[0] + name
    quoted = _QUOTED.match(text, start)
    start, end = quoted.span("text") if quoted else _unquoted(text, start, name, found["sign"])
    value = text[start:end]
    if not value or value.startswith(REDACTED) or value.lower() in _NO_SECRET:
        return None
    if not is_secret(name, value):  # what is counted
        return None
    return start, end


def _unquoted(text: str, start: int, name: str, sign: str | None) -> tuple[int, int]:
    if text.startswith(REDACTED, start):
        return start, start
    last = (split_words(name[-100:]) or ("",))[-1]
    patterns = [_WORD if sign in {None, ":", ":=", "=>"} else _WORD_OF_A_LIST]
    if last in {"cookie", "cookies"}:
        patterns.insert(0, _COOKIES)
    if last in {"authorization", "authorisation", "auth", "header"}:
        patterns.insert(0, _CREDENTIALS)
    found = next((m for p in patterns if (m := p.match(text, start)) is not None), None)
    if found is None:
        return start, start
    value = found[0]
    ends = [_SIGNS_AFTER] if found.re is not patterns[-1] else [_NEXT_OF_JSON, _SIGNS_AFTER]
    for end in ends:
        cut = end.search(value)
        if cut is not None and (cut.start() or end is _SIGNS_AFTER):
            value = value[: cut.start()]
    return start, start + len(value)
