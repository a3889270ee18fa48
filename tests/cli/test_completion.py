"""What a shell offers: commands, options, values, and the names and ids that are there."""

from __future__ import annotations

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app


@pytest.fixture
def environment(database_url, alice, owner_url):
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO agent_configurations (user_id, agent_name, model) VALUES (%s, 'watcher',"
            " 'scripted:x')",
            [alice],
        )
    return {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "00" * 32,
        "ROTA_TOOLS": "send_fax=house:send_fax",
    }


def offered(environment, line):
    """Return what is offered for a line that ends where the cursor is."""
    words = len(line.split()) + line.endswith(" ")
    completing = {
        "_ROTA_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(words - 1),
    }
    done = CliRunner().invoke(app, [], env=environment | completing)
    assert done.stderr == ""
    return done.stdout.split()


def test_names_that_are_there_are_offered(environment):
    add = ["schedules", "add", "watcher", "@daily", "--name"]
    for name in ("mornings", "evenings"):
        assert CliRunner().invoke(app, [*add, name], env=environment).exit_code == 0
    calendar = ["calendars", "add", "holidays", "2030-01-01"]
    assert CliRunner().invoke(app, calendar, env=environment).exit_code == 0

    assert offered(environment, "rota schedules show ") == ["evenings", "mornings"]
    assert offered(environment, "rota --json schedules pause m") == ["mornings"]
    assert offered(environment, "rota runs list --schedule ") == ["evenings", "mornings"]
    assert "watcher" in offered(environment, "rota run ")
    assert "watcher" in offered(environment, "rota approvals list --agent ")
    assert offered(environment, "rota tools declare send_f") == ["send_fax"]
    assert offered(environment, "rota calendars show ") == ["holidays"]
    assert offered(environment, "rota schedules add watcher --except-calendar ") == ["holidays"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("rota results list --status ", ["success", "partial", "error"]),
        ("rota approvals list --up-to ", ["low", "medium", "high"]),
        ("rota schedules add x --overlap buffer", ["buffer_one", "buffer_all"]),
        ("rota schedules add x --dst-gap ", ["vixie", "skip", "shift"]),
        ("rota settings zone Europe/Berl", ["Europe/Berlin"]),
        ("rota approvals ref", ["refuse"]),
        ("rota notifications list --unr", ["--unread"]),
    ],
)
def test_values_and_options_are_offered(line, expected):
    assert offered({}, line) == expected


def test_a_tab_makes_no_database_and_says_nothing(tmp_path):
    folder = tmp_path / "none"

    assert offered({"ROTA_DATA_DIR": str(folder)}, "rota schedules show ") == []
    assert not folder.exists()
    away = {"ROTA_DATABASE_URL": "postgresql://x@127.0.0.1:1/x", "ROTA_USER": "a@b"}
    assert offered(away, "rota tools declare ") == []


def test_options_of_schedules_are_listed_under_headings():
    said = CliRunner().invoke(app, ["schedules", "add", "--help"]).stdout
    by_heading = {part.partition(":\n")[0]: part for part in said.split("\n\n")}

    assert "--every" in by_heading["When it fires"]
    assert "--active-hours" in by_heading["Days and hours"]
    assert "--max-cost" in by_heading["Limits"]
    assert "--retries" in by_heading["Overlap, missed fire times and failures"]
    assert "--approvals-most" in by_heading["Approvals"]
    assert "--json" in by_heading["Options of every command"]
    assert by_heading["Options"].count("\n  --") <= 4


def test_help_names_values_as_people_do():
    for command in (["runs", "list"], ["schedules", "add"], ["run"], ["agents", "apply"]):
        said = CliRunner().invoke(app, [*command, "--help"]).stdout
        for typers in ("<", "int range", "x>=", "{"):
            assert typers not in said.replace("{...}", ""), command
