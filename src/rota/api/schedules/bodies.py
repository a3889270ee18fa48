"""Requests about schedules: the fields that a schedule has in an agent file, and its agent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Annotated, Any, Final, TypeVar

from fastapi import Path
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from rota.api.runs.triggering import RunAsked
from rota.domain.errors import InvalidInputError, NotFoundError
from rota.domain.runs.option_drafts import OptionChange
from rota.domain.runs.options import RunOptions
from rota.domain.schedules.drafts import NONE, Draft
from rota.domain.schedules.forecast import NEXT_FIRES
from rota.domain.schedules.overlap import OverlapPolicy
from rota.domain.schedules.schedule import Policy
from rota.domain.schedules.timing import Timing
from rota.services.agent_files.reading import ScheduleEntry, place_in_entry
from rota.services.schedules.service import NewSchedule, ScheduleEdit
from rota.shown.options import option_properties

E = TypeVar("E", bound=ScheduleEntry)

Reference = Annotated[
    str,
    Path(
        max_length=100,
        description="The schedule's name, its id, or the beginning of its id.",
        examples=["each-morning"],
    ),
]
_NAMES: Final = {"excluded_days": "except"}
_RULES: Final = ("when", "cron", "every", "at")
_USUAL: Final[Mapping[str, str]] = {
    "dst_gap": Timing("UTC").dst_gap,
    "dst_overlap": Timing("UTC").dst_overlap,
    "overlap": Policy().overlap,
    "catch_up": Policy().catch_up,
    "catch_up_window": f"{round(Policy().catch_up_window.total_seconds())}s",
}
"""What a schedule has of which something is always set."""

_DESCRIPTIONS: Final[Mapping[str, str]] = {
    "name": "The name of the path; may be left out.",
    "time_zone": "The IANA time zone. Left out: your own.",
    "prompt": "The task for the agent.",
    "except_calendars": "Names of calendars whose days are days off.",
    "when": "A cron expression, or a phrase: `weekdays at 7:30`. Give one of the rules.",
    "cron": "Another name for `when`.",
    "every": "A rule: an interval of real time, `90m`.",
    "at": "A rule: single times, `2026-12-24 18:00` or RFC 3339.",
    "start": "Do not fire before this time. An interval is counted from it.",
    "end": "Do not fire after this time. A date includes the whole day.",
    "jitter": "Delay each fire by a random time, at most this long: `5m`.",
    "active_hours": "Fire only in these hours: `08:00-18:00`.",
    "active_days": "Fire only on these days: `mon-fri`.",
    "except": "Do not fire on these days: `2026-12-24..2027-01-01, 2027-05-01`.",
    "dst_gap": "What to do with a time that a clock change skips: vixie, skip or shift.",
    "dst_overlap": "What to do with a time that a clock change repeats: vixie, once or twice.",
    "overlap": "While a run is unfinished: skip, buffer_one, buffer_all, cancel_other, allow_all.",
    "catch_up": "Which missed fire times run late: latest or all.",
    "catch_up_window": "How late a missed fire time may still run: `1h`.",
    "max_runs": "End the schedule after so many runs.",
    "pause_after_failures": "Pause the schedule after so many failed runs in a row.",
    "paused": "Make the schedule paused, with this note. One that is there stays as it is.",
}

PUT_EXAMPLES: Final[dict[str, Any]] = {
    "phrase": {
        "value": {
            "agent": "clerk",
            "when": "weekdays at 7:30",
            "time_zone": "Europe/Berlin",
            "prompt": "What is new?",
        }
    },
    "interval": {
        "value": {
            "agent": "clerk",
            "every": "90m",
            "active_hours": "08:00-18:00",
            "overlap": "buffer_one",
            "limits": {"time": "10m", "cost": "0.50"},
        }
    },
}
PATCH_EXAMPLES: Final[dict[str, Any]] = {
    "rule": {"value": {"when": "daily at 8:00"}},
    "away": {"value": {"prompt": None, "limits": {"cost": None}}},
}


class ScheduleBody(ScheduleEntry):
    """A schedule as a person writes it: as in an agent file, with its agent."""

    name: str | None = Field(default=None, max_length=100)  # type: ignore[assignment]  # in the path
    prompt: str | None = Field(default=None, max_length=100_000)
    agent: str = Field(min_length=1, max_length=63, description="The agent's name.")

    def new(self, name: str) -> NewSchedule:
        """Return what is to be stored under a name; raises InvalidInputError naming the field."""
        if self.name is not None and self.name != name:
            raise InvalidInputError(
                "The name is that of the path. PATCH gives a schedule another one.", field="name"
            )
        return NewSchedule(
            name=name,
            agent_name=self.agent,
            draft=self.draft(),
            time_zone=self.time_zone,
            prompt=self.prompt,
            calendars=self.except_calendars,
            paused=self.paused,
            options=self.options(),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return it with each option of runs as a field of its own."""
        schema = handler.resolve_ref_schema(handler(core))
        properties = schema["properties"]
        properties.pop(cls.model_fields["run_options"].alias)
        for name, described in properties.items():
            described.setdefault("description", _DESCRIPTIONS.get(name, ""))
        properties.update(option_properties(RunOptions))
        return schema


def _nullable(properties: dict[str, Any]) -> None:
    for described in properties.values():
        described.pop("default", None)
        if "type" in described:
            kinds = described["type"]
            described["type"] = [*(kinds if isinstance(kinds, list) else [kinds]), "null"]
        if "enum" in described:
            described["enum"] = [*described["enum"], None]
        _nullable(described.get("properties", {}))


class ScheduleChange(ScheduleBody):
    """What to change of a schedule; null takes a value away.

    Only a description: `change_of` reads the request, in which null is not the same as nothing.
    """

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return it with fields that may be left out, or be null to take a value away."""
        schema = super().__get_pydantic_json_schema__(core, handler)
        schema.pop("required", None)
        schema["description"] = "What to change of a schedule; null takes a value away."
        properties = schema["properties"]
        properties.pop("paused")
        _nullable({n: one for n, one in properties.items() if n not in {"name", "agent", *_RULES}})
        return schema


def change_of(values: Mapping[str, Any], revision: int) -> tuple[ScheduleEdit, ScheduleEntry]:
    """Return what a request changes, and what it has of a schedule.

    Raises RequestValidationError and InvalidInputError.
    """
    given = {name: value for name, value in values.items() if value is not None}
    entry = _entry(ScheduleBody, {"agent": "any", **given})
    for name in values.keys() - given.keys() - _KNOWN:
        raise InvalidInputError("There is no such field.", field=name)
    for name in ("name", "agent", *_RULES):
        if name in values and not values[name]:
            raise InvalidInputError("This can be replaced, and not taken away.", field=name)
    if "paused" in values:
        raise InvalidInputError(
            "Pause a schedule with POST to its `/pause`, and resume it with `/resume`.",
            field="paused",
        )
    draft = {name: _written(name, values, entry) for name in (one.name for one in fields(Draft))}
    calendars = entry.except_calendars if "except_calendars" in values else None
    edit = ScheduleEdit(
        draft=Draft(**draft | {"when": entry.cron or entry.when}),
        name=entry.name,
        agent_name=given.get("agent"),
        prompt=NONE if "prompt" in values and entry.prompt is None else entry.prompt,
        time_zone=NONE if "time_zone" in values and entry.time_zone is None else entry.time_zone,
        calendars=calendars,
        revision=revision,
        options=OptionChange({name: values[name] for name in values.keys() & _OPTIONS}),
    )
    return edit, entry


def _entry(kind: type[E], values: Mapping[str, Any]) -> E:
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise RequestValidationError(
            [{**one, "loc": ("body", *one["loc"])} for one in error.errors(include_url=False)]
        ) from error


def _written(name: str, values: Mapping[str, Any], entry: ScheduleEntry) -> Any:
    """Return a field of a draft as the command line has it: null takes the value away."""
    shown = _NAMES.get(name, name)
    if shown in values and values[shown] is None:
        return _USUAL.get(name, NONE)
    return getattr(entry, name)


_OPTIONS: Final = option_properties(RunOptions).keys()
_KNOWN: Final = _OPTIONS | {
    field.alias or name for name, field in ScheduleBody.model_fields.items()
}


@contextmanager
def naming_fields(entry: ScheduleEntry) -> Iterator[None]:
    """Name what is wrong by the fields of a request; an unknown agent or calendar is such, too."""
    try:
        yield
    except NotFoundError as error:
        field = {"agent": "agent", "calendar": "except_calendars"}.get(error.kind)
        if field is None:
            raise
        raise InvalidInputError(error.message, field=field) from error
    except InvalidInputError as error:
        if error.field is None or error.faults:
            raise
        place = ".".join(map(str, place_in_entry(error, entry)))
        raise InvalidInputError(error.message, field=place) from error


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class PauseNote(_Asked):
    """Why, for people who look at it later."""

    note: str = Field("", max_length=1_000)


class PreviewAsked(_Asked):
    """A rule to look at, and the zone to read it in: your own, if it is left out."""

    when: str | None = None
    cron: str | None = None
    every: str | None = None
    at: tuple[str, ...] = Field(default=(), strict=False)
    start: str | None = None
    end: str | None = None
    jitter: str | None = None
    active_hours: str | None = None
    active_days: str | None = None
    excluded_days: str | None = Field(default=None, alias="except")
    dst_gap: str | None = None
    dst_overlap: str | None = None
    time_zone: str | None = None
    fires: int = Field(NEXT_FIRES, ge=1, le=1_000, description="How many fires to show.")

    def entry(self) -> ScheduleEntry:
        """Return it as a schedule; raises RequestValidationError."""
        written = self.model_dump(exclude_unset=True, by_alias=True, exclude={"fires"})
        return _entry(ScheduleEntry, {"name": "preview", **written})


class RunOfSchedule(RunAsked):
    """A run of a schedule, now; what is left out is as the schedule has it."""

    prompt: str | None = Field(None, max_length=100_000, description="Another prompt.")
    overlap: str | None = Field(None, description="Another overlap policy.", examples=["allow_all"])


class BackfillAsked(_Asked):
    """A range of past fire times. A `to` that is a day means the whole day."""

    start: str = Field(alias="from", description="The first fire time.", examples=["2026-12-01"])
    end: str = Field(alias="to", description="The last fire time.", examples=["2026-12-03"])
    overlap: str = Field("buffer_all", description="buffer_all or allow_all.")
    dry_run: bool = Field(False, description="Only show the fire times; nothing is run.")


def policy_of(overlap: str | None) -> OverlapPolicy | None:
    """Return the overlap policy of this name; raises InvalidInputError."""
    return None if overlap is None else Draft(overlap=overlap).policy().overlap
