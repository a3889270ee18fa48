"""Time zones of iCalendar texts: by their names, by names of Windows, or as the text defines them.

icalendar has a table of zones for the whole process, which every text that defines a zone adds to.
So one person's calendar could change the times of another's. Here each text has its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, timedelta, timezone, tzinfo
from io import StringIO
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_OFFSET: Final = re.compile(
    r"\(?\s*(?:UTC|GMT)\s*(?P<sign>[+\u2212-])\s*(?P<hours>\d{1,2})(?::?(?P<minutes>\d{2}))?\b",
    re.IGNORECASE,
)
_UTC_NAMES: Final = frozenset({"UTC", "GMT", "Z", "ETC/UTC", "TZONE://MICROSOFT/UTC", "(UTC)"})
_KEPT: Final = (
    *("BEGIN:", "END:", "TZID", "DTSTART", "RRULE", "RDATE"),
    *("TZOFFSETFROM", "TZOFFSETTO", "TZNAME"),
)
_RULE: Final = re.compile(
    r"RRULE[^:]*:(?:(?:FREQ=YEARLY|BYMONTH=\d{1,2}|BYDAY=-?\d?[A-Z]{2}|BYMONTHDAY=-?\d{1,2}"
    r"|UNTIL=[\dTZ]{8,16}|WKST=[A-Z]{2}|INTERVAL=1)(?:;|$))+"
)
"""A yearly change of the clocks. Another rule might never come true, and is looked for for long."""

_MOST_LINES: Final = 400


class Zones:
    """The zones that one text names."""

    def __init__(self, definitions: Mapping[str, list[str]]) -> None:
        """`definitions` are the lines of each VTIMEZONE, by its TZID."""
        self._definitions = definitions
        self._known: dict[str, tzinfo | None] = {}

    def get(self, name: str) -> tzinfo | None:
        """Return a zone by its TZID, None for one that nobody knows."""
        if name not in self._known:
            self._known[name] = _by_name(name) or self._defined(name) or _by_offset(name)
        return self._known[name]

    def _defined(self, name: str) -> tzinfo | None:
        lines = self._definitions.get(name)
        if lines is None or len(lines) > _MOST_LINES:
            return None
        from dateutil.tz import tzical  # type: ignore[import-untyped]  # noqa: PLC0415  with icalendar

        kept = [
            # A date for a time is not allowed here, and is written.
            re.sub(r"^(DTSTART)[^:]*:(\d{8})(?:T(\d{6})Z?)?$", _start, line)
            for line in (one.strip() for one in lines)
            if line.upper().startswith(_KEPT) and not line.upper().startswith("TZID-")
        ]
        if any(line.upper().startswith("RRULE") and not _RULE.fullmatch(line) for line in kept):
            return None
        try:
            found: tzinfo = tzical(StringIO("\r\n".join(kept))).get()
        except (ValueError, LookupError, TypeError, OverflowError):
            return None
        return found


def _start(found: re.Match[str]) -> str:
    return f"{found[1]}:{found[2]}T{found[3] or '000000'}"


def _by_name(name: str) -> tzinfo | None:
    from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON  # noqa: PLC0415  with icalendar

    bare = name.strip().strip('"').strip("/")
    if bare.upper() in _UTC_NAMES:
        return UTC
    parts = bare.split("/")
    # Some put their own name before it: /freeassociation.sourceforge.net/Europe/Berlin.
    others = ["/".join(parts[first:]) for first in range(1, len(parts) - 1)]
    for candidate in (bare, WINDOWS_TO_OLSON.get(bare, ""), *others[-3:]):
        if not candidate:
            continue
        try:
            return ZoneInfo(candidate)
        except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "Europe" is a directory
            continue
    return None


def _by_offset(name: str) -> tzinfo | None:
    """Read what Windows shows: `(UTC+01:00) Amsterdam, Berlin`. It says nothing of summer time."""
    found = _OFFSET.match(name.strip())
    if found is None:
        return None
    minutes = int(found["hours"]) * 60 + int(found["minutes"] or 0)
    if minutes >= 24 * 60:
        return None
    return timezone(timedelta(minutes=minutes if found["sign"] == "+" else -minutes))
