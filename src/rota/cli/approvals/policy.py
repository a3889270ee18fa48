"""`rota approvals policy`: which calls run, which wait, and which are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions

if TYPE_CHECKING:
    from typing import TypeAlias
    from uuid import UUID

    from rota.bootstrap.app import App
    from rota.domain.approvals.rules import Rule, RuleDraft
    from rota.domain.ids import ScheduleId, UserId
    from rota.services.approvals.rule_files import RuleEntry
    from rota.services.approvals.rules import Explanation

    Listed: TypeAlias = tuple[str, tuple[Rule, ...], dict[UUID, str]]
    Added: TypeAlias = tuple[tuple[Rule, ...], dict[UUID, str], tuple[str, ...]]

app = CommandGroup()
Operator = Annotated[
    bool, typer.Option("--operator", help="The operator's rules, which hold for everybody.")
]
OfSchedule = Annotated[
    str | None,
    typer.Option("--schedule", metavar="SCHEDULE", help="Only in runs of this schedule."),
]
OfAgent = Annotated[
    str | None, typer.Option("--agent", metavar="AGENT", help="Only for calls of this agent.")
]


@app.command("list", json=True)
def list_rules(common: CommonOptions, operator: Operator = False) -> None:
    """List the rules that hold for you: the operator's, then your own."""
    from rota.cli import output
    from rota.cli.approvals import policy_texts as approval_policy_texts

    async def work(app: App, me: UserId) -> Listed:
        found = await app.rules.all(me)
        return await app.schedules.zone(me), found, await app.rules.names(me, found)

    async def of_operator(app: App) -> Listed:
        found = await app.rules.operators()
        return "UTC", found, await app.rules.names(None, found)

    listed = common.as_operator(of_operator) if operator else common.as_person(work)
    zone, found, names = listed
    if common.json:
        output.print_json([approval_policy_texts.rule_json(rule) for rule in found])
        return
    approval_policy_texts.print_rules(found, zone, names)


@app.command("add", json=True)
def add(
    common: CommonOptions,
    allow: Annotated[
        str | None, typer.Option("--allow", metavar="TOOL", help="Calls of this tool run.")
    ] = None,
    require: Annotated[
        str | None,
        typer.Option("--require", metavar="TOOL", help="Calls of this tool wait for approval."),
    ] = None,
    deny: Annotated[
        str | None, typer.Option("--deny", metavar="TOOL", help="Calls of this tool are refused.")
    ] = None,
    when: Annotated[
        list[str] | None,
        typer.Option(
            "--when",
            metavar="CONDITION",
            help="'to email_domain example.org', 'amount over 100'; all of them have to hold.",
        ),
    ] = None,
    agent: OfAgent = None,
    schedule: OfSchedule = None,
    runs: Annotated[
        str, typer.Option("--runs", metavar="KIND", help="unattended, interactive, or any.")
    ] = "any",
    risk: Annotated[
        str | None,
        typer.Option("--risk", metavar="RISK", help="The least that such a call is of."),
    ] = None,
    note: Annotated[
        str, typer.Option("--note", metavar="TEXT", help="Why; shown to you and to the agent.")
    ] = "",
    expires: Annotated[
        str | None,
        typer.Option("--expires", "--for", metavar="WHEN", help="Its end: 90d, 2027-01-31."),
    ] = None,
    uses: Annotated[
        int | None, typer.Option("--uses", metavar="N", help="How many calls --allow lets run.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Several rules, as YAML.")
    ] = None,
    operator: Operator = False,
    person: Annotated[
        str | None,
        typer.Option("--user", metavar="USER", help="With --operator: only for this person."),
    ] = None,
) -> None:
    """Add a rule. Denying comes before requiring, requiring before allowing."""
    from rota.domain.errors import InvalidInputError
    from rota.services.approvals.rule_files import RuleEntry, read_rule_file

    tools = {"allow": allow, "require": require, "deny": deny}
    given = {effect: tool for effect, tool in tools.items() if tool is not None}
    if len(given) + (file is not None) != 1:
        raise InvalidInputError("Give one of --allow, --require, --deny and --file.")
    others = [when, agent, schedule, risk, note, expires, uses]
    if file is not None:
        if any(others) or runs != "any":
            raise InvalidInputError("The file says all of a rule; leave the other options out.")
        entries = read_rule_file(file)
    else:
        ((effect, tool),) = given.items()
        entries = (
            RuleEntry(
                effect,
                tool,
                tuple(when or ()),
                agent=agent,
                schedule=schedule,
                runs=runs,
                risk=risk,
                note=note,
                expires=expires,
                uses=uses,
            ),
        )
    if person is not None:
        if not operator:
            raise InvalidInputError("--user is for the operator's rules; add --operator.")
        entries = tuple(replace(entry, user=entry.user or person) for entry in entries)

    async def work(app: App, me: UserId) -> Added:
        made = await app.rules.add(me, [await _draft(app, entry, me) for entry in entries])
        return made, await app.rules.names(me, made), await app.rules.doubts(me, made)

    async def of_operator(app: App) -> Added:
        drafts = [await _draft(app, entry, None) for entry in entries]
        made = await app.rules.add_operators(drafts)
        return made, await app.rules.names(None, made), await app.rules.doubts(None, made)

    added = common.as_operator(of_operator) if operator else common.as_person(work)
    _print_added(common, added)


@app.command("remove")
def remove(
    common: CommonOptions,
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its id, or the beginning of it.")],
    operator: Operator = False,
) -> None:
    """Remove a rule; calls that are judged from now on do not know it."""
    from rota.cli import output
    from rota.cli.approvals import policy_texts as approval_policy_texts

    if operator:
        gone = common.as_operator(lambda app: app.rules.remove_operators(rule))
    else:
        gone = common.as_person(lambda app, me: app.rules.remove(me, rule))
    output.say(f"Removed: {approval_policy_texts.in_words(gone)}")


@app.command("explain", json=True)
def explain(
    common: CommonOptions,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="Its name.")],
    arguments: Annotated[
        str, typer.Argument(metavar="ARGUMENTS", help="What it is called with, as JSON.")
    ] = "{}",
    agent: OfAgent = None,
    schedule: OfSchedule = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="As in a run that a person asked for just now.")
    ] = False,
) -> None:
    """Say what would become of a call, by which rules, and what would have to change."""
    from rota.cli import output
    from rota.cli.approvals import policy_texts as approval_policy_texts
    from rota.domain.text.json_values import json_object

    given = json_object(arguments, "The arguments", "arguments")

    async def work(app: App, me: UserId) -> tuple[Explanation, dict[UUID, str]]:
        of_agent, schedule_id = agent, None
        if schedule is not None:
            found = await app.schedules.get(me, schedule)
            schedule_id, of_agent = found.id, agent or found.agent_name
        explained = await app.rules.explain(
            me,
            tool,
            given,
            agent_name=of_agent,
            schedule_id=schedule_id,
            unattended=not interactive,
        )
        looked = [found.rule for found in explained.findings]
        return explained, await app.rules.names(me, looked)

    explained, names = common.as_person(work)
    if common.json:
        output.print_json(approval_policy_texts.explained_json(explained))
        return
    approval_policy_texts.print_explained(tool, explained, names)


async def _draft(app: App, entry: RuleEntry, me: UserId | None) -> RuleDraft:
    """Return a rule with what its names stand for; the operator names schedules by their ids."""
    from uuid import UUID
    from zoneinfo import ZoneInfo

    from rota.bootstrap.app import clock
    from rota.domain.errors import InvalidInputError
    from rota.domain.ids import ScheduleId

    schedule_id: ScheduleId | None = None
    zone = "UTC" if me is None else await app.schedules.zone(me)
    if entry.schedule is not None and me is not None:
        schedule_id = (await app.schedules.get(me, entry.schedule)).id
    elif entry.schedule is not None:
        try:
            schedule_id = ScheduleId(UUID(entry.schedule))
        except ValueError as error:
            raise InvalidInputError(
                "The operator names a schedule by its id.", field="schedule"
            ) from error
    if entry.user is not None and me is not None:
        raise InvalidInputError("Only the operator's rules name a person.", field="user")
    for_user = await app.named(entry.user) if entry.user is not None else None
    return entry.draft(now=clock(), zone=ZoneInfo(zone), schedule_id=schedule_id, for_user=for_user)


def _print_added(common: CommonOptions, added: Added) -> None:
    from rota.cli import output
    from rota.cli.approvals import policy_texts as approval_policy_texts

    made, names, doubts = added
    for doubt in doubts:
        output.warn(f"Warning: {doubt}")
    if common.json:
        output.print_json([approval_policy_texts.rule_json(rule) for rule in made])
        return
    for rule in made:
        output.say_line(f"{output.short(rule.id)}: {approval_policy_texts.in_words(rule, names)}")
