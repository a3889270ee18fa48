"""Writes agents and schedules in the form that `reading` reads, without default values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any, Final, TypeAlias

from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.errors import InvalidInputError
from rota.domain.runs.limits import Limits
from rota.domain.runs.option_kinds import to_file
from rota.domain.runs.options import RunOptions
from rota.domain.schedules.rules.cron import parse_zone
from rota.domain.schedules.schedule import Policy, Schedule
from rota.domain.schedules.timing import Timing
from rota.domain.schedules.written_time import written_duration, written_moment
from rota.domain.text.jsonable import fields_of

Entry: TypeAlias = dict[str, Any]
"""An agent or a schedule as YAML or JSON has it."""

_DEFAULT_STEPS: Final = 25
_PAUSED: Final = "it was paused when it was exported"


def agent_entry(agent: AgentConfiguration) -> Entry:
    """Return an agent without its schedules; raises InvalidInputError for limits of no sense."""
    tools = [tool.name for tool in agent.tools]
    return version_entry(agent.agent_name, {**fields_of(agent), "tools": tools})


def version_entry(agent_name: str, content: Mapping[str, Any]) -> Entry:
    """Return an agent of these columns, with the names of its tools; raises as `agent_entry`."""
    with_limits = to_file(Limits.parse(content["limits"]))
    steps = content["max_steps"] if "steps" not in with_limits else _DEFAULT_STEPS
    return {
        "name": agent_name,
        **_said(description=content["description"]),
        "model": content["model"],
        **_said(
            model_settings=dict(content["model_settings"]),
            fallback_models=list(content["fallback_models"]),
            system_prompt=content["system_prompt"],
            max_steps=steps if steps != _DEFAULT_STEPS else None,
            limits=with_limits,
            max_concurrency=content["max_concurrency"],
            tools=list(content["tools"]),
            script=content["script"],
        ),
    }


def schedule_entry(schedule: Schedule, calendars: Sequence[str]) -> Entry:
    """Return a schedule, one that a person paused as one that begins so.

    Raises InvalidInputError for options that nobody can read.
    """
    try:
        options = to_file(RunOptions.parse(schedule.options))
    except InvalidInputError as error:
        raise InvalidInputError(
            f"The schedule {schedule.name} cannot be written as a file: {error.message}",
            field=error.field,
        ) from error
    return {
        "name": schedule.name,
        **_rule(schedule.timing),
        **_said(
            time_zone=None if schedule.follows_owner_zone else schedule.timing.time_zone,
            prompt=schedule.prompt,
            paused=_pause(schedule),
        ),
        **_bounds(schedule.timing),
        **_said(except_calendars=list(calendars)),
        **_policy(schedule.policy),
        **options,
    }


def write_yaml(agents: Sequence[Mapping[str, Any]]) -> str:
    """Return agents as YAML documents; texts of several lines as such."""
    from rota.services.yaml_files import dump_yaml  # noqa: PLC0415  yaml takes a while to import

    return dump_yaml(*agents)


def _rule(timing: Timing) -> Entry:
    if timing.cron is not None:
        return {"cron": timing.cron}
    if timing.every is not None:
        return {"every": written_duration(timing.every)}
    zone = parse_zone(timing.time_zone)
    return {"at": [written_moment(instant, zone) for instant in timing.instants]}


def _pause(schedule: Schedule) -> str | None:
    """Return the note of a pause that a person asked for: what rota paused may run elsewhere."""
    if schedule.is_active or schedule.paused_by_rota:
        return None
    return schedule.pause_note or _PAUSED


def _bounds(timing: Timing) -> Entry:
    zone = parse_zone(timing.time_zone)
    usual = Timing(timing.time_zone)
    return _said(
        start=written_moment(timing.starts_at, zone) if timing.starts_at else None,
        end=written_moment(timing.ends_at, zone) if timing.ends_at else None,
        jitter=written_duration(timing.jitter) if timing.jitter else None,
        active_hours=timing.active_hours,
        active_days=timing.active_days,
        **{"except": timing.excluded_days},
        dst_gap=timing.dst_gap.value if timing.dst_gap != usual.dst_gap else None,
        dst_overlap=timing.dst_overlap.value if timing.dst_overlap != usual.dst_overlap else None,
    )


def _policy(policy: Policy) -> Entry:
    usual, written = Policy(), Entry()
    for name in (field.name for field in fields(Policy)):
        value = getattr(policy, name)
        if value != getattr(usual, name):
            written[name] = written_duration(value) if isinstance(value, timedelta) else value
    return {name: getattr(value, "value", value) for name, value in written.items()}


def _said(**values: Any) -> Entry:
    """Return what says something."""
    return {name: value for name, value in values.items() if value not in (None, "", [], {})}
