"""`rota results`: what came of runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.filters import MOST_COUNTED, empty_list
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.domain.errors import InvalidInputError
from rota.domain.runs.run import ResultStatus

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.ids import UserId
    from rota.domain.runs.views import Result

group = CommandGroup()

_STYLES = {"success": "bold green", "partial": "bold yellow", "cancelled": "bold yellow"}


@group.command("list")
def list_results(
    common: CommonOptions,
    agent: Annotated[str | None, typer.Option("--agent", help="Of this agent only.")] = None,
    status: Annotated[
        str | None, typer.Option("--status", help="Only success, partial or error.")
    ] = None,
    limit: Limit = 20,
) -> None:
    """List results, the newest first."""
    if status not in {None, *ResultStatus}:
        raise InvalidInputError(
            f"There is no status {status!r}; there are success, partial and error."
        )

    wanted = ResultStatus(status) if status is not None else None

    async def work(app: App, me: UserId) -> tuple[tuple[Result, ...], int]:
        found = await app.results.latest(me, agent_name=agent, status=wanted, limit=limit)
        others = () if found else await app.results.latest(me, limit=MOST_COUNTED)
        return found, len(others)

    zone, (found, others) = common.as_person_with_zone(work)
    now = datetime.now(UTC)
    output.print_list(
        found,
        {
            "ID": lambda r: output.short(r.id),
            "WHEN": lambda r: output.listed(r.created_at, zone, now),
            "AGENT": lambda r: r.agent_name,
            "SCHEDULE": lambda r: r.schedule_name or "-",
            "STATUS": status_of,
            "RESULT": lambda r: output.first_line(r.result_content),
        },
        optional=["SCHEDULE"],
        zone=zone,
        as_json=common.json,
        empty=empty_list(
            "results",
            others,
            [agent and f"from {agent}", status and f"of status {status}"],
            nothing_there="There are no results yet. `rota run AGENT` makes one.",
        ),
    )


@group.command("show")
def show(
    common: CommonOptions,
    result: Annotated[
        str | None,
        typer.Argument(help="Its id, its run's id, or the beginning; the latest if left out."),
    ] = None,
) -> None:
    """Show a result in full."""
    found = common.as_person(lambda app, me: app.results.get(me, result))
    show_result(found, as_json=common.json)


def status_of(result: Result) -> str:
    """Say how a run ended: one that was cancelled has not failed, and a dry one did nothing."""
    if "cancelled" in result.metadata:
        return "cancelled"
    return f"dry run, {result.status}" if "dry_run" in result.metadata else result.status


def show_result(result: Result, *, as_json: bool) -> None:
    """Print a result: what the agent answered, then what is worth knowing about the run."""
    if as_json:
        output.print_json(result)
        return
    name = result.schedule_name or result.agent_name
    status = status_of(result)
    style = _STYLES.get("cancelled" if status == "cancelled" else result.status, "bold red")
    seconds = result.execution_duration_ms / 1000
    output.say(f"{name}: {status} after {seconds:.1f} s", style=style)
    output.say()
    output.say(result.result_content or "(the agent answered with nothing)")
    output.say()
    for warning in result.metadata.get("warnings", ()):
        output.say(f"Warning: {warning}", style="yellow")
    if result.metadata.get("truncated"):
        output.say(f"Cut: it was {result.metadata['original_length']} characters long.")
    if count := result.pending_actions_created:
        output.say(
            f"It asked for your approval of {count} action{'' if count == 1 else 's'}: see "
            "`rota approvals list`.",
            style="yellow",
        )
    output.say(f"Result {result.id} of run {result.run_id}", style="dim")
