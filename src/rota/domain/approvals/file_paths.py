"""Compares paths of files in rules by their text. It looks at no disk."""

from __future__ import annotations

import re
from typing import Final

LONGEST_PATH: Final = 4_096

_ENCODED: Final = re.compile(r"%(2e|2f|5c|00)", re.IGNORECASE)
_DRIVE: Final = re.compile(r"[a-zA-Z]:")


def normal_path(text: str) -> str | None:
    """Return a path without doubled slashes and `.`; None for one that may lead elsewhere.

    That is one with `..`, a backslash, a leading `~`, a drive, an encoded dot or slash, a
    variable's `$`, or a control character, and an empty one.
    """
    if not text or len(text) > LONGEST_PATH or text[0] == "~" or text != text.strip():
        return None
    if any(c in text for c in "\\$`") or any(ord(c) < 32 or ord(c) == 127 for c in text):
        return None
    if _ENCODED.search(text) or _DRIVE.match(text):
        return None
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if ".." in parts:
        return None
    return ("/" if text[0] == "/" else "") + "/".join(parts)


def is_path_under(path: str, folder: str) -> bool | None:
    """Return whether a normal path is a normal folder, or lies in it.

    None where one is relative and the other is not: nobody here knows to what.
    """
    if path.startswith("/") != folder.startswith("/"):
        return None
    if folder in {"", "/"}:
        return True
    return path == folder or path.startswith(f"{folder}/")
