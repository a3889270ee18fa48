"""Approval rules: lists, adds, removes and explains them, and makes one from a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from rota.domain.agents.configuration import ToolDeclaration
from rota.domain.approvals.actions import PendingAction
from rota.domain.approvals.argument_edits import holds_redaction
from rota.domain.approvals.argument_paths import EVERYTHING
from rota.domain.approvals.argument_tests import ONLY
from rota.domain.approvals.conditions import Condition
from rota.domain.approvals.rules import ALWAYS_LASTS, Rule, RuleDraft
from rota.domain.approvals.verdict import (
    Circumstances,
    Judgement,
    RuleFinding,
    Verdict,
    judge_with_findings,
    may_loosen,
)
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.ids import RuleId, ScheduleId, UserId
from rota.domain.text.shortening import quoted
from rota.domain.text.validation import near_or_all
from rota.domain.text.zones import zone_shown
from rota.security.gate.policy import waits_after_reading, with_signals
from rota.services.agents.option_checks import NOBODY_KNOWS, Registered
from rota.services.agents.service import find_agent
from rota.services.approvals.service import decide_action, find_action
from rota.services.references import id_prefix, the_one, unknown_person
from rota.services.schedules.service import find_schedule
from rota.store.agents import rows as agent_rows
from rota.store.approvals import rules as rows
from rota.store.database import Connection, Database, despite_deadlocks
from rota.store.users import fetch_time_zone, find_user

if TYPE_CHECKING:
    from rota.services.approvals.rule_files import RuleEntry

_ADVICE_ON_SIGNALS: Final = (
    "Check the arguments first. A rule with --allow and --risk high lets them run despite "
    "this signal."
)

_ADVICE_ON_OUTSIDE_TEXT: Final = (
    "In a run that has read text from outside it waits, because the tool reaches outside. It runs "
    "if a rule that allows it names the place (to email_domain ..., url url_host ...), or if the "
    "schedule's prompt contains the whole place."
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision on a call, the rules that led to it, and what would change it.

    `read_only`: the tool is declared to change nothing.
    """

    verdict: Verdict
    findings: tuple[RuleFinding, ...]
    advice: tuple[str, ...]
    read_only: bool


@dataclass(frozen=True, slots=True)
class Added:
    """A rule that was asked for. It is not new if the same rule existed already."""

    rule: Rule
    is_new: bool


@dataclass(frozen=True, slots=True)
class ApprovedAlways:
    """An approved action, and the rule that was made from it."""

    action: PendingAction
    rule: Rule


class RuleService:
    """Acts as the owner of the rules, or as the backend for the operator's rules.

    `clock` returns the time, aware. `registered` is what this process knows of tools.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], datetime],
        registered: Registered = NOBODY_KNOWS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._registered = registered

    async def list_rules(self, user_id: UserId | None) -> tuple[Rule, ...]:
        """Return the rules that hold for a person: the operator's, then their own.

        Here and below `user_id` None means the operator: only theirs.
        """
        async with self._database.acting_for(user_id) as conn:
            return await rows.list_rules(conn, user_id)

    async def list_doubts(self, user_id: UserId | None, rules: Sequence[Rule]) -> tuple[str, ...]:
        """Say which rules may not do what was meant.

        These are rules that fit no declared tool, and rules that allow what they may not loosen.
        Also conditions on an argument that the tool lacks, if this process knows its arguments.
        """
        async with self._database.connection() as conn:
            declared = await agent_rows.list_declarations(conn, user_id)
        found: dict[str, None] = {}
        for rule in rules:
            tool, fitting = rule.draft.tool, [d for d in declared if rule.names(d.name)]
            if not fitting:
                found[_nothing_fits(tool, [d.name for d in declared])] = None
            elif not any(may_loosen(rule, d.name, d) for d in fitting):
                found[f"The operator requires approval for {tool}, so your rule has no effect."] = (
                    None
                )
            for doubt in self._unknown_arguments(rule, [d.name for d in fitting]):
                found[doubt] = None
        return tuple(found)

    def _unknown_arguments(self, rule: Rule, tools: Sequence[str]) -> Iterator[str]:
        """Say which arguments that a rule names none of its tools has, where all are known."""
        named = {name: None for c in rule.draft.conditions for name in c.argument_names()}
        if not named or not tools:
            return
        known: set[str] = set()
        for tool in tools:
            names = self._registered.argument_names(tool)
            if names is None:
                return
            known.update(names)
        for name in named:
            if name not in known:
                has = f"{rule.draft.tool} has" if len(tools) == 1 else "These tools have"
                yield f"{has} no argument {quoted(name, 80)}; {near_or_all(name, known)}"

    async def list_stale(
        self, user_id: UserId | None, rules: Sequence[Rule]
    ) -> dict[RuleId, int | None]:
        """Return the rules of a version that their tool is not declared at any more, and the one.

        They let nothing run. None: the tool is not declared at all.
        """
        bound = [rule for rule in rules if rule.draft.tool_version is not None]
        if not bound:
            return {}
        async with self._database.connection() as conn:
            declared = await agent_rows.list_declarations(conn, user_id)
        versions = {one.name: one.version for one in declared}
        return {
            rule.id: versions.get(rule.draft.tool)
            for rule in bound
            if versions.get(rule.draft.tool) != rule.draft.tool_version
        }

    async def count_stopped(self, tool_name: str, version: int) -> int:
        """Return how many rules, of whomever, the change of a tool to this version stopped."""
        async with self._database.connection() as conn:
            return await rows.count_stopped_rules(conn, tool_name, version)

    async def list_names(self, user_id: UserId | None, rules: Sequence[Rule]) -> dict[UUID, str]:
        """Return what schedules and people of rules are called, as far as who asks may know."""
        drafts = [rule.draft for rule in rules]
        async with self._database.acting_for(user_id) as conn:
            found = await rows.list_names(conn, drafts, with_people=user_id is None)
        return found if user_id is None else {**found, user_id: "you"}

    async def add(self, user_id: UserId | None, drafts: Sequence[RuleDraft]) -> tuple[Rule, ...]:
        """Add rules, all or none; the operator's, of whatever agents there are, or will be.

        Raises InvalidInputError, NotFoundError for an agent or a schedule that is not theirs to
        run, and ConflictError where they have as many as one may have.
        """
        async with self._database.acting_for(user_id) as conn:
            return await self._add(conn, user_id, drafts)

    async def add_entries(
        self, user_id: UserId | None, entries: Sequence[RuleEntry]
    ) -> tuple[Added, ...]:
        """Add rules as people write them, with names for schedules and people; raises as `add`.

        The operator names schedules by their ids. A rule that they have already is not added again:
        it keeps its end, where that was said as a length of time, and the uses that it has left.
        """
        if user_id is not None and any(entry.user is not None for entry in entries):
            raise _only_the_operators()  # before anybody is looked up: it tells who is known
        for_users = [await self._person(entry.user) for entry in entries]
        async with self._database.acting_for(user_id) as conn:
            return await self.write(conn, user_id, entries, for_users)

    async def write(
        self,
        conn: Connection,
        user_id: UserId | None,
        entries: Sequence[RuleEntry],
        for_users: Sequence[UserId | None],
    ) -> tuple[Added, ...]:
        """Add rules in the caller's transaction, as `add_entries` does."""
        zone = zone_shown("UTC" if user_id is None else await fetch_time_zone(conn, user_id))
        now = self._clock()
        drafts = [
            entry.draft(
                now=now,
                zone=zone,
                schedule_id=await _schedule_id(conn, user_id, entry.schedule),
                for_user=for_user,
            )
            for entry, for_user in zip(entries, for_users, strict=True)
        ]
        await rows.delete_expired_rules(conn, user_id)
        there = [
            rule
            for rule in await rows.list_rules(conn, user_id)
            if rule.user_id == user_id and rule.fault is None
        ]
        added: list[Added] = []
        for entry, draft in zip(entries, drafts, strict=True):
            rule = next((r for r in there if _says_the_same(r.draft, draft, entry)), None)
            is_new = rule is None
            if rule is None:
                (rule,) = await self._add(conn, user_id, [draft])
                there.append(rule)
            added.append(Added(rule, is_new))
        return tuple(added)

    async def remove(self, user_id: UserId | None, reference: str) -> Rule:
        """Remove a rule by its id, or its beginning; raises NotFoundError."""
        async with self._database.acting_for(user_id) as conn:
            return await _remove(conn, user_id, reference)

    async def explain(
        self,
        user_id: UserId,
        tool_name: str,
        arguments: Mapping[str, Any],
        *,
        agent_name: str | None = None,
        schedule: str | None = None,
        unattended: bool = True,
    ) -> Explanation:
        """Say what would become of a call, and what would have to change.

        The arguments are taken as they are: the tool's schema is not looked at. Without an agent,
        the tool is taken as it is declared, or that of the schedule is meant where one is named.
        Raises NotFoundError for an unknown agent or schedule.
        """
        schedule_id: ScheduleId | None = None
        async with self._database.acting_as(user_id) as conn:
            if schedule is not None:
                found = await find_schedule(conn, schedule)
                schedule_id, agent_name = found.id, agent_name or found.agent_name
            declaration = await find_declaration(conn, user_id, tool_name, agent_name)
            rules = await rows.list_rules(conn, user_id)
        circumstances = Circumstances(
            user_id, agent_name or "", schedule_id, unattended, self._clock()
        )
        judged = judge_with_findings(tool_name, declaration, arguments, rules, circumstances)
        verdict = with_signals(judged.verdict, arguments)
        if judged.verdict.decision != verdict.decision:
            advice: tuple[str, ...] = (_ADVICE_ON_SIGNALS,)
        else:
            advice = _advice(judged, declaration)
        if verdict.decision == "allowed" and waits_after_reading(verdict):
            advice = (_ADVICE_ON_OUTSIDE_TEXT, *advice)
        return Explanation(
            verdict,
            judged.findings,
            advice,
            read_only=declaration is not None and declaration.read_only,
        )

    async def approve_always(
        self,
        user_id: UserId,
        reference: str,
        *,
        version: int | None = None,
        arguments_hash: str | None = None,
        only: Sequence[str] | None = None,
        lasts: timedelta = ALWAYS_LASTS,
        via: str,
    ) -> ApprovedAlways:
        """Approve an action, and let calls like it run by themselves from now on: both or neither.

        The rule names the tool and its version, the agent, and the exact values of the arguments,
        of all of them or those in `only`; others that the call did not have stay forbidden. `lasts`
        is at most 90 days. Raises as `ApprovalService.decide`, InvalidInputError, and
        ConflictError where such a rule would let nothing run: the operator requires approval, say.
        """

        async def approve() -> ApprovedAlways:
            async with self._database.acting_as(user_id) as conn:
                action = await find_action(conn, reference)
                # First: a conflict says what hinders the rule, not what became of the action.
                draft = await self._always(conn, user_id, action, only, lasts)
                approved = await decide_action(
                    conn,
                    action,
                    "approve",
                    version=version,
                    arguments_hash=arguments_hash,
                    via=via,
                )
                (rule,) = await self._add(conn, user_id, [draft])
                return ApprovedAlways(approved, rule)

        return await despite_deadlocks(approve)

    async def _always(
        self,
        conn: Connection,
        user_id: UserId,
        action: PendingAction,
        only: Sequence[str] | None,
        lasts: timedelta,
    ) -> RuleDraft:
        """Return the rule that would let calls like an action's run by themselves."""
        if not timedelta(minutes=1) <= lasts <= ALWAYS_LASTS:
            raise InvalidInputError(
                f"Such a rule lasts from a minute to {ALWAYS_LASTS.days} days.", field="for"
            )
        if action.user_id != user_id:
            raise ConflictError(
                "A deputy cannot add a rule, only decide on the request. Only its owner can "
                "add a rule."
            )
        now = self._clock()
        draft = RuleDraft(
            effect="allow",
            tool=action.tool_name,
            conditions=_exactly(action, only),
            agent_name=action.agent_name,
            tool_version=action.tool_version,
            expires_at=now + lasts,
            # The risk signals of exactly this call were looked at.
            risk="high" if only is None else None,
            note="always allow this",
            from_action=action.id,
        ).checked()
        await _check_permitted(conn, user_id, action, draft, now)
        return draft

    async def _person(self, reference: str | None) -> UserId | None:
        if reference is None:
            return None
        async with self._database.connection() as conn:
            found = await find_user(conn, reference)
        if found is None:
            raise unknown_person(reference)
        return found

    async def _add(
        self,
        conn: Connection,
        user_id: UserId | None,
        drafts: Sequence[RuleDraft],
    ) -> tuple[Rule, ...]:
        made: list[Rule] = []
        now = self._clock()
        await rows.delete_expired_rules(conn, user_id)
        for draft in drafts:
            draft.checked()
            if draft.expires_at is not None and draft.expires_at <= now:
                raise InvalidInputError("The rule would have expired already.", field="expires")
            if user_id is not None and draft.for_user is not None:
                raise _only_the_operators()
            if user_id is not None and draft.agent_name is not None:
                await find_agent(conn, user_id, draft.agent_name)
            made.append(Rule(await rows.insert_rule(conn, user_id, draft), user_id, draft))
        return tuple(made)


def _only_the_operators() -> InvalidInputError:
    return InvalidInputError("Only the operator's rules name a person.", field="user")


def _nothing_fits(tool: str, declared: Sequence[str]) -> str:
    """Say that a rule is about no tool that is declared."""
    if tool.endswith("*"):
        return f"No declared tool fits {tool}; see `rota tools list`."
    near = get_close_matches(tool, declared, n=1)
    did_you = f" Did you mean {near[0]}?" if near else ""
    return f"No tool is declared as {tool}; see `rota tools list`.{did_you}"


def _says_the_same(there: RuleDraft, draft: RuleDraft, entry: RuleEntry) -> bool:
    """Return whether a rule was made of the same words, as far as time and use left them so."""
    if (there.uses_left is None) == (draft.uses_left is None):
        there = replace(there, uses_left=draft.uses_left)
    if entry.lasts and there.expires_at is not None:
        there = replace(there, expires_at=draft.expires_at)
    return there == draft


async def _schedule_id(
    conn: Connection, user_id: UserId | None, reference: str | None
) -> ScheduleId | None:
    if reference is None:
        return None
    if user_id is not None:
        return (await find_schedule(conn, reference)).id
    try:
        return ScheduleId(UUID(reference))
    except ValueError as error:
        raise InvalidInputError(
            "The operator names a schedule by its id.", field="schedule"
        ) from error


async def _check_permitted(
    conn: Connection, user_id: UserId, action: PendingAction, draft: RuleDraft, now: datetime
) -> None:
    """Raise ConflictError where a rule would not let the very call run that it is made of."""
    declaration = await find_declaration(conn, user_id, action.tool_name, action.agent_name)
    rules = await rows.list_rules(conn, user_id)
    if action.tool_version is None or declaration is None:
        raise ConflictError(
            f"{action.tool_name} is not a declared tool, so each call needs approval."
        )
    if declaration.version != action.tool_version:
        raise ConflictError(f"{action.tool_name} was changed since it was asked for.")
    # What it is to be exact about is asked of its own arguments: what else they are may wait.
    new = Rule(RuleId(action.id), user_id, draft)
    circumstances = Circumstances(user_id, action.agent_name, None, unattended=True, now=now)
    verdict = with_signals(
        judge_with_findings(
            action.tool_name, declaration, action.arguments, [*rules, new], circumstances
        ).verdict,
        action.arguments,
    )
    if verdict.decision != "allowed":
        said = (
            "Nothing was approved and no rule was made, as your rule would not let such a call "
            f"run: {verdict.reason}."
        )
        if verdict.decision == "held":
            said += (
                f" To approve this request alone: `rota approvals approve {str(action.id)[:8]}`."
            )
        raise ConflictError(said)


def _exactly(action: PendingAction, only: Sequence[str] | None) -> tuple[Condition, ...]:
    """Return conditions that hold for calls like this one; raises InvalidInputError."""
    given = {name: value for name, value in action.arguments.items() if value is not None}
    if not given:
        raise InvalidInputError(
            f"{action.tool_name} was called without arguments, so a rule has nothing to "
            "compare. Add a rule with `rota approvals policy add`.",
            field="only",
        )
    chosen = list(given) if only is None else list(dict.fromkeys(only))
    unknown = [name for name in chosen if name not in given]
    if unknown or not chosen:
        raise InvalidInputError(
            f"The call has the arguments {', '.join(given)}; name some of them.", field="only"
        )
    secret = [name for name in chosen if holds_redaction(given[name])]
    if secret:
        raise InvalidInputError(
            f"{', '.join(secret)} holds a secret, which no rule can be held to; name others with "
            "--only.",
            field="only",
        )
    return (
        *(Condition.make([name], "equals", [given[name]]) for name in chosen),
        Condition.make([EVERYTHING], ONLY, sorted(given)),
    )


def _advice(judged: Judgement, declaration: ToolDeclaration | None) -> tuple[str, ...]:
    """Say what would have to change for another decision."""
    verdict = judged.verdict
    if verdict.decision == "allowed":
        return (
            (
                "Add a rule with --require to make it wait for approval, or with --refuse to "
                "refuse it."
            ),
        )
    blocking = {"refused": ("deny",), "held": ("require",)}[verdict.decision]
    advice = [
        f"{one.rule.named} stands in the way: {one.why}."
        for one in judged.findings
        if one.finding == "broken"
        or (one.finding == "applies" and one.rule.draft.effect in blocking)
        or (one.finding == "undecided" and one.rule.draft.effect != "allow")
    ]
    if advice:
        return tuple(advice)
    return (_advice_on_tool(declaration),)


def _advice_on_tool(declaration: ToolDeclaration | None) -> str:
    if declaration is None:
        return "The operator declares the tool: `rota tools declare`."
    if declaration.preference == "requires_approval":
        return "You prefer to approve each call of this tool. `rota settings tool` changes that."
    if declaration.default_tier == "requires_approval":
        return "Only a rule of the operator can let it run: the tool requires approval."
    return "A rule with --allow whose conditions hold would let it run."


async def find_declaration(
    conn: Connection, user_id: UserId, tool_name: str, agent_name: str | None
) -> ToolDeclaration | None:
    """Return what is declared of a tool, None where nothing is.

    Raises NotFoundError for an agent that there is not, or that does not have the tool.
    """
    if agent_name is None:
        return await agent_rows.fetch_declaration(conn, tool_name, user_id)
    agent = await find_agent(conn, user_id, agent_name)
    found = next((tool for tool in agent.tools if tool.name == tool_name), None)
    if found is None:
        raise NotFoundError("tool", tool_name, hint=f"{agent_name} does not have it.")
    return found


async def _remove(conn: Connection, user_id: UserId | None, reference: str) -> Rule:
    prefix = id_prefix(reference)
    found = await rows.list_rules(conn, user_id, prefix=prefix) if prefix else ()
    own = [rule for rule in found if rule.user_id == user_id]
    if found and not own:
        raise NotFoundError("rule of yours", reference, hint="It is the operator's.")
    rule = the_one("rule", reference, own, hint="See `rota approvals policy list`.")
    if not await rows.delete_rule(conn, user_id, rule.id):
        raise NotFoundError("rule", reference, hint="The rule was removed meanwhile.")
    return rule
