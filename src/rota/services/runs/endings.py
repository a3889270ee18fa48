"""Makes the ending of an attempt: its result, and the notification for the owner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, assert_never

from rota.agents.journal.steps import Progress
from rota.agents.models.failures import LONGEST_QUOTED, classify_model_error
from rota.domain.agents.connections import resumes_when
from rota.domain.approvals.actions import ApprovalRequest
from rota.domain.errors import InvalidInputError, RotaError, SetupRequiredError
from rota.domain.ids import UserId
from rota.domain.notifications.notification import Category, NewNotification
from rota.domain.runs.heartbeats import is_quiet
from rota.domain.runs.limits import LimitReachedError
from rota.domain.runs.options import RunOptions
from rota.domain.runs.run import Claim, Outcome, ResultStatus, Run
from rota.domain.text.sentences import sentence
from rota.domain.text.storable import storable_json
from rota.domain.text.zones import OTHER_ZONE
from rota.security.gate.policy import Rehearsed
from rota.security.secrets.redaction import redact_error, redact_text
from rota.services.notifications.service import draft, draft_pending_actions

PASSING: Final = frozenset({"rate_limit", "timeout", "unavailable"})
"""Kinds of failures that may be over when the run is tried again later."""

UNREACHED: Final = frozenset({"timeout", "unavailable"})
CHECK_NETWORK: Final = (
    "Check that the worker reaches the server that it asks (network, proxy, address), then run it "
    "again."
)

SAID_NOTHING: Final = "The agent's last answer is empty, and it said nothing before."
LAST_WAS_EMPTY: Final = (
    "The agent's last answer is empty. What is kept is what it said before, beside its tool calls."
)


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, before it is stored.

    `pause_note`: the reason why its schedule is paused. `resumes`: how it resumes by itself, where
    it does. `passing`: a retry of the run may succeed.
    `extra` goes into the result's metadata.
    """

    status: ResultStatus
    content: str
    progress: Progress = field(default_factory=Progress)
    warnings: tuple[str, ...] = ()
    pause_note: str | None = None
    resumes: str = ""
    passing: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)


def answered(text: str, options: RunOptions, *, is_empty: bool = False) -> Ending:
    """Return the ending of an agent that finished.

    With `is_empty` its last answer was empty, and `text` is what it had said before, if anything.
    """
    if is_empty and not text:
        return Ending(ResultStatus.PARTIAL, SAID_NOTHING, extra={"stopped": SAID_NOTHING})
    extra = {"quiet": True} if is_quiet_by(options, text) else {}
    warnings = (LAST_WAS_EMPTY,) if is_empty else ()
    return Ending(ResultStatus.SUCCESS, text, warnings=warnings, extra=extra)


def is_quiet_by(options: RunOptions, answer: str) -> bool:
    """Return whether an answer is the one of which nobody need hear."""
    return options.quiet is not None and is_quiet(answer, options.quiet)


def limited(error: LimitReachedError, progress: Progress) -> Ending:
    """Return the ending of a run that used up one of its limits."""
    ending = stopped_early(progress, error.message)
    return replace(ending, extra={**ending.extra, "limit": error.kind})


def refused(error: RotaError) -> Ending:
    """Return the ending for an error that rota raised on purpose.

    Where something has to be set up first, no run of the schedule can work: it is paused.
    """
    if not isinstance(error, SetupRequiredError):
        is_zone = isinstance(error, InvalidInputError) and error.field == "time_zone"
        said = f"{error.message} {OTHER_ZONE}" if is_zone else error.message
        return Ending(ResultStatus.ERROR, said)
    extra = {"setup_required": error.what}
    resumes = resumes_when(error.what, error.message)
    note = f"{error.message} {resumes}".rstrip()
    return Ending(ResultStatus.ERROR, error.message, pause_note=note, resumes=resumes, extra=extra)


def not_begun(error: Exception) -> Ending:
    """Return the ending of a run whose agent or options cannot be made anything of."""
    said = f"This run cannot start: {redact_error(error)}"
    return Ending(ResultStatus.ERROR, said, extra={"error_kind": type(error).__name__})


def failed(error: Exception, *, callable_name: str | None = None) -> Ending:
    """Return the ending for what a model's client raised, or the callable of this name."""
    failure = classify_model_error(error)
    content = redact_text(failure.message)
    if failure.said and len(failure.said) > LONGEST_QUOTED:
        content = f"{content}\n\nIt had said:\n\n{redact_text(failure.said)}"
    if callable_name is not None:
        # Whose key was refused, nobody knows: a callable talks to whom it likes.
        content = f"The callable {callable_name} failed: {redact_error(error).rstrip('.')}."
        if failure.kind in UNREACHED:
            content += f" {CHECK_NETWORK}"
    elif failure.kind == "authentication":
        return Ending(
            ResultStatus.ERROR,
            content,
            pause_note=content,
            extra={"error_kind": failure.kind, "setup_required": "model_key"},
        )
    return Ending(
        ResultStatus.ERROR,
        content,
        passing=failure.kind in PASSING,
        extra={"error_kind": failure.kind},
    )


def stopped_early(progress: Progress, message: str) -> Ending:
    """Return the ending of a run that stopped before it was done: partial, if it said anything."""
    kept = "\n\n".join(text for text in progress.texts if text.strip())
    if not kept:
        return Ending(ResultStatus.ERROR, message, progress, extra={"stopped": message})
    extra = {"stopped": message}
    return Ending(ResultStatus.PARTIAL, kept, progress, warnings=(message,), extra=extra)


def cancelled(progress: Progress, reason: str) -> Ending:
    """Return the ending of a run that somebody cancelled."""
    ending = stopped_early(progress, sentence(f"Cancelled: {reason}"))
    return replace(ending, extra={**ending.extra, "cancelled": reason})


def rehearsed(ending: Ending, calls: Sequence[Rehearsed]) -> Ending:
    """Return the ending of a dry run: what its calls would have come to, and no consequences.

    An answer of a form that the schedule demands stays as it is; the metadata has all of it.
    """
    content = ending.content
    if "contract" not in ending.extra:
        lines = [
            f"- {call.tool_name} would {call.as_json()['would']} ({call.verdict.reason}; risk "
            f"{call.verdict.risk}): {json.dumps(call.arguments, ensure_ascii=False)}"
            for call in calls
        ]
        said = "Dry run: nothing was done."
        if lines:
            said = f"{said} These calls were not made:"
        content = "\n".join([said, *lines, "", content])
    return replace(
        ending,
        content=content,
        pause_note=None,
        passing=False,
        extra={**ending.extra, "dry_run": [call.as_json() for call in calls]},
    )


def metadata_of(run: Run, claim: Claim, ending: Ending, now: datetime) -> dict[str, Any]:
    """Return what is stored of a run beside its content."""
    progress = ending.progress
    since = run.fire_time or run.created_at
    metadata: dict[str, Any] = {
        "session_id": run.session_id,
        "trigger": run.trigger.value,
        "attempt": claim.attempt,
        "wall_ms": max(0, round((now - since).total_seconds() * 1000)),
        "model_calls": progress.model_calls,
        "tool_calls": progress.tool_calls,
        **ending.extra,
    }
    if run.fire_time is not None:
        metadata["fire_time"] = run.fire_time.isoformat()
    if progress.replayed:
        metadata["replayed_steps"] = progress.replayed
    if progress.failed_calls:
        metadata["failed_model_calls"] = progress.failed_calls
    if progress.input_tokens or progress.output_tokens:
        metadata["tokens"] = {"input": progress.input_tokens, "output": progress.output_tokens}
        if progress.cost_usd is not None:
            metadata["cost_usd"] = str(progress.cost_usd)
    if ending.warnings:
        metadata["warnings"] = list(ending.warnings)
    result: dict[str, Any] = storable_json(metadata)
    return result


def notices_of(
    outcome: Outcome,
    user_id: UserId,
    schedule_name: str | None,
    category: Category,
    requests: Sequence[ApprovalRequest] = (),
) -> list[NewNotification]:
    """Return what a person is told of a result.

    A quiet answer is not announced, unless something waits for a yes or went wrong on the way; nor
    is a failure that is tried again by itself. `requests` are what waits, the riskiest first.
    """
    notices: list[NewNotification] = []
    quiet = bool(outcome.metadata.get("quiet")) and not outcome.metadata.get("warnings")
    if not quiet and "retry_at" not in outcome.metadata:
        title, body = _message(schedule_name or outcome.agent_name, outcome)
        notices.append(
            draft(
                user_id,
                title,
                body,
                category=Category.ERROR if has_failed(outcome) else category,
                metadata={"result_id": str(outcome.result_id), "status": outcome.status.value},
                run_id=outcome.run_id,
            )
        )
    if outcome.pending_actions_created > 0:
        notices.append(
            draft_pending_actions(
                user_id,
                outcome.pending_actions_created,
                agent_name=outcome.agent_name,
                run_id=outcome.run_id,
                requests=requests,
            )
        )
    return notices


def has_failed(outcome: Outcome) -> bool:
    """Return whether a result is a failure; one that was cancelled is none."""
    return outcome.status is ResultStatus.ERROR and "cancelled" not in outcome.metadata


def _message(name: str, outcome: Outcome) -> tuple[str, str]:
    if "cancelled" in outcome.metadata:
        title = f"{name} was cancelled"
    else:
        match outcome.status:
            case ResultStatus.SUCCESS:
                title = name
            case ResultStatus.PARTIAL:
                title = f"{name}: stopped before it was done"
            case ResultStatus.ERROR:
                title = f"{name} failed"
            case _:
                assert_never(outcome.status)
    warnings: Sequence[str] = outcome.metadata.get("warnings", ())
    parts = [outcome.content or "The agent answered with nothing."]
    parts += [f"Warning: {warning}" for warning in warnings]
    return title, "\n\n".join(parts)
