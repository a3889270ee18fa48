"""Agent files: YAML or JSON, read with line numbers, checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, fields
from datetime import datetime
from difflib import get_close_matches
from functools import partial
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

from rota.agents.models.providers import CALLABLE, SCRIPTED, parse_model
from rota.agents.models.settings import parse_settings
from rota.agents.scripted.checking import validate_script
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.runs.limits import Limits
from rota.domain.runs.option_drafts import read_options
from rota.domain.runs.option_kinds import from_file, options_of
from rota.domain.runs.options import RunOptions
from rota.domain.schedules.drafts import Draft
from rota.domain.text.shortening import shorten
from rota.domain.text.validation import near_or_all, problem_in_words
from rota.services.agent_files.faults import Faults
from rota.services.text_files import read_text_file, yaml_problem

LARGEST_FILE: Final = 1_000_000
"""Bytes; nobody writes more by hand."""

_MOST_NODES: Final = 100_000  # aliases of aliases grow without end
_FORMS: Final = {
    "name": "{!r} is no name: small letters, digits, - and _, at most 63, a letter or digit first",
    "model": "{!r} is not of the form provider:model, such as openai:gpt-5-mini",
}

_SCRIPTED: Final = f"{SCRIPTED}:"
_COLLECTED: Final = "(options)"
"""Where options of runs are collected of a schedule; no field of a file has this name."""

_RULES: Final = ("when", "every", "at")
_ALL_RULES: Final = frozenset({*_RULES, "cron"})
_OPTIONS: Final = frozenset(n for n, option in options_of(RunOptions).items() if option.label)
_GROUPS: Final = frozenset(n for n, option in options_of(RunOptions).items() if option.group)

Location = tuple[int | str, ...]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ScheduleEntry(_Part):
    """A schedule of an agent in a file; `time_zone` left out follows the owner's zone.

    `paused` is the note of a schedule that begins paused. It does not change an existing schedule.
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
    run_options: dict[str, Any] = Field(default_factory=dict, alias=_COLLECTED)

    @model_validator(mode="before")
    @classmethod
    def _collect_run_options(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        rest = {name: value for name, value in values.items() if name not in _OPTIONS}
        return rest | {_COLLECTED: {n: v for n, v in values.items() if n in _OPTIONS}}

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
    """Maps the path of each value in a file to its line, and makes errors that name the line.

    Without a `source` errors name the field instead. `faults` were found so far.
    """

    source: str
    lines: dict[Location, int] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults, compare=False)

    def error(self, message: str, location: Location) -> InvalidInputError:
        """Return an error that names the file, the line and the place."""
        known = [location[:n] for n in range(len(location), 0, -1) if location[:n] in self.lines]
        place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in location[1:])
        said = message[0].lower() + message[1:] if message[:2].istitle() else message
        named = place.removeprefix(".")
        is_named = not place or said.startswith(tuple(f"{named}{end}" for end in " .[:"))
        prefix = "" if is_named else f"{named}: "
        end = "" if said.endswith(("?", "!", ".")) else "."
        if not self.source:  # it came as values, not as a text
            return InvalidInputError(f"{prefix}{said}{end}", field=named or None)
        return self.error_in_line(f"{prefix}{said}{end}", self.lines[known[0]] if known else 1)

    def error_in_line(self, sentence: str, line: int) -> InvalidInputError:
        """Return an error that names the file and the line."""
        return InvalidInputError(f"{self.source}:{line}: {sentence}", line=line)

    def check_names_once(self, kind: str, named: Sequence[tuple[str, Location]]) -> None:
        """Note a fault for each name that was there already."""
        seen: set[str] = set()
        for name, place in named:
            if name in seen:
                self.faults.add(self.error(f"a second {kind} named {name!r}", (*place, "name")))
            seen.add(name)

    @contextmanager
    def naming(self, at: Location) -> Iterator[None]:
        """Give errors about an agent the file, the line and the place."""
        try:
            yield
        except InvalidInputError as error:
            raise self.error(error.message, (*at, *_path(error.field))) from error

    @contextmanager
    def naming_schedule(self, at: Location, entry: ScheduleEntry) -> Iterator[None]:
        """Give errors about a schedule the file, the line and the place.

        Turns what is invalid, unknown or taken into InvalidInputError.
        """
        try:
            yield
        except (InvalidInputError, NotFoundError, ConflictError) as error:
            raise self.error(error.message, (*at, *place_in_entry(error, entry))) from error


@dataclass(frozen=True, slots=True)
class AgentFile:
    """The agents of a file, with the lines of each agent and each value.

    `unfit` are the indexes of agents that were read without what is wrong with them.
    """

    agents: tuple[AgentEntry, ...]
    places: Places
    indexes: tuple[int, ...]
    unfit: frozenset[int] = frozenset()


def read_agent_file(path: Path, *, now: datetime) -> AgentFile:
    """Read a file, for AgentFileService to apply or validate.

    `now` (aware) is what a time such as "tomorrow 9:00" is told from. What is wrong with values is
    kept: the service raises it, with what it finds itself. Raises InvalidInputError for a text that
    is no such file at all.
    """
    text = read_text_file(path, most_bytes=LARGEST_FILE)
    return _parsed(text, source=path.name, now=now)


def read_agent_text(text: str, *, source: str, now: datetime) -> AgentFile:
    """Read a text as `read_agent_file` reads a file; `source` names it in messages."""
    return _parsed(text, source=source, now=now)


def read_agent_value(value: Mapping[str, Any], *, now: datetime) -> AgentFile:
    """Read an agent that came as JSON; errors name the field, not a line."""
    places, unfit = Places(""), set[int]()
    agent = _agent(dict(value), 0, places, now, unfit)
    if agent is None:
        places.faults.check()
    agents = () if agent is None else (agent,)
    return AgentFile(agents, places, (0,)[: len(agents)], frozenset(unfit))


def read_agent_files(paths: Sequence[Path], *, now: datetime) -> tuple[AgentFile, ...]:
    """Read files as `read_agent_file` does; raises what is wrong with all that are none at once."""
    faults = Faults()
    read: list[AgentFile] = []
    for path in dict.fromkeys(paths):
        with faults.gathered():
            read.append(read_agent_file(path, now=now))
    faults.check(by_line=False)
    return tuple(read)


def parse_agent_file(text: str, *, source: str, now: datetime) -> AgentFile:
    r"""Parse one agent, a list of agents, or several YAML documents; JSON is YAML.

    `source` names the text in messages. Raises InvalidInputError with the line;
    where several things are wrong, with its `faults`.

    >>> text = "name: reader\nmodel: openai:gpt-5-mini\nsystem_prompt: You read mail."
    >>> file = rota.parse_agent_file(text, source="reader.yaml", now=app.clock())
    >>> [(one.name, one.change) for one in await app.agent_files.apply(me, file)]
    [('reader', 'created')]
    """
    file = _parsed(text, source=source, now=now)
    file.places.faults.check()
    return file


def _parsed(text: str, *, source: str, now: datetime) -> AgentFile:
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
        raise places.error_in_line(yaml_problem(error), line) from error
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{source}: this is not YAML: {error}") from error
    except RecursionError as error:
        raise InvalidInputError(f"{source}: it is nested too deeply.") from error
    if not values:
        raise InvalidInputError(f"{source}: there is no agent in it.")
    places.faults.check()  # values that could not be read would be told of once more
    unfit: set[int] = set()
    read = [(index, _agent(value, index, places, now, unfit)) for index, value in enumerate(values)]
    agents = {index: agent for index, agent in read if agent is not None}
    places.check_names_once(
        "agent", [(agent.name, (i,)) for i, agent in agents.items() if i not in unfit]
    )
    places.check_names_once(
        "schedule",
        [
            (schedule.name, (index, "schedules", number))
            for index, agent in agents.items()
            for number, schedule in enumerate(agent.schedules)
        ],
    )
    return AgentFile(tuple(agents.values()), places, tuple(agents), frozenset(unfit))


def _agent(
    value: Any, index: int, places: Places, now: datetime, unfit: set[int]
) -> AgentEntry | None:
    """Return an agent of a file, None where it cannot be read; notes all that is wrong with it.

    Fields that are wrong are left out, so that the others are looked at too.
    """
    if not isinstance(value, dict):
        places.faults.add(places.error("an agent is a mapping of `name`, `model`, ...", (index,)))
        return None
    try:
        agent = AgentEntry.model_validate(value)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        for problem in problems:
            places.faults.add(places.error(_in_words(problem), (index, *problem["loc"])))
        wrong = [problem["loc"] for problem in problems]
        if any(loc[:1] != ("schedules",) or len(loc) == 1 for loc in wrong):
            unfit.add(index)
        try:
            agent = AgentEntry.model_validate(_without(value, wrong, index))
        except ValidationError:
            return None
    looks: list[Callable[[], object]] = [
        partial(check, agent) for check in (_check_script, _check_model, _check_fallbacks)
    ]
    looks += [partial(from_file, Limits, {n: v}, "limits.") for n, v in agent.limits.items()]
    for look in looks:
        with places.faults.gathered(), places.naming((index,)):
            look()
    if index not in unfit:
        with places.faults.gathered(), places.naming((index,)):
            _check_that_script_is_there(agent)
        _note_foreign_calls(agent, index, places)
    for number, schedule in enumerate(agent.schedules):
        _note_schedule(schedule, (index, "schedules", number), places, now)
    return agent


def _without(value: Mapping[str, Any], wrong: Sequence[Location], index: int) -> dict[str, Any]:
    """Return an agent without its wrong fields; where one has to be there, with another value."""
    left = deepcopy(dict(value))
    for location in wrong:
        field, *rest = location or ("max_steps",)  # of the two names for one limit
        if field == "schedules" and rest:
            number = int(rest[0])
            others = {"name": f"unnamed {index} {number}", "when": "@daily"}
            schedule = left["schedules"][number]
            if len(rest) == 1 or not isinstance(schedule, dict):
                left["schedules"][number] = others
                continue
            has_rule = not schedule.keys().isdisjoint(_ALL_RULES)
            schedule.pop(str(rest[1]), None)
            if has_rule and schedule.keys().isdisjoint(_ALL_RULES):
                schedule["when"] = others["when"]
            schedule.setdefault("name", others["name"])
        else:
            left.pop(str(field), None)
    return {"name": f"unnamed-{index}", "model": f"{CALLABLE}unnamed", **left}


def _note_schedule(schedule: ScheduleEntry, at: Location, places: Places, now: datetime) -> None:
    """Note all that is wrong with a schedule: where a whole is wrong, each part by itself."""

    def is_sound(look: Callable[[], object]) -> bool:
        try:
            with places.naming_schedule(at, schedule):
                look()
        except InvalidInputError as error:
            places.faults.add(error)
            return False
        return True

    draft, zone = schedule.draft(), schedule.time_zone or "UTC"
    written = {name: getattr(draft, name) for name in (field.name for field in fields(Draft))}
    alone = [
        Draft(**{"when": "@daily", name: value})
        for name, value in written.items()
        if name not in _RULES and value is not None
    ]
    alone.append(Draft(**{name: value for name, value in written.items() if name in _RULES}))
    if not is_sound(lambda: draft.timing(zone, now=now)):
        for part in alone:
            is_sound(partial(part.timing, zone, now=now))
    if not is_sound(draft.policy):
        for part in alone:
            is_sound(part.policy)
    if not is_sound(schedule.options):
        for piece in _pieces(schedule.run_options):
            is_sound(partial(read_options, piece))


def _pieces(options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield options one by one, those of a group too."""
    for name, value in options.items():
        if name in _GROUPS and isinstance(value, dict):
            yield from ({name: {key: item}} for key, item in value.items())
        else:
            yield {name: value}


def _in_words(problem: Mapping[str, Any]) -> str:
    """Say what is wrong with a value of a file; pydantic speaks of patterns and inputs."""
    if problem["type"] == "string_pattern_mismatch":
        form: str = _FORMS[problem["loc"][-1]]
        return form.format(shorten(str(problem["input"]), 60))
    if problem["type"] == "extra_forbidden":
        kind = ScheduleEntry if problem["loc"][0] == "schedules" else AgentEntry
        options = _OPTIONS if kind is ScheduleEntry else frozenset()
        known = {one.alias or name for name, one in kind.model_fields.items()} | options
        near = near_or_all(problem["loc"][-1], known - {_COLLECTED})
        return f"{problem_in_words(problem)}; {near}"
    return problem_in_words(problem)


def _check_script(agent: AgentEntry) -> None:
    try:
        if agent.script is not None:
            validate_script(agent.script)
    except InvalidInputError as error:
        raise InvalidInputError(error.message, field="script") from error


def _check_that_script_is_there(agent: AgentEntry) -> None:
    if agent.script is not None:
        return
    for place, model in (("model", agent.model), *_fallbacks(agent)):
        if model.startswith(_SCRIPTED):
            raise InvalidInputError(
                f"{model} follows a script, and there is none: add `script:` with `steps:` or "
                "`answer:`",
                field=place,
            )


def _note_foreign_calls(agent: AgentEntry, index: int, places: Places) -> None:
    """Note the calls of a script to tools that its agent does not have."""
    steps = (agent.script or {}).get("steps")
    for n, step in enumerate(steps if isinstance(steps, list) else ()):
        calls = step.get("calls") if isinstance(step, dict) else None
        for m, call in enumerate(calls if isinstance(calls, list) else ()):
            tool = call.get("tool") if isinstance(call, dict) else None
            if isinstance(tool, str) and tool not in agent.tools:
                near = get_close_matches(tool, agent.tools, n=1)
                hint = f"did you mean {near[0]!r}?" if near else "add it to `tools:`"
                place = (index, "script", "steps", n, "calls", m, "tool")
                places.faults.add(
                    places.error(f"{agent.name} has no tool {shorten(tool, 60)!r}; {hint}", place)
                )


def _fallbacks(agent: AgentEntry) -> Iterator[tuple[str, str]]:
    return ((f"fallback_models.{n}", model) for n, model in enumerate(agent.fallback_models))


def _check_model(agent: AgentEntry) -> None:
    if not agent.model.startswith(CALLABLE):
        parse_settings(parse_model(agent.model)[0], agent.model_settings)


def _check_fallbacks(agent: AgentEntry) -> None:
    models = agent.fallback_models
    for index, (place, model) in enumerate(_fallbacks(agent)):
        try:
            parse_model(model)
        except InvalidInputError as error:
            raise InvalidInputError(error.message, field=place) from error
        if model in models[:index]:
            raise InvalidInputError(f"The model {model} is named twice.", field=place)


def place_in_entry(
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
                places.faults.add(places.error_in_line("write it out instead of `<<`.", line))
            elif key in result:
                places.faults.add(places.error_in_line(f"{key!r} appears twice.", line))
            places.lines[*location, key] = line
            result[key] = _value(value_node, (*location, key), places, budget)
        return result
    if isinstance(node, yaml.SequenceNode):
        items: Sequence[yaml.Node] = node.value
        return [_value(item, (*location, n), places, budget) for n, item in enumerate(items)]
    scalar = _SCALARS.construct_object(node)
    is_json = scalar is None or isinstance(scalar, str | bool | int | float)
    if not is_json or scalar in {float("inf"), float("-inf")} or scalar != scalar:  # noqa: PLR0124  NaN is not itself
        places.faults.add(places.error("put this value in quotes", location))
    if isinstance(scalar, str) and "\0" in scalar:
        places.faults.add(places.error("a NUL character cannot be stored", location))
    return scalar


_SCALARS: Final = yaml.SafeLoader("")
