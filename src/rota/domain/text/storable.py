"""Turns text and JSON into what PostgreSQL can store, and cuts them to the stored lengths."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

REDACTED: Final = "[redacted]"
"""What stands for a secret wherever something is stored for people to read, or shown."""


class SecretText(str):
    """A text that a schema declares a secret. It is used as it is, and shown as `REDACTED`."""

    __slots__ = ()


RESULT_CONTENT_LIMIT: Final = 50_000
"""Characters (Unicode code points) of a stored result."""

WHOLE_RESULT_LIMIT: Final = 10_000_000
"""Characters (Unicode code points) of the whole of a result, which is kept beside a cut one."""

NOTIFICATION_BODY_LIMIT: Final = 10_000
"""Characters (Unicode code points) of a stored notification's body."""

_DEEPEST_JSON: Final = 200
_WIDEST_INT: Final = 14_000  # bits; Python refuses to print more than 4,300 digits


@dataclass(frozen=True, slots=True)
class Cut:
    """A text of limited length, and the length of the text that it was cut from."""

    text: str
    original_length: int
    truncated: bool


def cut(text: str, limit: int) -> Cut:
    """Keep the first `limit` characters (Unicode code points), never half a surrogate pair."""
    if limit < 0:
        raise ValueError("A limit is at least 0.")
    if len(text) <= limit:
        return Cut(text, len(text), truncated=False)
    kept = text[:limit]
    if kept and "\ud800" <= kept[-1] <= "\udbff" and "\udc00" <= text[limit] <= "\udfff":
        kept = kept[:-1]
    return Cut(kept, len(text), truncated=True)


def storable_text(text: str) -> str:
    """Replace what Postgres cannot store (NUL, lone surrogates) by U+FFFD; join split pairs."""
    if not _UNSTORABLE.search(text):
        return text
    joined = _SPLIT_PAIR.sub(
        lambda pair: pair[0].encode("utf-16-le", "surrogatepass").decode("utf-16-le"), text
    )
    return _UNSTORABLE.sub("\ufffd", joined)


_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_SPLIT_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def storable_json(value: object) -> Any:
    """Return `value` as JSON that a jsonb column takes, replacing what it cannot hold.

    Text and keys as `storable_text`; NaN and infinities become strings, bytes a note of their
    number, sets lists, and anything else its `str()`.
    """
    return _storable(value, ())


def _storable(value: object, above: tuple[int, ...]) -> Any:
    if type(value) is str:  # most values; a check for Mapping is slow
        return storable_text(value)
    if value is None or not isinstance(value, Mapping | list | tuple | set | frozenset):
        return _storable_scalar(value)
    if id(value) in above or len(above) >= _DEEPEST_JSON:
        return "[nested too deeply]"
    inside = (*above, id(value))
    if not isinstance(value, Mapping):
        return [_storable(item, inside) for item in value]
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = _json_key(key)
        while name in found:  # 1 and "1", or two keys that differ in what is replaced
            name += "_"
        found[name] = _storable(item, inside)
    return found


def _storable_scalar(value: object) -> str | int | float | None:
    match value:
        case None | bool():
            return value
        case int():
            return int(value) if value.bit_length() <= _WIDEST_INT else hex(value)
        case float():
            return _storable_float(value)
        case bytes() | bytearray() | memoryview():
            return f"[{memoryview(value).nbytes} bytes]"
        case _:
            return storable_text(str(value))


def _storable_float(value: float) -> float | str:
    if math.isfinite(value):
        return float(value)
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _json_key(key: object) -> str:
    if type(key) is str:
        return storable_text(key)
    if key is None:
        return "null"
    return str(key).lower() if isinstance(key, bool) else str(_storable_scalar(key))
