"""A command that reads imports little: modules are counted, as they are what its time goes to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rota.bootstrap.app import App, Service

HEAVY = frozenset(
    {
        *("bs4", "cryptography", "genai_prices", "httpx", "icalendar", "jinja2", "jsonschema_rs"),
        *("langchain", "langchain_core", "langgraph", "pgqueuer", "pydantic", "structlog", "yaml"),
    }
)
MOST = 572
"""Modules; `import typer, psycopg` are 327, and a list of schedules was 766."""

READING = [
    *("agents list", "approvals list", "approvals deputies list", "approvals policy list"),
    *("audit list", "audit verify", "calendars list", "connections list", "doctor", "limits show"),
    *(
        "notifications list",
        "people list",
        "results list",
        "retention show",
        "settings show",
        "status",
        "runs list",
        "schedules list",
    ),
    *("schedules calendar", "schedules preview @daily", "tools list", "usage"),
]

SAY_MODULES = """
import atexit, sys
atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))
sys.argv = ["rota", *sys.argv[1:]]
from rota.cli.main import run
run()
"""


def modules_of(*arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-c", SAY_MODULES, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr  # 1: doctor finds no scheduler
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("command", READING)
@pytest.mark.usefixtures("alice")
def test_command_that_reads_imports_little(command, database_url):
    found = modules_of(
        *command.split(), ROTA_DATABASE_URL=database_url, ROTA_USER="alice@example.com"
    )

    assert not found & HEAVY
    assert len(found) <= MOST


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_help_imports_no_room(arguments):
    done = subprocess.run(
        [sys.executable, "-c", SAY_MODULES, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    found = set(done.stderr.splitlines()[-1].split())

    assert "rota.cli.groups" in found
    assert not found & (HEAVY | {"psycopg", "rich", "rota.cli.schedules.commands"})


def test_what_commands_ask_for_needs_no_structlog():
    """Else its lines would go to standard output: `rota.logs` sets it up before the first one."""
    services = sorted(name for name in vars(App) if isinstance(vars(App)[name], Service))
    code = f"""
import sys
from pathlib import Path
from rota.bootstrap.app import App, Server, make_cipher, make_database
from rota.settings import read_settings
settings = read_settings({{"ROTA_SECRET_KEY": "00" * 32}}, data_dir=Path("/nowhere"))
server = Server("postgresql:///x", "postgresql:///x", None)
app = App(settings, server, make_database(settings, server), make_cipher(settings))
for name in {services!r}:
    getattr(app, name)
sys.exit("structlog" in sys.modules)
"""
    assert len(services) > 15
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
