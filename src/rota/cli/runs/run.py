"""`rota run AGENT`: starts a run now, under the same rules as a scheduled run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rota.cli import output
from rota.cli.exit_codes import EXIT_OF_STATUS, INTERRUPTED, NO_RESULT_YET
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.cli.runs.options import takes_options_of_run
from rota.domain.errors import RotaError
from rota.domain.runs.options import RunOptions

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.bootstrap.background import OperatorsCode
    from rota.domain.ids import RunId, UserId
    from rota.domain.runs.views import WholeResult

group = CommandGroup()
_LOOK_EVERY: Final = 2.0
"""Seconds between two looks whether somebody is alive to execute the run that is waited for."""

NoWait = Annotated[
    bool, typer.Option("--no-wait", help="Print the run's id, and do not wait for the result.")
]
Timeout = Annotated[
    int, typer.Option("--timeout", min=1, help="How many seconds to wait for the result.")
]


@group.command("run")
@takes_options_of_run
def run(
    common: CommonOptions,
    agent: Annotated[str, typer.Argument(help="The agent's name.")],
    prompt: Annotated[str, typer.Argument(help="The task for the agent.")] = "",
    *,
    options: RunOptions,
    no_wait: NoWait = False,
    timeout: Timeout = 600,
) -> None:
    """Run an agent now and show its result.

    The model and the limits that you name hold for this run only.
    """
    request_and_show(
        common,
        lambda app, me: app.runs.request(me, agent, prompt, options),
        wait=not no_wait,
        timeout=timeout,
    )


def request_and_show(
    common: CommonOptions,
    request: Callable[[App, UserId], Awaitable[RunId]],
    *,
    wait: bool,
    timeout: int,
) -> None:
    """Ask for a run; unless told otherwise wait for its result, print it, and exit by its status.

    Where no scheduler and worker are alive, this process executes the run itself.
    """
    from rota.cli.runs.results import show_result

    asked: list[RunId] = []
    found: WholeResult | None = None
    try:
        if wait:
            found = _run_and_wait(common, request, asked.append, limit=timedelta(seconds=timeout))
        else:
            run_id, somebody_works = common.as_person(_requested(request))
            asked.append(run_id)
    except KeyboardInterrupt:
        raise StoppedWaitingError("Interrupted", asked[0] if asked else None) from None
    run_id = asked[0]
    if not wait:
        if common.json:
            output.print_json({"run_id": run_id})
        else:
            output.say(str(run_id))
            if not somebody_works:
                output.warn(
                    "No worker is running. The run starts once you start `rota up`, or a "
                    "scheduler and a worker."
                )
        return
    if found is None:
        raise NoResultYetError(f"No result after {timeout} s", run_id)
    show_result(found, as_json=common.json)
    raise typer.Exit(EXIT_OF_STATUS[found.result.status])


def _requested(
    request: Callable[[App, UserId], Awaitable[RunId]],
) -> Callable[[App, UserId], Awaitable[tuple[RunId, bool]]]:
    async def work(app: App, me: UserId) -> tuple[RunId, bool]:
        return await request(app, me), await app.runs.somebody_works()

    return work


class NoResultYetError(RotaError):
    """The command stopped waiting for a run that has no result yet. The run continues."""

    exit_code = NO_RESULT_YET

    def __init__(self, why: str, run_id: RunId | None) -> None:
        super().__init__(f"{why}; {_what_becomes_of(run_id)}")
        self.run_id = run_id


class StoppedWaitingError(NoResultYetError):
    """Ctrl-C was pressed while the command waited for a run."""

    exit_code = INTERRUPTED


def _run_and_wait(
    common: CommonOptions,
    request: Callable[[App, UserId], Awaitable[RunId]],
    was_asked: Callable[[RunId], None],
    *,
    limit: timedelta,
) -> WholeResult | None:
    code: OperatorsCode | None = None

    async def somebody_works(app: App, _me: UserId) -> bool:
        return await app.runs.somebody_works()

    def prepare(is_needless: bool) -> None:
        nonlocal code
        if not is_needless:
            from rota.bootstrap.background import load_code

            code = load_code(common.settings)

    async def work(app: App, me: UserId, _: bool) -> WholeResult | None:
        async with AsyncExitStack() as stack:
            if code is not None:
                await stack.enter_async_context(_working(app, code))
            run_id = await request(app, me)
            was_asked(run_id)
            if code is None:
                await stack.enter_async_context(_telling_who_is_missing(app, me, run_id))
            result = await app.runs.wait(me, run_id, limit=limit)
            return None if result is None else await app.results.whole(me, result)

    return common.as_person_between(somebody_works, prepare, work)


def _what_becomes_of(run_id: RunId | None) -> str:
    if run_id is None:
        return "no run was asked for."
    return f"the run {run_id} goes on where `rota up` or a worker runs."


@asynccontextmanager
async def _telling_who_is_missing(app: App, me: UserId, run_id: RunId) -> AsyncIterator[None]:
    """Say once, during the block, that the processes that the run needs are gone.

    Those that are killed count as alive for some seconds more.
    """

    async def watch() -> None:
        while True:
            missing = await app.runs.missing(me, run_id)
            if missing:
                break
            await asyncio.sleep(_LOOK_EVERY)
        output.warn(
            f"The run waits: no {' and no '.join(missing)} is running. Start `rota up`, or "
            f"{' and '.join(f'`rota {kind}`' for kind in missing)}."
        )

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError, RotaError):  # what fails here fails the wait too
            await watching


@asynccontextmanager
async def _working(app: App, code: OperatorsCode) -> AsyncIterator[None]:
    """Admit and execute runs in this process, without firing schedules, for the block."""
    from rota.bootstrap.background import background

    stop = asyncio.Event()
    async with background(app, code) as tasks:
        loops = [
            asyncio.create_task(tasks.run_admission(stop)),
            asyncio.create_task(tasks.run_worker(stop)),
        ]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*loops)
