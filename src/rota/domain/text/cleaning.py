"""Takes out of foreign text what would steer a display, or cannot be stored."""

from __future__ import annotations

import re
from typing import Final

_UNPRINTABLE: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_LINE_BREAK: Final = re.compile("\r\n?|\x0b|\x0c")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
# Control characters that are no white space, and those that reverse the direction of a line,
# so that "gpj.exe" shows as "exe.jpg".
_STEERING: Final = re.compile("[\x01-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069]")


def clean_text(text: str) -> str:
    """Return text with plain newlines, and U+FFFD for other control characters and surrogates.

    So it can be stored in Postgres, and cannot steer a terminal that it is printed on.
    """
    return _UNPRINTABLE.sub("\ufffd", _LINE_BREAK.sub("\n", text))


def clean_line(text: str) -> str:
    """Return text as one line: white space collapsed, without characters that steer a display."""
    return " ".join(_STEERING.sub("", _UNSTORABLE.sub("\ufffd", text)).split())
