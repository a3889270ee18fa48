"""The interface of all schedule rules: they list fire times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice, takewhile
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
    def fires_after(self, moment: datetime) -> Iterator[datetime]:
        """Yield the fire times strictly after `moment` (aware), earliest first."""

    def next_after(self, moment: datetime) -> datetime | None:
        """Return the first fire time strictly after `moment` (aware).

        None if there is none, or for a cron expression none within 50 years.
        """
        return next(self.fires_after(moment), None)

    def fires_between(
        self, start_exclusive: datetime, end_inclusive: datetime, limit: int
    ) -> list[datetime]:
        """Return the first `limit` fire times in (start, end], earliest first."""
        fires = takewhile(lambda fire: fire <= end_inclusive, self.fires_after(start_exclusive))
        return list(islice(fires, limit))

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
