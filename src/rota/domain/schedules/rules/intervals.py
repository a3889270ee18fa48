"""Rules other than cron: an interval from an anchor, single instants, and unions of rules."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from typing import Final
from zoneinfo import ZoneInfo

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.rules.fire_times import FireTimes

SHORTEST_INTERVAL: Final = timedelta(seconds=1)
LONGEST_INTERVAL: Final = timedelta(days=366 * 10)
MOST_INSTANTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Interval(FireTimes):
    """Fires at a fixed interval in real time, counted from an anchor.

    The anchor itself is the first fire time. A restart, a pause or a missed fire time changes
    nothing.
    """

    every: timedelta
    anchor: datetime
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        if not SHORTEST_INTERVAL <= self.every <= LONGEST_INTERVAL:
            raise InvalidInputError(
                f"An interval of {length_in_words(self.every)} is not possible; it lies between a "
                "second and ten years.",
                field="every",
            )

    def in_words(self) -> str:
        """Say it in English, with the zone in brackets."""
        anchor = self.anchor.astimezone(ZoneInfo(self.time_zone))
        return (
            f"Every {length_in_words(self.every)}, counted from {anchor:%Y-%m-%d %H:%M:%S}"
            f" ({self.time_zone})"
        )

    def fires_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the fire times strictly after `moment`, earliest first."""
        passed = max(-1, (moment - self.anchor) // self.every)
        with suppress(OverflowError):  # the end of year 9999
            fire = self.anchor.astimezone(UTC) + (passed + 1) * self.every
            while True:
                yield fire
                fire += self.every


@dataclass(frozen=True, slots=True)
class Instants(FireTimes):
    """One or several instants, ascending."""

    instants: tuple[datetime, ...]
    time_zone: str = "UTC"

    def __post_init__(self) -> None:
        if not 1 <= len(self.instants) <= MOST_INSTANTS:
            raise InvalidInputError(
                f"A schedule has 1 to {MOST_INSTANTS} single times, not {len(self.instants)}.",
                field="at",
            )

    def in_words(self) -> str:
        """Say it in English, with the zone in brackets."""
        zone = ZoneInfo(self.time_zone)
        first, *others = (f"{at.astimezone(zone):%a %Y-%m-%d %H:%M:%S}" for at in self.instants)
        if not others:
            return f"Once, on {first} ({self.time_zone})"
        return f"{len(self.instants)} times, from {first} to {others[-1]} ({self.time_zone})"

    def fires_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the fire times strictly after `moment`, earliest first."""
        return (at.astimezone(UTC) for at in sorted(set(self.instants)) if at > moment)


@dataclass(frozen=True, slots=True)
class AnyOf(FireTimes):
    """The union of rules. A time that several rules name fires once."""

    rules: tuple[FireTimes, ...]

    def in_words(self) -> str:
        """Say it in English: each rule, joined by "and", with a zone that is common said once."""
        texts = [rule.in_words() for rule in self.rules]
        zones = {words.rpartition(" (")[2] for words in texts}
        if len(zones) == 1:
            texts = [*(words.rpartition(" (")[0] for words in texts[:-1]), texts[-1]]
        return "; and ".join([texts[0], *(f"{words[0].lower()}{words[1:]}" for words in texts[1:])])

    def fires_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the fire times strictly after `moment`, earliest first."""
        last = moment
        for fire in merge(*(rule.fires_after(moment) for rule in self.rules)):
            if fire > last:
                last = fire
                yield fire


@dataclass(frozen=True, slots=True)
class Within(FireTimes):
    """The fire times of a rule from `start` to `end`, both included. Either may be open."""

    rule: FireTimes
    start: datetime | None
    end: datetime | None

    def in_words(self) -> str:
        """Say the rule in English; its bounds are shown beside it."""
        return self.rule.in_words()

    def fires_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the fire times strictly after `moment`, earliest first."""
        if self.start is not None:
            moment = max(moment, self.start - timedelta(microseconds=1))
        for fire in self.rule.fires_after(moment):
            if self.end is not None and fire > self.end:
                return
            yield fire


def length_in_words(length: timedelta) -> str:
    """Say a length of time in the largest units that fit: "90 minutes" is "1 hour 30 minutes"."""
    seconds = length.total_seconds()
    parts: list[str] = []
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count:g} {unit}{'s' if count != 1 else ''}")
    return " ".join(parts) or "0 seconds"
