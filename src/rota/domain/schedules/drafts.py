"""A schedule as a person writes it, on the command line or in a file."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.overlap import OverlapPolicy
from rota.domain.schedules.phrases import parse_phrase
from rota.domain.schedules.rules.cron import parse_zone
from rota.domain.schedules.rules.wall_clock import DstGap, DstOverlap
from rota.domain.schedules.schedule import CatchUp, Policy
from rota.domain.schedules.timing import Timing
from rota.domain.schedules.written_time import parse_duration, parse_moment

NONE: Final = "none"
"""What a person writes to take a value away."""

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person said of a schedule's rule and policy. None: nothing, so it stays as it is.

    `when` is a cron expression or a plain phrase; it, `every` and `at` exclude one another. "none"
    takes a value away; so does 0 for the two numbers.
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
    max_runs: int | None = None
    pause_after_failures: int | None = None

    def timing(self, time_zone: str, *, now: datetime, before: Timing | None = None) -> Timing:
        """Return the timing that this makes of `before`, in a zone; raises InvalidInputError.

        Without `before` a rule has to be named.
        """
        zone = parse_zone(time_zone)
        timing = replace(before or Timing(time_zone), time_zone=time_zone)
        timing = replace(
            timing,
            starts_at=self._moment(self.start, zone, now, "start", timing.starts_at),
            ends_at=self._moment(self.end, zone, now, "end", timing.ends_at),
            jitter=_length(self.jitter, "jitter", timing.jitter),
            active_hours=_text(self.active_hours, timing.active_hours),
            active_days=_text(self.active_days, timing.active_days),
            excluded_days=_text(self.excluded_days, timing.excluded_days),
            dst_gap=_choice(DstGap, self.dst_gap, "dst_gap", timing.dst_gap),
            dst_overlap=_choice(DstOverlap, self.dst_overlap, "dst_overlap", timing.dst_overlap),
        )
        if self._rules() > 1:
            raise InvalidInputError(
                "Give one rule: cron or a phrase, or `every`, or `at`.", field="when"
            )
        if self._rules():
            timing = self._with_rule(timing, zone, now)
        elif before is None:
            raise InvalidInputError(
                "Say when: a cron expression or a phrase such as 'weekdays at 7:30', or `every`, "
                "or `at`.",
                field="when",
            )
        elif self.start is not None and timing.every is not None:
            timing = replace(timing, anchor=timing.starts_at)
        # A new interval is anchored when it is stored; until then, from now.
        replace(timing, anchor=timing.anchor or timing.starts_at or now).check()
        return timing

    def policy(self, before: Policy | None = None) -> Policy:
        """Return the policy that this makes of `before`; raises InvalidInputError."""
        policy = before or Policy()
        changed = replace(
            policy,
            overlap=_choice(OverlapPolicy, self.overlap, "overlap", policy.overlap),
            catch_up=_choice(CatchUp, self.catch_up, "catch_up", policy.catch_up),
            catch_up_window=_length(
                self.catch_up_window, "catch_up_window", policy.catch_up_window
            ),
            max_runs=policy.max_runs if self.max_runs is None else self.max_runs or None,
            pause_after_failures=(
                policy.pause_after_failures
                if self.pause_after_failures is None
                else self.pause_after_failures or None
            ),
        )
        changed.check()
        return changed

    def _rules(self) -> int:
        return (self.when is not None) + (self.every is not None) + bool(self.at)

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
        return read_when(self.when or "", bare, now=now)

    @staticmethod
    def _moment(
        text: str | None, zone: ZoneInfo, now: datetime, field: str, before: datetime | None
    ) -> datetime | None:
        if text is None:
            return before
        if text == NONE:
            return None
        return parse_moment(text, zone, now=now, field=field, alone="future")


def read_when(text: str, timing: Timing, *, now: datetime) -> Timing:
    """Return the timing with the rule that a person wrote: cron, or a plain phrase."""
    if _is_cron(text):
        return replace(timing, cron="; ".join(part.strip() for part in text.split(";")))
    phrase = parse_phrase(text, now=now.astimezone(ZoneInfo(timing.time_zone)))
    if phrase.crons:
        return replace(timing, cron="; ".join(phrase.crons))
    if phrase.every is not None:
        return replace(timing, every=phrase.every, anchor=timing.starts_at)
    return replace(timing, instants=phrase.instants)


def _is_cron(text: str) -> bool:
    words = text.split()
    if not words or text.startswith("@") or "*" in text or ";" in text:
        return True
    numeric = [word for word in words[:3] if re.fullmatch(r"[\d*/,?-]+", word, re.ASCII)]
    return len(numeric) == 3 or (len(words) in {5, 6} and len(numeric) >= 2)


def _text(text: str | None, before: str | None) -> str | None:
    if text is None:
        return before
    return None if text.strip() in {"", NONE} else text.strip()


def _length(text: str | None, field: str, before: timedelta) -> timedelta:
    if text is None:
        return before
    return timedelta(0) if text == NONE else parse_duration(text, field=field)


def _choice(kind: type[E], text: str | None, field: str, before: E) -> E:
    if text is None:
        return before
    try:
        return kind(text.strip().lower().replace("-", "_"))
    except ValueError as error:
        names = ", ".join(kind)
        raise InvalidInputError(
            f"{text[:60]!r} is no choice for {field}; it is one of {names}.", field=field
        ) from error
