"""`rota migrate`, `rota scheduler`, `rota worker`: an operator starts each part alone."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.operations.readiness import say_ready
from rota.cli.options import CommonOptions, progress
from rota.settings import Settings

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.bootstrap.background import OperatorsCode

group = CommandGroup()


@group.command("migrate", person=False)
def migrate(common: CommonOptions) -> None:
    """Update the database's schema, as the role that owns it."""
    from rota.bootstrap import app as bootstrap

    with bootstrap.database_server(common.settings, progress=progress) as server:
        report = asyncio.run(bootstrap.bring_up_to_date(server))
        problem = asyncio.run(bootstrap.backend_role_problem(server))
    if problem is not None:
        output.warn(f"Warning: {problem}")
    if common.json:
        output.print_json(report)
        return
    for name in report.applied:
        output.say(f"applied {name}")
    for name in report.adopted:
        output.say(f"adopted {name}")
    output.say(f"The schema is up to date ({len(report.already)} migrations were applied before).")


AsChild = Annotated[
    bool,
    typer.Option(
        "--until-stdin-ends",
        hidden=True,
        help="Stop when standard input ends. `rota up` uses this.",
    ),
]


@group.command("scheduler")
def scheduler(common: CommonOptions, as_child: AsChild = False) -> None:
    """Run a scheduler, which fires schedules. Several may run on one database.

    It runs until you stop it. With --json, its log is JSON lines.
    """

    async def work(app: App, stop: asyncio.Event) -> None:
        from rota.bootstrap.background import scheduler_loop

        loop = scheduler_loop(app)
        settle_memory()
        log_ready("scheduler", as_child=as_child)
        say_ready()
        await loop.run(stop)

    run_process(common.settings_of_child if as_child else common.settings, work, as_child=as_child)


@group.command("worker")
def worker(common: CommonOptions, as_child: AsChild = False) -> None:
    """Run a worker, which executes runs. Several may run on one database.

    It runs until you stop it. With --json, its log is JSON lines.
    """
    from rota.bootstrap.background import background, load_code

    settings = common.settings_of_child if as_child else common.settings
    code: OperatorsCode | None = None

    def prepare() -> None:
        nonlocal code
        code = load_code(settings)

    async def work(app: App, stop: asyncio.Event) -> None:
        assert code is not None  # noqa: S101  # `prepare` has run
        if not as_child:  # the parent has printed it
            await warn_of_missing_code(app)
        async with background(app, code) as tasks:
            settle_memory()
            log_ready("worker", as_child=as_child)
            say_ready()
            await tasks.run_worker(stop)

    run_process(settings, work, as_child=as_child, prepare=prepare)


async def warn_of_role(app: App) -> None:
    """Say on standard error where rota works as the owner, or past row-level security."""
    from rota.store.roles import working_role_problem

    async with app.database.connection() as conn:
        problem = await working_role_problem(conn)
    if problem is not None:
        output.warn(f"Warning: {problem}")


async def warn_of_missing_code(app: App) -> None:
    """Say on standard error which tools and callables agents need that this process has not."""
    from rota.agents.tools.builtin import builtin_facts
    from rota.store.agents.rows import list_code_in_use

    here = {
        "tool": {*builtin_facts(), *app.settings.tools},
        "callable": set(app.settings.callables),
    }
    async with app.database.connection() as conn:
        missing = [c for c in await list_code_in_use(conn) if c.name not in here[c.kind]]
    for code in missing:
        first, more = code.agents[:3], len(code.agents) - 3
        agents = f"{', '.join(first)} and {more} more" if more > 0 else ", ".join(first)
        page = "own-tools" if code.kind == "tool" else "own-agents"
        output.warn(
            f"Warning: ROTA_{code.kind.upper()}S does not name the {code.kind} {code.name}, so "
            f"runs of {agents} fail here. Write it into ~/.config/rota/.env, as "
            f"docs/howto/{page}.md shows, and start rota again."
        )


def log_ready(kind: str, *, as_child: bool, **fields: str) -> None:
    """Log that a process is connected and begins; `rota up` says it of its children itself."""
    import structlog

    if not as_child:
        structlog.get_logger(__name__).info(f"{kind}_ready", pid=os.getpid(), **fields)


def settle_memory() -> None:
    """Keep what is loaded out of later garbage collections: walking it takes tens of ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(700)


def until_stopped(stop: asyncio.Event) -> None:
    """Let the first SIGINT or SIGTERM set `stop`, and a second one end the process at once."""

    def asked() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked)


def run_process(
    settings: Settings,
    work: Callable[[App, asyncio.Event], Awaitable[None]],
    *,
    as_child: bool,
    prepare: Callable[[], None] = lambda: None,
) -> None:
    """Do the work of a process until it is asked to stop. `prepare` comes before the database."""
    from rota.bootstrap import app as bootstrap
    from rota.cli.logs import configure_logs

    configure_logs(settings, level="info")
    prepare()

    async def run(server: bootstrap.Server) -> None:
        stop = asyncio.Event()
        until_stopped(stop)
        if as_child:
            _stop_with_parent(stop)
        async with bootstrap.application(settings, server) as app:
            if not as_child:  # the parent has printed it
                await warn_of_role(app)
            await work(app, stop)

    say = (lambda _: None) if as_child else progress
    with bootstrap.database_server(settings, progress=say) as server:
        asyncio.run(run(server))
    leave(0)


def _stop_with_parent(stop: asyncio.Event) -> None:
    """Set `stop` when standard input ends: its other end was the parent's, who is gone."""
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            loop.remove_reader(sys.stdin.fileno())
            stop.set()

    loop.add_reader(sys.stdin.fileno(), read)


def leave(code: int) -> None:
    """End the process now: a thread that a tool never returns from would keep it for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
