"""`rota people`: the operator lists people, and says who may run agents."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.people import People
    from rota.domain.identity.identities import Identity
    from rota.services.operations.person_data import PersonData

group = CommandGroup()

_Persons = Annotated[
    list[str] | None, typer.Argument(metavar="USER...", help="The people: e-mail addresses or ids.")
]
_Person = Annotated[str, typer.Argument(metavar="USER", help="An e-mail address or an id.")]
_Everybody = Annotated[
    bool,
    typer.Option(
        "--everybody", help="Everybody who is not named, including people who are added later."
    ),
]

_TOLD: Final = {
    "agent_configurations": "agents",
    "agent_schedules": "schedules",
    "agent_runs": "runs",
    "agent_execution_results": "results",
    "pending_actions": "calls for approval",
    "approval_rules": "rules",
    "connections": "connections",
    "notifications": "notifications",
}
"""What a person has, by table, as it is told; the rest is counted together."""


@group.command("list", person=False)
def list_people(common: CommonOptions) -> None:
    """Show who may run agents: the setting for everybody, and the people who are named."""
    found = common.as_operator(lambda app: app.people.all())
    if common.json:
        from rota.shown.people import people_json

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
    for one in added:
        may = "may run agents"
        if not one.may_run:
            may = f"may not run agents; allow it with `rota people allow {one.email}`"
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


@group.command("export", person=False)
def export(
    common: CommonOptions,
    who: _Person,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new zip file, of mode 0600.")],
) -> None:
    """Write all that rota keeps of a person to a zip file: JSON, and results as Markdown.

    Without secrets: what the person may read themselves is in it.
    """

    async def work(app: App) -> PersonData:
        return await app.person_data.export(await app.named(who), file)

    from rota.shown.people import person_json

    made = common.as_operator(work)
    output.print_done(
        f"Exported {made.email or made.user_id} to {file}: {_counted(made)}.",
        {**person_json(made), "file": str(file)},
        as_json=common.json,
    )


@group.command("remove", person=False)
def remove(
    common: CommonOptions,
    who: _Person,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them without asking.")] = False,
) -> None:
    """Delete a person with everything of theirs, once you have confirmed it.

    What they have under way is cancelled first. Grants of OAuth are revoked at their providers. Of
    the audit log stays what was called and when, without what it was about. On a server of your own
    it takes the owner's URL. Not on Supabase, where accounts are deleted.
    """
    from rota.bootstrap.person_data import PATIENCE, person_to_remove, remove_person

    person = common.as_operator(lambda app: person_to_remove(app, who))
    if not yes:
        _confirm(person)
    with common.server() as server:
        removed = asyncio.run(remove_person(common.settings, server, person, patience=PATIENCE))
    if common.json:
        from rota.shown.people import removed_json

        output.print_json(removed_json(removed))
        return
    output.say(f"Removed {person.email or person.user_id}: {_counted(person)}.")
    for one in removed.connections:
        said = "Its grant was revoked at the provider." if one.is_revoked else one.left
        output.say(f"{one.name}: {said}")


_Issuer = Annotated[
    str, typer.Option("--issuer", metavar="URL", help="The issuer, as in ROTA_OIDC_ISSUER.")
]
_Subject = Annotated[
    str, typer.Option("--subject", metavar="TEXT", help="What the issuer calls the person.")
]


@group.command("link", person=False)
def link(common: CommonOptions, who: _Person, issuer: _Issuer, subject: _Subject) -> None:
    """Let a person sign in at an issuer of OpenID Connect: say what it calls them.

    A refused sign-in names issuer and subject.
    """

    async def work(app: App) -> None:
        await app.identities.link(await app.named(who), issuer, subject)

    common.as_operator(work)
    linked = {"user": who, "issuer": issuer, "subject": subject}
    output.print_done(f"{who} may sign in at {issuer} now.", linked, as_json=common.json)


@group.command("unlink", person=False)
def unlink(common: CommonOptions, who: _Person, issuer: _Issuer, subject: _Subject) -> None:
    """Take back what `rota people link` said. Sessions that were begun go on until they end."""

    async def work(app: App) -> None:
        await app.identities.unlink(await app.named(who), issuer, subject)

    common.as_operator(work)
    gone = {"user": who, "issuer": issuer, "subject": subject}
    output.print_done(f"{who} may not sign in there any more.", gone, as_json=common.json)


@group.command("identities", person=False)
def identities(common: CommonOptions, who: _Person) -> None:
    """List what issuers call a person."""

    async def work(app: App) -> tuple[Identity, ...]:
        return await app.identities.all(await app.named(who))

    output.print_list(
        common.as_operator(work),
        {
            "ISSUER": lambda one: one.issuer,
            "SUBJECT": lambda one: one.subject,
            "LINKED BY": lambda one: one.origin.value,
        },
        as_json=common.json,
        empty="None. `rota people link` adds one.",
    )


def _confirm(person: PersonData) -> None:
    if not output.is_conversation():
        raise InvalidInputError(
            f"This would delete {person.email or person.user_id} with all that is theirs "
            f"({_counted(person)}), and rota cannot ask you to confirm here. Export it with "
            "`rota people export` if need be, then use --yes."
        )
    output.say(f"{person.email or person.user_id}: {_counted(person)}.")
    output.say("This cannot be undone. `rota people export` keeps a copy.")
    if not typer.confirm("Delete all of it?"):
        output.say("Nothing was removed.")
        raise typer.Exit(1)


def _counted(person: PersonData) -> str:
    named = [
        f"{name} {person.counts[table]}" for table, name in _TOLD.items() if table in person.counts
    ]
    others = sum(count for table, count in person.counts.items() if table not in _TOLD)
    more = [f"other rows {others}"] if others else []
    return ", ".join([*named, *more]) or "nothing of theirs"


def _set(common: CommonOptions, people: list[str], *, everybody: bool, may_run: bool) -> None:
    if bool(people) is everybody:
        raise InvalidInputError("Name one or more people, or use --everybody.")

    async def work(app: App) -> People:
        if everybody:
            await app.set_everybody(may_run=may_run)
        else:
            await app.people.set([await app.named(who) for who in people], may_run=may_run)
        return await app.people.all()

    from rota.shown.people import people_json

    done = "Set. `rota people list` shows who may run agents."
    output.print_done(done, people_json(common.as_operator(work)), as_json=common.json)
