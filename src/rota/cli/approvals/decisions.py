"""How a decision is carried out: on which requests, after what question, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import typer

from rota.cli import output
from rota.cli.options import CommonOptions, T
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.configuration import Risk
    from rota.domain.approvals.actions import PendingAction
    from rota.domain.ids import UserId
    from rota.services.approvals.rules import ApprovedAlways
    from rota.services.approvals.service import Decided

VIA = "cli"
MOST = 1_000


@dataclass(frozen=True, slots=True)
class Selection:
    """Selection requests are decided on: those named, all that are pending, or all like one.

    `version` is that of the one that is named.
    """

    actions: list[str] | None
    every: bool = False
    like: str | None = None
    up_to: Risk = "high"
    version: int | None = None

    def check(self) -> None:
        """Raise InvalidInputError unless it is clear which."""
        if [bool(self.actions), self.every, self.like is not None].count(True) != 1:
            raise InvalidInputError("Name the requests, or say --all, or --like one of them.")
        if self.actions and self.up_to != "high":
            raise InvalidInputError("--up-to goes with --all and --like.")
        if self.version is not None and not self.is_one:
            raise InvalidInputError("--version is that of one request: name it.")

    @property
    def is_one(self) -> bool:
        """Whether it is one request, by its name."""
        return self.actions is not None and len(self.actions) == 1

    async def find(self, app: App, me: UserId) -> tuple[PendingAction, ...]:
        """Return them as they are now; raises NotFoundError, and ConflictError by `version`."""
        from rota.domain.approvals.actions import ActionStatus

        if self.actions:
            return await app.approvals.named(me, self.actions, version=self.version)
        if self.like is not None:
            return await app.approvals.like(me, self.like, up_to=self.up_to)
        return await app.approvals.all(
            me, statuses=[ActionStatus.PENDING], up_to=self.up_to, limit=MOST
        )

    async def why_none(self, app: App, me: UserId) -> str:
        """Say why none was found: nothing waits, or what does is riskier than what was meant."""
        from rota.cli.approvals import texts
        from rota.domain.approvals.actions import ActionStatus

        if self.like is not None:
            alike = await app.approvals.like(me, self.like)
            return texts.none_like_it(len(alike), self.up_to)
        pending = await app.approvals.all(me, statuses=[ActionStatus.PENDING], limit=MOST)
        return texts.none_waits(len(pending), up_to=self.up_to)

    def needs_a_yes(self, found: tuple[PendingAction, ...]) -> bool:
        """Whether somebody may approve here what they have not seen: many, or changed since."""
        if self.actions:
            return self.version is None and any(
                action.version > 1 and action.status == "pending" for action in found
            )
        return bool(found)


@dataclass(frozen=True, slots=True)
class _Selected:
    """What is decided on, and what others are called whose it is."""

    me: UserId
    names: Mapping[UserId, str]
    found: tuple[PendingAction, ...]


async def names_of_others(app: App, me: UserId) -> dict[UserId, str]:
    """Return what people are called in whose place somebody may decide."""
    return {deputy.user_id: deputy.user_name for deputy in await app.deputies.of(me)}


def decide(
    common: CommonOptions,
    selection: Selection,
    decision: Literal["approve", "refuse"],
    reason: str = "",
    *,
    ask: bool,
) -> None:
    """Decide on requests as they are found now; with `ask` a person says yes to what is listed."""
    selection.check()

    async def work(app: App, me: UserId, found: tuple[PendingAction, ...]) -> tuple[Decided, ...]:
        return await app.approvals.decide_on(me, found, decision, reason, via=VIA)

    _carry_out(common, selection, work, ask=ask)


def approve_changed(
    common: CommonOptions, selection: Selection, arguments: Mapping[str, object]
) -> None:
    """Approve one request with other arguments."""
    selection.check()

    async def work(app: App, me: UserId, found: tuple[PendingAction, ...]) -> tuple[Decided, ...]:
        from rota.services.approvals.service import Decided

        (action,) = found
        edited = await app.approvals.edit(
            me, str(action.id), arguments, version=action.version, via=VIA
        )
        return (
            Decided(
                await app.approvals.approve(
                    me,
                    str(edited.id),
                    version=edited.version,
                    arguments_hash=edited.arguments_hash,
                    via=VIA,
                )
            ),
        )

    _carry_out(common, selection, work, ask=False)


def approve_always(
    common: CommonOptions,
    selection: Selection,
    only: str | None,
    lasts: str | None,
    *,
    ask: bool,
) -> None:
    """Approve one request, and make a rule of it."""
    from rota.cli.approvals.policy import rule_in_words, rule_json
    from rota.domain.approvals.rules import ALWAYS_LASTS
    from rota.domain.schedules.written_time import parse_duration
    from rota.services.approvals.service import Decided

    selection.check()
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

    made = _after_confirmation(common, selection, work, ask=ask)
    if common.json:
        shown = rule_json(made.rule)
        output.print_json({"action": made.action, "rule": shown})
        return
    print_outcomes(common, (Decided(made.action),))
    output.say_line(f"Rule {output.short(made.rule.id)}: {rule_in_words(made.rule)}")


def print_outcomes(common: CommonOptions, decided: tuple[Decided, ...]) -> None:
    """Say what came of each; exit status 1 where one could not be decided."""
    from rota.cli.approvals import texts as approval_texts

    if common.json:
        output.print_json(decided)
    else:
        approval_texts.print_decided(decided)
    if any(one.problem is not None for one in decided):
        raise typer.Exit(1)


def _carry_out(
    common: CommonOptions,
    selection: Selection,
    work: Callable[[App, UserId, tuple[PendingAction, ...]], Awaitable[tuple[Decided, ...]]],
    *,
    ask: bool,
) -> None:
    """Decide, and say what came of it; also that nobody is there to run what was approved."""
    from rota.domain.approvals.actions import ActionStatus

    async def work_and_look(
        app: App, me: UserId, found: tuple[PendingAction, ...]
    ) -> tuple[tuple[Decided, ...], bool, str]:
        decided = await work(app, me, found)
        why_none = "" if found else await selection.why_none(app, me)
        is_to_run = any(
            one.problem is None and one.action.status is ActionStatus.APPROVED for one in decided
        )
        nobody_works = is_to_run and not await app.runs.somebody_works()
        return decided, nobody_works, why_none

    decided, nobody_works, why_none = _after_confirmation(common, selection, work_and_look, ask=ask)
    if nobody_works:
        output.warn("What you approved runs as soon as `rota up`, or a scheduler and a worker, do.")
    if why_none and not common.json:
        output.say(why_none)
    print_outcomes(common, decided)


def _after_confirmation(
    common: CommonOptions,
    selection: Selection,
    work: Callable[[App, UserId, tuple[PendingAction, ...]], Awaitable[T]],
    *,
    ask: bool,
) -> T:
    """Find the requests, ask where that is needed, and do the work on just what was found."""

    async def at_once(app: App, me: UserId) -> T:
        return await work(app, me, await selection.find(app, me))

    if not ask:
        return common.as_person(at_once)

    async def look(app: App, me: UserId) -> _Selected:
        return _Selected(me, await names_of_others(app, me), await selection.find(app, me))

    def confirm(selected: _Selected) -> None:
        if selection.needs_a_yes(selected.found):
            _confirm(selected)

    async def as_seen(app: App, me: UserId, selected: _Selected) -> T:
        return await work(app, me, selected.found)

    return common.as_person_between(look, confirm, as_seen)


def _confirm(selected: _Selected) -> None:
    from rota.cli.approvals import texts as approval_texts

    approval_texts.print_to_approve(selected.found, selected.me, selected.names)
    count = len(selected.found)
    if not typer.confirm("Approve it?" if count == 1 else f"Approve these {count}?"):
        output.say("Nothing was decided.")
        raise typer.Exit(1)
