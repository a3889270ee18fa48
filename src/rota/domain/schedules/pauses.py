"""The pause of all schedules of a person (`rota pause`). A schedule's own pause is in its row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Pause:
    """No schedule fires from `starts_at` until `ends_at` (None: until its owner resumes)."""

    starts_at: datetime
    ends_at: datetime | None
    note: str

    def covers(self, instant: datetime) -> bool:
        """Return whether an instant lies in it."""
        return self.starts_at <= instant and (self.ends_at is None or instant < self.ends_at)

    def in_words(self, zone: ZoneInfo | None = None) -> str:
        """Say it as the reason for which a fire is skipped; times in `zone`, or else in UTC."""
        if self.ends_at is None:
            until = "until it is resumed"
        else:
            end = self.ends_at.astimezone(zone or UTC)
            until = (
                f"until {end:%Y-%m-%d %H:%M:%S %Z}"
                if end.second
                else f"until {end:%Y-%m-%d %H:%M %Z}"
            )
        note = f": {self.note}" if self.note else ""
        return f"everything paused {until}{note}"
