"""`rota pause` and `rota resume`: pause and resume all schedules of a person."""

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
        typer.Option("--until", metavar="WHEN", help="The time when the pause ends."),
    ] = None,
    length: Annotated[
        str | None, typer.Option("--for", metavar="LENGTH", help="The length of the pause: 3d, 2w.")
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="WHEN", help="The time when the pause begins. Default: now."
        ),
    ] = None,
    note: Annotated[
        str | None,
        typer.Option("--note", help="The reason, for people who wonder why nothing ran."),
    ] = None,
) -> None:
    """Pause all your schedules, for example for a vacation. Runs in this time are skipped.

    Without --until and --for, the pause lasts until `rota resume`. Skipped fire times are not made
    up later. `rota schedules why` explains each of them. Runs that have started go on, and you can
    still start runs yourself.
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
        output.say_line(f"{name} has its last fire time in the pause, and will not run.")
    output.say("Fire times in the pause are skipped. `rota resume` ends it.")


@group.command("resume")
def resume(common: CommonOptions) -> None:
    """Resume all your schedules after `rota pause`. Each fires at its next time.

    A schedule that is paused on its own, by you or by rota, stays paused. `rota schedules resume`
    resumes it.
    """
    was_paused = common.as_person(lambda app, me: app.pauses.resume(me))
    if common.json:
        output.print_json({"was_paused": was_paused})
    elif was_paused:
        output.say("Resumed: your schedules fire at their next times (`rota schedules list`).")
    else:
        output.say(
            "There was no pause of all your schedules. `rota schedules resume` resumes a "
            "single one."
        )
