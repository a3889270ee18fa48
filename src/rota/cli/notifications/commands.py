"""`rota notifications`: what rota told you."""

from __future__ import annotations

from typing import Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.domain.errors import InvalidInputError

group = CommandGroup()


@group.command("list", json=True)
def list_notifications(
    common: CommonOptions,
    unread: Annotated[bool, typer.Option("--unread", help="Only what is not read.")] = False,
    limit: Limit = 20,
) -> None:
    """List notifications, the newest first."""
    zone, found = common.as_person_with_zone(
        lambda app, me: app.notifications.latest(me, unread_only=unread, limit=limit)
    )
    output.print_list(
        found,
        {
            "ID": lambda n: output.short(n.id),
            "WHEN": lambda n: output.when(n.created_at, zone),
            "": lambda n: " " if n.read_at else "●",
            "CATEGORY": lambda n: n.category.value,
            "TITLE": lambda n: n.title,
            "BODY": lambda n: output.first_line(n.body, 40),
        },
        as_json=common.json,
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
