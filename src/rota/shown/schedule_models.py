"""Models of what `rota.shown.schedules` returns, for OpenAPI and for the tests."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from pydantic import Field, create_model

from rota.domain.schedules.forecast import ForecastFire, UpcomingFire
from rota.domain.schedules.occurrences import LastRun, Occurrence
from rota.domain.schedules.pauses import Pause
from rota.domain.schedules.schedule import Policy, Schedule, State
from rota.domain.schedules.timing import Timing
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
ListedScheduleModel: Final = create_model(
    "ListedSchedule",
    __base__=ShownSchedule,
    __doc__="A schedule of a list, with its next fire and its last run.",
    **_FIRES,
    last_run=(model_of(LastRun) | None, ...),
)
ScheduleDetailModel: Final = create_model(
    "ScheduleDetail",
    __base__=ListedScheduleModel,
    __doc__="A schedule, what lies ahead of it, and its latest occurrences.",
    clock_changes=(
        list[str],
        Field(description="What changes of the clock in the coming year mean for it."),
    ),
    calendars=(list[str], Field(description="Calendars whose days are days off.")),
    occurrences=(list[model_of(Occurrence)], ...),  # type: ignore[misc]  # as above
    warning=(str | None, Field(description="What may not be as it was meant.")),
    written=(
        dict[str, Any] | None,
        Field(description="The schedule as PUT takes it; null: its options cannot be read."),
    ),
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
ForecastFireModel: Final = model_of(ForecastFire)


class BackfillModel(Shown):
    """The past fire times of a range, and the new runs; a time that has run gets none."""

    schedule: str
    fire_times: list[datetime]
    runs: list[str]


PauseModel: Final = create_model(
    "PauseOfAll",
    __base__=Shown,
    __doc__="The pause of all schedules of a person, null where there is none.",
    pause=(model_of(Pause) | None, ...),
    time_zone=(str, ...),
)
