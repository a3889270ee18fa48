"""Finds when a message was sent or came, and says where that date is from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz
from typing import Final

from rota.agents.tools.mail.headers import HEADER_FAULTS, READ_LIMIT, Headers, decode_header_value
from rota.domain.text.shortening import quoted

TOLERANCE: Final = timedelta(days=1)
"""How much later than a message arrived its sender's clock may say that it was sent."""

_ENVELOPE_DATE: Final = re.compile(
    rb"\b(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) +(?P<time>\d{1,2}:\d{2}(?::\d{2})?)"
    rb"(?P<zone> +(?:[A-Z]{1,5}|[+-]\d{4}))? +(?P<year>\d{4})(?P<offset> +[+-]\d{4})?"
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a message came, or was there at the latest, by another source than its headers.

    `source` names that source, as part of a sentence. If the date `bounds`, it is the arrival: a
    message was not sent long after it.
    """

    date: datetime
    source: str
    bounds: bool = True


@dataclass(frozen=True, slots=True)
class Dated:
    """A message's date, if there is one, and a sentence if it is not from the Date header."""

    date: datetime | None
    note: str = ""


def date_of(headers: Headers, arrival: Arrival | None) -> Dated:
    """Return when a message was sent, by its Date header, else by the next best.

    A Date long after the message arrived is not believed: it would stand before all others for
    years. Next are the topmost Received header, which the own server wrote, a Date as computers
    write it (ISO 8601), and `arrival`.
    """
    value = headers.text("date")
    sent, received = parse_date(value), _received(headers)
    came = received or (arrival.date if arrival is not None and arrival.bounds else None)
    if sent is not None and (came is None or sent <= came + TOLERANCE):
        return Dated(sent)
    if sent is not None:
        why = f"Its Date header, {_quoted(value)}, is later than it arrived"
    elif value:
        why = f"Its Date header, {_quoted(value)}, is not as mail writes it"
    else:
        why = "It has no Date header"
    if received is not None:
        return Dated(received, f"{why}; this is the date of its Received header.")
    if sent is None and (written := parse_iso_date(value)) is not None:
        return Dated(written, f"{why}; it was read as ISO 8601.")
    if arrival is not None:
        return Dated(arrival.date, f"{why}; this is the date {arrival.source}.")
    return Dated(None, f"{why}, and nothing else says when it came.")


def parse_date(value: str) -> datetime | None:
    """Read a Date header (RFC 5322 with its obsolete forms), or return None.

    An unknown or impossible zone counts as UTC.
    """
    try:
        fields = parsedate_tz(value)
    except HEADER_FAULTS:
        return None
    if fields is None:
        return None
    year, month, day, hour, minute, second = fields[:6]
    try:
        naive = datetime(year, month, day, hour, minute, min(second, 59))  # noqa: DTZ001  below
    except (ValueError, OverflowError):
        return None
    offset = timedelta(seconds=fields[9] or 0)
    if abs(offset) >= timedelta(hours=24) or not 1 < year < 9999:
        return naive.replace(tzinfo=UTC)
    return naive.replace(tzinfo=timezone(offset))


def parse_iso_date(value: str) -> datetime | None:
    """Read a date and time in ISO 8601, or return None; without an offset it counts as UTC."""
    try:
        found = datetime.fromisoformat(value.strip())
    except ValueError:
        return None
    if not 1 < found.year < 9999:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def parse_envelope_date(line: bytes) -> datetime | None:
    """Read the date of an mbox's line "From ...", in UTC if it names no zone."""
    found = _ENVELOPE_DATE.search(line)
    if found is None:
        return None
    said = found.groupdict(default=b"")
    zone = said["offset"] or said["zone"] or b" +0000"
    text = b"%(day)b %(month)b %(year)b %(time)b" % {name.encode(): v for name, v in said.items()}
    return parse_date((text + zone).decode("ascii"))


def _received(headers: Headers) -> datetime | None:
    newest = next(headers.all("received"), "")
    return parse_date(decode_header_value(newest[:READ_LIMIT].rpartition(";")[2]))


def _quoted(value: str) -> str:
    return quoted(value)
