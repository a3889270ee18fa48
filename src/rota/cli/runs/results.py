"""`rota results`: lists and shows the results of runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.filters import MOST_COUNTED, empty_list
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.cli.runs import result_texts
from rota.domain.errors import InvalidInputError
from rota.domain.runs.run import ResultStatus

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.ids import UserId
    from rota.domain.runs.views import Result, WholeResult

group = CommandGroup()


@group.command("list")
def list_results(
    common: CommonOptions,
    agent: Annotated[
        str | None, typer.Option("--agent", help="Only results of this agent.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", help="Only results with this status: success, partial or error."),
    ] = None,
    limit: Limit = 20,
) -> None:
    """List results, the newest first."""
    if status not in {None, *ResultStatus}:
        raise InvalidInputError(f"There is no status {status!r}. Use success, partial or error.")

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
            "STATUS": result_texts.status_of,
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
        typer.Argument(
            help="The id of the result or of its run, or the beginning of the id. Default: the "
            "latest result."
        ),
    ] = None,
) -> None:
    """Show a result in full. On a terminal, Markdown is rendered and long results are paged.

    An answer that was cut when it was stored is shown whole.
    """

    async def work(app: App, me: UserId) -> WholeResult:
        return await app.results.whole(me, await app.results.get(me, result))

    show_result(common.as_person(work), as_json=common.json, paged=True)


def show_result(found: WholeResult, *, as_json: bool, paged: bool = False) -> None:
    """Print a result: what its run did, the answer, then what is worth knowing besides."""
    if as_json:
        from rota.shown.runs import result_json

        output.print_json(result_json(found))
        return
    from rota.cli.runs.result_texts import print_result

    print_result(found, paged=paged)
