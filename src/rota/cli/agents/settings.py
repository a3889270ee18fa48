"""`rota settings`: a person's own time zone, and how their tools ask for approval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.ids import UserId

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.schedules.pauses import Pause
    from rota.services.agents.preferences import ToolPreference

group = CommandGroup()
_CALLS: Final = {"allowed": "runs", "held": "waits for approval", "refused": "is refused"}
Preferred = Literal["auto", "requires_approval", "none"]


@group.command("show")
def show(common: CommonOptions) -> None:
    """Show your time zone, your preferences for tools, and whether your schedules are paused."""

    async def work(app: App, me: UserId) -> tuple[tuple[ToolPreference, ...], Pause | None]:
        return await app.preferences.all(me), await app.pauses.get(me)

    zone, (tools, pause) = common.as_person_with_zone(work)
    if common.json:
        output.print_json({"time_zone": zone, "pause": pause, "tools": tools})
        return
    output.say(f"Time zone  {zone} (`rota settings zone`)")
    if pause is not None:
        from rota.cli.schedules.texts import pause_in_words

        output.say_line(f"Paused     {pause_in_words(pause, zone)} (`rota resume`)")
    output.say()
    output.table(
        ["TOOL", "YOU PREFER", "A CALL", "WHY"],
        [(t.tool, t.preference or "-", _CALLS[t.decision], t.reason) for t in tools],
        empty="No tool is declared.",
        texts=["WHY"],
    )
    output.say(
        "`rota settings tool` changes what you prefer. Rules may decide otherwise for some calls."
    )


@group.command("zone")
def own_zone(
    common: CommonOptions,
    zone: Annotated[
        str | None,
        typer.Argument(metavar="[ZONE]", help="The IANA time zone, such as Europe/Berlin."),
    ] = None,
) -> None:
    """Show your own time zone, or set another.

    Schedules that use your zone are planned again.
    """

    async def set_or_show(app: App, me: UserId) -> str:
        if zone is not None:
            await app.schedules.set_zone(me, zone)
        return await app.schedules.zone(me)

    found = common.as_person(set_or_show)
    if common.json:
        output.print_json({"time_zone": found})
    else:
        output.say(found)


@group.command("tool")
def prefer(
    common: CommonOptions,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="The tool's name.")],
    preference: Annotated[
        Preferred,
        typer.Argument(
            metavar="auto|requires_approval|none",
            help="auto: calls run without approval. requires_approval: each call waits. none: "
            "the operator decides.",
        ),
    ],
) -> None:
    """Choose whether calls of a tool wait for your approval, if the operator lets you choose.

    You can always choose that they wait.
    """
    wanted = None if preference == "none" else preference
    found = common.as_person(lambda app, me: app.preferences.set(me, tool, wanted))
    if common.json:
        output.print_json(found)
        return
    output.say_line(f"A call of {found.tool} {_CALLS[found.decision]}: {found.reason}.")
    if found.is_idle:
        output.say_line("Your preference has no effect: the operator has decided about this tool.")
