"""What programs read: JSON from every command, with one name for a thing, errors too."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from tests.cli.test_reference import commands

LISTS = [
    *("agents list", "approvals list", "approvals deputies list", "approvals policy list"),
    *("audit list", "calendars list", "connections list", "notifications list", "people list"),
    *("prices show", "results list", "runs list", "schedules list", "schedules calendar"),
    *("tools list", "usage", "doctor"),
]


@pytest.fixture
def environment(database_url, alice, owner_url):
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
            " VALUES (%s, 'watcher', 'scripted:x', '{\"answer\": \"Quiet.\"}')",
            [alice],
        )
    return {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "00" * 32,
    }


@pytest.fixture
def rota(environment):
    def run(*arguments):
        result = CliRunner().invoke(app, arguments, env=environment)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return json.loads(result.stdout)

    return run


@pytest.fixture
def failing(environment):
    """Run a command that fails, as a process; returns its exit code and its error as JSON."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "rota", *arguments],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout == ""
        return done.returncode, json.loads(done.stderr.splitlines()[-1])["error"]

    return run


def filled(rota):
    """Make one of each thing that can be named."""
    rota("schedules", "add", "watcher", "0 7 * * *", "--name", "mornings", "--json")
    rota("schedules", "add", "watcher", "0 8 * * *", "--name", "later", "--paused", "--json")
    rota("schedules", "run", "mornings", "--json")
    rota("run", "watcher", "--json")
    rota("tools", "declare", "send", "--read-only", "--json")
    rota("approvals", "policy", "add", "--refuse", "send", "--schedule", "mornings", "--json")
    rota("approvals", "policy", "add", "--refuse", "send", "--agent", "watcher", "--json")
    rota("calendars", "add", "holidays", "2030-01-01", "--json")


def names_of_fields(value):
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            if key not in {"metadata", "limits", "options", "script"}:  # kept as they were stored
                yield from names_of_fields(item)
    elif isinstance(value, list):
        for item in value:
            yield from names_of_fields(item)


def test_a_list_is_an_array_of_like_objects_and_names_things_alike(rota, monkeypatch):
    filled(rota)
    monkeypatch.setenv("ROTA_TOOLS", "mine=somewhere:tool")

    for command in LISTS:
        listed = rota(*command.split(), "--json")

        assert isinstance(listed, list), command
        assert len({tuple(one) for one in listed}) <= 1, command
        assert not {"agent_name", "schedule_name", "tool_name"} & set(names_of_fields(listed))


def test_agent_schedule_and_tool_have_the_same_key_in_each_command(rota):
    filled(rota)

    assert {one["agent"] for one in rota("agents", "list", "--json")} >= {"watcher"}
    for command in ("runs list", "results list", "schedules list", "schedules calendar"):
        assert {one["agent"] for one in rota(*command.split(), "--json")} == {"watcher"}
    for command in ("runs list", "results list", "schedules calendar"):
        assert "mornings" in {one["schedule"] for one in rota(*command.split(), "--json")}
    assert {one["schedule"] for one in rota("schedules", "list", "--json")} == {"later", "mornings"}
    assert "send" in {one["tool"] for one in rota("tools", "list", "--json")}
    rules = rota("approvals", "policy", "list", "--json")
    assert [(r["effect"], r["tool"], r["schedule"], r["agent"]) for r in rules] == [
        ("refuse", "send", "mornings", None),
        ("refuse", "send", None, "watcher"),
    ]


def test_tool_that_is_not_declared_has_the_fields_of_one_that_is(environment):
    environment["ROTA_TOOLS"] = "mine=somewhere:tool"

    done = CliRunner().invoke(app, ["tools", "list", "--json"], env=environment)
    *_, mine = listed = json.loads(done.stdout)

    assert mine["tool"] == "mine"
    assert not mine["is_declared"]
    assert mine["risk"] is None
    assert all(list(one) == list(mine) for one in listed)


def test_what_a_command_did_is_json_too(rota):
    filled(rota)

    assert rota("schedules", "pause", "mornings", "--json")["state"] == "paused"
    assert rota("schedules", "resume", "mornings", "--json")["state"] == "active"
    assert rota("schedules", "remove", "mornings", "--json")["schedule"] == "mornings"
    assert rota("settings", "zone", "Europe/Berlin", "--json") == {"time_zone": "Europe/Berlin"}
    assert rota("notifications", "read", "--all", "--json")["marked"] > 0
    assert rota("limits", "set", "--all", "--concurrency", "3", "--json")["in_all"]
    assert rota("retention", "set", "--run-days", "30", "--json")["run_days"] == 30
    assert rota("people", "refuse", "alice@example.com", "--json")[1]["may_run"] is False
    assert rota("prices", "set", "a:b", "--input", "1", "--output", "2", "--json")["model"] == "a:b"


def test_a_run_is_followed_by_lines_of_json(rota, environment):
    run_id = rota("run", "watcher", "--json")["run_id"]

    done = CliRunner().invoke(app, ["runs", "tail", run_id, "--json"], env=environment)
    *steps, last = map(json.loads, done.stdout.splitlines())

    assert [(one["step"]["kind"], one["step"]["status"]) for one in steps] == [
        ("model", "finished")
    ]
    assert (last["run"]["id"], last["run"]["status"]) == (run_id, "finished")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--json", "settings", "zone"),
        ("settings", "--json", "zone"),
        ("--as", "alice@example.com", "settings", "--json", "zone"),
        ("--as=alice@example.com", "--json", "settings", "zone"),
    ],
)
def test_options_of_every_command_may_stand_before_it(rota, arguments):
    assert rota(*arguments) == {"time_zone": "UTC"}


def test_option_before_a_command_that_does_not_take_it_is_refused(failing):
    code, error = failing("--as", "alice@example.com", "--json", "prices", "show")

    assert (code, error["type"]) == (2, "usage")
    assert error["message"].startswith("There is no option --as")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("schedules", "show", "nothing", "--json"),
            {"type": "not_found", "exit_code": 3, "kind": "schedule", "reference": "nothing"},
        ),
        (
            ("schedules", "add", "watcher", "99 * * * *", "--json"),
            {"type": "invalid_input", "exit_code": 2},
        ),
        (("runs", "list", "--limit", "many", "--json"), {"type": "usage", "exit_code": 2}),
        (("--json", "rnus", "list"), {"type": "usage", "exit_code": 2}),
        (("--json",), {"type": "usage", "exit_code": 2}),
        (
            ("--json", "agents", "list", "--database-url", "postgresql://x@127.0.0.1:1/x"),
            {"type": "unavailable", "exit_code": 5, "service": "database"},
        ),
        (
            ("agents", "list", "--as", "eve@example.com", "--json"),
            {"type": "not_found", "exit_code": 3, "kind": "user"},
        ),
        (
            ("run", "watcher", "--json", "--timeout", "1", "--no-wait", "--dry-run", "extra", "x"),
            {"type": "usage", "exit_code": 2},
        ),
    ],
)
def test_an_error_is_json_with_its_fields(failing, arguments, expected):
    code, error = failing(*arguments)

    assert code == expected["exit_code"]
    assert expected.items() <= error.items()
    assert error["message"]


def test_a_value_that_looks_like_the_option_after_two_dashes_is_none(environment):
    done = subprocess.run(
        [sys.executable, "-m", "rota", "schedules", "show", "--", "--json"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stderr == "No schedule '--json'. See `rota schedules list`.\n"


def test_every_command_speaks_json():
    for path, command in commands():
        options = {option for parameter in command.params for option in parameter.opts}
        assert "--json" in options, path


def test_reject_and_deny_are_what_refuse_is(failing):
    for group in ("approvals", "people"):
        (refuse,) = [c for path, c in commands() if path == f"rota {group} refuse"]
        assert "is the same" in refuse.help
    assert failing("approvals", "reject", "12345678", "--json")[1]["kind"] == "request"
    assert failing("people", "deny", "eve@example.com", "--json")[1]["kind"] == "user"


@pytest.mark.parametrize(
    "arguments",
    [
        ("agents", "list", "--as", "eve@example.com"),
        ("people", "refuse", "eve@example.com"),
        ("limits", "set", "--user", "eve@example.com", "--concurrency", "2"),
        ("approvals", "policy", "add", "--operator", "--allow", "x", "--user", "eve@example.com"),
        ("approvals", "deputies", "add", "alice@example.com", "eve@example.com"),
    ],
    ids=" ".join,
)
def test_a_person_whom_nobody_added_comes_with_how_to_add_them(failing, arguments):
    assert failing(*arguments, "--json")[1]["message"] == (
        "No user 'eve@example.com'. `rota people list` shows who there is, "
        "`rota people add eve@example.com` adds somebody."
    )
