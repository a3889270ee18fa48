"""`rota retention`: the operator sets how long rows are kept, and prunes older ones."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup, takes
from rota.cli.options import CommonOptions
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.domain.operations.retention import Period, RetentionPolicy

group = CommandGroup()

_DESCRIPTIONS: Final = {
    "journal_days": "journals: the model and tool calls of runs that are over",
    "run_days": "runs that are over, their results, and fire times",
    "notification_days": "notifications",
    "history_days": "earlier rules of schedules, closed incidents",
    "queue_log_days": "the queue's log",
    "audit_days": "the audit log",
}
_HELP: Final = {
    "journal_days": "Days to keep the journals of runs that are over.",
    "run_days": "Days to keep runs that are over, their results, and fire times.",
    "notification_days": "Days to keep notifications, read or not.",
    "history_days": "Days to keep earlier rules of schedules, and closed incidents.",
    "queue_log_days": "Days to keep the queue's log.",
    "audit_days": "Days to keep the audit log. A signed checkpoint replaces what is deleted.",
}
_ROWS: Final = {
    "steps": "steps of journals",
    "runs": "runs",
    "results": "results",
    "occurrences": "fire times",
    "notifications": "notifications",
    "schedule_changes": "earlier rules of schedules",
    "incidents": "closed incidents",
    "queue_log": "lines of the queue's log",
    "audit": "entries of the audit log",
}


def _days_option(name: str) -> Any:
    flag = f"--{name.replace('_', '-')}"
    return Annotated[str | None, typer.Option(flag, metavar="N|forever", help=_HELP[name])]


@group.command("show", person=False)
def show(common: CommonOptions) -> None:
    """Show how long rota keeps its data."""
    policy = common.as_operator(lambda app: app.retention.policy())
    _print(policy, as_json=common.json)


def _read_days(**written: str | None) -> dict[Period, int | None]:
    from rota.domain.operations.retention import Period, parse_days

    return {
        Period(name): parse_days(text, Period(name))
        for name, text in written.items()
        if text is not None
    }


@group.command("set", person=False)
@takes("days", {name: (_days_option(name), None) for name in _HELP}, _read_days)
def set_days(common: CommonOptions, days: dict[Any, int | None]) -> None:
    """Change how long rota keeps its data: a number of days, or 'forever', for each kind."""
    if not days:
        raise InvalidInputError(
            "Name what to change, for example --journal-days 14. --help lists all options."
        )
    _print(common.as_operator(lambda app: app.retention.set(days)), as_json=common.json)
    if not common.json:
        output.say()
        output.say(
            "A scheduler deletes what is older, once an hour. `rota retention run --dry-run` shows "
            "how much that is."
        )


@group.command("run", person=False)
def run_now(
    common: CommonOptions,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show how much would be deleted, and delete nothing.")
    ] = False,
) -> None:
    """Delete data that is older than its limit. A scheduler does this each hour."""
    from rota.bootstrap.app import clock

    pruned = common.as_operator(
        lambda app: (
            app.retention.count_prunable(clock()) if dry_run else app.retention.prune(clock())
        )
    )
    if common.json:
        output.print_json(pruned)
        return
    output.table(
        ["WHAT", "WOULD GO" if dry_run else "WENT"],
        [(_ROWS[name], count) for name, count in asdict(pruned).items() if name in _ROWS],
        empty="",
    )
    if pruned.audit_refused:
        output.say(
            "Chains of the audit log that were not pruned, because they were changed: "
            f"{pruned.audit_refused}. See `rota audit verify --all`."
        )


def _print(policy: RetentionPolicy, *, as_json: bool) -> None:
    from rota.domain.operations.retention import in_words

    if as_json:
        output.print_json(policy)
        return
    output.table(
        ["OPTION", "KEPT FOR", "WHAT"],
        [
            (f"--{name.replace('_', '-')}", in_words(days), _DESCRIPTIONS[name])
            for name, days in asdict(policy).items()
        ],
        empty="",
        texts=["WHAT"],
    )
