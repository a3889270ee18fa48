"""`rota`: the commands, and what becomes of errors.

Modules that take long to import (psycopg, LangChain, pydantic) are imported inside commands, so
that `rota --help` and completion answer at once.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Final

import typer

import rota
from rota.cli.agents import commands as agents
from rota.cli.agents import connections, prices, tools
from rota.cli.approvals import commands as approvals
from rota.cli.audit import commands as audit
from rota.cli.notifications import commands as notifications
from rota.cli.operations import doctor, processes, retention, up
from rota.cli.runs import commands as runs
from rota.cli.runs import limits, results, usage
from rota.cli.runs import run as run_command
from rota.cli.runs.run import INTERRUPTED
from rota.cli.schedules import calendars
from rota.cli.schedules import commands as schedules
from rota.domain.errors import RotaError, UnavailableError

UNEXPECTED: Final = 70
"""Exit code of an error that is a fault of rota's own (EX_SOFTWARE of sysexits)."""

CUT_OFF: Final = 141
"""Exit code where whoever read our output closed it: what a shell says of SIGPIPE."""

app = typer.Typer(
    name="rota",
    help="Runs AI agents on a schedule, unattended and safely.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(up.up)
app.command("run")(run_command.run)
app.add_typer(agents.app, name="agents")
app.add_typer(tools.app, name="tools")
app.add_typer(schedules.app, name="schedules")
app.add_typer(calendars.app, name="calendars")
app.add_typer(runs.app, name="runs")
app.add_typer(approvals.app, name="approvals")
app.add_typer(audit.app, name="audit")
app.add_typer(results.app, name="results")
app.add_typer(notifications.app, name="notifications")
app.add_typer(connections.app, name="connections")
app.add_typer(prices.app, name="prices")
app.command("usage")(usage.usage)
app.add_typer(retention.app, name="retention")
app.add_typer(limits.app, name="limits")
app.command("migrate")(processes.migrate)
app.command("scheduler")(processes.scheduler)
app.command("worker")(processes.worker)
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"rota {rota.__version__}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which one.")
    ] = False,
) -> None:
    """Run AI agents on a schedule, unattended and safely."""


def run() -> None:
    """Entry point: a sentence on standard error and an exit code, never a traceback."""
    out, ending, is_cut = sys.stdout, None, False
    try:
        _run()
    except SystemExit as error:
        ending = error
        # Typer puts another one in its place where a write to it failed.
        is_cut = sys.stdout is not out
    except BrokenPipeError:
        is_cut = True
    try:
        out.flush()
    except BrokenPipeError:
        is_cut = True
    if is_cut:
        # The reader (head, less) has seen enough; keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        sys.exit(CUT_OFF)
    if ending is not None:
        raise ending


def _run() -> None:
    try:
        app()
    except RotaError as error:
        _fail(error.message, error.exit_code)
    except KeyboardInterrupt:
        _fail("Interrupted.", INTERRUPTED)
    except BrokenPipeError:
        raise
    except Exception as error:  # the last resort: a person gets a sentence
        if os.environ.get("ROTA_LOG_LEVEL", "").lower() == "debug":
            raise
        if type(error).__module__.startswith("psycopg") and "Operational" in type(error).__name__:
            said = " ".join(str(error).split())
            _fail(f"The database went away: {said}", UnavailableError.exit_code)
        _fail(
            f"Something unexpected happened ({type(error).__name__}: {error}). This is a fault of "
            "rota's; ROTA_LOG_LEVEL=debug shows where.",
            UNEXPECTED,
        )


def _fail(message: str, code: int) -> None:
    from rota.cli.output import warn
    from rota.security.secrets.redaction import redact_text

    warn(redact_text(message))
    sys.exit(code)
