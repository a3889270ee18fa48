"""Agent files: YAML or JSON, read with line numbers, checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from rota.agents.models.providers import parse_model
from rota.agents.scripted.checking import validate_script
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.runs.limits import Limits
from rota.domain.runs.option_drafts import read_options
from rota.domain.runs.option_kinds import from_file, options_of
from rota.domain.runs.options import RunOptions
from rota.domain.schedules.drafts import Draft
from rota.domain.text.validation import problem_in_words
from rota.services.text_files import read_text_file

LARGEST_FILE: Final = 1_000_000
"""Bytes; nobody writes more by hand."""

_MOST_NODES: Final = 100_000  # aliases of aliases grow without end
_FORMS: Final = {
    "name": "{!r} is no name: small letters, digits, - and _, at most 63, a letter or digit first",
    "model": "{!r} is not of the form provider:model, such as openai:gpt-5-mini",
}

Location = tuple[int | str, ...]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ScheduleEntry(_Part):
    """A schedule of an agent in a file; `time_zone` left out follows the owner's zone.

    `paused` is the note of one that does not begin at once: for one that is there, it says nothing.
    """

    name: str = Field(min_length=1, max_length=100)
    time_zone: str | None = None
    prompt: str | None = None
    except_calendars: tuple[str, ...] = Field(default=(), strict=False)
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
    overlap: str | None = None
    catch_up: str | None = None
    catch_up_window: str | None = None
    max_runs: int | None = Field(default=None, ge=1)
    pause_after_failures: int | None = Field(default=None, ge=1)
    paused: str | None = Field(default=None, max_length=1000)
    run_options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _collect_run_options(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        declared = {name for name, option in options_of(RunOptions).items() if option.label}
        rest = {name: value for name, value in values.items() if name not in declared}
        return rest | {"run_options": {n: v for n, v in values.items() if n in declared}}

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.cron is not None and self.when is not None:
            raise ValueError("`cron` and `when` are two names for one thing; give one of them")
        return self

    def draft(self) -> Draft:
        """Return rule and policy as the command line has them."""
        written = {field.name: getattr(self, field.name) for field in fields(Draft)}
        return Draft(**written | {"when": self.when if self.cron is None else self.cron})

    def options(self) -> RunOptions:
        """Return how its runs are executed; raises InvalidInputError naming the place."""
        return read_options(self.run_options)


class AgentEntry(_Part):
    """An agent in a file."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    description: str = ""
    model: Annotated[str, Field(pattern=r"^[a-z0-9_]+:.+$")]
    model_settings: dict[str, Any] = Field(default_factory=dict)
    system_prompt: str = ""
    script: dict[str, Any] | None = None
    fallback_models: tuple[str, ...] = Field(default=(), max_length=10, strict=False)
    max_steps: int = Field(default=25, ge=1, le=1000)
    limits: dict[str, Any] = Field(default_factory=dict)
    max_concurrency: int | None = Field(default=None, ge=1, le=1_000_000)
    tools: tuple[str, ...] = Field(default=(), strict=False)
    schedules: tuple[ScheduleEntry, ...] = Field(default=(), strict=False)

    @field_validator("tools")
    @classmethod
    def _named_once(cls, tools: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(tools)) != len(tools):
            raise ValueError("a tool is named twice")
        return tools

    @model_validator(mode="after")
    def _one_limit_of_steps(self) -> Self:
        if self.limits.get("steps") is not None and "max_steps" in self.model_fields_set:
            raise ValueError("`max_steps` and `limits.steps` are two names for one thing")
        return self


@dataclass(frozen=True, slots=True)
class Places:
    """The lines of a file's values, by their paths in it; makes the errors that name them."""

    source: str
    lines: dict[Location, int] = field(default_factory=dict)

    def error(self, message: str, location: Location) -> InvalidInputError:
        """Return an error that names the file, the line and the place."""
        known = [location[:n] for n in range(len(location), 0, -1) if location[:n] in self.lines]
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location[1:])
        said = message[0].lower() + message[1:] if message[:2].istitle() else message
        named = place.removeprefix(".")
        is_named = not place or said.startswith((f"{named} ", f"{named}.", f"{named}["))
        prefix = "" if is_named else f"{named}: "
        end = "" if said.endswith(("?", "!", ".")) else "."
        return self.error_in_line(f"{prefix}{said}{end}", self.lines[known[0]] if known else 1)

    def error_in_line(self, sentence: str, line: int) -> InvalidInputError:
        """Return an error that names the file and the line."""
        return InvalidInputError(f"{self.source}:{line}: {sentence}", line=line)

    def check_names_once(self, kind: str, named: Sequence[tuple[str, Location]]) -> None:
        """Raise InvalidInputError for a name that two have."""
        seen: set[str] = set()
        for name, place in named:
            if name in seen:
                raise self.error(f"a second {kind} named {name!r}", (*place, "name"))
            seen.add(name)

    @contextmanager
    def naming_schedule(self, at: Location, entry: ScheduleEntry) -> Iterator[None]:
        """Give errors about a schedule the file, the line and the place.

        Turns what is invalid, unknown or taken into InvalidInputError.
        """
        try:
            yield
        except (InvalidInputError, NotFoundError, ConflictError) as error:
            raise self.error(error.message, (*at, *_place_of(error, entry))) from error


@dataclass(frozen=True, slots=True)
class AgentFile:
    """The agents of a file, and where each value of it is."""

    agents: tuple[AgentEntry, ...]
    places: Places


def read_agent_file(path: Path, *, now: datetime) -> AgentFile:
    """Read and check a file; raises InvalidInputError with file and line.

    `now` (aware) is what a time such as "tomorrow 9:00" is told from.
    """
    text = read_text_file(path, most_bytes=LARGEST_FILE)
    return parse_agent_file(text, source=path.name, now=now)


def parse_agent_file(text: str, *, source: str, now: datetime) -> AgentFile:
    r"""Parse one agent, a list of agents, or several YAML documents; JSON is YAML.

    `source` names the text in messages. Raises InvalidInputError with the line.

    >>> text = "name: reader\nmodel: openai:gpt-5-mini\nsystem_prompt: You read mail."
    >>> file = rota.parse_agent_file(text, source="reader.yaml", now=app.clock())
    >>> [(one.name, one.change) for one in await app.agent_files.apply(me, file)]
    [('reader', 'created')]
    """
    places = Places(source)
    values: list[Any] = []
    try:
        for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
            budget = iter(range(_MOST_NODES))
            is_list = isinstance(document, yaml.SequenceNode)
            for node in document.value if is_list else [document]:
                values.append(_value(node, (len(values),), places, budget))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise places.error_in_line(f"{error.problem or 'this is not YAML'}.", line) from error
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{source}: this is not YAML: {error}") from error
    except RecursionError as error:
        raise InvalidInputError(f"{source}: it is nested too deeply.") from error
    if not values:
        raise InvalidInputError(f"{source}: there is no agent in it.")
    agents = tuple(_agent(value, index, places, now) for index, value in enumerate(values))
    places.check_names_once("agent", [(agent.name, (i,)) for i, agent in enumerate(agents)])
    places.check_names_once(
        "schedule",
        [
            (schedule.name, (index, "schedules", number))
            for index, agent in enumerate(agents)
            for number, schedule in enumerate(agent.schedules)
        ],
    )
    return AgentFile(agents, places)


def _agent(value: Any, index: int, places: Places, now: datetime) -> AgentEntry:
    if not isinstance(value, dict):
        raise places.error("an agent is a mapping of `name`, `model`, ...", (index,))
    try:
        agent = AgentEntry.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise places.error(_in_words(first), (index, *first["loc"])) from error
    try:
        if agent.script is not None or agent.model.startswith("scripted:"):
            validate_script(agent.script)
    except InvalidInputError as error:
        raise places.error(error.message, (index, "script")) from error
    try:
        from_file(Limits, agent.limits, "limits.")
        _check_fallbacks(agent.fallback_models)
    except InvalidInputError as error:
        raise places.error(error.message, (index, *_path(error.field))) from error
    for number, schedule in enumerate(agent.schedules):
        with places.naming_schedule((index, "schedules", number), schedule):
            schedule.draft().timing(schedule.time_zone or "UTC", now=now)
            schedule.draft().policy()
            schedule.options()
    return agent


def _in_words(problem: Mapping[str, Any]) -> str:
    """Say what is wrong with a value of a file; pydantic speaks of patterns and inputs."""
    if problem["type"] == "string_pattern_mismatch":
        form: str = _FORMS[problem["loc"][-1]]
        return form.format(str(problem["input"])[:60])
    return problem_in_words(problem)


def _check_fallbacks(models: tuple[str, ...]) -> None:
    for index, model in enumerate(models):
        place = f"fallback_models.{index}"
        try:
            parse_model(model)
        except InvalidInputError as error:
            raise InvalidInputError(error.message, field=place) from error
        if model in models[:index]:
            raise InvalidInputError(f"The model {model} is named twice.", field=place)


def _place_of(
    error: InvalidInputError | NotFoundError | ConflictError, entry: ScheduleEntry
) -> Location:
    """Return the place in a schedule of what an error is about."""
    if not isinstance(error, InvalidInputError):
        return ("except_calendars" if isinstance(error, NotFoundError) else "name",)
    names = {"excluded_days": "except", "starts_at": "start", "ends_at": "end"}
    field = names.get(error.field or "", error.field or "")
    if field in {"when", "cron", ""}:
        field = next((name for name in ("cron", "every", "at") if getattr(entry, name)), "when")
    return _path(field)


def _path(field: str | None) -> Location:
    """Return the path of an error's field, which is written with dots."""
    parts = field.split(".") if field else []
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def _value(node: yaml.Node, location: Location, places: Places, budget: Iterator[int]) -> Any:
    """Turn a node into a value, noting the line of every place on the way."""
    if next(budget, None) is None:
        raise InvalidInputError(f"{places.source}: it grows to more than {_MOST_NODES} values.")
    places.lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise places.error_in_line("write it out instead of `<<`.", line)
            if key in result:
                raise places.error_in_line(f"{key!r} appears twice.", line)
            places.lines[*location, key] = line
            result[key] = _value(value_node, (*location, key), places, budget)
        return result
    if isinstance(node, yaml.SequenceNode):
        items: Sequence[yaml.Node] = node.value
        return [_value(item, (*location, n), places, budget) for n, item in enumerate(items)]
    scalar = _SCALARS.construct_object(node)
    is_json = scalar is None or isinstance(scalar, str | bool | int | float)
    if not is_json or scalar in {float("inf"), float("-inf")} or scalar != scalar:  # noqa: PLR0124  NaN is not itself
        raise places.error("put this value in quotes", location)
    if isinstance(scalar, str) and "\0" in scalar:
        raise places.error("a NUL character cannot be stored", location)
    return scalar


_SCALARS: Final = yaml.SafeLoader("")
