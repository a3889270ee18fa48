"""`rota approvals deputies`: the operator names who may decide when a person does not answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions

if TYPE_CHECKING:
    from rota.bootstrap.app import App

group = CommandGroup()
Person = Annotated[
    str,
    typer.Argument(
        metavar="USER", help="The person whose requests these are: an e-mail address or an id."
    ),
]
Deputy = Annotated[
    str, typer.Argument(metavar="DEPUTY", help="The deputy: an e-mail address or an id.")
]


@group.command("list", person=False)
def list_deputies(common: CommonOptions) -> None:
    """List deputies, and the people that they decide for."""
    found = common.as_operator(lambda app: app.deputies.list_all())
    output.print_list(
        found,
        {"FOR": lambda deputy: deputy.user_name, "DEPUTY": lambda deputy: deputy.deputy_name},
        as_json=common.json,
        empty="There are no deputies.",
    )


@group.command("add", person=False)
def add(common: CommonOptions, person: Person, deputy: Deputy) -> None:
    """Let a deputy decide on requests that a person does not decide in time.

    The deputy sees a request once its owner is reminded of it, or warned that it expires.
    """

    async def work(app: App) -> None:
        await app.deputies.add(
            await app.named(person),
            await app.named(deputy),
            user_name=person,
            deputy_name=deputy,
        )

    common.as_operator(work)
    done = f"{deputy} may decide on requests that {person} does not decide in time."
    output.print_done(done, {"user": person, "deputy": deputy}, as_json=common.json)


@group.command("remove", person=False)
def remove(common: CommonOptions, person: Person, deputy: Deputy) -> None:
    """Remove a deputy, who no longer decides from now on."""

    async def work(app: App) -> None:
        await app.deputies.remove(await app.named(person), await app.named(deputy))

    common.as_operator(work)
    done = f"{deputy} no longer decides for {person}."
    output.print_done(done, {"user": person, "deputy": deputy}, as_json=common.json)
