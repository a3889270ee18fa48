"""What an edit says that it changed, and schedules whose agents are told nothing."""

from __future__ import annotations

import json

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.runs.options import RunOptions
from rota.services.agents.option_checks import missing_prompt

SCRIPT = {"answer": "Quiet."}
DOUBT = "Warning: there is no prompt, so {} is not told what to do; give one (--prompt).\n"


@pytest.fixture
def rota(database_url, owner_url, alice, monkeypatch):
    """Run a command; returns what it printed, on standard error too."""
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    with psycopg.connect(owner_url, autocommit=True) as conn:
        for name, model in {"watcher": "scripted:x", "thinker": "openai:gpt-5"}.items():
            conn.execute(
                "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
                " VALUES (%s, %s, %s, %s)",
                [alice, name, model, json.dumps(SCRIPT) if name == "watcher" else None],
            )

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        assert result.exception is None, result.exception
        return result.output

    return run


def shown(rota):
    return json.loads(rota("schedules", "show", "watcher", "--json"))


def test_an_edit_says_what_it_changed_and_from_what(rota):
    rota("schedules", "add", "watcher", "@daily", "--prompt", "Look.")

    said = rota(
        *("schedules", "edit", "watcher", "0 8 * * *", "--prompt", "none", "--max-runs", "3"),
        *("--max-time", "5m", "--time-zone", "Europe/Berlin"),
    ).splitlines()

    assert said[0] == "Changed watcher: At 08:00 (Europe/Berlin)."
    assert said[1:7] == [
        "Prompt     Look. \u2192 (none)",
        "Rule       @daily: At 00:00 (UTC) \u2192 0 8 * * *: At 08:00 (Europe/Berlin)",
        "Time zone  UTC (yours) \u2192 Europe/Berlin",
        "Runs       (none) \u2192 0 of 3",
        "Each run   (none) \u2192 at most 5 minutes",
        said[6],
    ]
    assert said[6].startswith("Next fires ")


def test_an_edit_of_a_paused_schedule_says_how_to_resume_it(rota):
    rota("schedules", "add", "watcher", "@daily", "--prompt", "Look.")
    rota("schedules", "pause", "watcher", "--note", "set it there and restart it.")

    said = rota("schedules", "edit", "watcher", "--prompt", "Look again.").splitlines()

    assert "It is still paused: set it there and restart it." in said
    assert "`rota schedules resume watcher` resumes it." in said


def test_a_file_of_a_paused_schedule_says_how_to_resume_it(rota, tmp_path):
    file = tmp_path / "watcher.yaml"
    file.write_text(
        "name: watcher\nmodel: scripted:x\nscript: {answer: Fine.}\n"
        "schedules: [{name: morning, every: 1h}, {name: evening, every: 1h}]\n"
    )
    assert "paused" not in rota("agents", "apply", str(file))
    rota("schedules", "pause", "morning", "--note", "away")

    said = rota("agents", "apply", str(file))

    assert "it is still paused; `rota schedules resume morning` resumes it." in said
    assert said.count("paused") == 1


def test_an_edit_without_options_changes_nothing_and_says_so(rota):
    rota("schedules", "add", "watcher", "@daily", "--prompt", "Look.")
    before = shown(rota)

    said = rota("schedules", "edit", "watcher")

    assert said == (
        "Nothing changed: watcher already has these values.\n"
        "Name what to change. `rota schedules edit --help` lists the options.\n"
    )
    assert shown(rota) == before


@pytest.mark.parametrize(
    "options", [["--prompt", "Look."], ["@daily"], ["--max-runs", "0"], ["--name", "watcher"]]
)
def test_an_edit_to_what_is_so_already_changes_nothing_and_says_so(rota, options):
    rota("schedules", "add", "watcher", "@daily", "--prompt", "Look.")
    before = shown(rota)
    assert rota("schedules", "edit", "watcher", *options) == (
        "Nothing changed: watcher already has these values.\n"
    )
    assert shown(rota)["revision"] == before["revision"] == 1


def test_a_schedule_that_tells_its_agent_nothing_is_warned_of(rota, tmp_path):
    warning = DOUBT.format("thinker")
    assert warning in rota("schedules", "add", "thinker", "@daily")
    assert warning not in rota("schedules", "edit", "thinker", "--prompt", "Look.")
    assert warning in rota("schedules", "edit", "thinker", "--prompt", "none")
    assert warning not in rota("schedules", "edit", "thinker", "--check", "Is there mail?")
    assert "Warning" not in rota("schedules", "add", "watcher", "@daily"), "a script needs none"

    file = tmp_path / "a.yaml"
    file.write_text("{name: other, model: 'openai:gpt-5', schedules: [{name: o, cron: '@daily'}]}")
    in_file = f"Warning: schedule o: {DOUBT.format('other').removeprefix('Warning: ')}"
    assert in_file in rota("agents", "apply", str(file))


@pytest.mark.parametrize(
    ("fields", "is_missing"),
    [
        ({"model": "openai:x"}, True),
        ({"model": "openai:x", "prompt": "  "}, True),
        ({"model": "openai:x", "prompt": "Look."}, False),
        ({"model": "openai:x", "options": RunOptions(checklist=("Mail?",))}, False),
        ({"model": "callable:x"}, False),
        ({"model": "scripted:x"}, False),
        ({"model": "scripted:x", "script": {"answer": "{{ prompt }}"}}, True),
        ({"model": "scripted:x", "options": RunOptions(model="openai:x")}, True),
    ],
)
def test_which_agents_need_a_prompt(fields, is_missing):
    given = {"prompt": None, "options": RunOptions(), "script": SCRIPT, **fields}
    doubt = missing_prompt(given.pop("prompt"), given.pop("options"), agent_name="a", **given)
    assert (doubt is not None) is is_missing


def test_an_edit_of_lists_says_what_was_added_and_what_was_removed(rota):
    rota(
        *("schedules", "add", "watcher", "@hourly", "--active-hours", "08:00-12:00, 13:00-18:00"),
        *("--active-days", "mon-fri", "--except", "2099-12-24, 2099-12-31"),
        *("--check", "Mail?", "--check", "Calendar?"),
    )

    said = rota(
        *("schedules", "edit", "watcher", "--active-hours", "08:00-12:00, 14:00-18:00"),
        *("--except", "2099-12-24, 2099-12-26", "--check", "Calendar?", "--check", "News?"),
    ).splitlines()

    assert said[1:4] == [
        "Active     added 14:00-18:00; removed 13:00-18:00",
        "Except     added 2099-12-26; removed 2099-12-31",
        "Checklist  added News?; removed Mail?",
    ]
    assert "Except     2099-12-24, 2099-12-26 \u2192 (none)" in rota(
        "schedules", "edit", "watcher", "--except", "none"
    )


def test_an_edit_of_single_times_says_which(rota):
    rota(
        *("schedules", "add", "watcher", "--at", "2099-12-24 18:00", "--at", "2099-12-30 18:00"),
        *("--at", "2099-12-31 18:00"),
    )

    said = rota(
        *("schedules", "edit", "watcher", "--at", "2099-12-24 18:00", "--at", "2099-12-26 18:00"),
        *("--at", "2099-12-31 18:00"),
    )

    changed = "added Sat 2099-12-26 18:00:00 UTC; removed Wed 2099-12-30 18:00:00 UTC"
    assert f"Times      {changed}" in said


def test_the_calendar_and_what_starts_name_ones_own_zone_once(rota):
    rota("settings", "zone", "Europe/Berlin")
    rota(
        *("schedules", "add", "watcher", "0 7 * * *", "--time-zone", "Asia/Tokyo"),
        *("--active-days", "mon-fri"),
    )

    said = rota("schedules", "calendar")

    assert said.splitlines()[0] == "Times in Europe/Berlin."
    assert said.count("is not an active day, on the clock of Asia/Tokyo)") == 2
    assert "Times         in Europe/Berlin" in rota("status")


def test_a_removed_checklist_is_shown_line_under_line(rota):
    rota("schedules", "add", "watcher", "daily at 9", "--check", "mail", "--check", "disk")

    said = rota("schedules", "edit", "watcher", "--check", "none").splitlines()

    at = next(n for n, line in enumerate(said) if line.startswith("Checklist"))
    assert said[at : at + 2] == ["Checklist  1. mail", f"{'':10} 2. disk \u2192 (none)"]


def test_a_schedule_that_is_not_paused_is_not_said_to_be_resumed(rota):
    rota("schedules", "add", "watcher", "@hourly")

    assert rota("schedules", "resume", "watcher").startswith("Nothing to resume in watcher: Every")
    rota("schedules", "pause", "watcher")
    assert rota("schedules", "resume", "watcher").startswith("Resumed watcher: Every hour")
