"""`rota runs`: lists runs, shows one step by step, watches, cancels and retries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from rota.cli import output
from rota.cli.exit_codes import EXIT_OF_STATUS, INTERRUPTED
from rota.cli.filters import MOST_COUNTED, empty_list
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.cli.runs.run import NoWait, Timeout, request_and_show
from rota.domain.errors import InvalidInputError
from rota.domain.ids import RunId
from rota.domain.runs.run import OVER, RunStatus
from rota.domain.text.jsonable import fields_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rota.bootstrap.app import App
    from rota.domain.approvals.actions import PendingAction
    from rota.domain.ids import UserId
    from rota.domain.runs.steps import Step
    from rota.domain.runs.views import RunView
    from rota.services.runs.following import RunNews

    Shown: TypeAlias = tuple[
        RunView, Sequence[tuple[Step, PendingAction | None]], Mapping[UserId, str]
    ]

group = CommandGroup()
Run = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id, or the beginning of the id.")
]
RunOrNewest = Annotated[
    str | None,
    typer.Argument(
        metavar="[RUN]", help="The run's id, or the beginning of the id. Default: the newest run."
    ),
]

_STATUSES = tuple(RunStatus)
_TO_BEGIN = frozenset({RunStatus.WAITING, RunStatus.QUEUED})


@group.command("list")
def list_runs(
    common: CommonOptions,
    schedule: Annotated[
        str | None, typer.Option("--schedule", help="Only runs of this schedule: its name or id.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", help=f"Only {', '.join(_STATUSES)}.")
    ] = None,
    limit: Limit = 20,
) -> None:
    """List runs, the newest request first. Runs of a backfill are sorted by fire time."""
    from rota.cli.runs import texts as run_texts

    if status not in {None, *_STATUSES}:
        raise InvalidInputError(
            f"There is no status {status!r}. Use one of {', '.join(_STATUSES)}."
        )

    async def work(app: App, me: UserId) -> tuple[tuple[RunView, ...], int]:
        wanted = RunStatus(status) if status is not None else None
        of = (await app.schedules.get(me, schedule)).id if schedule is not None else None
        found = await app.runs.all(me, schedule_id=of, status=wanted, limit=limit)
        others = () if found else await app.runs.all(me, limit=MOST_COUNTED)
        return found, len(others)

    zone, (found, others) = common.as_person_with_zone(work)
    now = datetime.now(UTC)
    can_go = ["TOKENS", "FIRE TIME", "COST"]
    if not any(run.is_dry for run in found):
        can_go.append("TRIGGER")
    output.print_list(
        found,
        {
            "ID": lambda run: output.short(run.id),
            "WHEN": lambda run: output.listed(run.created_at, zone, now),
            "AGENT": lambda run: run.agent_name,
            "SCHEDULE": lambda run: run.schedule_name or "-",
            "TRIGGER": run_texts.trigger,
            "FIRE TIME": lambda run: output.listed(run.fire_time, zone, now),
            "STATE": run_texts.state,
            "TOKENS": lambda run: run_texts.used(run)[0],
            "COST": lambda run: run_texts.used(run)[1],
        },
        optional=can_go,
        zone=zone,
        as_json=common.json,
        empty=empty_list(
            "runs",
            others,
            [schedule and f"of the schedule {schedule}", status],
            nothing_there="There are no runs yet. `rota run AGENT` makes one.",
        ),
    )


@group.command("show")
def show(common: CommonOptions, run: RunOrNewest = None) -> None:
    """Show a run: its status, what it used, and each call. Secrets are replaced."""
    from rota.cli.runs import texts as run_texts
    from rota.services.runs.traces import actions_by_step

    async def work(app: App, me: UserId) -> Shown:
        found, steps = await app.runs.get(me, run)
        actions = await app.approvals.of_run(me, RunId(found.id))
        by_step = actions_by_step(RunId(found.id), actions)
        names = await app.deputies.list_names(me) if actions else {}
        return found, [(step, by_step.get(step.key)) for step in steps], names

    zone, (found, calls, names) = common.as_person_with_zone(work)
    steps = [step for step, _ in calls]
    if common.json:
        from rota.services.runs.traces import step_json

        shown = [step_json(step, action) for step, action in calls]
        output.print_json(fields_of(found) | {"steps": shown})
        return
    run_texts.print_run(found, zone)
    for step, action in calls:
        run_texts.print_step(step, action=action, names=names)
    run_texts.print_end(found, steps, zone)


@group.command("tail")
def tail(
    common: CommonOptions,
    run: RunOrNewest = None,
) -> None:
    """Follow a run until it is over: print each call, and each attempt that fails.

    Exits as `rota run` does, by its result. Ctrl-C stops following; the run goes on.
    With --json: a line for each call whenever it begins, fails or ends, then one for the run.
    """
    last: RunView | None = None

    async def work(app: App, me: UserId) -> None:
        nonlocal last
        zone = await app.schedules.zone(me)
        async for news in app.follower.follow(me, run):
            last = news.run
            if common.json:
                _print_json_news(news)
                continue
            _print_news(news, zone)
            is_first = news.before is None
            if is_first and last.status in _TO_BEGIN and not await app.runs.somebody_works():
                output.warn(
                    "No worker is running. The run starts once you start `rota up`, or a "
                    "scheduler and a worker."
                )

    try:
        common.as_person(work)
    except KeyboardInterrupt:
        output.warn("Stopped following. The run goes on.")
        raise typer.Exit(INTERRUPTED) from None
    if last is not None and last.result_status is not None:
        raise typer.Exit(EXIT_OF_STATUS[last.result_status])


@group.command("cancel")
def cancel(
    common: CommonOptions,
    run: Run,
    note: Annotated[
        str, typer.Option("--note", help="The reason, for people who look at the run later.")
    ] = "",
) -> None:
    """Cancel a run, also on another machine. What it has so far is stored as its result."""
    found = common.as_person(lambda app, me: app.runs.cancel(me, run, note))
    if found.status is RunStatus.CANCELLED:
        done = "Cancelled before it began."
    else:
        done = "The run is stopping. Its worker stores the result so far within two seconds."
    output.print_done(done, found, as_json=common.json)


@group.command("retry")
def retry(common: CommonOptions, run: Run, no_wait: NoWait = False, timeout: Timeout = 600) -> None:
    """Start a new run with the prompt of a run that is over, and with the agent as it is now."""
    request_and_show(
        common,
        lambda app, me: app.runs.retry(me, run),
        wait=not no_wait,
        timeout=timeout,
    )


def _print_json_news(news: RunNews) -> None:
    from rota.services.runs.traces import step_json

    for one in news.news:
        output.print_json_line({"step": step_json(one.step)})
    if news.run.status in OVER:
        output.print_json_line({"run": news.run})


def _print_news(news: RunNews, zone: str) -> None:
    """Print where a run stands, if that is new, and its calls that began, ended or failed."""
    from rota.cli.runs import texts as run_texts

    if news.before is None:
        run_texts.print_run(news.run, zone)
    for one in news.news:
        if one.is_changed:
            run_texts.print_step(one.step, attempts_told=one.attempts_told)
        else:
            for attempt in one.step.attempts[one.attempts_told :]:
                run_texts.print_attempt(attempt)
    if news.run.status in OVER:
        run_texts.print_end(news.run, news.steps, zone)
        why = run_texts.why_failed(news.run)
        if news.before is not None and why:
            output.say_line(f"{'Why':10} {why}")
        result = f", {news.run.result_status}" if news.run.result_status else ""
        output.say(f"{run_texts.status(news.run)}{result}.")
    elif news.run.status is RunStatus.SUSPENDED:
        output.say("It waits for your decision: see `rota approvals list`.")
    elif news.before not in {None, news.run.status}:
        output.say(f"It is {run_texts.status(news.run)}.", style="dim")
