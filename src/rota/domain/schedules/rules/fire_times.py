"""What every kind of schedule rule can do: say when it fires."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

_FIRST_STEP_BACK: Final = timedelta(minutes=1)
_FURTHEST_BACK: Final = timedelta(days=366 * 50)  # cronsim gives up after 50 years as well


class FireTimes(ABC):
    """An ascending series of instants, endless or not; all of them are aware and in UTC."""

    __slots__ = ()

    @abstractmethod
    def in_words(self) -> str:
        """Say it in English, on the 24-hour clock, with the zone in brackets."""

    @abstractmethod
    def _fires(self, moment: datetime) -> Iterator[datetime]:
        """Yield the fire times strictly after `moment`, earliest first."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time strictly after `moment` (aware).

        None if there is none, or for a cron expression none within 50 years.
        """
        return next(self._fires(_aware(moment)), None)

    def fires_from(self, moment: datetime) -> Iterator[datetime]:
        """Yield the fire times strictly after `moment` (aware), earliest first, without end."""
        return self._fires(_aware(moment))

    def fires_after(self, moment: datetime, count: int) -> list[datetime]:
        """Return the next `count` fire times strictly after `moment` (aware)."""
        return list(islice(self._fires(_aware(moment)), count))

    def fires_between(
        self, start_exclusive: datetime, end_inclusive: datetime, limit: int
    ) -> list[datetime]:
        """Return the first `limit` fire times in (start, end], earliest first."""
        found: list[datetime] = []
        for fire in self._fires(_aware(start_exclusive)):
            if fire > end_inclusive or len(found) >= limit:
                break
            found.append(fire)
        return found

    def latest_at_or_before(self, moment: datetime) -> datetime | None:
        """Return the last fire time not after `moment` (aware); None in 50 years.

        A bisection over `next_after`: so that looking back agrees with looking forward, also where
        the clock changes, and takes milliseconds however many fire times lie between.
        """
        step = _FIRST_STEP_BACK
        while (found := self.next_after(moment - step)) is None or found > moment:
            if step > _FURTHEST_BACK:
                return None
            step *= 2
        too_late = moment
        while (following := self.next_after(found)) is not None and following <= moment:
            found = following
            middle = found + (too_late - found) / 2
            later = self.next_after(middle)
            if later is not None and later <= moment:
                found = later
            else:
                too_late = middle
        return found


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("A fire time is asked for from a moment with a time zone.")
    return moment
