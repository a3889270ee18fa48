"""`rota people`: who there is, and who may run agents, said by the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.people import People

group = CommandGroup()

_Persons = Annotated[
    list[str] | None, typer.Argument(metavar="USER...", help="The people: e-mail addresses or ids.")
]
_Everybody = Annotated[
    bool,
    typer.Option(
        "--everybody", help="Everybody who is not named, including people who are added later."
    ),
]


@group.command("list", person=False)
def list_people(common: CommonOptions) -> None:
    """Show who may run agents: the setting for everybody, and the people who are named."""
    found = common.as_operator(lambda app: app.people.all())
    if common.json:
        output.print_json(people_json(found))
        return
    words = {True: "yes", False: "no"}
    output.table(
        ["WHO", "MAY RUN AGENTS"],
        [
            ("everybody else", words[found.open_to_all]),
            *((p.email or p.user_id, words[p.may_run]) for p in found.persons),
        ],
        empty="",
    )


@group.command("add", person=False)
def add(
    common: CommonOptions,
    people: Annotated[
        list[str],
        typer.Argument(metavar="EMAIL...", help="The e-mail addresses of the people to add."),
    ],
    refused: Annotated[
        bool,
        typer.Option(
            "--refused", help="Do not let them run agents yet; `rota people allow` does so later."
        ),
    ] = False,
) -> None:
    """Add people, who may run agents with your model keys. `--as EMAIL` acts as one of them.

    Not on Supabase, where people sign up.
    """
    added = common.as_operator(lambda app: app.people.add(people, may_run=not refused))
    if common.json:
        output.print_json(added)
        return
    may = "may not run agents yet" if refused else "may run agents"
    for one in added:
        output.say(f"{'Added' if one.is_new else 'Already there:'} {one.email}: {may}.")


@group.command("allow", person=False)
def allow(common: CommonOptions, people: _Persons = None, everybody: _Everybody = False) -> None:
    """Let people run agents, with your model keys and within the limits that you set."""
    _set(common, people or [], everybody=everybody, may_run=True)


@group.command("refuse", person=False, alias="deny")
def refuse(common: CommonOptions, people: _Persons = None, everybody: _Everybody = False) -> None:
    """Stop people from running agents. Their schedules are paused when they are next due.

    `deny` is the same.

    With --everybody, people who were allowed by name may still run agents.
    """
    _set(common, people or [], everybody=everybody, may_run=False)


def _set(common: CommonOptions, people: list[str], *, everybody: bool, may_run: bool) -> None:
    if bool(people) is everybody:
        raise InvalidInputError("Name one or more people, or use --everybody.")

    async def work(app: App) -> People:
        if everybody:
            if app.server.embedded is not None and not may_run:
                raise InvalidInputError(
                    "The embedded server is open to everybody. Name the people to refuse."
                )
            await app.people.set_everybody(may_run=may_run)
        else:
            await app.people.set([await app.named(who) for who in people], may_run=may_run)
        return await app.people.all()

    done = "Set. `rota people list` shows who may run agents."
    output.print_done(done, people_json(common.as_operator(work)), as_json=common.json)


def people_json(found: People) -> list[dict[str, Any]]:
    """Return who may run agents: whoever is not named first, then those who are."""
    return [
        {"user_id": None, "email": None, "may_run": found.open_to_all},
        *({"user_id": p.user_id, "email": p.email, "may_run": p.may_run} for p in found.persons),
    ]
