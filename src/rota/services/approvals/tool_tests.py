"""Calls of a tool that a person makes to try it. They pass the same gate as calls of agents."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final, Literal
from uuid import uuid4

from pydantic import ValidationError

from rota.agents.tools.context import ToolContext, ToolRegistry
from rota.agents.tools.definitions import effective_declaration
from rota.domain.agents.message_content import normalize_content
from rota.domain.agents.people import MAY_NOT_RUN
from rota.domain.approvals.rules import Rule
from rota.domain.approvals.verdict import Circumstances, Verdict
from rota.domain.errors import InvalidInputError, NotFoundError, SetupRequiredError
from rota.domain.ids import ActionId, RuleId, RunId, UserId
from rota.domain.text.storable import storable_json, storable_text
from rota.security.gate.calls import (
    ApprovalContext,
    CallApproved,
    CallNotRun,
    HoldOutcome,
    ToolCall,
    ToolOutcome,
)
from rota.security.gate.policy import CallPolicy
from rota.security.gate.tool_wrapper import wrap_tools_with_approval
from rota.security.secrets.redaction import redact_text
from rota.services.approvals.rules import find_declaration
from rota.store.approvals import rules as rule_rows
from rota.store.audit import rows as audit_rows
from rota.store.audit.rows import NewEntry
from rota.store.database import Database
from rota.store.schedules import firing

_BY: Final = "called by a person, with `rota tools test`"


@dataclass(frozen=True, slots=True)
class ToolTest:
    """What came of a call; `arguments` are those that it was made with, redacted.

    `left_out` are given names that are not arguments of the tool. `decision` is the decision of the
    gate. `approved`: the call ran because the person approved it. Where the call did not run,
    `answer` is the message that an agent would have got.
    """

    tool: str
    arguments: Mapping[str, Any]
    decision: Literal["allowed", "approved", "held", "refused"]
    reason: str
    tier: str
    risk: str
    outcome: ToolOutcome
    answer: str
    seconds: float
    left_out: tuple[str, ...] = ()


class ToolTestService:
    """Calls tools as a person, with their connections and rules, and the tool declarations.

    `tool_context` makes the context that a tool is built with, as for a run of this person.
    """

    def __init__(
        self,
        database: Database,
        *,
        registry: ToolRegistry,
        tool_context: Callable[[UserId, Callable[[], datetime]], ToolContext],
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._registry = registry
        self._tool_context = tool_context
        self._clock = clock

    async def call(
        self,
        user_id: UserId,
        tool_name: str,
        arguments: Mapping[str, Any],
        *,
        agent_name: str | None = None,
        is_approved: bool = False,
        is_operator: bool = False,
        via: str,
    ) -> ToolTest:
        """Call a tool once, as a call of `agent_name` or of nobody's, and return what came of it.

        What waits for approval otherwise runs with `is_approved`; what a rule denies never does. A
        tool that is not declared is the operator's to try. The call is in the audit log, and
        counts as a use of the rule that lets it run. Raises NotFoundError, SetupRequiredError, and
        InvalidInputError for arguments that the tool does not take.
        """
        now = self._clock()
        async with self._database.connection() as conn:
            if not (await firing.standings(conn, [user_id]))[user_id].may_run:
                raise SetupRequiredError(MAY_NOT_RUN, what="permission")
        async with self._database.acting_as(user_id) as conn:
            declaration = await find_declaration(conn, user_id, tool_name, agent_name)
            rules = await rule_rows.list_rules(conn, user_id)
        known = self._registry.names()
        if tool_name not in known or (declaration is None and not is_operator):
            near = get_close_matches(tool_name, known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
            raise NotFoundError("tool", tool_name, hint=hint)
        tool = self._registry.build(tool_name, self._tool_context(user_id, self._clock))
        ledger = _Ledger(self._database, user_id, agent_name or "", self._clock, via, is_approved)
        context = ApprovalContext(
            user_id=user_id,
            run_id=RunId(uuid4()),  # of no run: nothing is written under it
            agent_name=agent_name or "",
            session_id="",
            declarations=(
                {tool_name: effective_declaration(declaration, tool)} if declaration else {}
            ),
            ledger=ledger,
            loop=asyncio.get_running_loop(),
            policy=self._policy(user_id, agent_name or "", rules, now),
        )
        wrapped = wrap_tools_with_approval([tool], context)
        if wrapped.failures:
            raise InvalidInputError(
                f"{tool_name} cannot be called through the gate: {wrapped.failures[0].error}"
            )
        asked = {"type": "tool_call", "name": tool_name, "args": dict(arguments), "id": "test"}
        began = time.monotonic()
        try:
            message = await wrapped.tools[0].ainvoke(asked)
        except ValidationError as error:
            raise InvalidInputError(_not_taken(tool_name, error), field="arguments") from error
        seconds = time.monotonic() - began
        answer = normalize_content(getattr(message, "content", message))
        return ledger.test(tool_name, arguments, answer, seconds)

    def _policy(
        self, user_id: UserId, agent_name: str, rules: tuple[Rule, ...], now: datetime
    ) -> CallPolicy:
        async def count_use(rule_id: RuleId) -> bool:
            async with self._database.connection() as conn:
                return await rule_rows.use_rule(conn, rule_id)

        return CallPolicy(
            Circumstances(user_id, agent_name, None, unattended=False, now=now),
            self._clock,
            rules,
            read_at=now,
            count_use=count_use,
        )


@dataclass
class _Ledger:
    """The `ApprovalLedger` of one call: writes it into the audit log, and remembers it."""

    database: Database
    user_id: UserId
    agent_name: str
    clock: Callable[[], datetime]
    via: str
    is_approved: bool
    verdict: Verdict | None = None
    decision: Literal["allowed", "approved", "held", "refused"] = "refused"
    outcome: ToolOutcome = "not_run"
    call: ToolCall | None = field(default=None, repr=False)

    def was_held(self, call: ToolCall) -> bool:  # noqa: ARG002  of a protocol
        return False

    async def hold(self, call: ToolCall, verdict: Verdict) -> HoldOutcome:
        self.call, self.verdict = call, verdict
        if verdict.decision == "held" and self.is_approved:
            self.decision = "approved"
            # Names no request: there is none, as the person said yes on the spot.
            return CallApproved(ActionId(uuid4()), verdict.reason)
        self.decision = "refused" if verdict.decision == "refused" else "held"
        await self._write(call, verdict, "not_run", verdict.reason)
        waits = "is refused" if self.decision == "refused" else "waits for approval"
        return CallNotRun(f"The call {waits} and did not run: {verdict.reason}.")

    async def starting(self, call: ToolCall, verdict: Verdict) -> None:
        self._remember(call, verdict)
        await self._write(call, verdict, "started", "")

    async def finished(
        self,
        call: ToolCall,
        verdict: Verdict,
        outcome: ToolOutcome,
        detail: str,
        answer: str = "",  # noqa: ARG002  of a protocol
    ) -> None:
        self._remember(call, verdict)
        self.outcome = outcome
        await self._write(call, verdict, outcome, detail)

    def answered(self, call: ToolCall, sources: Sequence[str]) -> None:
        """Mark nothing: a test is one call."""

    async def unjudged(
        self, tool_name: str, arguments: Mapping[str, Any], outcome: str, detail: str
    ) -> None:
        """Leave no entry: arguments that the tool does not take are a slip of the person's."""

    async def rehearsed(self, call: ToolCall, verdict: Verdict) -> None:
        """Nothing is rehearsed here."""

    async def found(self, tool_name: str, arguments: Mapping[str, Any]) -> None:
        """Nothing is found here: a test has no earlier attempt."""

    def test(
        self, tool_name: str, arguments: Mapping[str, Any], answer: str, seconds: float
    ) -> ToolTest:
        """Return what came of the call."""
        if self.call is None or self.verdict is None:  # the gate answers no call unjudged
            raise InvalidInputError(f"{tool_name} was not called: {answer}")
        return ToolTest(
            tool=tool_name,
            arguments=self.call.redacted_arguments,
            decision=self.decision,
            reason=self.verdict.reason,
            tier=self.verdict.tier,
            risk=self.verdict.risk,
            outcome=self.outcome,
            answer=answer,
            seconds=round(seconds, 3),
            left_out=tuple(name for name in arguments if name not in self.call.arguments),
        )

    def _remember(self, call: ToolCall, verdict: Verdict) -> None:
        self.call = call
        if self.decision != "approved":
            self.decision, self.verdict = "allowed", verdict

    async def _write(
        self, call: ToolCall, verdict: Verdict, outcome: ToolOutcome | Literal["started"], why: str
    ) -> None:
        entry = NewEntry(
            user_id=self.user_id,
            agent_name=self.agent_name,
            tool_name=call.tool_name,
            tier=verdict.tier,
            decision=self.decision,
            outcome=outcome,
            arguments=storable_json(call.redacted_arguments),
            arguments_hash=call.arguments_hash,
            detail=storable_text(redact_text(f"{_BY}: {why}" if why else _BY)),
            called_at=self.clock(),
            actor=str(self.user_id),
            origin=self.via,
        )
        async with self.database.transaction() as conn:
            await audit_rows.insert_entry(conn, entry)


def _not_taken(tool_name: str, error: ValidationError) -> str:
    problems = [
        f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)[:5]
    ]
    return redact_text(f"{tool_name} does not take these arguments: {'; '.join(problems)}.")
