"""The entry point of the `rota` command: lists its commands and groups, and reports errors.

A room of commands is imported when one of its commands is called. Slow imports (psycopg, pydantic,
LangChain) are made by the commands that need them, so help and completion answer at once.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Final, NoReturn

import typer
from typer.exceptions import TyperException

import rota
from rota.cli.exit_codes import CUT_OFF, INTERRUPTED, UNEXPECTED
from rota.cli.groups import CommandGroup
from rota.domain.errors import InvalidInputError, RotaError

_COMMANDS: Final = (
    ("up", "operations.up", "Start everything, show a first briefing, and run until Ctrl-C."),
    (
        "down",
        "operations.detached",
        ("Stop the `rota up` of this data directory, in the background or in another terminal."),
    ),
    (
        "logs",
        "operations.detached",
        "Show the log of `rota up -d`: a line when a run is due, starts, ends or fails.",
    ),
    (
        "status",
        "operations.status",
        "Show what happened today, what failed, what waits, what comes next, and who works.",
    ),
    ("run", "runs.run", "Run an agent now and show its result."),
    (
        "usage",
        "runs.usage",
        "Show the tokens and the money that your runs used, by day and by schedule.",
    ),
    (
        "export",
        "agent_files.files",
        "Write your agents, schedules, calendars, rules and settings into a directory, as files.",
    ),
    (
        "apply",
        "agent_files.files",
        "Change your agents, schedules, calendars, rules and settings to what a directory says.",
    ),
    (
        "migrate",
        "operations.processes",
        "Update the database's schema, as the role that owns it.",
    ),
    (
        "backup",
        "operations.backups",
        "Write all that rota keeps to a new file, but for the key; rota may go on running.",
    ),
    (
        "restore",
        "operations.backups",
        "Bring a backup into an empty database, and say what was under way when it was made.",
    ),
    (
        "scheduler",
        "operations.processes",
        "Run a scheduler, which fires schedules. Several may run on one database.",
    ),
    (
        "worker",
        "operations.processes",
        "Run a worker, which executes runs. Several may run on one database.",
    ),
    (
        "serve",
        "operations.serve",
        "Serve the HTTP API, for this machine unless told otherwise.",
    ),
    (
        "openapi",
        "operations.serve",
        "Print the description of the HTTP API: OpenAPI 3.1, as JSON. It needs no database.",
    ),
    (
        "systemd",
        "operations.systemd",
        "Print a systemd unit that starts rota and keeps it running.",
    ),
    (
        "doctor",
        "operations.doctor",
        ("Check the installation, the database and the processes. Exit status 1: a check failed."),
    ),
    ("agents", "agents.commands", "Agents: list, show, apply from a file, export, remove."),
    ("tools", "agents.tools", "Tools: declare them, and try one. For the operator."),
    ("schedules", "schedules.commands", "Schedules: when agents run."),
    (
        "pause",
        "schedules.pauses",
        ("Pause all your schedules, for example for a vacation. Runs in this time are skipped."),
    ),
    (
        "resume",
        "schedules.pauses",
        "Resume all your schedules after `rota pause`. Each fires at its next time.",
    ),
    ("calendars", "schedules.calendars", "Calendars: days on which schedules do not fire."),
    ("runs", "runs.commands", "Runs: what is running, and what ran, step by step."),
    (
        "approvals",
        "approvals.commands",
        "Approvals: tool calls that wait for your decision.",
    ),
    (
        "audit",
        "audit.commands",
        "The audit log: every call and decision, chained so that changes can be found.",
    ),
    ("results", "runs.results", "Results: what runs returned."),
    ("notifications", "notifications.commands", "Notifications: what rota told you."),
    ("connections", "agents.connections", "Connections: your accounts at other services."),
    ("keys", "operations.keys", "Keys: what encrypts stored secrets."),
    ("prices", "agents.prices", "Prices of models, in US dollars."),
    ("retention", "operations.retention", "Retention: how long rota keeps its data."),
    ("settings", "agents.settings", ("Settings: your time zone, and your preferences for tools.")),
    (
        "people",
        "agents.people",
        "People: who may run agents. For the operator.",
    ),
    (
        "sign-in",
        "identity.sign_in",
        "Print a link that signs you in at a browser: once, within 15 minutes.",
    ),
    ("tokens", "identity.tokens", "Tokens: how programs call the HTTP API as you."),
    (
        "limits",
        "runs.limits",
        "Limits: runs at the same time, and tokens and money a day. For the operator.",
    ),
)
"""What stands at the top: a command or a group, its module, and its help.

Of a command it is the first paragraph of its docstring; a test compares.
"""

_rooms = CommandGroup()
for _name, _module, _help in _COMMANDS:
    _rooms.add(_name, f"rota.cli.{_module}", _help)

app = typer.Typer(
    name="rota",
    cls=_rooms.typer_class(),
    help="Runs AI agents on a schedule, unattended and safely.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"rota {rota.__version__}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run AI agents on a schedule, unattended and safely."""


def run() -> None:
    """Entry point: a sentence on standard error and an exit code, never a traceback."""
    # What a command imports stays until it ends: looking for cycles in it costs a tenth of it.
    gc.set_threshold(50_000)
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
        code = app(prog_name="rota", standalone_mode=False)
    except RotaError as error:
        if error.exit_code == UNEXPECTED and _is_debugged():
            raise
        _fail(error, _message_of(error), error.exit_code)
    except TyperException as error:
        _fail_for_usage(error)
    except typer.Abort as error:
        _fail(error, "Aborted.", 1)
    except BrokenPipeError:
        raise
    except Exception as error:  # the last resort: a person gets a sentence
        if _is_debugged():
            raise
        _fail(
            error,
            f"Something unexpected happened ({type(error).__name__}: {error}). This is a "
            "bug in rota. ROTA_LOG_LEVEL=debug shows where.",
            UNEXPECTED,
        )
    if code == INTERRUPTED:  # typer makes that of Ctrl-C
        _fail(KeyboardInterrupt(), "Interrupted.", INTERRUPTED)
    if code:
        sys.exit(code)


def _is_debugged() -> bool:
    # What the files say is in the environment by now.
    return os.environ.get("ROTA_LOG_LEVEL", "").lower() == "debug"


def _message_of(error: RotaError) -> str:
    if isinstance(error, InvalidInputError):
        from rota.cli.usage_errors import with_flags

        return with_flags(error, sys.argv[1:])
    return error.message


def _fail_for_usage(error: TyperException) -> NoReturn:
    """Say what is wrong with a command line; where it lacks a command, help does."""
    from rota.cli.usage_errors import in_words, is_help

    if is_help(error) and not _wants_json(sys.argv[1:]):
        print(error.format_message(), file=sys.stderr)
        sys.exit(error.exit_code)
    _fail(error, in_words(error), error.exit_code)


def _fail(error: BaseException, message: str, code: int) -> NoReturn:
    """Say what went wrong on standard error, with `--json` as JSON, and exit."""
    from rota.security.secrets.redaction import redact_text

    if _wants_json(sys.argv[1:]):
        from rota.cli.as_json import error_line

        print(error_line(error, message, code), file=sys.stderr, flush=True)
    else:
        from rota.cli.output import warn

        warn(redact_text(message))
    sys.exit(code)


def _wants_json(arguments: list[str]) -> bool:
    """Whether errors are JSON: `--json` was given, or the log is; also for unreadable arguments."""
    from rota.cli.as_json import logs_json

    end = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:end] or logs_json(arguments, os.environ)
