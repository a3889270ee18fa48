"""`rota approvals`: what agents want to do and may not without a yes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rota.cli import approval_policy
from rota.cli.options import As, DatabaseUrl, DataDir, Json, Limit, as_person, settings_from
from rota.settings import Settings

if TYPE_CHECKING:
    from rota.bootstrap import App
    from rota.domain.actions import PendingAction
    from rota.domain.ids import UserId
    from rota.domain.rules import Rule
    from rota.services.approvals import Decided

app = typer.Typer(
    help="Approvals: what agents want to do, and may not without a yes.", no_args_is_help=True
)
app.add_typer(approval_policy.app, name="policy")
Action = Annotated[str, typer.Argument(metavar="ACTION", help="Its id, or the beginning of it.")]
Actions = Annotated[
    list[str] | None,
    typer.Argument(metavar="ACTION...", help="Their ids, or the beginnings of them."),
]
All = Annotated[bool, typer.Option("--all", help="All that are pending.")]

_VIA = "cli"


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
    limit: Limit = 50,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """List what waits for your decision, the newest first, like requests together."""
    from rota.cli import approval_texts, output
    from rota.domain.actions import ActionStatus
    from rota.domain.errors import InvalidInputError
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
            me, statuses=statuses, limit=limit
        )

    zone, found = as_person(settings_from(data_dir, database_url, user), work)
    if json:
        output.print_json(found)
        return
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

    async def work(app: App, me: UserId) -> tuple[str, PendingAction]:
        return await app.schedules.zone(me), await app.approvals.get(me, action)

    zone, found = as_person(settings_from(data_dir, database_url, user), work)
    if json:
        output.print_json(found)
        return
    approval_texts.print_action(found, zone)


@app.command("approve")
def approve(
    actions: Actions = None,
    every: All = False,
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
        if actions is None or len(actions) != 1 or every or arguments is not None:
            raise InvalidInputError("--always is for one request, as it is: name it.")
        _approve_always(actions[0], only, lasts, data_dir, database_url, user, json=json)
        return
    if arguments is None:
        _decide(actions, "approve", "", every, data_dir, database_url, user, json=json)
        return
    if actions is None or len(actions) != 1 or every:
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
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; the agent reads it.")
    ] = "",
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    user: As = None,
    json: Json = False,
) -> None:
    """Refuse requests: none of them runs."""
    _decide(actions, "refuse", reason, every, data_dir, database_url, user, json=json)


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
    actions: list[str] | None,
    decision: Literal["approve", "refuse"],
    reason: str,
    every: bool,
    data_dir: DataDir,
    database_url: DatabaseUrl,
    user: As,
    *,
    json: bool,
) -> None:
    from rota.domain.actions import ActionStatus
    from rota.domain.errors import InvalidInputError

    if bool(actions) == every:
        raise InvalidInputError("Name the requests, or say --all.")

    async def work(app: App, me: UserId) -> tuple[Decided, ...]:
        references = list(actions or ())
        if every:
            pending = await app.approvals.all(me, statuses=[ActionStatus.PENDING], limit=1_000)
            references = [str(action.id) for action in pending]
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
