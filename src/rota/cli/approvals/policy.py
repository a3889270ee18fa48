"""`rota approvals policy`: the rules that say which tool calls run, wait or are refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.approvals.rules import NAMELESS, effect_in_words, limits_in_words
from rota.domain.errors import InvalidInputError
from rota.domain.text.sentences import sentence

if TYPE_CHECKING:
    from typing import TypeAlias

    from rota.bootstrap.app import App
    from rota.domain.approvals.rules import Rule
    from rota.domain.ids import RuleId, UserId
    from rota.services.approvals.rules import Added, Explanation

    Stale: TypeAlias = Mapping[RuleId, int | None]
    Listed: TypeAlias = tuple[str, tuple[Rule, ...], dict[UUID, str], Stale]
    Made: TypeAlias = tuple[tuple[Added, ...], dict[UUID, str], tuple[str, ...]]

group = CommandGroup()
OfSchedule = Annotated[
    str | None,
    typer.Option("--schedule", metavar="SCHEDULE", help="Only for runs of this schedule."),
]
OfAgent = Annotated[
    str | None, typer.Option("--agent", metavar="AGENT", help="Only for calls of this agent.")
]


@group.command("list")
def list_rules(
    common: CommonOptions,
    *,
    operator: Annotated[
        bool, typer.Option("--operator", help="Show only the operator's rules.")
    ] = False,
) -> None:
    """List the rules that hold for you: the operator's, then your own."""

    async def work(app: App, me: UserId | None) -> Listed:
        found = await app.rules.list_rules(me)
        zone = "UTC" if me is None else await app.schedules.zone(me)
        names = await app.rules.list_names(me, found)
        return zone, found, names, await app.rules.list_stale(me, found)

    zone, found, names, stale = common.as_person_or_operator(work, operator=operator)
    if common.json:
        from rota.shown.rules import rule_json

        output.print_json([rule_json(rule, names) | {"stale": rule.id in stale} for rule in found])
        return
    print_rules(found, zone, names, stale)


@group.command("add")
def add(
    common: CommonOptions,
    allow: Annotated[
        str | None,
        typer.Option(
            "--allow", metavar="TOOL", help="Let calls of this tool run without approval."
        ),
    ] = None,
    require: Annotated[
        str | None,
        typer.Option(
            "--require", metavar="TOOL", help="Make calls of this tool wait for approval."
        ),
    ] = None,
    refuse: Annotated[
        str | None,
        typer.Option(
            "--refuse",
            "--deny",
            metavar="TOOL",
            help="Refuse calls of this tool. --deny is the same.",
        ),
    ] = None,
    when: Annotated[
        list[str] | None,
        typer.Option(
            "--when",
            metavar="CONDITION",
            help="Only if this condition holds: 'amount over 100'. May be repeated; all must hold.",
        ),
    ] = None,
    agent: OfAgent = None,
    schedule: OfSchedule = None,
    runs: Annotated[
        str,
        typer.Option(
            "--runs",
            metavar="KIND",
            help="Only for this kind of run: unattended, interactive or any.",
        ),
    ] = "any",
    risk: Annotated[
        str | None,
        typer.Option(
            "--risk",
            metavar="RISK",
            help="Raises the risk: such a call counts as at least this risk: low, medium or high.",
        ),
    ] = None,
    note: Annotated[
        str,
        typer.Option(
            "--note", metavar="TEXT", help="The reason for the rule; you and the agent can read it."
        ),
    ] = "",
    expires: Annotated[
        str | None,
        typer.Option(
            "--expires", "--for", metavar="WHEN", help="When the rule ends: 90d, 2027-01-31."
        ),
    ] = None,
    uses: Annotated[
        int | None,
        typer.Option("--uses", metavar="N", help="With --allow: let only this many calls run."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            metavar="FILE",
            help="Add the rules in this YAML file, instead of the options above.",
        ),
    ] = None,
    operator: Annotated[
        bool,
        typer.Option(
            "--operator",
            help="Add a rule of the operator. It holds for everybody, or with --user for one "
            "person.",
        ),
    ] = False,
    person: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="USER", help="With --operator: only for calls of this person."
        ),
    ] = None,
) -> None:
    """Add a rule: --refuse comes before --require, and --require before --allow."""
    from rota.services.approvals.rule_files import RuleEntry, read_rule_file

    tools = {"allow": allow, "require": require, "deny": refuse}
    given = {effect: tool for effect, tool in tools.items() if tool is not None}
    if len(given) + (file is not None) != 1:
        raise InvalidInputError("Give exactly one of --allow, --require, --refuse and --file.")
    others = [when, agent, schedule, risk, note, expires, uses]
    if file is not None:
        if any(others) or runs != "any":
            raise InvalidInputError(
                "--file cannot be combined with options of a rule. Write them into the file."
            )
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
            raise InvalidInputError(
                "--user needs --operator: only a rule of the operator can name a person."
            )
        entries = tuple(replace(entry, user=entry.user or person) for entry in entries)

    async def work(app: App, me: UserId | None) -> Made:
        added = await app.rules.add_entries(me, entries)
        rules = [one.rule for one in added]
        names = await app.rules.list_names(me, rules)
        return added, names, await app.rules.list_doubts(me, rules)

    added, names, doubts = common.as_person_or_operator(work, operator=operator)
    for doubt in doubts:
        output.warn(f"Warning: {doubt}")
    if common.json:
        from rota.shown.rules import rule_json

        output.print_json([rule_json(o.rule, names) | {"is_new": o.is_new} for o in added])
        return
    for one in added:
        print_rule(one.rule, names, "" if one.is_new else "There already, not added again: ")


@group.command("remove")
def remove(
    common: CommonOptions,
    rule: Annotated[
        str, typer.Argument(metavar="RULE", help="The rule's id, or the beginning of the id.")
    ],
    operator: Annotated[
        bool, typer.Option("--operator", help="Remove a rule of the operator.")
    ] = False,
) -> None:
    """Remove a rule. Calls from now on are decided without it."""
    gone = common.as_person_or_operator(
        lambda app, me: app.rules.remove(me, rule), operator=operator
    )
    if common.json:
        from rota.shown.rules import rule_json

        output.print_json(rule_json(gone))
        return
    print_rule(gone, label="Removed ")


@group.command("explain")
def explain(
    common: CommonOptions,
    tool: Annotated[str, typer.Argument(metavar="TOOL", help="The tool's name.")],
    arguments: Annotated[
        str, typer.Argument(metavar="ARGUMENTS", help="The arguments of the call, as JSON.")
    ] = "{}",
    agent: OfAgent = None,
    schedule: OfSchedule = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Assume a run that a person has just asked for.")
    ] = False,
) -> None:
    """Explain what would happen to a call, which rules decide, and what would change that."""
    from rota.domain.text.json_values import json_object

    given = json_object(arguments, "The arguments", "arguments")

    async def work(app: App, me: UserId) -> tuple[Explanation, dict[UUID, str]]:
        explained = await app.rules.explain(
            me,
            tool,
            given,
            agent_name=agent,
            schedule=schedule,
            unattended=not interactive,
        )
        looked = [found.rule for found in explained.findings]
        return explained, await app.rules.list_names(me, looked)

    explained, names = common.as_person(work)
    if common.json:
        from rota.shown.rules import explained_json

        output.print_json(explained_json(explained))
        return
    print_explained(tool, explained, names)


NONE_STALE: Final[Stale] = MappingProxyType({})
_DECISIONS: Final = {
    "allowed": "It runs",
    "held": "It waits for approval",
    "refused": "It is refused",
}


def print_rules(
    rules: Sequence[Rule], zone: str, names: Mapping[UUID, str], stale: Stale = NONE_STALE
) -> None:
    """Print rules, each as a block: what it does, what limits it, and what else is known of it.

    `names` are those of schedules and people; `stale` are rules whose tool is declared otherwise by
    now, and at which version.
    """
    if not rules:
        output.say("There are no rules. The tier of each tool and your preferences decide.")
    for number, rule in enumerate(rules):
        if number:
            output.say()
        draft = rule.draft
        print_rule(rule, names)
        lines = [
            ("Whose", "the operator's" if rule.is_operators else "yours"),
            ("Until", output.when(draft.expires_at, zone) if draft.expires_at else ""),
            ("Uses left", str(draft.uses_left) if draft.uses_left is not None else ""),
            ("Tool", f"at version {draft.tool_version} only" if draft.tool_version else ""),
            ("Stale", _why_stale(rule, stale[rule.id]) if rule.id in stale else ""),
            ("Note", draft.note),
        ]
        for name, said in lines:
            if said:
                output.say_field(name, said)


def _why_stale(rule: Rule, version: int | None) -> str:
    tool = rule.draft.tool
    now = f"is at version {version}" if version is not None else "is no longer declared"
    return (
        f"this rule has no effect: {tool} {now}. Remove it, and use --always again at the next "
        "request."
    )


def print_rule(rule: Rule, names: Mapping[UUID, str] = NAMELESS, label: str = "") -> None:
    """Print what a rule does, then one line for each thing that limits it.

    Schedules and people are shown by their names, or else by their ids.
    """
    output.say_line(f"{label}{output.short(rule.id)}: {effect_in_words(rule)}")
    for name, said in limits_in_words(rule, names, short=output.short):
        output.say_field(name, said)


def print_explained(tool: str, explained: Explanation, names: Mapping[UUID, str]) -> None:
    """Print a decision, each rule that was looked at, and what would have to change."""
    verdict = explained.verdict
    output.say_line(sentence(f"{_DECISIONS[verdict.decision]}: {verdict.reason}"))
    output.say(f"Tier {verdict.tier}, risk {verdict.risk}.")
    if not explained.findings:
        output.say()
        output.say_line(f"No rule was checked: the declaration of {tool} decides.")
    for found in explained.findings:
        output.say()
        print_rule(found.rule, names)
        output.say_field("Whose", "the operator's" if found.rule.is_operators else "yours")
        output.say_field("Result", _came_to(found.finding, is_idle=found.is_idle))
        output.say_field("Why", found.why)
    output.say()
    for line in explained.advice:
        output.say_line(line)


def _came_to(finding: str, *, is_idle: bool) -> str:
    if is_idle:
        return "applies, but has no effect: only the operator may allow this tool"
    return finding.replace("_", " ")
