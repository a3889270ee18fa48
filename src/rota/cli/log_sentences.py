"""The sentence for each log event, as `log_format` "text" prints it.

`log_format` "json" does not use these sentences: it prints the event's name and fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any, Final

SENTENCES: Final[Mapping[str, str]] = {
    # runs
    "run_cancelled": "Somebody cancelled a run: it is stopped",
    "run_fenced": "Another worker has taken over a run: what this one did is not stored",
    "run_handed_over": "A run is left to another worker ({why})",
    "run_kept_back": "A run waits, as its row is locked: {reason}",
    "run_not_begun": "A run cannot be begun: {error}",
    "run_set_aside": "A run ends before it began: {reason}",
    "runs_due": "{count} runs are due and made",
    "runs_requeued": "Runs that had got lost are queued again: {count}",
    "stranded_runs_resumed": "Runs whose decision was made go on: {count}",
    "agent_failed": "An agent failed: {error}",
    "cancel_reason_unknown": "A run stops, and the database does not say who cancelled it: {error}",
    "journal_fenced": "Another worker has taken over a run: no more steps are stored for this one",
    "journal_flush_failed": "The steps of a run cannot be stored yet: {error}",
    # calls and approvals
    "action_executed": "An approved action was executed",
    "action_outcome_unknown": "Nobody knows whether an approved action was done, so its owner "
    "is asked",
    "outcome_not_looked_up": "It could not be looked up whether an approved action was "
    "done: {reason}",
    "sent_mail_not_copied": "A mail was sent, and its copy could not be put into Sent: {reason}",
    "tool_failed": "The tool {tool} failed: {error}",
    "tool_wrapping_failed": "The tool {tool} cannot be put behind approvals: {error}",
    # connections
    "lease_not_renewed": "A connection is being refreshed, and its lease could not be "
    "renewed: {error}",
    "refresh_failed": "The connection {connection} cannot be refreshed: {error}",
    # schedules
    "fires_missed": "Fires that nobody made in time, and that are not made up for: {count}",
    "pausing_failed": "A schedule is paused, and its owner could not be told: {error}",
    "schedule_paused": "A schedule is paused: {reason}",
    "schedules_paused": "The schedules of a person are paused: {reason}",
    "schedules_replanned": "Fires planned by a clock that was ahead are planned anew: {count}",
    # notifications
    "incident_untold": "A notification of missed fire times could not be written: {error}",
    "late_notifications_written": "Notifications that had failed are written: {count}",
    "notification_failed": "A result is stored, and its notification failed: {error}",
    "notifications_failed": "Notifications failed and are tried one by one: {error}",
    # the audit log
    "audit_chain_not_pruned": "Old entries of the audit log stay, as their chain is "
    "broken: {problem}",
    "audit_chain_not_sealed": "New entries of the audit log cannot be sealed: {error}",
    # who you are
    "operators_unknown": "Nobody is an operator over HTTP, as ROTA_OPERATOR is not clear: {error}",
    "signing_keys_not_fetched": "The keys of an issuer cannot be fetched: {error}",
    # processes
    "agent_loop_blocked": "An agent or tool has blocked its event loop for {seconds:g} s",
    "agent_loop_blocked_at_the_end": "An agent or tool blocked its event loop to the end",
    "agent_loop_not_replaced": "A blocked event loop cannot be replaced yet: {error}",
    "clock_differs": "The clock is {seconds_ahead} s ahead",
    "clock_jump_believed": "The clock has jumped ahead by {seconds} s, and is believed",
    "database_restarted": "The database had ended and is started again",
    "dead_mans_switch_failed": "The dead man's switch cannot be reached: {error}",
    "dead_mans_switch_recovered": "The dead man's switch is reached again",
    "dead_mans_switch_silent": "The dead man's switch is not pinged: {reason}",
    "key_opens_nothing": "This worker's key ({key_id}) decrypts none of the stored secrets: runs "
    "that use a connected account fail. They were stored with the key {stored_with}. Put that key "
    "in ROTA_SECRET_KEY, and start this worker again. `rota doctor` compares the keys",
    "listen_unheard": "The scheduler hears no notifications of the database",
    "notification_queue_crowded": "The database's queue of notifications is filling up: {reason}",
    "notifications_ignored": "Notifications of others came on rota's channel: {count}",
    "process_ended": "The {process} ended with code {exit_code}, and is started again in "
    "{started_again_in:g} s",
    "process_row_left": "The {kind} ends, and the database could not be told: {error}",
    "pruned": "What is older than it is kept for is deleted",
    "answer_not_kept": "An answer to a request with an Idempotency-Key cannot be kept: {error}",
    "key_not_held": "A request's Idempotency-Key cannot be held any longer: {error}",
    "request_failed": "A request over HTTP failed by a fault of rota: {error}",
    "rota_ready": "rota is ready",
    "server_left_out": "The server cannot start (code {exit_code}). Scheduler and worker go on",
    "server_ready": "The server is ready: {url}",
    "scheduler_ready": "The scheduler is ready",
    "scheduler_silent": "No scheduler has looked at the clock for {seconds} s, and {overdue} fires "
    "are overdue: start one with `rota up` or `rota scheduler`",
    "worker_helper_failed": "Part of the worker ended by a fault: {error}",
    "worker_ready": "The worker is ready",
    # what is tried again
    "chore_failed": "A task of rota failed ({chore}), and is tried again: {error}",
    "events_lost_database": "The server cannot read what has changed, and tries again: {error}",
    "events_lost_listener": "The server hears nothing from the database, and tries again: {error}",
    "listener_lost_database": "The scheduler hears nothing from the database, and tries again: "
    "{error}",
    "scheduler_lost_database": "The scheduler cannot work with the database, and tries again: "
    "{error}",
    "worker_lost_database": "The worker cannot work with the database, and tries again: {error}",
}
"""The sentence of each event. Fields that it does not name follow it as name=value."""

OVER: Final[Mapping[str, str]] = {
    "chore_failed": "A task of rota works again ({chore})",
    "events_lost_database": "The server reads again what has changed",
    "events_lost_listener": "The server hears the database again",
    "listener_lost_database": "The scheduler hears the database again",
    "scheduler_lost_database": "The scheduler works with the database again",
    "worker_lost_database": "The worker works with the database again",
}
"""What is said where `over_after` seconds tell that a failure is over."""


def in_words(event: dict[str, Any]) -> dict[str, Any]:
    """Put the sentence of an event in the place of its name, and drop the fields that it names."""
    name = event["event"]
    if name in {"run_due", "run_started", "run_ended", "run_suspended"}:
        return _of_run(event)
    template = OVER.get(name) if "over_after" in event else SENTENCES.get(name)
    if template is None:  # a line of a library, or of an operator's own code
        return event
    fields = {field for _, field, _, _ in Formatter().parse(template) if field}
    if not fields <= event.keys():
        return event
    said = template.format_map(event)
    if hint := event.get("hint"):
        said = f"{said.rstrip('.')}; {hint}"
    if "over_after" in event:
        said += f", after {event['over_after']:g} s"
    return {"event": said} | {
        field: value
        for field, value in event.items()
        if field not in fields | {"event", "hint", "over_after"}
    }


def _of_run(event: dict[str, Any]) -> dict[str, Any]:
    """Return a sentence about a run, with the name of its schedule first."""
    name = event.get("schedule") or event.get("agent")
    match event["event"]:
        case "run_due":
            said = f"{name}: due, a run is made"
            if event.pop("late", False):
                said = f"{name}: missed, and made up for by a run"
        case "run_started":
            said = f"{name}: started"
        case "run_suspended":
            pending, is_suspended = event.pop("pending", 1), event.pop("parked", True)
            said = f"{name}: waits for {'a decision' if pending == 1 else f'{pending} decisions'}"
            if not is_suspended:
                said = f"{name}: was to wait for a decision, which is made; it goes on"
        case _:
            seconds = event.pop("duration_ms", 0) / 1000
            said = f"{name}: {event.pop('status', '')} after {seconds:.1f} s"
            if requests := event.pop("requests", 0):
                said += f", {requests} waiting for a decision"
            if reason := event.pop("reason", None):
                said += f": {reason}"
    event["event"] = said
    event.pop("schedule", None)
    if event.get("agent") == name:
        del event["agent"]
    if event.get("attempt") == 1:
        del event["attempt"]
    return event
