"""Models of what `rota.shown.schedules` returns, for OpenAPI and for the tests."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Final

from pydantic import ConfigDict, Field, create_model

from rota.domain.schedules.calendars import Calendar, CalendarDay
from rota.domain.schedules.forecast import ForecastFire, UpcomingFire
from rota.domain.schedules.occurrences import LastRun, Occurrence
from rota.domain.schedules.pauses import Pause
from rota.domain.schedules.schedule import Policy, Schedule, State
from rota.domain.schedules.timing import Timing
from rota.services.schedules.bulk import ChangedSchedule
from rota.services.schedules.explanations import Explanation
from rota.shown.models import Shown, model_of, shown_fields

_FIRES: Final[dict[str, Any]] = {
    "next_fires": (list[datetime], Field(description="The next fire times that will run.")),
    "suppressed_fires": (
        list[model_of(UpcomingFire)],  # type: ignore[misc]  # a type that is made here
        Field(description="Fire times before them that will not run, and why."),
    ),
}
_OWN: Final = shown_fields(Schedule, without={"timing", "policy"})
_FIELDS: Final[dict[str, Any]] = {
    **_OWN,
    **shown_fields(Timing),
    **shown_fields(Policy),
    "state": (State, ...),
    "in_words": (str, Field(description="The rule in words.")),
}

ShownSchedule: Final = create_model(
    "Schedule",
    __base__=Shown,
    __doc__="A schedule. `time_zone` is the one that applies; durations are seconds.",
    **_FIELDS,
)
_LISTED: Final[dict[str, Any]] = {**_FIRES, "last_run": (model_of(LastRun) | None, ...)}
ListedScheduleModel: Final = create_model(
    "ListedSchedule",
    __base__=ShownSchedule,
    __doc__="A schedule of a list, with its next fire and its last run.",
    **_LISTED,
)
_DETAIL: Final[dict[str, Any]] = {
    "clock_changes": (
        list[str],
        Field(description="What changes of the clock in the coming year mean for it."),
    ),
    "calendars": (list[str], Field(description="Calendars whose days are days off.")),
    "occurrences": (
        list[model_of(Occurrence)],  # type: ignore[misc]  # as above
        Field(description="The outcomes of its latest fire times."),
    ),
    "warning": (str | None, Field(description="What may not be as it was meant.")),
    "written": (
        dict[str, Any] | None,
        Field(description="The schedule as PUT takes it; null: its options cannot be read."),
    ),
}
ScheduleDetailModel: Final = create_model(
    "ScheduleDetail",
    __base__=ListedScheduleModel,
    __doc__="A schedule, what lies ahead of it, and its latest occurrences.",
    **_DETAIL,
)
PreviewModel: Final = create_model(
    "Preview",
    __base__=Shown,
    __doc__="A rule that is not stored: in words, and its next fire times.",
    cron=(str | None, ...),
    time_zone=(str, ...),
    in_words=(str, ...),
    clock_changes=(list[str], ...),
    **_FIRES,
)


OccurrenceModel: Final = model_of(Occurrence)


class ExplanationsModel(Shown):
    """Why a schedule did or did not run at some times, the newest first."""

    explanations: list[model_of(Explanation)]  # type: ignore[valid-type]  # as above


class BackfillModel(Shown):
    """The past fire times of a range, and the new runs; a time that has run gets none."""

    schedule: str
    fire_times: list[datetime]
    runs: list[str]


CalendarModel: Final = model_of(Calendar)


class CalendarDetailModel(Shown):
    """A calendar with its days off. `covers_until`: days that recur are known until then."""

    name: str
    source: str
    covers_until: date | None
    next_day: date | None
    days: list[model_of(CalendarDay)]  # type: ignore[valid-type]  # as above


class PauseModel(Shown):
    """The pause of all schedules of a person, null where there is none."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"pause": None, "time_zone": "Europe/Berlin"}}
    )

    pause: model_of(Pause) | None  # type: ignore[valid-type]  # as above
    time_zone: str


class PausedModel(PauseModel):
    """A pause that was made, and the schedules whose last fire time lies in it."""

    schedules_without_fire: list[str]


class ForecastPageModel(Shown):
    """One page of a forecast up to `until`. `next` is for `after`, null on the last page."""

    items: list[model_of(ForecastFire)]  # type: ignore[valid-type]  # as above
    next: str | None
    until: datetime
    time_zone: str
    count: None = None


class BulkModel(Shown):
    """The outcome of each of many schedules."""

    dry_run: bool
    items: list[model_of(ChangedSchedule)]  # type: ignore[valid-type]  # as above
