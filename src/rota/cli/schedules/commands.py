"""`rota schedules`: what fires when."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.cli.runs.options import (
    DryRun,
    IdleTime,
    MaxCost,
    MaxSteps,
    MaxTime,
    MaxTokens,
    Model,
    of_run,
)
from rota.cli.runs.run import NoWait, Timeout, request_and_show
from rota.cli.schedules.changes import (
    NEXT_FIRES,
    Reference,
    add_schedule,
    change_and_show,
    edit_schedule,
    schedule_json,
    wall_clock,
)
from rota.cli.schedules.options import (
    ActiveDays,
    ActiveHours,
    At,
    DstGap,
    DstOverlap,
    End,
    Every,
    Except,
    Jitter,
    Overlap,
    Start,
    When,
    Zone,
)

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.ids import RunId, UserId
    from rota.domain.schedules.schedule import Schedule
    from rota.store.schedules.rows import Occurrence

app = CommandGroup()


@app.command("list", json=True)
def list_schedules(common: CommonOptions) -> None:
    """List your schedules and when they fire next."""
    from rota.cli import output
    from rota.cli.schedules import texts as schedule_texts

    found = common.as_person(lambda app, me: app.schedules.all(me))
    if common.json:
        output.print_json([schedule_json(schedule) for schedule in found])
        return
    output.table(
        ["NAME", "AGENT", "RULE", "NEXT FIRE"],
        [(s.name, s.agent_name, schedule_texts.words(s), schedule_texts.next_of(s)) for s in found],
        empty="There are no schedules. `rota schedules add AGENT WHEN` makes one.",
    )


app.command("add", json=True)(add_schedule)
app.command("edit", json=True)(edit_schedule)


@app.command("show", json=True)
def show_schedule(common: CommonOptions, schedule: Reference, limit: Limit = 10) -> None:
    """Show a schedule: its rule in words, the next fires, what became of the latest ones."""
    from rota.cli import output
    from rota.cli.schedules import texts as schedule_texts

    async def show(
        app: App, me: UserId
    ) -> tuple[Schedule, list[datetime], tuple[Occurrence, ...], tuple[str, ...]]:
        found = await app.schedules.get(me, schedule)
        past = await app.schedules.occurrences(me, found, limit=limit)
        calendars = await app.schedules.calendars(me, found)
        return found, app.schedules.next_fires(found.timing, NEXT_FIRES), past, calendars

    found, fires, past, calendars = common.as_person(show)
    if common.json:
        output.print_json(
            schedule_json(found)
            | {"calendars": calendars, "next_fires": fires, "occurrences": past}
        )
        return
    zone = found.timing.time_zone
    output.say(found.name, style="bold")
    output.say(f"Id         {found.id} (revision {found.revision})")
    output.say(f"Agent      {found.agent_name}")
    output.say(f"Prompt     {found.prompt or '(none)'}")
    written = f"{found.timing.cron}: " if found.timing.cron else ""
    output.say(f"Rule       {written}{schedule_texts.words(found)}")
    output.say(f"Time zone  {zone}{' (yours)' if found.follows_owner_zone else ''}")
    schedule_texts.print_limits(found, calendars)
    schedule_texts.print_options(found)
    if found.state == "paused":
        output.say(f"Paused     {found.pause_note or '(no note)'}")
    elif found.state == "completed":
        output.say("Completed  It has no fire left.")
    else:
        schedule_texts.print_fires(fires, zone)
        schedule_texts.print_clock_notes(found.timing, wall_clock())
    output.say()
    output.table(
        ["FIRE TIME", "OUTCOME", "RESULT", "REASON"],
        [
            (
                (output.moment if o.fire_time.second else output.when)(o.fire_time, zone),
                o.outcome if o.last_fire_time is None else f"{o.outcome}, and more",
                o.result_status or o.run_status or "-",
                o.reason,
            )
            for o in past
        ],
        empty="It has not fired yet.",
    )


@app.command("preview", json=True)
def preview(
    common: CommonOptions,
    when: When = None,
    time_zone: Zone = None,
    every: Every = None,
    at: At = None,
    start: Start = None,
    end: End = None,
    jitter: Jitter = None,
    active_hours: ActiveHours = None,
    active_days: ActiveDays = None,
    excluded_days: Except = None,
    dst_gap: DstGap = None,
    dst_overlap: DstOverlap = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=1000, help="So many fires.")
    ] = NEXT_FIRES,
) -> None:
    """Say in words what a rule means, when it fires next, and what changes of the clock do.

    Needs no database; with one named, and no --time-zone, the rule is read in your own zone.
    """
    from dataclasses import replace

    from rota.cli import output
    from rota.cli.schedules import texts as schedule_texts
    from rota.domain.schedules.clock_notes import clock_notes
    from rota.domain.schedules.drafts import Draft

    zone = time_zone or "UTC"
    if time_zone is None and (common.data_dir or common.database_url or common.user):
        zone = common.as_person(lambda app, me: app.schedules.zone(me))
    now = wall_clock()
    draft = Draft(
        when=when,
        every=every,
        at=tuple(at or ()),
        start=start,
        end=end,
        jitter=jitter,
        active_hours=active_hours,
        active_days=active_days,
        excluded_days=excluded_days,
        dst_gap=dst_gap,
        dst_overlap=dst_overlap,
    )
    timing = draft.timing(zone, now=now)
    timing = replace(timing, anchor=timing.anchor or timing.starts_at or now)
    rule, allowed = timing.rule(), timing.filter(())
    fires: list[datetime] = []
    for fire in rule.fires_after(now, count * 20):
        if allowed.objection(fire) is None and len(fires) < count:
            fires.append(fire)
    if common.json:
        output.print_json(
            {
                "cron": timing.cron,
                "time_zone": zone,
                "in_words": rule.in_words(),
                "next_fires": fires,
                "clock_changes": clock_notes(timing, now),
            }
        )
        return
    output.say(f"{rule.in_words()}.")
    schedule_texts.print_fires(fires, zone)
    schedule_texts.print_clock_notes(timing, now)


@app.command("calendar", json=True)
def calendar(
    common: CommonOptions,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="So many days.")] = 7,
    time_zone: Zone = None,
) -> None:
    """Show the coming week: what fires on which day, of all your schedules."""
    from datetime import timedelta

    from rota.cli import output
    from rota.cli.schedules import texts as schedule_texts
    from rota.services.schedules.service import Upcoming

    most = 2_000 * days

    async def collect(app: App, me: UserId) -> tuple[tuple[tuple[Upcoming, ...], ...], str]:
        fires = await app.schedules.upcoming(me, length=timedelta(days=days), most=most)
        return fires, time_zone or await app.schedules.zone(me)

    fires, zone = common.as_person(collect)
    if common.json:
        listed = sorted((item for of in fires for item in of), key=lambda item: item.fire_time)
        output.print_json(
            [
                {
                    "fire_time": item.fire_time,
                    "schedule": item.schedule.name,
                    "agent": item.schedule.agent_name,
                    "suppressed": item.suppressed,
                }
                for item in listed
            ]
        )
        return
    schedule_texts.print_week(fires, zone)


@app.command("why", json=True)
def why(
    common: CommonOptions,
    schedule: Reference,
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="TIME", help="07:00 (the last one), 'yesterday 7:00', 2026-12-24 18:00."
        ),
    ],
) -> None:
    """Say why a schedule did or did not run at a time."""
    from rota.cli import output
    from rota.cli.schedules import texts as schedule_texts

    found = common.as_person(lambda app, me: app.explanations.why(me, schedule, at))
    if common.json:
        output.print_json(found)
        return
    schedule_texts.print_explanation(found)


@app.command("backfill", json=True)
def backfill(
    common: CommonOptions,
    schedule: Reference,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="The first fire time.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="The last fire time.")],
    overlap: Annotated[
        str,
        typer.Option("--overlap", metavar="POLICY", help="buffer_all (in order) or allow_all."),
    ] = "buffer_all",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the fire times and do nothing.")
    ] = False,
) -> None:
    """Run the past fire times of a range that have not run: missed, skipped or before its time."""
    from rota.cli import output
    from rota.domain.errors import InvalidInputError
    from rota.domain.schedules.overlap import OverlapPolicy

    if overlap not in {"buffer_all", "allow_all"}:
        raise InvalidInputError("--overlap is buffer_all or allow_all here.", field="overlap")

    async def ask(app: App, me: UserId) -> tuple[Schedule, tuple[datetime, ...], tuple[RunId, ...]]:
        found, times = await app.schedules.backfill_times(me, schedule, start, end)
        if dry_run:
            return found, times, ()
        runs = await app.schedules.backfill(me, found, times, OverlapPolicy(overlap))
        return found, times, runs

    found, times, runs = common.as_person(ask)
    if common.json:
        output.print_json({"schedule": found.name, "fire_times": times, "runs": runs})
        return
    for time in times if dry_run else ():
        output.say(output.moment(time, found.timing.time_zone))
    if dry_run:
        output.say(f"{_counted(len(times))}; nothing was done.")
        return
    ran = len(times) - len(runs)
    known = f" {ran} had run before." if ran else ""
    output.say(f"{len(runs)} of {_counted(len(times))} run now.{known}")
    if runs:
        output.say("They run where `rota up` or a worker runs.")


@app.command("pause")
def pause(
    common: CommonOptions,
    schedule: Reference,
    note: Annotated[str, typer.Option("--note", help="Why, for whoever wonders.")] = "",
) -> None:
    """Pause a schedule: it fires no more until it is resumed."""
    from rota.cli import output

    found = common.as_person(lambda app, me: app.schedules.pause(me, schedule, note))
    output.say(f"Paused {found.name}.")


@app.command("resume")
def resume(
    common: CommonOptions,
    schedule: Reference,
    note: Annotated[str, typer.Option("--note", help="Why, for whoever wonders.")] = "",
) -> None:
    """Resume a schedule: its next fire lies in the future, whatever was missed meanwhile."""
    change_and_show(common, lambda app, me: app.schedules.resume(me, schedule, note), "Resumed")


@app.command("remove")
def remove(common: CommonOptions, schedule: Reference) -> None:
    """Remove a schedule; its results stay, runs that wait for their turn are cancelled."""
    from rota.cli import output

    found = common.as_person(lambda app, me: app.schedules.remove(me, schedule))
    output.say(f"Removed {found.name}.")


@app.command("run", json=True)
def run_now(
    common: CommonOptions,
    schedule: Reference,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Instead of its own.")] = None,
    overlap: Overlap = None,
    model: Model = None,
    max_time: MaxTime = None,
    idle_time: IdleTime = None,
    max_steps: MaxSteps = None,
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    dry_run: DryRun = False,
    no_wait: NoWait = False,
    timeout: Timeout = 600,
) -> None:
    """Run a schedule now, under the same rules as at its time.

    The model and the limits are for this run, before those of the schedule.
    """
    from rota.domain.schedules.drafts import Draft

    policy = Draft(overlap=overlap).policy().overlap if overlap is not None else None
    options = of_run(
        model=model,
        max_time=max_time,
        idle_time=idle_time,
        max_steps=max_steps,
        max_tokens=max_tokens,
        max_cost=max_cost,
        dry_run=dry_run,
    )

    async def request(app: App, me: UserId) -> RunId:
        found = await app.schedules.get(me, schedule)
        return await app.runs.request_schedule(me, found.id, prompt, policy, options)

    request_and_show(
        common,
        request,
        wait=not no_wait,
        timeout=timeout,
    )


def _counted(count: int) -> str:
    return "1 fire time" if count == 1 else f"{count} fire times"
