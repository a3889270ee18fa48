"""`rota schedules add` and `edit`, and how a changed schedule is read back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rota.cli import output
from rota.cli.as_json import fields_of
from rota.cli.options import CommonOptions
from rota.cli.runs.options import takes_options
from rota.cli.schedules import texts
from rota.cli.schedules.options import ExceptCalendar, Zone, takes_draft
from rota.domain.ids import UserId
from rota.domain.runs.option_drafts import OptionDraft
from rota.domain.schedules.clock_notes import clock_notes
from rota.domain.schedules.drafts import NONE, Draft
from rota.domain.schedules.forecast import UpcomingFire
from rota.domain.schedules.schedule import Schedule

if TYPE_CHECKING:
    from rota.bootstrap.app import App

Reference = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="Its name, its id, or the beginning of its id.")
]
NEXT_FIRES: Final = 5
"""How many fires are read back."""


@takes_draft
@takes_options
def add_schedule(
    common: CommonOptions,
    agent: Annotated[str, typer.Argument(help="The agent's name.")],
    *,
    draft: Draft,
    prompt: Annotated[str | None, typer.Option("--prompt", help="What the agent is told.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The agent's name if left out.")
    ] = None,
    time_zone: Zone = None,
    except_calendar: ExceptCalendar = None,
    options: OptionDraft,
    paused: Annotated[bool, typer.Option("--paused", help="It begins when resumed.")] = False,
) -> None:
    """Add a schedule; it is read back in words, with its next fires and changes of the clock."""
    from rota.services.schedules.service import NewSchedule

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
    agent: Annotated[str | None, typer.Option("--agent", help="Another agent.")] = None,
    prompt: Annotated[
        str | None, typer.Option("--prompt", help="Another prompt; 'none' for none.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Another name.")] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="Another zone; 'none' for your own.")
    ] = None,
    except_calendar: ExceptCalendar = None,
    options: OptionDraft,
    revision: Annotated[
        int | None,
        typer.Option("--revision", help="Change nothing unless it is still at this revision."),
    ] = None,
) -> None:
    """Change a schedule: what is left out stays, 'none' (or 0) takes a value away.

    A changed rule is planned from now on: it never fires a time that has passed.
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
    change_and_show(common, lambda app, me: app.schedules.edit(me, schedule, edit), "Changed")


def change_and_show(
    common: CommonOptions, work: Callable[[App, UserId], Awaitable[Schedule]], done: str
) -> None:
    """Change a schedule and read it back."""

    async def change(app: App, me: UserId) -> tuple[Schedule, tuple[UpcomingFire, ...]]:
        schedule = await work(app, me)
        (fires,) = await app.schedules.upcoming(me, [schedule], runs=NEXT_FIRES)
        return schedule, fires

    schedule, fires = common.as_person(change)
    if common.json:
        output.print_json(schedule_json(schedule) | fires_json(fires))
        return
    output.say(f"{done} {schedule.name}: {texts.rule_in_words(schedule)}.")
    if schedule.state == "paused":
        output.say(f"It is paused: {schedule.pause_note or '(no note)'}.")
    texts.print_options(schedule)
    notes = clock_notes(schedule.timing, datetime.now(UTC))
    texts.print_outlook(fires, schedule.timing.time_zone, notes)


def schedule_json(schedule: Schedule) -> dict[str, object]:
    """Return a schedule as `--json` shows it."""
    fields = fields_of(schedule)
    fields |= fields_of(fields.pop("timing")) | fields_of(fields.pop("policy"))
    return fields | {"state": schedule.state, "in_words": texts.rule_in_words(schedule)}


def fires_json(fires: Sequence[UpcomingFire]) -> dict[str, object]:
    """Return the fires that lie ahead as `--json` shows them: those that will run, and others."""
    return {
        "next_fires": [fire.fire_time for fire in fires if fire.suppressed is None],
        "suppressed_fires": [fire for fire in fires if fire.suppressed is not None],
    }
