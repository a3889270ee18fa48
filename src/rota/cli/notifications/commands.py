"""`rota notifications`: lists notifications and marks them as read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.filters import MOST_COUNTED, empty_list
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.ids import UserId
    from rota.domain.notifications.notification import Notification

group = CommandGroup()


@group.command("list")
def list_notifications(
    common: CommonOptions,
    unread: Annotated[bool, typer.Option("--unread", help="Only unread notifications.")] = False,
    limit: Limit = 20,
) -> None:
    """List notifications, the newest first."""

    async def work(app: App, me: UserId) -> tuple[tuple[Notification, ...], int]:
        found = await app.notifications.latest(me, unread_only=unread, limit=limit)
        others = () if found else await app.notifications.latest(me, limit=MOST_COUNTED)
        return found, len(others)

    zone, (found, others) = common.as_person_with_zone(work)
    now = datetime.now(UTC)
    output.print_list(
        found,
        {
            "ID": lambda n: output.short(n.id),
            "WHEN": lambda n: output.listed(n.created_at, zone, now),
            "": lambda n: " " if n.read_at else "●",
            "CATEGORY": lambda n: n.category.value,
            "TITLE": lambda n: n.title,
            "BODY": lambda n: output.first_line(n.body),
        },
        zone=zone,
        as_json=common.json,
        empty=empty_list(
            "notifications",
            others,
            ["unread" if unread else None],
            nothing_there="There are no notifications.",
        ),
    )


@group.command("show")
def show(
    common: CommonOptions,
    notification: Annotated[
        str | None,
        typer.Argument(
            metavar="[ID]",
            help="The notification's id, or the beginning of the id. Default: the latest one.",
        ),
    ] = None,
) -> None:
    """Show a notification in full, and mark it as read."""

    async def work(app: App, me: UserId) -> Notification:
        found = await app.notifications.get(me, notification)
        await app.notifications.mark_read(me, [str(found.id)])
        return found

    zone, found = common.as_person_with_zone(work)
    if common.json:
        output.print_json(found)
        return
    output.say(found.title, style="bold")
    output.say(f"{output.moment(found.created_at, zone)}, {found.category.value}", style="dim")
    if found.body:
        output.say()
        output.say_block(found.body)
    output.say()
    for action in found.metadata.get("action_ids") or ():
        output.say(f"Request {str(action)[:8]}: `rota approvals show {str(action)[:8]}`")
    if found.run_id is not None:
        run = str(found.run_id)[:8]
        output.say(f"Run {run}: `rota results show {run}`, `rota runs show {run}`", style="dim")


@group.command("read")
def read(
    common: CommonOptions,
    ids: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ID]...", help="Ids of notifications, or the beginnings of the ids."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Mark all notifications.")] = False,
) -> None:
    """Mark notifications as read."""
    if bool(ids) == everything:
        raise InvalidInputError("Give the ids of the notifications to mark, or use --all.")
    marked = common.as_person(
        lambda app, me: app.notifications.mark_read(me, None if everything else ids)
    )
    output.print_done(f"Marked {marked} as read.", {"marked": marked}, as_json=common.json)
