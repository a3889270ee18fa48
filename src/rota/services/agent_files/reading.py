"""Agent files: YAML or JSON, read with line numbers, checked before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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

from rota.agents.scripted.checking import validate_script
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError, RotaError
from rota.domain.runs.limits import Limits
from rota.domain.runs.option_kinds import from_file
from rota.domain.schedules.drafts import Draft
from rota.services.agent_files.options import OptionFields, check_fallbacks
from rota.services.text_files import read_text_file

LARGEST_FILE: Final = 1_000_000
"""Bytes; nobody writes more by hand."""

_MOST_NODES: Final = 100_000  # aliases of aliases grow without end

Location = tuple[int | str, ...]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ScheduleEntry(OptionFields):
    """A schedule of an agent in a file; `time_zone` left out follows the owner's zone."""

    name: str = Field(min_length=1, max_length=100)
    when: str | None = None
    cron: str | None = None
    every: str | None = None
    at: tuple[str, ...] = Field(default=(), strict=False)
    time_zone: str | None = None
    prompt: str | None = None
    start: str | None = None
    end: str | None = None
    jitter: str | None = None
    active_hours: str | None = None
    active_days: str | None = None
    except_days: str | None = Field(default=None, alias="except")
    except_calendars: tuple[str, ...] = Field(default=(), strict=False)
    dst_gap: str | None = None
    dst_overlap: str | None = None
    overlap: str | None = None
    catch_up: str | None = None
    catch_up_window: str | None = None
    max_runs: int | None = Field(default=None, ge=1)
    pause_after_failures: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.cron is not None and self.when is not None:
            raise ValueError("`cron` and `when` are two names for one thing; give one of them")
        return self

    def draft(self) -> Draft:
        """Return rule and policy as the command line has them."""
        return Draft(
            when=self.when if self.cron is None else self.cron,
            every=self.every,
            at=self.at,
            start=self.start,
            end=self.end,
            jitter=self.jitter,
            active_hours=self.active_hours,
            active_days=self.active_days,
            excluded_days=self.except_days,
            dst_gap=self.dst_gap,
            dst_overlap=self.dst_overlap,
            overlap=self.overlap,
            catch_up=self.catch_up,
            catch_up_window=self.catch_up_window,
            max_runs=self.max_runs,
            pause_after_failures=self.pause_after_failures,
        )


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
class AgentFile:
    """The agents of a file, with the line of each place in them."""

    source: str
    agents: tuple[AgentEntry, ...]
    lines: Mapping[Location, int]

    def error(self, message: str, location: Location) -> InvalidInputError:
        """Return an error that names the file, the line and the place."""
        return _error(self.source, self.lines, message, location)

    @contextmanager
    def naming_schedule(self, agent: int, number: int) -> Iterator[None]:
        """Give errors about a schedule, the agent's `number`th, the file, the line and the place.

        Turns what is invalid, unknown or taken into InvalidInputError.
        """
        entry = self.agents[agent].schedules[number]
        with _naming_schedule(self.source, self.lines, (agent, "schedules", number), entry):
            yield


def read_agent_file(path: Path, *, now: datetime) -> AgentFile:
    """Read and check a file; raises InvalidInputError with file and line.

    `now` (aware) is what a time such as "tomorrow 9:00" is told from.
    """
    text = read_text_file(path, most_bytes=LARGEST_FILE)
    return parse_agent_file(text, source=path.name, now=now)


def parse_agent_file(text: str, *, source: str, now: datetime) -> AgentFile:
    """Parse one agent, a list of agents, or several YAML documents; JSON is YAML."""
    lines: dict[Location, int] = {}
    values: list[Any] = []
    try:
        for document in yaml.compose_all(text, Loader=yaml.SafeLoader):
            budget = iter(range(_MOST_NODES))
            if isinstance(document, yaml.SequenceNode):
                for node in document.value:
                    location: Location = (len(values),)
                    values.append(_value(node, location, lines, source, budget))
            else:
                values.append(_value(document, (len(values),), lines, source, budget))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInputError(
            f"{source}:{line}: {error.problem or 'this is not YAML'}.", line=line
        ) from error
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{source}: this is not YAML: {error}") from error
    except RecursionError as error:
        raise InvalidInputError(f"{source}: it is nested too deeply.") from error
    if not values:
        raise InvalidInputError(f"{source}: there is no agent in it.")
    agents = tuple(_agent(value, index, lines, source, now) for index, value in enumerate(values))
    _check_names_once(
        source, lines, "agent", [(agent.name, (i,)) for i, agent in enumerate(agents)]
    )
    schedules: list[tuple[str, Location]] = [
        (schedule.name, (index, "schedules", number))
        for index, agent in enumerate(agents)
        for number, schedule in enumerate(agent.schedules)
    ]
    _check_names_once(source, lines, "schedule", schedules)
    return AgentFile(source, agents, lines)


def _check_names_once(
    source: str, lines: Mapping[Location, int], kind: str, named: Sequence[tuple[str, Location]]
) -> None:
    seen: set[str] = set()
    for name, place in named:
        if name in seen:
            raise _error(source, lines, f"a second {kind} named {name!r}", (*place, "name"))
        seen.add(name)


def _agent(
    value: Any, index: int, lines: Mapping[Location, int], source: str, now: datetime
) -> AgentEntry:
    if not isinstance(value, dict):
        raise _error(source, lines, "an agent is a mapping of `name`, `model`, ...", (index,))
    try:
        agent = AgentEntry.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        said = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            said = "there is no such field"
        elif first["type"] == "model_type":
            said = "this is a mapping of names to values"
        raise _error(source, lines, said, (index, *first["loc"])) from error
    try:
        if agent.script is not None or agent.model.startswith("scripted:"):
            validate_script(agent.script)
    except InvalidInputError as error:
        raise _error(source, lines, error.message, (index, "script")) from error
    try:
        from_file(Limits, agent.limits, "limits.")
        check_fallbacks(agent.fallback_models)
    except InvalidInputError as error:
        raise _error(source, lines, error.message, (index, *_path(error.field))) from error
    for number, schedule in enumerate(agent.schedules):
        with _naming_schedule(source, lines, (index, "schedules", number), schedule):
            schedule.draft().timing(schedule.time_zone or "UTC", now=now)
            schedule.draft().policy()
            schedule.options()
    return agent


@contextmanager
def _naming_schedule(
    source: str, lines: Mapping[Location, int], at: Location, entry: ScheduleEntry
) -> Iterator[None]:
    try:
        yield
    except (InvalidInputError, NotFoundError, ConflictError) as error:
        raise _error(source, lines, error.message, _place(entry, at, error)) from error


def _place(entry: ScheduleEntry, at: Location, error: RotaError) -> Location:
    """Return the place in the file of what an error is about."""
    if isinstance(error, NotFoundError | ConflictError):
        return (*at, "except_calendars" if isinstance(error, NotFoundError) else "name")
    names = {"excluded_days": "except", "starts_at": "start", "ends_at": "end"}
    field = error.field if isinstance(error, InvalidInputError) and error.field else ""
    field = names.get(field, field)
    if field in {"when", "cron", ""}:
        field = next((name for name in ("cron", "every", "at") if getattr(entry, name)), "when")
    return (*at, *_path(field))


def _path(field: str | None) -> Location:
    """Return the path of an error's field, which is written with dots."""
    parts = (field or "").split(".")
    return tuple(int(part) if part.isdecimal() else part for part in parts)


def _error(
    source: str, lines: Mapping[Location, int], message: str, location: Location
) -> InvalidInputError:
    known = next(
        (location[:n] for n in range(len(location), 0, -1) if location[:n] in lines), location[:1]
    )
    line = lines.get(known, 1)
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location[1:])
    said = message[0].lower() + message[1:] if message[:2].istitle() else message
    prefix = f"{place.removeprefix('.')}: " if place else ""
    end = "" if said.endswith(("?", "!", ".")) else "."
    return InvalidInputError(f"{source}:{line}: {prefix}{said}{end}", line=line)


def _value(
    node: yaml.Node,
    location: Location,
    lines: dict[Location, int],
    source: str,
    budget: Iterator[int],
) -> Any:
    """Turn a node into a value, noting the line of every place on the way."""
    if next(budget, None) is None:
        raise InvalidInputError(f"{source}: it grows to more than {_MOST_NODES} values.")
    lines.setdefault(location, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise InvalidInputError(
                    f"{source}:{line}: write it out instead of `<<`.", line=line
                )
            if key in result:
                raise InvalidInputError(f"{source}:{line}: {key!r} stands here twice.", line=line)
            lines[*location, key] = line
            result[key] = _value(value_node, (*location, key), lines, source, budget)
        return result
    if isinstance(node, yaml.SequenceNode):
        items: Sequence[yaml.Node] = node.value
        return [
            _value(item, (*location, index), lines, source, budget)
            for index, item in enumerate(items)
        ]
    scalar = _SCALARS.construct_object(node)
    is_json = scalar is None or isinstance(scalar, str | bool | int | float)
    if not is_json or scalar in {float("inf"), float("-inf")} or scalar != scalar:  # noqa: PLR0124  NaN is not itself
        raise _error(source, lines, "put this value in quotes", location)
    if isinstance(scalar, str) and "\0" in scalar:
        raise _error(source, lines, "a NUL character cannot be stored", location)
    return scalar


_SCALARS: Final = yaml.SafeLoader("")
