"""Prints schedules on a terminal: rules in words, fire times, changes of the clock, the week."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from rota.cli import output
from rota.domain.errors import InvalidInputError
from rota.domain.runs.options import RunOptions
from rota.domain.schedules.forecast import UpcomingFire
from rota.domain.schedules.occurrences import LastRun
from rota.domain.schedules.rules.intervals import length_in_words
from rota.domain.schedules.rules.wall_clock import DstGap, DstOverlap
from rota.domain.schedules.schedule import Schedule
from rota.domain.text.zones import zone_shown
from rota.shown.schedules import rule_in_words

if TYPE_CHECKING:
    from rota.domain.schedules.pauses import Pause
    from rota.services.schedules.explanations import Explanation
    from rota.services.schedules.views import ListedSchedule

Week: TypeAlias = Sequence[tuple[Schedule, Sequence[UpcomingFire]]]
_WIDE = 100
_LISTS = {
    "Active": re.compile(r"[,\s]+"),
    "Except": re.compile(r"\s*,\s*"),
    "Times": re.compile(r", "),
    "Checklist": re.compile(r"\n"),
}
"""What is a list, and what stands between its entries."""

_NUMBER = re.compile(r"^\d+\. ")
FOLDED_ABOVE = 4
"""Fires of one schedule on one day that the calendar lists one by one."""


def pause_in_words(pause: Pause, zone: str) -> str:
    """Say from when to when all schedules of a person pause, and why."""
    begins = datetime.now(UTC) < pause.starts_at
    when = f" from {_exactly(pause.starts_at, zone)}" if begins else ""
    end = _exactly(pause.ends_at, zone) if pause.ends_at is not None else "you resume"
    said = f"All your schedules {'will be' if begins else 'are'} paused{when} until {end}"
    return f"{said}: {pause.note}" if pause.note else f"{said}."


def _exactly(instant: datetime, zone: str) -> str:
    """Show an instant to the minute, or to the second where that says more."""
    return (output.moment if instant.second else output.when)(instant, zone)


def print_schedules(found: Sequence[ListedSchedule], zone: str) -> None:
    """Print a line for each schedule: its rule, the outcome of its last run, its next fire time."""
    now = datetime.now(UTC)
    are_named_so = all(one.schedule.name == one.schedule.agent_name for one in found)
    columns = ["NAME", "AGENT", "RULE", "LAST", "NEXT"]
    output.table(
        columns,
        [
            (
                one.schedule.name,
                one.schedule.agent_name,
                rule_in_words(one.schedule),
                last_in_words(one.last_run, now),
                _next(one.schedule, one.fires, zone, now),
            )
            for one in found
        ],
        empty="There are no schedules. `rota schedules add AGENT WHEN` makes one.",
        optional=["AGENT"] if are_named_so else [],
    )
    if found:
        output.say_zone(zone)


def last_in_words(last: LastRun | None, now: datetime) -> str:
    """Return the outcome of a schedule's last run, and when it ended."""
    if last is None:
        return "-"
    outcome = last.outcome or "no result"
    width = output.terminal_width()
    if last.finished_at is None or (width is not None and width < _WIDE):
        return outcome
    return f"{outcome}, {output.from_now(last.finished_at, now)}"


def _next(schedule: Schedule, fires: Sequence[UpcomingFire], zone: str, now: datetime) -> str:
    """Say when a schedule runs next, in a person's own zone, and how far that is."""
    following = next_fire_time(schedule, fires)
    if following is None:
        why = next_fire(schedule, fires, zone)
        return why if output.terminal_width() is None else output.first_line(why, 24)
    far = f", {output.from_now(following, now)}" if following > now else ", overdue"
    is_soon = timedelta(0) <= following - now < timedelta(days=1)
    if is_soon and output.terminal_width() is not None:
        return f"{output.local(following, zone):%H:%M}{far}"
    return f"{output.listed(following, zone, now)}{far}"


def next_fire(schedule: Schedule, fires: Sequence[UpcomingFire], zone: str) -> str:
    """Say when a schedule runs next, in a person's zone, or why it does not."""
    if schedule.state != "active":
        return schedule.state
    following = next_fire_time(schedule, fires)
    if following is not None:
        return output.when(following, zone)
    return f"suppressed: {fires[0].suppressed}" if fires else "cannot be planned"


def next_fire_time(schedule: Schedule, fires: Sequence[UpcomingFire]) -> datetime | None:
    """Return when a schedule runs next, with its jitter; None where it does not."""
    if schedule.state != "active":
        return None
    planned = schedule.next_fire_time
    if planned is not None and planned not in {fire.fire_time for fire in fires if fire.suppressed}:
        return schedule.next_fire_at  # or overdue
    return next((fire.fire_time for fire in fires if fire.suppressed is None), None)


def print_outlook(fires: Sequence[UpcomingFire], zone: str, clock_notes: Sequence[str]) -> None:
    """Print the next fires that will run, and the first that is suppressed before.

    Then what changes of the clock in the coming year mean.
    """
    run = [fire.fire_time for fire in fires if fire.suppressed is None]
    suppressed = [fire for fire in fires if fire.suppressed is not None]
    if not run:
        many = len(fires) > 1
        none = f"None of its next {len(fires):,} fire times will run." if many else ""
        output.say(none or ("Its next fire time will not run." if fires else "It never fires."))
    for index, fire in enumerate(run):
        output.say(f"{'Next fires' if index == 0 else '':10} {output.moment(fire, zone)}")
    if suppressed:
        first = suppressed[0]
        more = f", and {len(suppressed) - 1} more" if len(suppressed) > 1 else ""
        text = f"{output.moment(first.fire_time, zone)} ({first.suppressed}){more}"
        output.say(f"{'Suppressed':10} {text}")
    for index, note in enumerate(clock_notes):
        output.say(f"{'Clock' if index == 0 else '':10} {note}")


def what_it_is(schedule: Schedule, calendars: Sequence[str]) -> list[tuple[str, str]]:
    """Return what its owner said of a schedule: names of things, and what they are in words."""
    written = f"{schedule.timing.cron}: " if schedule.timing.cron else ""
    yours = " (yours)" if schedule.follows_owner_zone else ""
    return [
        ("Agent", schedule.agent_name),
        ("Prompt", schedule.prompt or "(none)"),
        ("Rule", f"{written}{rule_in_words(schedule)}"),
        ("Time zone", f"{schedule.timing.time_zone}{yours}"),
        *_limits(schedule, calendars),
        *_options(schedule),
    ]


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """Print things by their names."""
    for label, text in facts:
        for index, line in enumerate(text.splitlines() or [""]):
            output.say(f"{'' if index else label:10} {line}")


def print_changes(before: Sequence[tuple[str, str]], after: Sequence[tuple[str, str]]) -> None:
    """Print what is not as it was: what was added to a list and removed, else what it was."""
    was, now = dict(before), dict(after)
    for label in dict.fromkeys([*was, *now]):
        old, new = was.get(label, ""), now.get(label, "")
        if old != new:
            print_facts([(label, _change_in_words(label, old, new))])


def _change_in_words(label: str, old: str, new: str) -> str:
    between = _LISTS.get(label)
    if between is None or not old or not new:
        return f"{old or '(none)'} \u2192 {new or '(none)'}"
    before, after = (
        [_NUMBER.sub("", entry) for entry in between.split(text) if entry] for text in (old, new)
    )
    changes = {
        "added": [entry for entry in after if entry not in before],
        "removed": [entry for entry in before if entry not in after],
    }
    said = [f"{verb} {', '.join(entries)}" for verb, entries in changes.items() if entries]
    return "; ".join(said) or "in another order"


def _limits(schedule: Schedule, calendars: Sequence[str]) -> list[tuple[str, str]]:
    """Say what bounds a schedule's rule, and its policy where it is not the default."""
    timing, policy = schedule.timing, schedule.policy
    zone = timing.time_zone
    dst, vixie = (timing.dst_gap, timing.dst_overlap), (DstGap.VIXIE, DstOverlap.VIXIE)
    lines = [
        ("Starts", timing.starts_at and output.moment(timing.starts_at, zone)),
        ("Ends", timing.ends_at and output.moment(timing.ends_at, zone)),
        ("Runs", policy.max_runs and f"{schedule.runs_started} of {policy.max_runs}"),
        ("Jitter", timing.jitter and f"up to {length_in_words(timing.jitter)}"),
        ("Active", " ".join(t for t in (timing.active_days, timing.active_hours) if t)),
        ("Except", ", ".join(t for t in (timing.excluded_days, *calendars) if t)),
        ("Overlap", policy.overlap.value),
        ("Catch-up", f"{policy.catch_up.value}, within {length_in_words(policy.catch_up_window)}"),
        (
            "Failures",
            policy.pause_after_failures
            and f"paused after {policy.pause_after_failures} in a row ({schedule.failures_in_row} "
            "now)",
        ),
        ("DST", dst != vixie and f"gap {timing.dst_gap}, overlap {timing.dst_overlap}"),
    ]
    return [(name, text) for name, text in lines if text]


def print_options(schedule: Schedule) -> None:
    """Print how a schedule's runs are executed, where it says so."""
    print_facts(_options(schedule))


def _options(schedule: Schedule) -> list[tuple[str, str]]:
    try:
        return list(RunOptions.parse(schedule.options).in_words())
    except InvalidInputError as error:  # the row was not written by rota
        return [("Options", f"cannot be read, so its runs fail: {error.message}")]


def print_week(week: Week, zone: str, pause: Pause | None = None) -> None:
    """Print the days to come with their fires; a schedule that fires often takes one line a day.

    All times are in `zone`, which is named once, as is a pause of all schedules.
    """
    output.say(f"Times in {zone}.")
    if pause is not None:
        output.say_line(f"{pause_in_words(pause, zone)} (`rota resume`)")
    output.say()
    lines: list[tuple[datetime, str, str, str]] = []
    for schedule, found in week:
        fires = [_in_brief(fire, schedule, pause, zone) for fire in found]
        local = [(fire, output.local(fire.fire_time, zone)) for fire in fires]
        for _, day in groupby(local, key=lambda pair: pair[1].date()):
            lines += _day_lines(schedule.name, list(day))
    last = None
    for moment, clock, name, text in sorted(lines, key=lambda line: (line[0], line[2])):
        if moment.date() != last:
            if last is not None:
                output.say()
            output.say(f"{moment:%A %Y-%m-%d}", style="bold")
            last = moment.date()
        output.say(f"  {clock:11}  {name}{text}")
    if last is None:
        output.say("Nothing fires in this time.")


def _in_brief(
    fire: UpcomingFire, schedule: Schedule, pause: Pause | None, zone: str
) -> UpcomingFire:
    """Return a fire with a reason that does not say the pause again, and names another clock."""
    own = schedule.timing.time_zone
    if fire.suppressed is None:
        return fire
    if pause is not None and fire.suppressed == pause.in_words(zone_shown(own)):
        return replace(fire, suppressed="paused")
    clock = f", on the clock of {own}" if own != zone else ""
    return replace(fire, suppressed=f"{fire.suppressed}{clock}")


def _day_lines(
    name: str, day: Sequence[tuple[UpcomingFire, datetime]]
) -> list[tuple[datetime, str, str, str]]:
    if len(day) <= FOLDED_ABOVE:
        return [
            (at, f"{at:%H:%M}", name, f"  (not: {item.suppressed})" if item.suppressed else "")
            for item, at in day
        ]
    run = [at for item, at in day if item.suppressed is None]
    first, last = (run[0], run[-1]) if run else (day[0][1], day[-1][1])
    text = f"  {len(run)} times"
    if len(run) < len(day):
        text += f", {len(day) - len(run)} suppressed"
    return [(first, f"{first:%H:%M}-{last:%H:%M}", name, text)]


def print_explanation(explanation: Explanation) -> None:
    """Print why a schedule did or did not run at a time."""
    zone = explanation.time_zone
    verdict = explanation.verdict.replace("_", " ")
    output.say(
        f"{explanation.schedule_name} at {output.moment(explanation.at, zone)}: {verdict}.",
        style="bold",
    )
    for sentence in explanation.why:
        output.say(sentence)
    occurrence = explanation.occurrence
    if occurrence is not None and occurrence.run_id is not None:
        output.say(f"{'Run':10} {occurrence.run_id}")
    for name, fire, without_run in (
        ("Before", explanation.previous_fire, explanation.previous_without_run),
        ("After", explanation.next_fire, explanation.next_without_run),
    ):
        why = f": no run. {without_run}" if without_run is not None else ""
        output.say(f"{name:10} {output.moment(fire, zone)}{why}")


def print_explanations(explanations: Sequence[Explanation]) -> None:
    """Print why a schedule did or did not run at several times, one line for each."""
    output.table(
        ["TIME", "VERDICT", "WHY"],
        [
            (output.moment(e.at, e.time_zone), e.verdict.replace("_", " "), " ".join(e.why))
            for e in explanations
        ],
        empty="It has had no fire time, and has none ahead.",
        texts=["WHY"],
    )
