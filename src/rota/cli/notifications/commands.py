"""`rota notifications`: what rota told you."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.ids import UserId
    from rota.domain.notifications.notification import Notification

group = CommandGroup()


@group.command("list", json=True)
def list_notifications(
    common: CommonOptions,
    unread: Annotated[bool, typer.Option("--unread", help="Only what is not read.")] = False,
    limit: Limit = 20,
) -> None:
    """List notifications, the newest first."""

    async def work(app: App, me: UserId) -> tuple[str, tuple[Notification, ...]]:
        found = await app.notifications.latest(me, unread_only=unread, limit=limit)
        return await app.schedules.zone(me), found

    zone, found = common.as_person(work)
    if common.json:
        output.print_json(found)
        return
    output.table(
        ["ID", "WHEN", "", "CATEGORY", "TITLE", "BODY"],
        [
            (
                output.short(n.id),
                output.when(n.created_at, zone),
                " " if n.read_at else "●",
                n.category.value,
                n.title,
                output.first_line(n.body, 40),
            )
            for n in found
        ],
        empty="There are no notifications.",
    )


@group.command("read")
def read(
    common: CommonOptions,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="Ids, or their beginnings.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
) -> None:
    """Mark notifications as read."""
    if bool(ids) == everything:
        raise InvalidInputError("Name the notifications to mark, or use --all.")
    marked = common.as_person(
        lambda app, me: app.notifications.mark_read(me, None if everything else ids)
    )
    output.say(f"Marked {marked} as read.")
