"""A mailbox to try rota with: a made-up morning, written for this project."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Final

_WRITTEN: Final = datetime(2026, 3, 2, 8, 35, tzinfo=UTC)
"""Just after the newest message, as the file has it."""

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_HEADER: Final = re.compile(
    r"^(Date: )\w{3}, (?P<day>\d{1,2}) (?P<month>\w{3}) (?P<year>\d{4})", re.MULTILINE
)
_ENVELOPE: Final = re.compile(
    r"^(From \S+ )\w{3} (?P<month>\w{3}) +(?P<day>\d{1,2}) (?P<time>[\d:]{8}) (?P<year>\d{4})$",
    re.MULTILINE,
)


def sample_mailbox_path() -> Path:
    """Return the path of the sample mailbox, an mbox file that ships with the package.

    Its messages are of Monday, 2 March 2026, and three days before.
    """
    return Path(str(files(__name__) / "inbox.mbox"))


def recent_sample(now: datetime) -> bytes:
    """Return the sample mailbox as if its morning were the latest one before `now` (aware)."""
    days = (now.astimezone(UTC) - _WRITTEN).days

    def header(found: re.Match[str]) -> str:
        day = _moved(found, days)
        return f"{found[1]}{_DAYS[day.weekday()]}, {day.day:02} {_MONTHS[day.month - 1]} {day.year}"

    def envelope(found: re.Match[str]) -> str:
        day = _moved(found, days)
        date = f"{_DAYS[day.weekday()]} {_MONTHS[day.month - 1]} {day.day:2}"
        return f"{found[1]}{date} {found['time']} {day.year}"

    text = sample_mailbox_path().read_bytes().decode("utf-8", "surrogateescape")
    text = _ENVELOPE.sub(envelope, _HEADER.sub(header, text))
    return text.encode("utf-8", "surrogateescape")


def _moved(found: re.Match[str], days: int) -> datetime:
    month = _MONTHS.index(found["month"]) + 1
    written = datetime(int(found["year"]), month, int(found["day"]), tzinfo=UTC)
    return written + timedelta(days=days)
