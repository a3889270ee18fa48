"""`rota usage`: shows the tokens and money that runs used, by day and by schedule."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from datetime import date

    from rota.domain.runs.views import UsageView


group = CommandGroup()


@group.command("usage")
def usage(
    common: CommonOptions,
    days: Annotated[
        int, typer.Option("--days", min=1, max=3_660, help="How many days to show.")
    ] = 7,
) -> None:
    """Show the tokens and the money that your runs used, by day and by schedule.

    Calls of unknown price are not in the cost; a line says how many there are.
    """
    found = common.as_person(lambda app, me: app.usage.latest(me, days=days))
    if common.json:
        output.print_json(found)
        return
    lines: list[tuple[object, ...]] = []
    for day, views in groupby(found, key=lambda view: view.day):
        lines += _of_day(day, list(views))
    output.table(
        ["DAY", "SCHEDULE", "MODEL CALLS", "TOKENS", "COST", "OF ITS LIMIT"],
        lines,
        empty="No model was asked in this time.",
    )
    if unpriced := sum(view.unpriced_calls for view in found if view.schedule_id is None):
        output.say(
            f"The cost leaves out {unpriced:,} model {'call' if unpriced == 1 else 'calls'} of "
            "unknown price. `rota runs show` names each; set the price with `rota prices set`."
        )


def _of_day(day: date, views: Sequence[UsageView]) -> list[tuple[object, ...]]:
    """Return the lines of a day: in all, by schedule, and what belongs to none."""
    from rota.domain.runs.option_kinds import money

    lines: list[tuple[object, ...]] = [
        (
            day if view.schedule_id is None else "",
            _name(view),
            f"{view.model_calls:,}",
            f"{view.input_tokens + view.output_tokens:,}",
            money(view.cost_usd),
            _of_limits(view),
        )
        for view in views
    ]
    in_all = next((view for view in views if view.schedule_id is None), None)
    own = [view for view in views if view.schedule_id is not None]
    if in_all is None or not own:
        return lines
    calls = in_all.model_calls - sum(view.model_calls for view in own)
    if calls > 0:
        tokens = in_all.input_tokens + in_all.output_tokens
        tokens -= sum(view.input_tokens + view.output_tokens for view in own)
        cost = in_all.cost_usd - sum(view.cost_usd for view in own)
        lines.append(("", "(no schedule)", f"{calls:,}", f"{tokens:,}", money(cost), ""))
    return lines


def _name(view: UsageView) -> str:
    if view.schedule_id is None:
        return "in all"
    return view.schedule_name or f"(removed: {str(view.schedule_id)[:8]})"


def _of_limits(view: UsageView) -> str:
    from rota.domain.runs.limits import DayLimits
    from rota.domain.runs.option_kinds import counted, money

    try:
        limits = DayLimits.parse(view.day_limits)
    except InvalidInputError:  # not written by rota; `rota schedules show` says what is wrong
        return "cannot be read"
    parts: list[str] = []
    if limits.tokens is not None:
        share = (view.input_tokens + view.output_tokens) / limits.tokens
        parts.append(f"{share:.0%} of {counted(limits.tokens, 'token')}")
    if limits.cost_usd is not None:
        parts.append(f"{view.cost_usd / limits.cost_usd:.0%} of {money(limits.cost_usd)}")
    return ", ".join(parts)
