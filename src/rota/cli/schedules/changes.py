"""`rota schedules add` and `edit`, and the summary of the schedule that they print."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.options import CommonOptions
from rota.cli.runs.options import takes_options
from rota.cli.schedules import texts
from rota.cli.schedules.options import ExceptCalendar, Zone, need_rule, takes_draft
from rota.domain.ids import UserId
from rota.domain.runs.option_drafts import OptionDraft
from rota.domain.schedules.clock_notes import clock_notes
from rota.domain.schedules.drafts import NONE, Draft
from rota.domain.schedules.forecast import NEXT_FIRES, UpcomingFire
from rota.domain.schedules.schedule import Schedule
from rota.domain.text.sentences import sentence
from rota.shown.schedules import fires_json, rule_in_words, schedule_json

if TYPE_CHECKING:
    from rota.bootstrap.app import App

Reference = Annotated[
    str,
    typer.Argument(
        metavar="SCHEDULE", help="The schedule's name, its id, or the beginning of its id."
    ),
]


@takes_draft
@takes_options
def add_schedule(
    common: CommonOptions,
    agent: Annotated[str, typer.Argument(help="The agent's name.")],
    *,
    draft: Draft,
    prompt: Annotated[str | None, typer.Option("--prompt", help="The task for the agent.")] = None,
    name: Annotated[
        str | None,
        typer.Option("--name", help="The name of the schedule. Default: the agent's name."),
    ] = None,
    time_zone: Zone = None,
    except_calendar: ExceptCalendar = None,
    options: OptionDraft,
    paused: Annotated[
        bool,
        typer.Option(
            "--paused", help="Add the schedule paused. `rota schedules resume` starts it."
        ),
    ] = False,
) -> None:
    """Add a schedule, and show its rule in words with its next fire times."""
    from rota.services.schedules.service import NewSchedule

    need_rule(draft)
    new = NewSchedule(
        name=name or agent,
        agent_name=agent,
        draft=draft,
        time_zone=time_zone,
        prompt=prompt,
        calendars=tuple(except_calendar or ()),
        paused="it was added paused" if paused else None,
        options=options.options(),
    )
    change_and_show(common, lambda app, me: app.schedules.add(me, new), "Added")


@takes_draft
@takes_options
def edit_schedule(
    common: CommonOptions,
    schedule: Reference,
    *,
    draft: Draft,
    agent: Annotated[str | None, typer.Option("--agent", help="The new agent.")] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="The new prompt; 'none' removes it.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="The new name.")] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="The new time zone; 'none' means your own.")
    ] = None,
    except_calendar: ExceptCalendar = None,
    options: OptionDraft,
    revision: Annotated[
        int | None,
        typer.Option("--revision", help="Change the schedule only if it still has this revision."),
    ] = None,
) -> None:
    """Change a schedule. Options that you do not name stay. 'none' (or 0) removes a value.

    A new rule holds from now on. It does not fire for times that have passed.
    """
    from rota.services.schedules.service import ScheduleEdit

    calendars = tuple(c for c in except_calendar if c != NONE) if except_calendar else None
    edit = ScheduleEdit(
        draft=draft,
        name=name,
        agent_name=agent,
        prompt=prompt,
        time_zone=time_zone,
        calendars=calendars,
        revision=revision,
        options=options,
    )

    async def work(app: App, me: UserId) -> _Edited:
        before = await app.schedules.get(me, schedule)
        facts = _facts(before, await app.schedules.calendars(me, before))
        changed = await _read_back(app, me, await app.schedules.edit(me, schedule, edit))
        calendars = await app.schedules.calendars(me, changed.schedule)
        return _Edited(changed, facts, _facts(changed.schedule, calendars))

    done = common.as_person(work)
    if done.before == done.after and not common.json:
        output.say(f"Nothing changed: {done.changed.schedule.name} already has these values.")
        if edit == ScheduleEdit(options=edit.options, revision=revision) and not options:
            output.say("Name what to change. `rota schedules edit --help` lists the options.")
        return
    _show(common, done.changed, "Changed", done)


@dataclass(frozen=True, slots=True)
class _Changed:
    """A schedule after a change, its next fire times, and a doubt about it to print, if any."""

    schedule: Schedule
    fires: tuple[UpcomingFire, ...]
    doubt: str | None


@dataclass(frozen=True, slots=True)
class _Edited:
    """A schedule that was edited, with its facts in words before and after the edit."""

    changed: _Changed
    before: Sequence[tuple[str, str]]
    after: Sequence[tuple[str, str]]


def _facts(schedule: Schedule, calendars: Sequence[str]) -> list[tuple[str, str]]:
    timing = schedule.timing
    times = ", ".join(output.moment(at, timing.time_zone) for at in timing.instants)
    return [("Name", schedule.name), *texts.what_it_is(schedule, calendars), ("Times", times)]


async def _read_back(app: App, me: UserId, schedule: Schedule) -> _Changed:
    (fires,) = await app.schedules.upcoming(me, [schedule], runs=NEXT_FIRES)
    return _Changed(schedule, fires, await app.schedules.doubt(me, schedule))


def change_and_show(
    common: CommonOptions,
    work: Callable[[App, UserId], Awaitable[Schedule]],
    done: str | Callable[[], str],
) -> None:
    """Change a schedule and read it back. `done` is asked after the change."""

    async def change(app: App, me: UserId) -> _Changed:
        return await _read_back(app, me, await work(app, me))

    changed = common.as_person(change)
    _show(common, changed, done if isinstance(done, str) else done())


def _show(
    common: CommonOptions, changed: _Changed, done: str, edited: _Edited | None = None
) -> None:
    """Read a changed schedule back; of an edited one, what is not as it was."""
    schedule, fires = changed.schedule, changed.fires
    if changed.doubt is not None:
        output.warn(f"Warning: {changed.doubt}.")
    if common.json:
        output.print_json(schedule_json(schedule) | fires_json(fires))
        return
    output.say(f"{done} {schedule.name}: {rule_in_words(schedule)}.")
    if edited is not None:
        texts.print_changes(edited.before, edited.after)
    if schedule.state == "paused":
        paused = "It is still paused" if edited is not None else "It is paused"
        output.say(sentence(f"{paused}: {schedule.pause_note or '(no note)'}"))
        output.say(f"`rota schedules resume {schedule.name}` resumes it.")
    if edited is None:
        texts.print_options(schedule)
    notes = clock_notes(schedule.timing, datetime.now(UTC))
    texts.print_outlook(fires, schedule.timing.time_zone, notes)
