"""`rota approvals deputies`: who may decide where somebody does not in time; the operator's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli.options import DatabaseUrl, DataDir, Json, as_operator, settings_from

if TYPE_CHECKING:
    from rota.bootstrap.app import App

app = typer.Typer(
    help="Deputies: who may decide where somebody does not in time. The operator's.",
    no_args_is_help=True,
)
Person = Annotated[
    str, typer.Argument(metavar="USER", help="Whose requests: an e-mail address or an id.")
]
Deputy = Annotated[
    str, typer.Argument(metavar="DEPUTY", help="Who stands in: an e-mail address or an id.")
]


@app.command("list")
def list_deputies(
    data_dir: DataDir = None, database_url: DatabaseUrl = None, json: Json = False
) -> None:
    """List who stands in for whom."""
    from rota.cli import output

    found = as_operator(settings_from(data_dir, database_url), lambda app: app.deputies.all())
    if json:
        output.print_json(found)
        return
    output.table(
        ["FOR", "DEPUTY"],
        [(deputy.user_name, deputy.deputy_name) for deputy in found],
        empty="Nobody stands in for anybody.",
    )


@app.command("add")
def add(
    person: Person, deputy: Deputy, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Let somebody decide on requests that another does not decide in time.

    They see a request from the moment on that its owner is reminded of it, or warned that it
    expires.
    """
    from rota.cli import output

    async def work(app: App) -> None:
        await app.deputies.add(
            await app.named(person),
            await app.named(deputy),
            user_name=person,
            deputy_name=deputy,
        )

    as_operator(settings_from(data_dir, database_url), work)
    output.say(f"{deputy} may decide what {person} does not decide in time.")


@app.command("remove")
def remove(
    person: Person, deputy: Deputy, data_dir: DataDir = None, database_url: DatabaseUrl = None
) -> None:
    """Take that back, from now on."""
    from rota.cli import output

    async def work(app: App) -> None:
        await app.deputies.remove(await app.named(person), await app.named(deputy))

    as_operator(settings_from(data_dir, database_url), work)
    output.say(f"{deputy} does not decide for {person} any more.")
