"""Prints runs on a terminal: status, prompt, use, and each of their calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from rota.cli import output
from rota.domain.approvals.actions import ActionStatus
from rota.domain.errors import InvalidInputError
from rota.domain.runs.option_kinds import in_words, money
from rota.domain.runs.run import RunStatus
from rota.domain.runs.steps import BEFORE, RAN_WITH

if TYPE_CHECKING:
    from rota.domain.approvals.actions import PendingAction
    from rota.domain.ids import UserId
    from rota.domain.runs.steps import Step
    from rota.domain.runs.views import RunView

_SHOWN: Final = 500
NAMELESS: Final[Mapping[UserId, str]] = MappingProxyType({})


def status(run: RunView) -> str:
    """Say where a run stands."""
    if run.status is RunStatus.RUNNING and run.cancel_requested_at is not None:
        return "stopping"
    return run.status


def trigger(run: RunView) -> str:
    """Say what started a run, and that it only shows what it would do."""
    return f"{run.trigger}, dry run" if run.is_dry else run.trigger


def state(run: RunView) -> str:
    """Return the status of a run, or its outcome once it has finished."""
    if run.status is RunStatus.FINISHED and run.result_status is not None:
        return run.result_status
    return status(run)


def used(run: RunView) -> tuple[str, str]:
    """Say the tokens in all and the cost of a run that has ended, for a table."""
    metadata = run.metadata or {}
    tokens = metadata.get("tokens")
    if tokens is None:
        return "-", "-"
    cost = metadata.get("cost_usd")
    total = tokens.get("input", 0) + tokens.get("output", 0)
    return f"{total:,}", money(Decimal(cost)) if cost is not None else "unknown"


def print_run(run: RunView, zone: str) -> None:
    """Print where a run stands and what it was asked."""
    output.say(f"{run.schedule_name or run.agent_name}: {status(run)}", style="bold")
    metadata = run.metadata or {}
    waits = run.not_before if run.status is RunStatus.WAITING else None
    lines = [
        ("Run", str(run.id)),
        ("Agent", run.agent_name),
        ("Trigger", trigger(run)),
        ("Retry of", run.retry_of and str(run.retry_of)),
        ("Prompt", run.prompt or "(none)"),
        ("Model", run.model or (run.options or {}).get("model")),
        ("Limits", _limits(run)),
        ("Fire time", run.fire_time and output.moment(run.fire_time, zone)),
        ("Created", output.moment(run.created_at, zone)),
        ("Not before", waits and output.moment(waits, zone)),
        ("Started", run.started_at and output.moment(run.started_at, zone)),
        ("Ended", run.finished_at and output.moment(run.finished_at, zone)),
        ("Took", _took(run)),
        ("Attempt", str(run.attempt) if run.attempt > 1 else None),
        ("Cancelled", run.cancel_reason),
        ("Result", None if is_cancelled_empty(run) else run.result_status),
        ("Why", why_failed(run)),
        ("Stopped", metadata.get("stopped") if run.error is None else None),
        ("Pre-check", metadata.get("precheck")),
        ("Quiet", "the answer is not announced" if metadata.get("quiet") else None),
    ]
    for name, said in lines:
        if said:
            output.say_line(f"{name:10} {said}")


def is_cancelled_empty(run: RunView) -> bool:
    """Return whether a run was cancelled and left nothing: that is no error."""
    return run.status is RunStatus.CANCELLED and run.error is not None


def why_failed(run: RunView) -> str | None:
    """Say why a run failed, None for one that did not."""
    return None if is_cancelled_empty(run) else run.error


def _took(run: RunView) -> str | None:
    """Say how long a run took from its beginning to its end, waiting for decisions too."""
    if run.started_at is None or run.finished_at is None:
        return None
    return f"{(run.finished_at - run.started_at).total_seconds():.1f} s"


def print_end(run: RunView, steps: Sequence[Step], zone: str) -> None:
    """Print what a run has used so far, and what comes after it."""
    metadata = run.metadata or {}
    said = _used_in_words(run, steps)
    warnings = [w for w in metadata.get("warnings", ()) if w != metadata.get("stopped")]
    if said:
        output.say()
        output.say(f"{'Used':10} {said}")
    for number, warning in enumerate(warnings):
        output.say(f"{'' if number else 'Warning':10} {warning}")
    if "retry_at" in metadata:
        at = output.moment(datetime.fromisoformat(metadata["retry_at"]), zone)
        output.say(f"{'Retry':10} at {at}, as run {metadata.get('retry_run_id')}")
    if run.journal_pruned_at is not None and run.attempt:
        pruned = output.moment(run.journal_pruned_at, zone)
        kept = "; its result is kept" if run.result_status else ""
        output.say(f"Its calls were pruned {pruned}{kept} (`rota retention show`).")


def print_step(
    step: Step,
    *,
    attempts_told: int = 0,
    action: PendingAction | None = None,
    names: Mapping[UserId, str] = NAMELESS,
) -> None:
    """Print one call: which, how it stands, how long it took, what went in and came out.

    Of its failed attempts the first `attempts_told` are left out. `action` is what it asked for,
    `names` are of those who may have decided.
    """
    from rota.cli.approvals.texts import decision_in_words

    took = ""
    if step.finished_at is not None:
        took = f"  {(step.finished_at - step.started_at).total_seconds():.2f} s"
    output.say()
    output.say(
        f"{_place(step)} {step.name}: {step_status(step, action)}{took}{_tokens(step)}"
        f"{_finish_reason(step)}",
        style="bold",
    )
    arguments, edited, change = _versions(step, action)
    if arguments:
        output.say(f"      {_shown(arguments)}")
    if edited is not None:
        output.say(f"      {change}: {_shown(edited)}")
    for attempt in step.attempts[attempts_told:]:
        print_attempt(attempt)
    answer = step.error or _answer(step.response)
    if answer:
        output.say(f"      {answer}")
    if action is not None:
        output.say(f"      {decision_in_words(action, names)}")


def _versions(
    step: Step, action: PendingAction | None
) -> tuple[Mapping[str, Any] | None, Mapping[str, Any] | None, str]:
    """Return the arguments that the agent gave, those that a person gave instead, and words."""
    arguments, edited = step.request.get("arguments"), step.request.get(RAN_WITH)
    change = "changed before it was approved"
    if action is not None and action.proposed_arguments is not None:
        arguments, edited = action.proposed_arguments, action.arguments
        if action.status is ActionStatus.PENDING or _is_decided_against(action):
            change = "changed after it was asked for"
    return arguments, edited, change


def step_status(step: Step, action: PendingAction | None) -> str:
    """Say how a call stands; one that was held, by what became of the request."""
    if step.status == "rehearsed":
        return "not made (dry run)"
    if step.status != "held" or action is None or action.status is ActionStatus.PENDING:
        return step.status
    decided = action.status.value
    return decided if _is_decided_against(action) else f"held, then {decided}"


def _is_decided_against(action: PendingAction) -> bool:
    return action.status in {
        ActionStatus.REFUSED,
        ActionStatus.EXPIRED,
        ActionStatus.WITHDRAWN,
    }


def _finish_reason(step: Step) -> str:
    """Say why a model stopped: an answer without a finish reason may have been cut."""
    if step.kind != "model" or step.status != "finished" or not step.response:
        return ""
    return f"  finish reason: {step.finish_reason or 'none'}"


def print_attempt(attempt: Mapping[str, Any]) -> None:
    """Print a failed attempt of a model call, and how long the next one is waited for."""
    waited = attempt.get("waited")
    after = "not tried again" if waited is None else f"again after {waited:.1f} s"
    said = f"{attempt.get('kind')} of {attempt.get('model')}, {after}: {attempt.get('message')}"
    output.say(f"      failed: {_shown(said)}", style="yellow")


def _place(step: Step) -> str:
    if step.model_step == BEFORE and step.kind == "tool":
        return "0     pre-check"
    if step.kind == "tool":
        return f"{f'{step.model_step}.{step.call_index}':5} tool"
    return f"{step.model_step:<5} {step.kind}" if step.kind == "model" else "0    "


def _limits(run: RunView) -> str | None:
    """Say the limits that held, with rota's own where there is none; else those asked for."""
    from rota.domain.runs.limits import DEFAULT_IDLE_SECONDS, DEFAULT_WALL_SECONDS, Limits

    try:
        if run.limits is None:
            return in_words(Limits.parse((run.options or {}).get("limits")))
        rotas = Limits(wall_seconds=DEFAULT_WALL_SECONDS, idle_seconds=DEFAULT_IDLE_SECONDS)
        return in_words(rotas.overridden_by(Limits.parse(run.limits)))
    except InvalidInputError as error:  # the row was not written by rota
        return f"cannot be read: {error.message}"


def _used_in_words(run: RunView, steps: Sequence[Step]) -> str:
    """Say what a run has used: by its calls as far as they are kept, else by its result."""
    metadata = run.metadata or {}
    models = [step for step in steps if step.kind == "model"]
    if models:
        usages = [step.usage or {} for step in models]
        tokens = [sum(u.get(f"{way}_tokens", 0) for u in usages) for way in ("input", "output")]
        costs = [step.cost_usd for step in models if step.usage]
        cost = None if None in costs else sum((c for c in costs if c is not None), Decimal(0))
        calls = len(models)
        failed = sum(len(step.attempts) for step in models)
    else:
        told = metadata.get("tokens", {})
        tokens = [told.get("input", 0), told.get("output", 0)]
        cost = Decimal(metadata["cost_usd"]) if "cost_usd" in metadata else None
        calls, failed = metadata.get("model_calls", 0), metadata.get("failed_model_calls", 0)
    if not calls:
        return ""
    parts = [f"{calls} model call{'s' if calls > 1 else ''}"]
    if failed:
        parts.append(f"{failed} failed attempt{'s' if failed > 1 else ''}")
    if any(tokens):
        parts.append(f"{sum(tokens):,} tokens ({tokens[0]:,} in, {tokens[1]:,} out)")
        parts.append(money(cost) if cost is not None else "at an unknown price")
    return ", ".join(parts)


def _tokens(step: Step) -> str:
    usage = step.usage or {}
    given, said = usage.get("input_tokens", 0), usage.get("output_tokens", 0)
    if not given and not said:
        return ""
    cost = f"  {money(step.cost_usd)}" if step.cost_usd is not None else ""
    about = "about " if usage.get("estimated") else ""
    return f"  {about}{given:,}+{said:,} tokens{cost}"


def _answer(response: object) -> str:
    from rota.domain.agents.message_content import normalize_content

    messages = response if isinstance(response, list) else [response]
    texts: list[str] = []
    for message in messages:
        if isinstance(message, dict) and isinstance(data := message.get("data"), dict):
            texts.append(normalize_content(data.get("content") or ""))
            texts += [f"→ {call.get('name')}" for call in data.get("tool_calls") or ()]
    return _shown(" ".join(text for text in texts if text)) if any(texts) else ""


def _shown(value: object) -> str:
    """Return a value on one line, secrets replaced, cut."""
    from rota.security.secrets.redaction import redact, redact_text

    text = (
        redact_text(value)
        if isinstance(value, str)
        else json.dumps(redact(value), ensure_ascii=False)
    )
    text = " ".join(text.split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
