"""Converts bytes of foreign messages to text.

No message makes this module raise, because senders may declare anything.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

_C1: Final = re.compile("[\x80-\x9f]")  # what Windows-1252 is declared as ISO 8859-1 for

# Python's codecs that decode text, and are no charset that a message may choose: some take
# quadratic time, others give a sender ways to hide text.
_NOT_CHARSETS: Final = frozenset(
    {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}
)
# Mail programs write the left name and mean the right one, a superset (as browsers do).
_SUPERSETS: Final = {
    "iso8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
    "big5": "cp950",
    "tis-620": "cp874",
}
_ALIASES: Final = {
    "iso-8859-8-i": "iso-8859-8",
    "ks_c_5601-1987": "cp949",
    "unicode-1-1-utf-7": "utf-7",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "x-gbk": "gb18030",
    "x-mac-roman": "mac_roman",
    "x-sjis": "cp932",
    "x-user-defined": "cp1252",
}


def decode_text(data: bytes, charset: str | None) -> str:
    """Decode text in the charset that its sender declared, or else in what it looks like.

    An unknown charset, or one that the bytes are not valid in, gives way to UTF-8 and then to
    Windows-1252; what even that cannot read becomes U+FFFD.
    """
    declared = _codec_name(charset) if charset else None
    for candidate in _candidates(declared):
        text = _decode_strictly(data, candidate)
        if text is not None and not (candidate == "iso8859-1" and _C1.search(text)):
            return text
    return _decode_leniently(
        data, "cp1252" if declared in {None, "ascii", "iso8859-1"} else declared
    )


def _candidates(declared: str | None) -> tuple[str, ...]:
    if declared is None:
        return ("utf-8",)
    if declared == "iso8859-1":  # all bytes are valid in it: only its C1 controls tell a mistake
        return (declared, "utf-8", "cp1252")
    return (declared, _SUPERSETS.get(declared, declared), "utf-8")


def _codec_name(charset: str) -> str | None:
    asked = charset.strip().strip("'\"").lower()
    try:
        name = codecs.lookup(_ALIASES.get(asked, asked)).name
    except (LookupError, ValueError):  # ValueError: NUL in the name
        return None
    return None if name in _NOT_CHARSETS else name


def _decode_strictly(data: bytes, charset: str) -> str | None:
    try:
        return data.decode(charset)
    except (UnicodeError, LookupError):  # LookupError: base64, zlib and others are no charsets
        return None


def _decode_leniently(data: bytes, charset: str | None) -> str:
    try:
        return data.decode(charset or "utf-8", "replace")
    except (UnicodeError, LookupError):
        return data.decode("cp1252", "replace")
