"""`rota pause` and `rota resume`: what is said of it, and where a pause shows."""

from __future__ import annotations

import json

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import InvalidInputError


@pytest.fixture
def rota(database_url, owner_url, alice, monkeypatch):
    """Run a command in this process; returns what it printed, or its JSON."""
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
            " VALUES (%s, 'watcher', 'scripted:x', '{\"answer\": \"Quiet.\"}')",
            [alice],
        )

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


def test_pause_is_said_in_lists_and_ends_when_resumed(rota):
    rota("schedules", "add", "watcher", "daily at 7", "--name", "morning")
    rota("schedules", "add", "watcher", "tomorrow at 7", "--name", "once")

    said = rota("pause", "--until", "2099-01-02", "--note", "vacation: the Alps")

    whole = "All your schedules are paused until 2099-01-02 00:00 UTC: vacation: the Alps"
    assert said.splitlines()[0] == whole
    assert "once has its last fire time in the pause, and will not run." in said
    listed = rota("schedules", "list")
    assert f"{whole} (`rota resume`)" in listed
    assert "2099-01-02 07:00 UTC" in listed
    assert "everything paused until 2099-01-02 00:00 UTC: vacation: the Alps" in listed
    morning = next(s for s in rota("schedules", "list", "--json") if s["schedule"] == "morning")
    assert morning["next_fires"] == ["2099-01-02T07:00:00Z"]
    assert "vacation" in rota("schedules", "show", "morning")
    calendar = rota("schedules", "calendar")
    assert calendar.splitlines()[:2] == ["Times in UTC.", f"{whole} (`rota resume`)"]
    assert "07:00        morning  (not: paused)" in calendar
    assert calendar.count("the Alps") == 1
    why = rota("schedules", "why", "morning", "--at", "tomorrow 7:00")
    assert "It will not fire: everything paused until 2099-01-02 00:00 UTC" in why
    assert rota("resume").startswith("Resumed")
    assert "paused" not in rota("schedules", "list")
    assert rota("resume", "--json") == {"was_paused": False}


def test_pause_to_come_says_from_when_to_when(rota):
    said = rota("pause", "--from", "2098-12-24", "--for", "2w")

    assert said.splitlines()[0] == (
        "All your schedules will be paused from 2098-12-24 00:00 UTC until 2099-01-07 00:00 UTC."
    )
    made = rota("pause", "--json")
    assert (made["pause"]["ends_at"], made["schedules_without_fire"]) == (None, [])


def test_end_in_the_past_is_refused(rota):
    with pytest.raises(InvalidInputError, match="ends after it begins, and in the future"):
        rota("pause", "--until", "2020-01-01")
