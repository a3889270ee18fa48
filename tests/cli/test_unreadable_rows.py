"""A person's own commands on rows of theirs that cannot be read: what is wrong, and the rest."""

from __future__ import annotations

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import RotaError

DIGITS = "jsonb_build_object('a', repeat('1', 5000)::numeric)"


@pytest.fixture
def owner_sql(owner_url):
    with psycopg.connect(owner_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def rota(database_url, alice, owner_sql, monkeypatch):
    """Run a command as Alice, who has two agents, schedules and runs; returns all that it said."""
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    for table in ("agent_configurations", "agent_schedules"):
        owner_sql.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_bounds_check")
    for name in ("good", "odd"):
        owner_sql.execute(
            "INSERT INTO agent_configurations (user_id, agent_name, model)"
            " VALUES (%s, %s, 'scripted:x')",
            [alice, name],
        )
        owner_sql.execute(
            "INSERT INTO agent_schedules (user_id, name, agent_name, cron)"
            " VALUES (%s, %s, %s, '0 7 * * *')",
            [alice, name, name],
        )
        owner_sql.execute(
            "INSERT INTO agent_runs (user_id, agent_name, trigger, fire_time)"
            " VALUES (%s, %s, 'manual', now())",
            [alice, name],
        )

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None and not isinstance(result.exception, RotaError):
            raise result.exception
        said = result.exception.message if result.exception else ""
        return f"{result.output}{said}"

    return run


def test_schedules_that_can_be_read_are_listed_and_the_other_is_named(rota, owner_sql):
    owner_sql.execute(f"UPDATE agent_schedules SET options = {DIGITS} WHERE name = 'odd'")

    said = rota("schedules", "list")

    assert "good" in said
    assert "Not shown: odd" in said
    assert "options" in said
    assert "options" in rota("schedules", "show", "odd")


def test_agents_that_can_be_read_are_listed_and_the_other_is_named(rota, owner_sql):
    owner_sql.execute(
        f"UPDATE agent_configurations SET model_settings = {DIGITS} WHERE agent_name = 'odd'"
    )

    said = rota("agents", "list")

    assert "good" in said
    assert "Not shown: odd" in said
    assert "model_settings" in rota("agents", "show", "odd")


def test_runs_that_can_be_read_are_listed_and_the_other_is_named(rota, owner_sql):
    owner_sql.execute("ALTER TABLE agent_runs DROP CONSTRAINT agent_runs_bounds_check")
    owner_sql.execute("UPDATE agent_runs SET fire_time = '-infinity' WHERE agent_name = 'odd'")

    said = rota("runs", "list")

    assert "good" in said
    assert "Not shown: odd" in said


COMMANDS = [
    ("schedules", "list"),
    ("schedules", "show", "good"),
    ("schedules", "calendar"),
    ("schedules", "why", "good", "--at", "07:00"),
    ("schedules", "edit", "good", "--prompt", "x"),
    ("schedules", "pause", "good"),
    ("schedules", "backfill", "good", "--from", "yesterday 6:00", "--to", "yesterday 8:00"),
    ("runs", "list"),
    ("results", "list"),
    ("notifications", "list"),
    ("approvals", "list"),
    ("approvals", "policy", "list"),
    ("audit", "list", "--since", "yesterday"),
    ("usage",),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_commands_in_a_zone_that_is_not_known_show_times_in_utc(rota, owner_sql, alice, command):
    owner_sql.execute(
        "INSERT INTO user_settings (user_id, time_zone) VALUES (%s, 'FOO+3')", [alice]
    )

    rota(*command)


def test_a_zone_that_is_not_known_is_named_and_another_is_set(rota, owner_sql, alice):
    owner_sql.execute(
        "INSERT INTO user_settings (user_id, time_zone) VALUES (%s, 'FOO+3')", [alice]
    )

    said = rota("schedules", "list")

    assert "'FOO+3' is not a time zone" in said
    assert "FOO+3" in rota("settings", "zone")
    assert rota("settings", "zone", "Europe/Berlin").strip() == "Europe/Berlin"
    assert "not a time zone" not in rota("schedules", "list")
