"""Carries out a decision: finds the requests, asks for confirmation, and prints the outcome."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

import typer

from rota.cli import output
from rota.cli.options import CommonOptions, T
from rota.domain.errors import InvalidInputError
from rota.domain.runs.option_kinds import counted

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.configuration import Risk
    from rota.domain.approvals.actions import ApprovalDecision, PendingAction
    from rota.domain.ids import UserId
    from rota.services.approvals.rules import ApprovedAlways
    from rota.services.approvals.service import Decided

VIA = "cli"
MOST = 1_000

Consent: TypeAlias = Literal["given", "ask", "lacking"]
"""Whether the person has confirmed, can be asked to confirm, or neither."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The requests that a command decides: those named, all pending ones, or all similar to one.

    `version` is that of the named request. Raises InvalidInputError if the selection is unclear.
    """

    actions: list[str] | None
    every: bool
    like: str | None
    up_to: Risk
    version: int | None

    def __post_init__(self) -> None:
        """Check what was said."""
        if [bool(self.actions), self.every, self.like is not None].count(True) != 1:
            raise InvalidInputError("Give the ids of requests, or use --all or --like.")
        if self.actions and self.up_to != "high":
            raise InvalidInputError("--up-to needs --all or --like.")
        if self.version is not None and not self.is_one:
            raise InvalidInputError("--version needs the id of exactly one request.")

    @property
    def is_one(self) -> bool:
        """Whether it is one request, by its name."""
        return self.actions is not None and len(self.actions) == 1

    async def find(self, app: App, me: UserId) -> tuple[PendingAction, ...]:
        """Return them as they are now; raises NotFoundError, and ConflictError by `version`."""
        from rota.domain.approvals.actions import ActionStatus

        if self.actions:
            return await app.approvals.find_actions(me, self.actions, version=self.version)
        if self.like is not None:
            return await app.approvals.list_like(me, self.like, up_to=self.up_to)
        return await app.approvals.list_actions(
            me, statuses=[ActionStatus.PENDING], up_to=self.up_to, limit=MOST
        )

    async def explain_none(self, app: App, me: UserId) -> str:
        """Say why none was found: nothing waits, or what does is riskier than what was meant."""
        from rota.cli.approvals.texts import none_waits

        others = await replace(self, up_to="high").find(app, me)
        return none_waits(len(others), like_one=self.like is not None, up_to=self.up_to)

    def is_unseen(self, found: Sequence[PendingAction]) -> bool:
        """Return whether somebody may approve what they have not seen: many, or changed since."""
        if self.actions:
            return self.version is None and any(
                action.version > 1 and action.status == "pending" for action in found
            )
        return bool(found)

    def check_unasked(self, found: Sequence[PendingAction]) -> None:
        """Raise InvalidInputError for what needs a yes: what is unseen, many, or of high risk."""
        pending = [action for action in found if action.status == "pending"]
        risky = sum(action.risk == "high" for action in pending)
        if not risky and len(pending) < 2 and not self.is_unseen(pending):
            return
        of_risk = ""
        if risky:
            of_risk = f"{' of' if risky == len(pending) else f', {risky} of them of'} high risk"
        raise InvalidInputError(
            f"This would approve {counted(len(pending), 'request')}{of_risk}, and rota "
            "cannot ask you to confirm here. Read them with `rota approvals list`, then use "
            "--yes."
        )


def decide(
    common: CommonOptions,
    selection: Selection,
    decision: ApprovalDecision,
    reason: str = "",
    *,
    arguments: Mapping[str, object] | None = None,
    consent: Consent = "given",
) -> None:
    """Decide on requests as they are found now, or approve one with other arguments.

    Says too that nobody is there to run what was approved.
    """
    from rota.domain.approvals.actions import ActionStatus
    from rota.services.approvals.service import Decided

    async def work(
        app: App, me: UserId, found: tuple[PendingAction, ...]
    ) -> tuple[tuple[Decided, ...], bool, str]:
        if arguments is None:
            decided = await app.approvals.decide_all(me, found, decision, reason, via=VIA)
        else:
            (action,) = found
            approved = await app.approvals.edit(
                me, str(action.id), arguments, version=action.version, approve=True, via=VIA
            )
            decided = (Decided(approved),)
        is_to_run = any(
            one.problem is None and one.action.status is ActionStatus.APPROVED for one in decided
        )
        nobody_works = is_to_run and not await app.runs.somebody_works()
        return decided, nobody_works, "" if found else await selection.explain_none(app, me)

    decided, nobody_works, why_none = _after_consent(common, selection, work, consent)
    if nobody_works:
        output.warn(
            "No worker is running. What you approved runs once you start `rota up`, "
            "or a scheduler and a worker."
        )
    if why_none and not common.json:
        output.say(why_none)
    print_outcomes(common, decided)


def approve_always(
    common: CommonOptions,
    selection: Selection,
    only: str | None,
    lasts: str | None,
    consent: Consent,
) -> None:
    """Approve one request, and make a rule of it."""
    from rota.cli.approvals.policy import print_rule
    from rota.domain.approvals.rules import ALWAYS_LASTS
    from rota.domain.schedules.written_time import parse_duration
    from rota.services.approvals.service import Decided

    length = parse_duration(lasts, field="for") if lasts is not None else ALWAYS_LASTS
    names = [name.strip() for name in only.split(",")] if only is not None else None

    async def work(app: App, me: UserId, found: tuple[PendingAction, ...]) -> ApprovedAlways:
        (action,) = found
        return await app.rules.approve_always(
            me,
            str(action.id),
            version=action.version,
            arguments_hash=action.arguments_hash,
            only=names,
            lasts=length,
            via=VIA,
        )

    made = _after_consent(common, selection, work, consent)
    if common.json:
        from rota.shown.rules import rule_json

        output.print_json({"action": made.action, "rule": rule_json(made.rule)})
        return
    print_outcomes(common, (Decided(made.action),))
    print_rule(made.rule, label="Rule ")


def print_outcomes(common: CommonOptions, decided: tuple[Decided, ...]) -> None:
    """Print the outcome of each decision; exit status 1 if one could not be made."""
    if common.json:
        output.print_json(decided)
    else:
        for one in decided:
            name = f"{output.short(one.action.id)} {one.action.tool_name}"
            output.say_line(f"{name}: {one.problem or one.action.status.value}")
    if any(one.problem is not None for one in decided):
        raise typer.Exit(1)


def _after_consent(
    common: CommonOptions,
    selection: Selection,
    work: Callable[[App, UserId, tuple[PendingAction, ...]], Awaitable[T]],
    consent: Consent,
) -> T:
    """Find the requests, ask where that is needed, and do the work on just what was found."""
    if consent != "ask":

        async def at_once(app: App, me: UserId) -> T:
            found = await selection.find(app, me)
            if consent == "lacking":
                selection.check_unasked(found)
            return await work(app, me, found)

        return common.as_person(at_once)

    async def look(app: App, me: UserId) -> tuple[tuple[PendingAction, ...], Mapping[UserId, str]]:
        return await selection.find(app, me), await app.deputies.list_names(me)

    def confirm(seen: tuple[tuple[PendingAction, ...], Mapping[UserId, str]]) -> None:
        if selection.is_unseen(seen[0]):
            _confirm(*seen)

    return common.as_person_between(look, confirm, lambda app, me, seen: work(app, me, seen[0]))


def _confirm(found: tuple[PendingAction, ...], names: Mapping[UserId, str]) -> None:
    from rota.cli.approvals.texts import print_to_approve

    print_to_approve(found, names)
    if not typer.confirm("Approve it?" if len(found) == 1 else f"Approve these {len(found)}?"):
        output.say("Nothing was decided.")
        raise typer.Exit(1)
