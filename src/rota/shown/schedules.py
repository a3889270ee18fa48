"""Schedules as faces show them: fields in one level, the rule in words, the fires that lie ahead.

The models of what these functions return are in `schedule_models`: the command line reads lists
without pydantic, which takes long to import.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rota.domain.errors import InvalidInputError
from rota.domain.schedules.forecast import UpcomingFire
from rota.domain.schedules.pauses import Pause
from rota.domain.schedules.schedule import Schedule
from rota.domain.text.jsonable import fields_of, jsonable

if TYPE_CHECKING:
    from rota.services.schedules.preview import Preview
    from rota.services.schedules.service import Backfill
    from rota.services.schedules.views import ListedSchedule, ScheduleDetail

Json = dict[str, Any]


def rule_in_words(schedule: Schedule) -> str:
    """Say a schedule's rule, or what is wrong with a row that was written past rota."""
    try:
        return schedule.timing.rule().in_words()
    except InvalidInputError as error:
        return f"{schedule.timing.cron or 'its rule'} ({error.message})"


def schedule_json(schedule: Schedule) -> Json:
    """Return a schedule."""
    fields = fields_of(schedule)
    fields |= fields_of(fields.pop("timing")) | fields_of(fields.pop("policy"))
    return fields | {"state": schedule.state, "in_words": rule_in_words(schedule)}


def fires_json(fires: Sequence[UpcomingFire]) -> Json:
    """Return the fires that lie ahead: those that will run, and others."""
    return {
        "next_fires": [fire.fire_time for fire in fires if fire.suppressed is None],
        "suppressed_fires": [fire for fire in fires if fire.suppressed is not None],
    }


def listed_json(listed: ListedSchedule) -> Json:
    """Return a schedule of a list, with its next fire and its last run."""
    return schedule_json(listed.schedule) | fires_json(listed.fires) | {"last_run": listed.last_run}


def detail_json(detail: ScheduleDetail) -> Json:
    """Return a schedule with all that there is to know of it."""
    return (
        schedule_json(detail.schedule)
        | fires_json(detail.fires)
        | {
            "clock_changes": detail.clock_notes,
            "calendars": detail.calendars,
            "occurrences": detail.occurrences,
            "last_run": detail.last_run,
            "warning": detail.doubt,
            "written": written_json(detail.schedule, detail.calendars),
        }
    )


def written_json(schedule: Schedule, calendars: Sequence[str]) -> Json | None:
    """Return a schedule as a person writes it, with times in UTC.

    None where its options were written past rota, and cannot be read.
    """
    from rota.services.agent_files.writing import schedule_entry  # noqa: PLC0415  few ask for it

    try:
        entry = schedule_entry(schedule, calendars)
    except InvalidInputError:
        return None
    timing = schedule.timing
    times = {"start": timing.starts_at, "end": timing.ends_at, "at": timing.instants}
    entry |= {name: jsonable(times[name]) for name in times if name in entry}
    entry |= {} if schedule.prompt is None else {"prompt": schedule.prompt}  # also an empty one
    entry.pop("paused", None)
    return {"name": entry.pop("name"), "agent": schedule.agent_name, **entry}


def preview_json(seen: Preview) -> Json:
    """Return a rule that was previewed."""
    return {
        "cron": seen.timing.cron,
        "time_zone": seen.timing.time_zone,
        "in_words": seen.in_words,
        "clock_changes": seen.clock_notes,
    } | fires_json(seen.fires)


def backfill_json(found: Backfill) -> Json:
    """Return the fire times of a backfill, and the new runs."""
    return {
        "schedule": found.schedule.name,
        "fire_times": found.fire_times,
        "runs": found.runs,
    }


def pause_json(pause: Pause | None, time_zone: str) -> Json:
    """Return the pause of all schedules of a person, None where there is none."""
    return {"pause": pause, "time_zone": time_zone}
