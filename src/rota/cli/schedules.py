"""`rota schedules`: what fires when."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli.options import As, DatabaseUrl, DataDir, Json, Limit, as_person, settings_from
from rota.cli.run import NoWait, Timeout, request_and_show

if TYPE_CHECKING:
    from rota.bootstrap import App
    from rota.domain.ids import RunId, UserId
    from rota.domain.schedules import Schedule
    from rota.store.schedules import Occurrence

app = typer.Typer(help="Schedules: what fires when.", no_args_is_help=True)
Reference = Annotated[
    str, typer.Argument(metavar="SCHEDULE", help="Its name, its id, or the beginning of its id.")
]
Zone = Annotated[
    str | None, typer.Option("--time-zone", help="IANA zone, as Europe/Berlin; yours if left out.")
]
Cron = Annotated[
    str, typer.Argument(help="As people write it: '30 7 * * mon-fri', '@daily', '0 9 * * 1#1'.")
]
_NEXT = 5


@app.command("list")
def list_schedules(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, user: As = None, json: Json = False
) -> None:
    """List your schedules and when they fire next."""
    from rota.cli import output

    found = as_person(
        settings_from(data_dir, database_url, user), lambda app, me: app.schedules.all(me)
    )
    if json:
        output.print_json([_as_json(schedule) for schedule in found])
        return
    output.table(
        ["NAME", "AGENT", "RULE", "NEXT FIRE"],
        [(s.name, s.agent_name, _words(s), _next(s)) for s in found],
        empty="There are no schedules. `rota schedules add AGENT CRON` makes one.",
    )


@app.command("add")
def add_schedule(
    agent: Annotated[str, typer.Argument(help="The agent's name.")],
    cron: Cron,
    prompt: Annotated[str | None, typer.Option("--prompt", help="What the agent is told.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The agent's name if left out.")
    ] = None,
    time_zone: Zone = None,
    catch_up: Annotated[
        int,
        typer.Option("--catch-up", min=0, help="Seconds after which a missed fire stays missed."),
    ] = 3_600,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Add a schedule; it is read back in words with its next fires."""
    from rota.cli import output
    from rota.services.schedules import NewSchedule

    new = NewSchedule(
        name=name or agent,
        agent_name=agent,
        cron=cron,
        time_zone=time_zone,
        prompt=prompt,
        catch_up_window_seconds=catch_up,
    )

    async def add(app: App, me: UserId) -> tuple[Schedule, list[datetime]]:
        schedule = await app.schedules.add(me, new)
        return schedule, app.schedules.preview(schedule.cron, schedule.time_zone, _NEXT)

    schedule, fires = as_person(settings_from(data_dir, database_url, user), add)
    if json:
        output.print_json(_as_json(schedule) | {"next_fires": fires})
        return
    output.say(f"Added {schedule.name}: {_words(schedule)}.")
    _print_fires(fires, schedule.time_zone)


@app.command("show")
def show_schedule(
    schedule: Reference,
    limit: Limit = 10,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Show a schedule: its rule in words, the next fires, what became of the latest ones."""
    from rota.cli import output

    async def show(app: App, me: UserId) -> tuple[Schedule, list[datetime], tuple[Occurrence, ...]]:
        found = await app.schedules.get(me, schedule)
        past = await app.schedules.occurrences(me, found, limit=limit)
        return found, app.schedules.preview(found.cron, found.time_zone, _NEXT), past

    found, fires, past = as_person(settings_from(data_dir, database_url, user), show)
    if json:
        output.print_json(_as_json(found) | {"next_fires": fires, "occurrences": past})
        return
    output.say(found.name, style="bold")
    output.say(f"Id         {found.id}")
    output.say(f"Agent      {found.agent_name}")
    output.say(f"Prompt     {found.prompt or '(none)'}")
    output.say(f"Rule       {found.cron}: {_words(found)}")
    whose = " (yours)" if found.follows_owner_zone else ""
    output.say(f"Time zone  {found.time_zone}{whose}")
    output.say(f"Catch-up   {found.catch_up_window}")
    if found.is_active:
        _print_fires(fires, found.time_zone)
    else:
        output.say(f"Paused     {found.pause_note or '(no note)'}")
    output.say()
    output.table(
        ["FIRE TIME", "OUTCOME", "RESULT", "REASON"],
        [
            (
                output.when(o.fire_time, found.time_zone),
                o.outcome if o.last_fire_time is None else f"{o.outcome}, and more",
                o.result_status or "-",
                o.reason,
            )
            for o in past
        ],
        empty="It has not fired yet.",
    )


@app.command("preview")
def preview(
    cron: Cron,
    time_zone: Zone = None,
    count: Annotated[int, typer.Option("--count", min=1, max=1000, help="So many fires.")] = _NEXT,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Say in words what a rule means and when it fires next.

    Needs no database; with one named, and no --time-zone, the rule is read in your own zone.
    """
    from datetime import UTC

    from rota.cli import output
    from rota.domain.cron import CronSchedule

    zone = time_zone or "UTC"
    if time_zone is None and (data_dir or database_url or user):
        settings = settings_from(data_dir, database_url, user)
        zone = as_person(settings, lambda app, me: app.schedules.zone(me))
    rule = CronSchedule.parse(cron, zone)
    fires = rule.fires_after(datetime.now(UTC), count)
    if json:
        output.print_json(
            {"cron": cron, "time_zone": zone, "in_words": rule.in_words(), "next_fires": fires}
        )
        return
    output.say(f"{rule.in_words()}.")
    _print_fires(fires, zone)


@app.command("pause")
def pause(
    schedule: Reference,
    note: Annotated[str, typer.Option("--note", help="Why, for whoever wonders.")] = "",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
) -> None:
    """Pause a schedule: it fires no more until it is resumed."""
    from rota.cli import output

    found = as_person(
        settings_from(data_dir, database_url, user),
        lambda app, me: app.schedules.pause(me, schedule, note),
    )
    output.say(f"Paused {found.name}.")


@app.command("resume")
def resume(
    schedule: Reference,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
) -> None:
    """Resume a schedule: its next fire lies in the future, whatever was missed meanwhile."""
    from rota.cli import output

    async def work(app: App, me: UserId) -> tuple[Schedule, list[datetime]]:
        found = await app.schedules.resume(me, schedule)
        return found, app.schedules.preview(found.cron, found.time_zone, 1)

    found, fires = as_person(settings_from(data_dir, database_url, user), work)
    output.say(f"Resumed {found.name}: {_words(found)}.")
    _print_fires(fires, found.time_zone)


@app.command("remove")
def remove(
    schedule: Reference,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
) -> None:
    """Remove a schedule; its results stay."""
    from rota.cli import output

    found = as_person(
        settings_from(data_dir, database_url, user),
        lambda app, me: app.schedules.remove(me, schedule),
    )
    output.say(f"Removed {found.name}.")


@app.command("run")
def run_now(
    schedule: Reference,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Instead of its own.")] = None,
    no_wait: NoWait = False,
    timeout: Timeout = 600,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Run a schedule now, under the same rules as at its time."""

    async def request(app: App, me: UserId) -> RunId:
        found = await app.schedules.get(me, schedule)
        return await app.runs.request_schedule(me, found.id, prompt)

    request_and_show(
        settings_from(data_dir, database_url, user),
        request,
        wait=not no_wait,
        timeout=timeout,
        as_json=json,
    )


def _as_json(schedule: Schedule) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(schedule) | {"in_words": _words(schedule)}


def _words(schedule: Schedule) -> str:
    from rota.domain.errors import InvalidInputError

    try:
        return schedule.rule().in_words()
    except InvalidInputError as error:  # a row that was written past rota
        return f"{schedule.cron} ({error.message})"


def _next(schedule: Schedule) -> str:
    from rota.cli import output

    if not schedule.is_active:
        return "paused"
    if schedule.next_fire_at is None:
        return "being planned"
    return output.when(schedule.next_fire_at, schedule.time_zone)


def _print_fires(fires: list[datetime], zone: str) -> None:
    from rota.cli import output

    if not fires:
        output.say("It never fires.")
    for index, fire in enumerate(fires):
        output.say(f"{'Next fires' if index == 0 else '':10} {output.moment(fire, zone)}")
