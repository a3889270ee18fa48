"""Lengths of time and moments, read from and written as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from rota.domain.errors import InvalidInputError
from rota.domain.text.shortening import quoted

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
FIRST_YEAR: Final = 1900
LAST_YEAR: Final = 9000
"""Between them lies what the database takes, and what time zones can be reckoned with."""

_LONGEST: Final = timedelta(days=366 * 100)
_RELATIVE_DAYS: Final = {"today": 0, "yesterday": -1, "tomorrow": 1}
_DATE: Final = rf"(?P<day>\d{{4}}-\d{{2}}-\d{{2}}|{'|'.join(_RELATIVE_DAYS)})"
_TIME: Final = r"(?P<time>\d{1,2}:\d{2}(:\d{2})?(\.\d{1,6})?)"
_OFFSET: Final = r"(?P<offset>Z|[+-]\d{2}:?\d{2})"
_MOMENT: Final = re.compile(
    rf"({_DATE}([T ]+{_TIME})?|(?P<alone>\d{{1,2}}:\d{{2}}(:\d{{2}})?))({_OFFSET})?", re.ASCII
)


def parse_duration(text: str, *, field: str) -> timedelta:
    """Read "90m", "1h30m", "45s", "3d", "2w" or a plain number of seconds.

    Raises InvalidInputError, naming `field`.
    """
    written = text.strip().lower()
    if re.fullmatch(r"\d{1,10}", written, re.ASCII):
        length = timedelta(seconds=int(written))
    elif re.fullmatch(r"(\d{1,9}[smhdw]\s*)+", written, re.ASCII):
        parts = re.findall(r"(\d+)([smhdw])", written)
        length = timedelta(seconds=sum(int(count) * _UNITS[unit] for count, unit in parts))
    else:
        raise InvalidInputError(
            f"The length of time {quoted(text)} is not understood; write for example 90m, 1h30m, "
            "45s or 3d.",
            field=field,
        )
    if length > _LONGEST:
        raise InvalidInputError(f"{quoted(text)} is longer than a hundred years.", field=field)
    return length


def written_duration(length: timedelta) -> str:
    """Return whole seconds as `parse_duration` reads them: "1h30m"."""
    seconds, parts = int(length.total_seconds()), []
    for unit in ("d", "h", "m", "s"):
        count, seconds = divmod(seconds, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def written_moment(instant: datetime, zone: ZoneInfo) -> str:
    """Return a moment as `parse_moment` reads it: on the zone's clock, or with its offset.

    The latter where the clock shows it twice, and this is the second time.
    """
    local = instant.astimezone(zone)
    written = f"{local:%Y-%m-%d %H:%M}"
    if local.second or local.microsecond:
        written = local.replace(tzinfo=None).isoformat(" ")
    is_second = local.fold or local.replace(fold=0).astimezone(UTC) != instant
    return local.isoformat() if is_second else written


def parse_moment(
    text: str,
    zone: ZoneInfo,
    *,
    now: datetime,
    field: str,
    alone: Literal["past", "future"],
    whole_day: bool = False,
) -> datetime:
    """Read "2026-12-24 18:00", "2026-12-24", "tomorrow 9:00", "07:00" or ISO 8601; returns UTC.

    Without an offset it is a local time in `zone`; one that comes twice means its first pass, one
    that does not exist is refused. A time of day alone is the closest in the past or the future. A
    day alone is its beginning, with `whole_day` its last microsecond.
    """
    found = _MOMENT.fullmatch(" ".join(text.split()))
    if found is None:
        raise _not_understood(text, field, alone)
    here = now.astimezone(zone)
    try:
        if found["alone"]:
            local = _local("today", found["alone"], here)
            step = timedelta(days=-1 if alone == "past" else 1)
            if (local > here.replace(tzinfo=None)) == (alone == "past"):
                local += step
        else:
            local = _local(found["day"], found["time"] or "0:00", here)
            if whole_day and found["time"] is None:
                local = datetime.combine(local.date(), time.max)
        if not FIRST_YEAR < local.year < LAST_YEAR:
            raise InvalidInputError(
                f"The time {quoted(text)} does not lie between the years {FIRST_YEAR} and "
                f"{LAST_YEAR}.",
                field=field,
            )
        if found["offset"]:
            offset = found["offset"].replace("Z", "+00:00")
            return datetime.fromisoformat(f"{local.isoformat()}{offset}").astimezone(UTC)
        instant = local.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _not_understood(text, field, alone) from error
    if instant.astimezone(zone).replace(tzinfo=None) != local:
        raise InvalidInputError(
            f"{local:%Y-%m-%d %H:%M} does not exist in {zone}: the clock jumps over it.",
            field=field,
        )
    return instant


def parse_since(text: str, zone: ZoneInfo, *, now: datetime, field: str) -> datetime:
    """Read how long ago ("3d"), or a moment as `parse_moment` does; returns UTC."""
    if re.fullmatch(r"(\d+[smhdw]\s*)+", text.strip().lower(), re.ASCII):
        return now.astimezone(UTC) - parse_duration(text, field=field)
    return parse_moment(text, zone, now=now, field=field, alone="past")


def _local(day: str, clock: str, here: datetime) -> datetime:
    if day in _RELATIVE_DAYS:
        date = here.date() + timedelta(days=_RELATIVE_DAYS[day])
    else:
        date = datetime.fromisoformat(day).date()
    return datetime.combine(date, time.fromisoformat(clock if clock[2] == ":" else f"0{clock}"))


def _not_understood(text: str, field: str, alone: Literal["past", "future"]) -> InvalidInputError:
    near = "yesterday" if alone == "past" else "tomorrow"
    return InvalidInputError(
        f"The time {quoted(text)} is not understood; write for example 2026-12-24 18:00, "
        f"{near} 9:00 or 07:00.",
        field=field,
    )
