"""Names that people write in rules: weekdays and months, in English, and how an error quotes them.

Shared by cron expressions, phrases and active days, so that all of them take "fri" and "friday".
"""

from __future__ import annotations

from typing import Final

WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS: Final = (
    *("", "january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)


def number_of(word: str, names: tuple[str, ...]) -> int | None:
    """Return the place of a name, given by three or more of its first letters, or None."""
    if len(word) < 3:
        return None
    return next((i for i, name in enumerate(names) if name.startswith(word.lower())), None)
