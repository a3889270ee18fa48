"""`rota pause` and `rota resume`: all your schedules at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.cli.schedules import texts
from rota.domain.ids import UserId

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.schedules.pauses import Pause

group = CommandGroup()


@group.command("pause")
def pause(
    common: CommonOptions,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="WHEN", help="When schedules fire again by themselves."),
    ] = None,
    length: Annotated[
        str | None, typer.Option("--for", metavar="LENGTH", help="For so long: 3d, 2w.")
    ] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="WHEN", help="When it begins; now if left out.")
    ] = None,
    note: Annotated[
        str | None, typer.Option("--note", help="Why, for whoever wonders why nothing ran.")
    ] = None,
) -> None:
    """Pause all your schedules, say for a vacation: what falls due meanwhile is skipped.

    Without --until and --for it lasts until `rota resume`. Each fire time that is skipped has its
    row with the note (`rota schedules why`), and none is caught up later. Runs under way go on, and
    what you ask for yourself runs.
    """

    async def work(app: App, me: UserId) -> tuple[Pause, list[str]]:
        made = await app.pauses.pause(me, start=start, until=until, length=length, note=note)
        return made, [s.name for s in await app.pauses.schedules_without_fire(me)]

    zone, (made, lost) = common.as_person_with_zone(work)
    if common.json:
        output.print_json({"pause": made, "schedules_without_fire": lost})
        return
    output.say_line(texts.pause_in_words(made, zone))
    for name in lost:
        output.say_line(f"{name} has its last fire time in it, and will not run.")
    output.say("What falls due meanwhile is skipped. `rota resume` ends it.")


@group.command("resume")
def resume(common: CommonOptions) -> None:
    """Resume all your schedules after `rota pause`: each fires at its next time.

    One that is paused by itself stays so (`rota schedules resume`).
    """
    was_paused = common.as_person(lambda app, me: app.pauses.resume(me))
    if common.json:
        output.print_json({"was_paused": was_paused})
    elif was_paused:
        output.say("Resumed: your schedules fire at their next times (`rota schedules list`).")
    else:
        output.say(
            "Your schedules were not paused as a whole; `rota schedules resume` resumes one."
        )
