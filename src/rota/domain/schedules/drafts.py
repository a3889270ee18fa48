"""A schedule as a person writes it, on the command line or in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final
from zoneinfo import ZoneInfo

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.overlap import OverlapPolicy
from rota.domain.schedules.phrases import parse_phrase
from rota.domain.schedules.rules.cron import parse_zone
from rota.domain.schedules.rules.wall_clock import DstGap, DstOverlap
from rota.domain.schedules.schedule import CatchUp, Policy
from rota.domain.schedules.timing import Timing
from rota.domain.schedules.written_time import parse_duration, parse_moment
from rota.domain.text.shortening import quoted

NONE: Final = "none"
"""What a person writes to take a value away."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A schedule's rule and policy as a person gives them. A value that is None stays as it is.

    `when` is a cron expression or a plain phrase. Only one of `when`, `every` and `at` may be
    given. "none" removes a value. For the two numbers, 0 also removes the value that was there. An
    `end` that is a day means the whole day.

    >>> rota.Draft(when="weekdays at 7:30", end="2027-01-31", overlap="buffer_one").policy().overlap
    <OverlapPolicy.BUFFER_ONE: 'buffer_one'>
    """

    when: str | None = None
    every: str | None = None
    at: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None
    jitter: str | None = None
    active_hours: str | None = None
    active_days: str | None = None
    excluded_days: str | None = None
    dst_gap: str | None = None
    dst_overlap: str | None = None
    overlap: str | None = None
    catch_up: str | None = None
    catch_up_window: str | None = None
    max_runs: int | str | None = None
    pause_after_failures: int | str | None = None

    def timing(self, time_zone: str, *, now: datetime, before: Timing | None = None) -> Timing:
        """Return the timing that this makes of `before`, in a zone; raises InvalidInputError.

        Without `before` a rule has to be named.
        """
        zone = parse_zone(time_zone)
        moment = partial(_read_moment, zone, now)
        end = partial(_read_moment, zone, now, whole_day=True)
        timing = replace(
            before or Timing(time_zone),
            time_zone=time_zone,
            **self._read({"start": moment, "end": end, **_TIMING_READERS}),
        )
        rules = (self.when is not None) + (self.every is not None) + bool(self.at)
        if rules > 1:
            raise InvalidInputError(
                "Give one rule: cron or a phrase, or `every`, or `at`.", field="when"
            )
        if rules:
            timing = self._with_rule(timing, zone, now)
        elif before is None:
            raise InvalidInputError(
                "Say when: a cron expression or a phrase such as 'weekdays at 7:30', or `every`, "
                "or `at`.",
                field="when",
            )
        elif self.start is not None and timing.every is not None:
            timing = replace(timing, anchor=timing.starts_at)
        timing.anchored(now).check()
        return timing

    def policy(self, before: Policy | None = None) -> Policy:
        """Return the policy that this makes of `before`; raises InvalidInputError.

        Without `before`, 0 takes nothing away: it is a number as any other, and refused.
        """
        said = self._read(_POLICY_READERS)
        if before is not None:
            said = {name: None if value == 0 else value for name, value in said.items()}
        policy = replace(before or Policy(), **said)
        policy.check()
        return policy

    def _read(self, readers: Mapping[str, Callable[[Any, str], Any]]) -> dict[str, Any]:
        """Return what was said for these fields, by their names in a row; others are left out."""
        return {
            _ROW_NAMES.get(name, name): read(said, name)
            for name, read in readers.items()
            if (said := getattr(self, name)) is not None
        }

    def _with_rule(self, timing: Timing, zone: ZoneInfo, now: datetime) -> Timing:
        bare = replace(timing, cron=None, every=None, anchor=None, instants=())
        if self.at:
            instants = {
                parse_moment(text, zone, now=now, field="at", alone="future") for text in self.at
            }
            return replace(bare, instants=tuple(sorted(instants)))
        if self.every is not None:
            every = parse_duration(self.every, field="every")
            return replace(bare, every=every, anchor=timing.starts_at)
        text = self.when or ""
        if _is_cron(text):
            return replace(bare, cron="; ".join(part.strip() for part in text.split(";")))
        phrase = parse_phrase(text, now=now.astimezone(zone))
        if phrase.start is not None and self.start is not None:
            raise InvalidInputError("The start is given twice. Remove one of them.", field="start")
        start = phrase.start or timing.starts_at
        return replace(
            bare,
            cron="; ".join(phrase.crons) or None,
            every=phrase.every,
            anchor=start if phrase.every is not None else None,
            instants=phrase.instants,
            starts_at=start,
        )


def _is_cron(text: str) -> bool:
    words = text.split()
    if not words or text.startswith("@") or "=" in words[0] or "*" in text or ";" in text:
        return True
    numeric = [word for word in words[:3] if re.fullmatch(r"[\d*/,?-]+", word, re.ASCII)]
    return len(numeric) == 3 or (len(words) in {5, 6} and len(numeric) >= 2)


def _read_moment(
    zone: ZoneInfo, now: datetime, text: str, field: str, *, whole_day: bool = False
) -> datetime | None:
    if text == NONE:
        return None
    return parse_moment(text, zone, now=now, field=field, alone="future", whole_day=whole_day)


def _read_text(text: str, _field: str) -> str | None:
    return None if text.strip() in {"", NONE} else text.strip()


def _read_length(text: str, field: str) -> timedelta:
    return timedelta(0) if text == NONE else parse_duration(text, field=field)


def _read_count(count: int | str, field: str) -> int | None:
    text = str(count).strip()
    if text == NONE:
        return None
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII):
        raise InvalidInputError(
            f"{field} is a whole number, 1 or more, not {quoted(text)}.", field=field
        )
    return int(text)


def _read_choice(kind: type[StrEnum], text: str, field: str) -> StrEnum:
    try:
        return kind(text.strip().lower().replace("-", "_"))
    except ValueError as error:
        names = " or ".join(kind) if len(kind) == 2 else f"one of {', '.join(kind)}"
        raise InvalidInputError(f"{field} is {names}; not {quoted(text)}.", field=field) from error


# In the order of reading: the first invalid field raises its error.
_TIMING_READERS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "jitter": _read_length,
    "active_hours": _read_text,
    "active_days": _read_text,
    "excluded_days": _read_text,
    "dst_gap": partial(_read_choice, DstGap),
    "dst_overlap": partial(_read_choice, DstOverlap),
}
_POLICY_READERS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "overlap": partial(_read_choice, OverlapPolicy),
    "catch_up": partial(_read_choice, CatchUp),
    "catch_up_window": _read_length,
    "max_runs": _read_count,
    "pause_after_failures": _read_count,
}
_ROW_NAMES: Final = {"start": "starts_at", "end": "ends_at"}
