"""What is untrusted is shown as inert text; what is heavy stays off the start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from rota.cli import output

ATTACK = (
    "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://evil\x07click\x1b]8;;\x07 "
    "[bold red]markup[/] \u202egnp.exe\u202c \u2066x\u2069 \x9b31m \r overwritten\x08\x7f"
)


def test_control_and_bidi_characters_are_written_out(capsys):
    output.say(ATTACK)

    shown = capsys.readouterr().out
    for character in "\x1b\x07\x9b\r\x08\x7f\u202e\u2066":
        assert character not in shown
    assert "\\u001b[2J" in shown
    assert "[bold red]markup[/]" in shown


def test_a_table_shows_them_inert_too(capsys):
    output.table(["TITLE"], [(ATTACK,)], empty="")

    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold red]markup[/]" in shown


def test_newlines_tabs_and_letters_of_all_scripts_stay():
    assert output.plain("a\n\tb é 日本 🎉\r\n") == "a\n\tb é 日本 🎉\n"


def test_json_is_nothing_but_json(capsys):
    output.print_json(
        {"at": datetime(2026, 3, 2, 7, tzinfo=UTC), "for": timedelta(minutes=1), "id": UUID(int=1)}
    )

    assert json.loads(capsys.readouterr().out) == {
        "at": "2026-03-02T07:00:00Z",
        "for": 60.0,
        "id": "00000000-0000-0000-0000-000000000001",
    }


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["schedules", "preview", "0 7 * * *"]]
)
def test_start_loads_nothing_heavy(arguments):
    code = (
        "import sys; from rota.cli.main import run\n"
        "try: run()\n"
        "except SystemExit: pass\n"
        "heavy = {'langchain', 'langchain_core', 'langgraph', 'pgqueuer', 'psycopg', 'pydantic',"
        " 'httpx', 'structlog', 'jinja2'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    finished = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )

    assert finished.stderr.splitlines()[-1] == "[]"


PRINTING = """
import sys
import typer
from rota.cli import main, output

@main.app.command("printing")
def printing():
    {}

sys.argv = ["rota", "printing"]
main.run()
"""


@pytest.mark.parametrize(
    "prints",
    [
        "output.print_json([1, 2, 3])",
        "output.print_json(['x' * 100] * 10_000)",
        "output.table(['A'], [['x' * 100]] * 1_000, empty='')",
        "output.say('x'); raise typer.Exit(3)",
        "output.warn('x' * 100)",
    ],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_who_has_seen_enough_is_no_error(prints, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    is_on_error = "warn" in prints
    process = subprocess.Popen(
        [sys.executable, "-c", PRINTING.format(prints)],
        stdout=writing,
        stderr=writing if is_on_error else subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        text=True,
    )
    os.close(writing)
    _, said = process.communicate(timeout=60)

    assert process.returncode == 141
    assert not said
