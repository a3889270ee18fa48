"""`rota approvals`: what agents want to do and may not without a yes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rota.cli import approval_deputies, approval_policy
from rota.cli.options import As, DatabaseUrl, DataDir, Json, Limit, as_person, settings_from
from rota.settings import Settings

if TYPE_CHECKING:
    from rota.bootstrap import App
    from rota.domain.actions import PendingAction
    from rota.domain.ids import UserId
    from rota.domain.rules import Rule
    from rota.domain.triage import Precedents
    from rota.services.approvals import Decided

app = typer.Typer(
    help="Approvals: what agents want to do, and may not without a yes.", no_args_is_help=True
)
app.add_typer(approval_policy.app, name="policy")
app.add_typer(approval_deputies.app, name="deputies")
Action = Annotated[str, typer.Argument(metavar="ACTION", help="Its id, or the beginning of it.")]
Actions = Annotated[
    list[str] | None,
    typer.Argument(metavar="ACTION...", help="Their ids, or the beginnings of them."),
]
All = Annotated[bool, typer.Option("--all", help="All that are pending.")]

_VIA = "cli"


class RiskOption(StrEnum):
    """The highest risk that is meant."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


Like = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="ACTION",
        help="All that are pending of this one's agent, for the same tool.",
    ),
]
UpTo = Annotated[RiskOption, typer.Option("--up-to", help="Only those of this risk at most.")]
OfAgent = Annotated[str | None, typer.Option("--agent", metavar="NAME", help="Only this agent's.")]
OfTool = Annotated[str | None, typer.Option("--tool", metavar="NAME", help="Only for this tool.")]


@dataclass(frozen=True, slots=True)
class _Which:
    """Which requests are decided on: those named, all that are pending, or all like one."""

    actions: list[str] | None
    every: bool
    like: str | None
    up_to: RiskOption

    def check(self) -> None:
        from rota.domain.errors import InvalidInputError

        if [bool(self.actions), self.every, self.like is not None].count(True) != 1:
            raise InvalidInputError("Name the requests, or say --all, or --like one of them.")
        if self.actions and self.up_to is not RiskOption.HIGH:
            raise InvalidInputError("--up-to goes with --all and --like.")

    async def references(self, app: App, me: UserId) -> list[str]:
        from rota.domain.actions import ActionStatus

        if self.actions:
            return self.actions
        if self.like is not None:
            found = await app.approvals.like(me, self.like, up_to=self.up_to.value)
        else:
            found = await app.approvals.all(
                me, statuses=[ActionStatus.PENDING], up_to=self.up_to.value, limit=1_000
            )
        return [str(action.id) for action in found]


class OutcomeOption(StrEnum):
    """What became of an action of unknown outcome."""

    HAPPENED = "happened"
    DID_NOT = "did-not"
    AGAIN = "again"


@app.command("list")
def list_approvals(
    status: Annotated[
        str | None,
        typer.Option("--status", help="Only of this status, or `all`; else what waits for you."),
    ] = None,
    agent: OfAgent = None,
    tool: OfTool = None,
    up_to: UpTo = RiskOption.HIGH,
    grouped: Annotated[
        bool, typer.Option("--grouped", help="One line for all that are alike.")
    ] = False,
    limit: Limit = 50,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """List what waits for your decision, the riskiest first, like requests together."""
    from rota.cli import approval_texts, output
    from rota.domain.actions import ActionStatus
    from rota.domain.errors import InvalidInputError
    from rota.domain.triage import groups
    from rota.services.approvals import OPEN

    statuses: tuple[ActionStatus, ...] | None = OPEN
    if status == "all":
        statuses = None
    elif status is not None:
        if status not in set(ActionStatus):
            raise InvalidInputError(
                f"There is no status {status!r}; it is {', '.join(ActionStatus)}, or all."
            )
        statuses = (ActionStatus(status),)

    async def work(app: App, me: UserId) -> tuple[str, tuple[PendingAction, ...]]:
        return await app.schedules.zone(me), await app.approvals.all(
            me,
            statuses=statuses,
            agent_name=agent,
            tool_name=tool,
            up_to=up_to.value,
            limit=limit,
        )

    zone, found = as_person(settings_from(data_dir, database_url, user), work)
    if json:
        output.print_json(groups(found) if grouped else found)
    elif grouped:
        approval_texts.print_groups(found, zone)
    else:
        approval_texts.print_list(found, zone)


@app.command("show")
def show(
    action: Action,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Show a request: which call, with what arguments, why it waits, what became of it."""
    from rota.cli import approval_texts, output

    async def work(app: App, me: UserId) -> tuple[UserId, str, PendingAction, Precedents, int]:
        from rota.bootstrap import clock

        found = await app.approvals.get(me, action)
        precedents = await app.approvals.precedents(me, found, clock())
        alike = await app.approvals.like(me, str(found.id))
        others = [one for one in alike if one.id != found.id]
        return me, await app.schedules.zone(me), found, precedents, len(others)

    me, zone, found, precedents, like = as_person(settings_from(data_dir, database_url, user), work)
    if json:
        output.print_json(
            {
                **asdict(found),
                "signals": found.signals,
                "precedents": precedents,
                "like": like,
            }
        )
        return
    approval_texts.print_action(found, zone, precedents, me, like)


@app.command("approve")
def approve(
    actions: Actions = None,
    every: All = False,
    like: Like = None,
    up_to: UpTo = RiskOption.HIGH,
    arguments: Annotated[
        str | None,
        typer.Option(
            "--arguments", metavar="JSON", help="Run it with these instead: all of them, as JSON."
        ),
    ] = None,
    always: Annotated[
        bool,
        typer.Option("--always", help="Let calls like this one run by themselves from now on."),
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            metavar="ARG,ARG",
            help="With --always: hold such calls to these arguments; all without it.",
        ),
    ] = None,
    lasts: Annotated[
        str | None,
        typer.Option("--for", metavar="LENGTH", help="With --always: for how long (90d)."),
    ] = None,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Approve requests: each runs once. With --arguments one of them, changed.

    With --always a rule is made of it: this tool as it is now, with exactly these arguments.
    """
    from rota.domain.errors import InvalidInputError

    if (only is not None or lasts is not None) and not always:
        raise InvalidInputError("--only and --for go with --always.")
    if always:
        if actions is None or len(actions) != 1 or every or like or arguments is not None:
            raise InvalidInputError("--always is for one request, as it is: name it.")
        _approve_always(actions[0], only, lasts, data_dir, database_url, user, json=json)
        return
    if arguments is None:
        which = _Which(actions, every=every, like=like, up_to=up_to)
        _decide(which, "approve", "", data_dir, database_url, user, json=json)
        return
    if actions is None or len(actions) != 1 or every or like:
        raise InvalidInputError("Arguments are for one request: name it.")
    (reference,) = actions
    given = _json_object(arguments)

    async def work(app: App, me: UserId) -> tuple[Decided, ...]:
        from rota.services.approvals import Decided

        edited = await app.approvals.edit(me, reference, given, via=_VIA)
        return (
            Decided(
                await app.approvals.approve(me, str(edited.id), version=edited.version, via=_VIA)
            ),
        )

    _carry_out(settings_from(data_dir, database_url, user), work, json=json)


@app.command("reject")
def reject(
    actions: Actions = None,
    every: All = False,
    like: Like = None,
    up_to: UpTo = RiskOption.HIGH,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; the agent reads it.")
    ] = "",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Refuse requests: none of them runs."""
    which = _Which(actions, every=every, like=like, up_to=up_to)
    _decide(which, "refuse", reason, data_dir, database_url, user, json=json)


@app.command("settle")
def settle(
    action: Action,
    outcome: Annotated[OutcomeOption, typer.Argument(help="What you found when you looked.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Say what became of an action of unknown outcome; `again` runs it once more."""
    from rota.services.approvals import Decided

    said: dict[OutcomeOption, Literal["happened", "did_not", "again"]] = {
        OutcomeOption.HAPPENED: "happened",
        OutcomeOption.DID_NOT: "did_not",
        OutcomeOption.AGAIN: "again",
    }

    async def work(app: App, me: UserId) -> tuple[Decided, ...]:
        return (Decided(await app.approvals.settle(me, action, said[outcome], via=_VIA)),)

    _carry_out(settings_from(data_dir, database_url, user), work, json=json)


def _approve_always(
    reference: str,
    only: str | None,
    lasts: str | None,
    data_dir: DataDir,
    database_url: DatabaseUrl,
    user: As,
    *,
    json: bool,
) -> None:
    from rota.cli import approval_policy_texts, output
    from rota.domain.rules import ALWAYS_LASTS
    from rota.domain.written_time import parse_duration
    from rota.services.approvals import Decided

    length = parse_duration(lasts, field="for") if lasts is not None else ALWAYS_LASTS
    names = [name.strip() for name in only.split(",")] if only is not None else None

    async def work(app: App, me: UserId) -> tuple[PendingAction, Rule]:
        # What cannot become a rule is said before anything runs.
        action = await app.approvals.get(me, reference)
        draft = await app.rules.plan_always(me, str(action.id), only=names, lasts=length)
        approved = await app.approvals.approve(me, str(action.id), version=action.version, via=_VIA)
        (rule,) = await app.rules.add(me, [draft])
        return approved, rule

    approved, rule = as_person(settings_from(data_dir, database_url, user), work)
    if json:
        shown = approval_policy_texts.rule_json(rule)
        output.print_json({"action": approved, "rule": shown})
        return
    _tell((Decided(approved),), json=False)
    output.say(f"Rule {output.short(rule.id)}: {approval_policy_texts.in_words(rule)}")


def _decide(
    which: _Which,
    decision: Literal["approve", "refuse"],
    reason: str,
    data_dir: DataDir,
    database_url: DatabaseUrl,
    user: As,
    *,
    json: bool,
) -> None:
    which.check()

    async def work(app: App, me: UserId) -> tuple[Decided, ...]:
        references = await which.references(app, me)
        return await app.approvals.decide_all(me, references, decision, reason, via=_VIA)

    _carry_out(settings_from(data_dir, database_url, user), work, json=json)


def _carry_out(
    settings: Settings,
    work: Callable[[App, UserId], Awaitable[tuple[Decided, ...]]],
    *,
    json: bool,
) -> None:
    """Decide, and say what came of it; also that nobody is there to run what was approved."""
    from rota.cli import output
    from rota.domain.actions import ActionStatus

    async def work_and_look(app: App, me: UserId) -> tuple[tuple[Decided, ...], bool]:
        decided = await work(app, me)
        is_to_run = any(
            one.problem is None and one.action.status is ActionStatus.APPROVED for one in decided
        )
        return decided, is_to_run and not await app.runs.somebody_works()

    decided, nobody_works = as_person(settings, work_and_look)
    if nobody_works:
        output.warn("What you approved runs as soon as `rota up`, or a scheduler and a worker, do.")
    _tell(decided, json=json)


def _tell(decided: tuple[Decided, ...], *, json: bool) -> None:
    """Say what came of each; exit status 1 where one could not be decided."""
    from rota.cli import approval_texts, output

    if json:
        output.print_json(decided)
    else:
        approval_texts.print_decided(decided)
    if any(one.problem is not None for one in decided):
        raise typer.Exit(1)


def _json_object(text: str) -> dict[str, object]:
    from rota.domain.json_text import json_object

    return json_object(text, "The arguments", "arguments")
