"""Calls of a run that need an approval: stored as pending actions, and executed once approved.

`CallLedger` (services/runs) asks it about each call that the rules do not let run. Only the row of
the action decides, never what an agent or a replay says. The attempt that moves the row from
approved to running executes the call, and no other attempt does. People decide through
`ApprovalService`, not here.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final

import structlog

from rota.domain.approvals.actions import (
    APPROVAL_LASTS,
    EXPIRES_AFTER,
    LARGEST_REQUEST,
    LONGEST_ACCOUNT,
    MOST_REFUSALS,
    MOST_REQUESTS,
    MOST_WAITING,
    ActionMode,
    ActionStatus,
    PendingAction,
    edit_note,
    message_to_agent,
    waiting_message,
)
from rota.domain.approvals.risk_signals import raised_risk, risk_signals
from rota.domain.approvals.verdict import Decision, Verdict
from rota.domain.errors import RotaError
from rota.domain.ids import ActionId
from rota.domain.runs.options import RunOptions
from rota.domain.runs.run import Claim, FencedError, Run
from rota.domain.runs.steps import StepKey, StepStatus
from rota.domain.text.sentences import sentence
from rota.domain.text.shortening import shorten
from rota.domain.text.storable import RESULT_CONTENT_LIMIT, storable_text
from rota.security.gate.calls import (
    CallApproved,
    CallNotRun,
    HoldOutcome,
    ToolCall,
    ToolOutcome,
)
from rota.security.gate.hooks import LookUp
from rota.security.secrets.encryption import Cipher
from rota.security.secrets.hashing import arguments_hash
from rota.security.secrets.redaction import redact, redact_beginning, redact_text
from rota.security.secrets.sealing import seal_arguments, unseal_arguments
from rota.services.notifications.service import NotificationService, draft_unknown_outcome
from rota.store.approvals import actions as rows
from rota.store.approvals.actions import ActionToExecute, NewAction, RequestCounts
from rota.store.database import Connection, Database
from rota.store.runs import journals as journal_rows
from rota.store.runs.journals import AuditRow, JournalRows

log = structlog.get_logger(__name__)

_AFTER = {
    "succeeded": ActionStatus.SUCCEEDED,
    "failed": ActionStatus.FAILED,
    "unknown": ActionStatus.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class _BegunEarlier:
    """An action that an earlier attempt began, and how to find out what became of it."""

    action: PendingAction
    arguments: Mapping[str, Any]
    look_up: LookUp


@dataclass(frozen=True, slots=True)
class HeldCalls:
    """The held calls of one attempt.

    `options` say how long the calls wait, and whether the run waits too.
    """

    database: Database
    notifications: NotificationService
    run: Run
    claim: Claim
    options: RunOptions = field(default_factory=RunOptions)
    cipher: Cipher | None = None
    _executing: dict[StepKey | None, ActionId] = field(default_factory=dict)

    async def hold(
        self,
        call: ToolCall,
        verdict: Verdict,
        *,
        account: str,
        snapshot: Mapping[str, Any] | None,
        entry: Callable[[Decision, str], AuditRow],
    ) -> HoldOutcome:
        """Hold a call, or say what became of it; raises FencedError once the run is lost.

        A call that a rule refuses is never held. `account` is what the agent said beside it,
        `snapshot` is written with what is held now, and `entry` makes the audit row for it.
        """
        held = await self._hold(call, verdict, account=account, snapshot=snapshot, entry=entry)
        if not isinstance(held, _BegunEarlier):
            return held
        # Not in the transaction: it asks a server, and the run's row would be locked meanwhile.
        said = await held.look_up(str(held.action.id), held.arguments)
        return await self._looked_up(call, verdict, held.action, said)

    async def _hold(
        self,
        call: ToolCall,
        verdict: Verdict,
        *,
        account: str,
        snapshot: Mapping[str, Any] | None,
        entry: Callable[[Decision, str], AuditRow],
    ) -> HoldOutcome | _BegunEarlier:
        step = call.step
        async with self.database.transaction() as conn:
            await self._lock_run(conn)
            found = None
            if self.run.action_id is not None:
                found = await rows.fetch_to_execute(conn, action_id=self.run.action_id)
                if found is None or found.action.tool_name != call.tool_name:
                    return CallNotRun(
                        f"{call.tool_name} is not what was approved; it did not run.", "refused"
                    )
            elif step is not None:
                found = await rows.fetch_to_execute(conn, run_id=self.run.id, step=step)
            if found is not None:
                return await self._go_on(conn, call, verdict, found)
            requests = await rows.find_requests(conn, self.run, call.tool_name, call.arguments_hash)
            is_denied = verdict.decision == "refused"
            if step is None and requests.waits_already is not None and not is_denied:
                return CallNotRun(
                    waiting_message(call.tool_name, requests.waits_already, verdict.reason)
                )
            refusal = self._refusal(call, verdict, requests)
            if refusal is None:
                action = self._new(call, verdict, account, requests)
                await rows.hold(conn, action)
                if self.run.retry_of is not None:  # the same request, of the run that this repeats
                    await rows.withdraw_like(conn, self.run.retry_of, action)
                audit = replace(entry("held", f"pending action {action.id}"), action_id=action.id)
            else:
                audit = entry("refused", refusal)
            journal = JournalRows(self.claim, snapshot, audit=[audit])
            await journal_rows.write_journals(conn, [journal])
        if refusal is not None:
            return CallNotRun(refusal, "refused")
        return CallNotRun(
            waiting_message(call.tool_name, action.id, action.reason),
            is_parked=action.mode is ActionMode.SUSPEND,
        )

    async def ended(self, call: ToolCall, outcome: ToolOutcome, said: str) -> None:
        """Store what came of an approved call, before its agent hears of it."""
        action_id = self._executing.pop(call.step, None)
        if action_id is None:
            return
        after = _AFTER.get(outcome, ActionStatus.UNKNOWN)
        async with self.database.transaction() as conn:
            stored = redact_beginning(storable_text(said), RESULT_CONTENT_LIMIT)
            if not await rows.end(conn, action_id, after, result=stored, claim=self.claim):
                raise FencedError("Another attempt has taken this action.")
            if after is ActionStatus.UNKNOWN:
                await _ask_what_happened(
                    conn,
                    self.notifications,
                    self.run,
                    action_id,
                    call.tool_name,
                    call.redacted_arguments,
                )

    def _is_here(self, action: PendingAction) -> bool:
        """Return whether this run is the one that executes an action."""
        return action.mode is ActionMode.SUSPEND or self.run.action_id == action.id

    async def _lock_run(self, conn: Connection) -> None:
        if not await rows.lock_held_run(conn, self.claim):
            raise FencedError("Another attempt has taken this run.")

    async def _looked_up(
        self, call: ToolCall, verdict: Verdict, before: PendingAction, said: str | None
    ) -> HoldOutcome:
        """Go on with an action that was begun before, now that its outcome was looked up.

        `said` is what it answered; None: nobody knows.
        """
        async with self.database.transaction() as conn:
            await self._lock_run(conn)
            found = await rows.fetch_to_execute(conn, action_id=before.id)
            if found is None or found.action.status is not before.status:
                return _not_run(before if found is None else found.action)
            action = found.action
            if said is not None:
                if action.status is ActionStatus.APPROVED:
                    await rows.start(conn, action, self.claim)
                result = redact_beginning(storable_text(said), RESULT_CONTENT_LIMIT)
                await rows.end_found(conn, action.id, self.claim, result=result)
                ended = await rows.fetch_to_execute(conn, action_id=action.id)
                return _not_run(action if ended is None else ended.action)
            if action.status is ActionStatus.APPROVED:  # its owner wants it once more
                return await self._start(conn, call, verdict, found)
            return await self._close(conn, action)

    async def _close(self, conn: Connection, action: PendingAction) -> CallNotRun:
        note = "The worker that ran it ended before the tool answered."
        await close(conn, self.notifications, self.run, action, note)
        return _not_run(action)

    async def _go_on(
        self, conn: Connection, call: ToolCall, verdict: Verdict, found: ActionToExecute
    ) -> HoldOutcome | _BegunEarlier:
        """Say what became of a call that was held before, or let it run."""
        action = found.action
        if self.run.action_id is None and not _is_of(action, call):
            return CallNotRun(
                f"{action.tool_name} was asked for at this place by an earlier attempt, with other "
                f"arguments; {call.tool_name} did not run.",
                "refused",
            )
        match action.status:
            case ActionStatus.APPROVED if self._is_here(action):
                return self._to_look_up(call, found) or await self._start(
                    conn, call, verdict, found
                )
            case ActionStatus.RUNNING if self._is_here(action):
                return await self._take_over(conn, call, verdict, found)
            case _:
                is_pending = action.status is ActionStatus.PENDING
                is_parked = is_pending and action.mode is ActionMode.SUSPEND
                return _not_run(action, is_parked=is_parked)

    async def _start(
        self, conn: Connection, call: ToolCall, verdict: Verdict, found: ActionToExecute
    ) -> HoldOutcome:
        action = found.action
        arguments, problem = self._arguments(found)
        if problem is None:
            problem = _changed_since(found, call, verdict) or call.ready(arguments)
        if problem is None:
            if await rows.start(conn, action, self.claim):
                return self._approved(call, action)
            return _not_run(action)
        await rows.close(conn, action, problem)
        return CallNotRun(f"{action.tool_name} was approved, and did not run: {problem}", "failed")

    def _to_look_up(self, call: ToolCall, found: ActionToExecute) -> _BegunEarlier | None:
        """Return an action that was begun before, if its tool can find out what became of it."""
        if call.look_up is None or found.action.started_at is None:
            return None
        arguments, problem = self._arguments(found)
        return None if problem else _BegunEarlier(found.action, arguments, call.look_up)

    async def _take_over(
        self, conn: Connection, call: ToolCall, verdict: Verdict, found: ActionToExecute
    ) -> HoldOutcome | _BegunEarlier:
        """Go on with an action that an earlier attempt began, if its tool may be called twice."""
        action = found.action
        if found.executing_token == self.claim.token:
            return CallNotRun(f"{action.tool_name} is being run already.")
        is_repeatable = call.declaration is not None and (
            call.declaration.idempotent or call.declaration.read_only
        )
        arguments, problem = self._arguments(found)
        if (
            is_repeatable
            and verdict.decision != "refused"
            and problem is None
            and call.ready(arguments) is None
            and await rows.take_over(conn, action.id, self.claim)
        ):
            return self._approved(call, action)
        return self._to_look_up(call, found) or await self._close(conn, action)

    def _approved(self, call: ToolCall, action: PendingAction) -> CallApproved:
        self._executing[call.step] = action.id
        reason = f"its owner approved it, action {action.id}"
        return CallApproved(action.id, reason, _edited(action))

    def _arguments(self, found: ActionToExecute) -> tuple[Mapping[str, Any], str | None]:
        """Return the arguments to run with, and what is wrong with them: they are those shown."""
        action = found.action
        try:
            arguments = unseal(found, self.cipher)
        except RotaError as error:
            return {}, error.message
        if arguments_hash(arguments) != action.arguments_hash:
            return {}, "The stored arguments are not those that were approved."
        return arguments, None

    def _refusal(self, call: ToolCall, verdict: Verdict, requests: RequestCounts) -> str | None:
        """Return why nobody is asked about a call, None where somebody is."""
        if verdict.decision == "refused":
            return (
                f"{call.tool_name} was refused and did not run: {verdict.reason}. Nobody is asked. "
                "Do not try it again in another form; go on without it."
            )
        if requests.was_refused:
            return (
                f"The owner refused this very call of {call.tool_name} before; it did not run and "
                "is not asked for again."
            )
        most_requests = self.options.approvals_most
        if most_requests is None:
            most_requests = MOST_REQUESTS
        reason = None
        if requests.refusals >= MOST_REFUSALS:
            reason = (
                f"the owner has refused {requests.refusals} calls of it in this run. Nobody is "
                "asked about it any more: go on without it."
            )
        elif requests.count >= most_requests:
            reason = (
                f"this run has asked for approval {_times(requests.count)}, and that is the most. "
                "End with what you have."
            )
        elif (size := _size(call.arguments)) > LARGEST_REQUEST:
            reason = f"its arguments have {size:,} characters, more than anybody can look at."
        elif (later := self._later_problem(call)) is not None:
            reason = f"it needs approval, and cannot run later by itself: {later}."
        elif requests.waiting >= MOST_WAITING:
            reason = (
                f"{requests.waiting} requests of yours wait for the owner already. End with what "
                "you have, and say so."
            )
        return f"{call.tool_name} did not run: {reason}" if reason is not None else None

    def _later_problem(self, call: ToolCall) -> str | None:
        """Return why an action of this call could not run once approved, if its run goes on."""
        return call.later_problem() if self._mode(call) is ActionMode.QUEUE else None

    def _mode(self, call: ToolCall) -> ActionMode:
        """Return what the run does meanwhile: for a call of no step of its own it cannot park."""
        mode = self.options.approvals if call.step is not None else None
        return mode or ActionMode.QUEUE

    def _new(
        self, call: ToolCall, verdict: Verdict, account: str, requests: RequestCounts
    ) -> NewAction:
        expire, remind = self.options.approvals_expire, self.options.approvals_remind
        action_id = ActionId(uuid.uuid4())
        shown = redact(call.arguments)
        sealed = None
        if shown != call.arguments:
            if self.cipher is None:
                raise RotaError(
                    f"{call.tool_name} has secrets in its arguments, and there is no key to keep "
                    "them with: set ROTA_SECRET_KEY."
                )
            sealed = seal_arguments(call.arguments, self.cipher, action_id)
        return NewAction(
            id=action_id,
            user_id=self.run.user_id,
            run_id=self.run.id,
            step=call.step,
            agent_name=self.run.agent_name,
            tool_name=storable_text(call.tool_name),
            tool_version=call.declaration.version if call.declaration else None,
            definition_hash=call.declaration.current_hash if call.declaration else None,
            arguments=shown,
            sealed_arguments=sealed,
            arguments_hash=call.arguments_hash,
            argument_schema=call.schema,
            risk=raised_risk(verdict.risk, risk_signals(shown)),
            reason=_reason(verdict, requests),
            account=shorten(redact_text(storable_text(account)), LONGEST_ACCOUNT),
            mode=self._mode(call),
            expires_after=EXPIRES_AFTER if expire is None else timedelta(seconds=expire),
            remind_after=None if remind is None else timedelta(seconds=remind),
        )


async def close(
    conn: Connection,
    notifications: NotificationService,
    run: Run,
    action: PendingAction,
    reason: str,
) -> None:
    """Close an approved action that is not going to run, or to end, for this reason.

    What was not begun has failed. What was begun is of unknown outcome, and its owner is asked.
    """
    if await rows.close(conn, action, reason) is ActionStatus.UNKNOWN:
        await _ask_what_happened(
            conn, notifications, run, action.id, action.tool_name, action.arguments
        )


async def _ask_what_happened(
    conn: Connection,
    notifications: NotificationService,
    run: Run,
    action_id: ActionId,
    tool_name: str,
    arguments: Mapping[str, Any],
) -> None:
    log.warning("action_outcome_unknown", run_id=str(run.id), action_id=str(action_id))
    notice = draft_unknown_outcome(
        run.user_id,
        tool_name,
        action_id,
        agent_name=run.agent_name,
        arguments=arguments,
        run_id=run.id,
    )
    await notifications.write(conn, [notice])


def unseal(found: ActionToExecute, cipher: Cipher | None) -> Mapping[str, Any]:
    """Return all arguments of an action; raises RotaError without the key that they need."""
    if found.sealed_arguments is None:
        return found.action.arguments
    if cipher is None:
        raise RotaError("Its arguments are encrypted, and there is no key. Set ROTA_SECRET_KEY.")
    return unseal_arguments(found.sealed_arguments, cipher, found.action.id)


_STEP_OF: Final[Mapping[ActionStatus, StepStatus]] = {
    ActionStatus.REFUSED: "refused",
    ActionStatus.RUNNING: "unknown",
    ActionStatus.SUCCEEDED: "finished",
    ActionStatus.FAILED: "failed",
    ActionStatus.UNKNOWN: "unknown",
}
"""How the step of a call ends that is answered by what became of its action; else it is held."""


def _not_run(action: PendingAction, *, is_parked: bool = False) -> CallNotRun:
    """Say what became of a call that was asked for before."""
    message, edited = message_to_agent(action), _edited(action)
    if edited is not None and action.started_at is not None:
        message = f"{edit_note(edited)}\n\n{message}"
    else:
        edited = None
    return CallNotRun(message, _STEP_OF.get(action.status, "held"), is_parked, edited)


def _reason(verdict: Verdict, requests: RequestCounts) -> str:
    if requests.first_like_it is None:
        return verdict.reason
    return (
        f"{verdict.reason}; this run asked for the very same as {str(requests.first_like_it)[:8]}"
    )


def _edited(action: PendingAction) -> Mapping[str, Any] | None:
    """Return the arguments of an action as they are shown, where its owner changed them."""
    return action.arguments if action.proposed_arguments is not None else None


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _size(arguments: Mapping[str, Any]) -> int:
    return len(json.dumps(dict(arguments), ensure_ascii=False))


def _is_of(action: PendingAction, call: ToolCall) -> bool:
    """Return whether a call is the one that was asked for; edited arguments are the owner's."""
    if action.tool_name != call.tool_name:
        return False
    return action.version > 1 or action.arguments_hash == call.arguments_hash


def _changed_since(found: ActionToExecute, call: ToolCall, verdict: Verdict) -> str | None:
    """Return why an approval holds no longer: it was given for this tool, as it was."""
    action, declaration = found.action, call.declaration
    if verdict.decision == "refused":
        return sentence(f"It is not allowed any more: {verdict.reason}")
    if found.is_stale:
        return f"It was approved more than {APPROVAL_LASTS.days} days ago; ask again."
    version = declaration.version if declaration is not None else None
    definition = declaration.current_hash if declaration is not None else None
    if (version, definition) != (action.tool_version, found.definition_hash):
        return f"{action.tool_name} was changed since it was asked for; ask again."
    return None
