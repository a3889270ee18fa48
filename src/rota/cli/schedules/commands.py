"""`rota schedules`: lists, shows, pauses, previews and removes schedules."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.cli.runs.options import takes_options_of_run
from rota.cli.runs.run import NoWait, Timeout, request_and_show
from rota.cli.schedules import texts
from rota.cli.schedules.changes import (
    Reference,
    add_schedule,
    change_and_show,
    edit_schedule,
)
from rota.cli.schedules.options import Overlap, Zone, need_rule, takes_rule
from rota.domain.ids import RunId, UserId
from rota.domain.runs.option_kinds import counted
from rota.domain.runs.options import RunOptions
from rota.domain.schedules.drafts import Draft
from rota.domain.schedules.forecast import NEXT_FIRES, ForecastFire
from rota.domain.schedules.schedule import Schedule, WhichSchedules
from rota.services.schedules.preview import preview
from rota.shown.schedules import (
    backfill_json,
    detail_json,
    listed_json,
    preview_json,
    schedule_json,
)

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.schedules.pauses import Pause
    from rota.services.schedules.service import Backfill

group = CommandGroup()


@group.command("list")
def list_schedules(common: CommonOptions) -> None:
    """List your schedules: the last result, and when they fire next, in your zone."""
    found = common.as_person(lambda app, me: app.schedule_views.page(me, WhichSchedules()))
    if common.json:
        output.print_json([listed_json(one) for one in found.listed])
        return
    texts.print_schedules(found.listed, found.time_zone)
    if found.pause is not None:
        output.say()
        output.say_line(f"{texts.pause_in_words(found.pause, found.time_zone)} (`rota resume`)")


group.command("add")(add_schedule)
group.command("edit")(edit_schedule)


@group.command("show")
def show_schedule(common: CommonOptions, schedule: Reference, limit: Limit = 10) -> None:
    """Show a schedule: its rule in words, the next fire times, the latest occurrences."""
    detail = common.as_person(
        lambda app, me: app.schedule_views.detail(me, schedule, occurrences=limit)
    )
    if common.json:
        output.print_json(detail_json(detail))
        return
    found, now = detail.schedule, datetime.now(UTC)
    zone = found.timing.time_zone
    output.say(found.name, style="bold")
    output.say(f"Id         {found.id} (revision {found.revision})")
    texts.print_facts(texts.what_it_is(found, detail.calendars))
    if found.state == "paused":
        output.say(f"Paused     {found.pause_note or '(no note)'}")
    elif found.state == "completed":
        output.say("Completed  It has no fire time left.")
    else:
        texts.print_outlook(detail.fires, zone, detail.clock_notes)
    output.say(f"Last run   {texts.last_in_words(detail.last_run, now)}")
    output.say()
    output.table(
        ["FIRE TIME", "OUTCOME", "RESULT", "REASON"],
        [
            (
                (output.moment if o.fire_time.second else output.when)(o.fire_time, zone),
                o.outcome if o.last_fire_time is None else f"{o.outcome}, and more",
                (o.run_status == "cancelled" and o.run_status)
                or o.result_status
                or o.run_status
                or "-",
                o.reason,
            )
            for o in detail.occurrences
        ],
        empty="None of its fire times has come yet.",
        texts=["REASON"],
    )


@group.command("preview")
@takes_rule
def preview_rule(
    common: CommonOptions,
    *,
    draft: Draft,
    time_zone: Zone = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=1000, help="How many fire times to show.")
    ] = NEXT_FIRES,
) -> None:
    """Show a rule in words, its next fire times, and the effect of clock changes.

    No database is needed. If you name one but no --time-zone, the rule is read in your own zone.
    """
    need_rule(draft)
    zone = time_zone or "UTC"
    if time_zone is None and (common.data_dir or common.database_url or common.user):
        zone = common.as_person(lambda app, me: app.schedules.zone(me))
    seen = preview(draft, zone, runs=count, now=datetime.now(UTC))
    if common.json:
        output.print_json(preview_json(seen))
        return
    output.say(f"{seen.in_words}.")
    texts.print_outlook(seen.fires, zone, seen.clock_notes)


@group.command("calendar")
def calendar(
    common: CommonOptions,
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="How many days to show.")] = 7,
    time_zone: Zone = None,
) -> None:
    """Show the coming week: the fire times of all your schedules, day by day."""

    async def collect(app: App, me: UserId) -> tuple[texts.Week, str, Pause | None]:
        active = [s for s in await app.schedules.all(me) if s.state == "active"]
        fires = await app.schedules.upcoming(
            me, active, length=timedelta(days=days), looks=2_000 * days
        )
        zone = time_zone or await app.schedules.zone(me)
        return list(zip(active, fires, strict=True)), zone, await app.pauses.get(me)

    week, zone, pause = common.as_person(collect)
    if common.json:
        listed = [
            ForecastFire(fire.fire_time, schedule.name, schedule.agent_name, fire.suppressed)
            for schedule, fires in week
            for fire in fires
        ]
        output.print_json(sorted(listed, key=lambda fire: fire.place))
        return
    texts.print_week(week, zone, pause)


@group.command("why")
def why(
    common: CommonOptions,
    schedule: Reference,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="The time to explain: 07:00 (the last one), 'yesterday 7:00', 2026-12-24 18:00. "
            "Default: the last five fire times.",
        ),
    ] = None,
) -> None:
    """Explain why a schedule did or did not run at a time, or at its last fire times."""
    if at is None:
        latest = common.as_person(lambda app, me: app.explanations.latest(me, schedule))
        if common.json:
            output.print_json(latest)
        else:
            texts.print_explanations(latest)
        return
    found = common.as_person(lambda app, me: app.explanations.why(me, schedule, at))
    if common.json:
        output.print_json(found)
        return
    texts.print_explanation(found)


@group.command("backfill")
def backfill(
    common: CommonOptions,
    schedule: Reference,
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="The first fire time.")],
    end: Annotated[
        str,
        typer.Option("--to", metavar="TIME", help="The last fire time; a day is meant as a whole."),
    ],
    overlap: Annotated[
        str,
        typer.Option(
            "--overlap",
            metavar="POLICY",
            help="buffer_all (one after another) or allow_all (at the same time).",
        ),
    ] = "buffer_all",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show the fire times. Nothing is run.")
    ] = False,
) -> None:
    """Run those past fire times of a range that have not run.

    They were missed or skipped, or lie before the schedule was added.
    """
    policy = Draft(overlap=overlap).policy().overlap

    async def work(app: App, me: UserId) -> tuple[Backfill, bool]:
        found = await app.schedules.backfill(me, schedule, start, end, policy, dry_run=dry_run)
        return found, await app.runs.somebody_works()

    found, somebody_works = common.as_person(work)
    times, runs = found.fire_times, found.runs
    counted_times = counted(len(times), "fire time")
    if common.json:
        output.print_json(backfill_json(found))
        return
    if dry_run:
        for time in times:
            output.say(output.moment(time, found.schedule.timing.time_zone))
        output.say(f"{counted_times}; nothing was done.")
        return
    ran = len(times) - len(runs)
    known = f" {ran} had run before." if ran else ""
    output.say(f"{len(runs)} of {counted_times} run now.{known}")
    if runs and not somebody_works:
        output.say(
            "No worker is running. The runs start once you start `rota up`, or a scheduler "
            "and a worker."
        )


@group.command("pause")
def pause(
    common: CommonOptions,
    schedule: Reference,
    note: Annotated[
        str, typer.Option("--note", help="The reason, for people who look at the schedule later.")
    ] = "",
) -> None:
    """Pause a schedule. It does not fire until you resume it."""
    found = common.as_person(lambda app, me: app.schedules.pause(me, schedule, note))
    output.print_done(f"Paused {found.name}.", schedule_json(found), as_json=common.json)


@group.command("resume")
def resume(
    common: CommonOptions,
    schedule: Reference,
    note: Annotated[
        str, typer.Option("--note", help="The reason, for people who look at the schedule later.")
    ] = "",
) -> None:
    """Resume a schedule. It fires at its next time; the times of the pause are not made up."""
    was_paused = True

    async def work(app: App, me: UserId) -> Schedule:
        nonlocal was_paused
        was_paused = (await app.schedules.get(me, schedule)).state == "paused"
        return await app.schedules.resume(me, schedule, note)

    change_and_show(common, work, lambda: "Resumed" if was_paused else "Nothing to resume in")


@group.command("remove")
def remove(common: CommonOptions, schedule: Reference) -> None:
    """Remove a schedule. Its results are kept. Runs that have not started are cancelled."""
    found = common.as_person(lambda app, me: app.schedules.remove(me, schedule))
    output.print_done(f"Removed {found.name}.", schedule_json(found), as_json=common.json)


@group.command("run")
@takes_options_of_run
def run_now(
    common: CommonOptions,
    schedule: Reference,
    prompt: Annotated[
        str | None,
        typer.Option("--prompt", help="The task for the agent, instead of the schedule's prompt."),
    ] = None,
    overlap: Overlap = None,
    *,
    options: RunOptions,
    no_wait: NoWait = False,
    timeout: Timeout = 600,
) -> None:
    """Run a schedule now, under the same rules as at its fire time.

    The model and the limits that you name hold for this run only.
    """
    policy = Draft(overlap=overlap).policy().overlap if overlap is not None else None

    async def request(app: App, me: UserId) -> RunId:
        found = await app.schedules.get(me, schedule)
        return await app.runs.request_schedule(me, found.id, prompt, policy, options)

    request_and_show(common, request, wait=not no_wait, timeout=timeout)
