"""Time zones in which times are shown.

To plan by a zone, read it with `parse_zone` (schedules/rules/cron), which refuses unknown zones.
"""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

OTHER_ZONE: Final = (
    "`rota settings zone Europe/Berlin` sets your own zone, `rota schedules edit NAME --time-zone "
    "Europe/Berlin` that of a schedule."
)
"""What is to be done about a zone that is not known."""


def zone_shown(name: str) -> ZoneInfo:
    """Return the zone of this name, UTC where there is none.

    PostgreSQL knows zones that Python does not (`FOO+3`), and people write past rota.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: "Europe" is a directory
        return ZoneInfo("UTC")
