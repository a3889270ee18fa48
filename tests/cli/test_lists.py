"""Lists on a terminal of 80 columns, and where they are piped."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from rich.cells import cell_len
from typer.testing import CliRunner

from rota.cli import output
from rota.cli.main import app
from tests.cli.terminal import on_terminal

LONG = "customer-support-summaries-of-the-week"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


@pytest.fixture
def environment(database_url, alice, owner_url):
    with psycopg.connect(owner_url, autocommit=True) as conn:
        for name in ("watcher", LONG):
            conn.execute(
                "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
                " VALUES (%s, %s, 'scripted:x', '{\"answer\": \"# A heading\\n\\nand a text\"}')",
                [alice, name],
            )
    return {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "00" * 32,
    }


@pytest.fixture
def rota(environment):
    def run(*arguments):
        done = CliRunner().invoke(app, arguments, env=environment)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    return run


@pytest.fixture
def filled(rota):
    rota("schedules", "add", LONG, "30 7 * * mon-fri; 0 9 * * sat", "--name", f"{LONG}-2")
    rota("schedules", "add", "watcher", "@daily", "--name", "daily", "--time-zone", "Asia/Tokyo")
    rota("schedules", "add", "watcher", "@hourly", "--name", "resting", "--paused")
    rota("schedules", "run", "daily")
    rota("run", LONG)
    return rota


LISTS = [
    *("schedules list", "runs list", "results list", "notifications list", "agents list"),
    *("tools list", "connections list", "calendars list", "prices show", "doctor"),
    *("settings show", "schedules show daily", "audit list", "approvals list"),
]


def test_lists_fit_into_80_columns_with_a_line_for_each(filled, environment):
    for command in LISTS:
        screen = on_terminal(command.split(), environment, width=80)

        assert max(map(cell_len, screen.lines)) <= 80, (command, screen.text)
    runs = on_terminal(["runs", "list"], environment, width=80).lines
    assert len([line for line in runs if "success" in line]) == 2
    assert any("customer-" in line and "…" in line for line in runs)


def test_schedules_list_shows_state_last_result_and_when_it_fires_in_one_zone(filled, environment):
    screen = on_terminal(["schedules", "list"], environment, width=80)
    rows = {line.split()[0].rstrip("…"): line for line in screen.lines if line}

    assert re.search(r"success +\d\d:00, in \d+ (h|min|s)$", rows["daily"])
    assert rows["resting"].endswith("paused")
    assert re.search(r" - +.*in \d+ (d|h|min)$", next(v for k, v in rows.items() if k in LONG))
    assert "Times in UTC." in screen.lines
    assert "Asia/Tokyo" not in screen.text.replace(" (Asia/Tokyo", "")


def test_runs_list_names_agent_and_schedule_apart(filled):
    head, *rows = filled("runs", "list").splitlines()

    assert head.split() == [
        *("ID", "WHEN", "AGENT", "SCHEDULE", "TRIGGER", "FIRE", "TIME", "STATE", "TOKENS", "COST")
    ]
    assert [re.split(r"  +", row)[2:4] for row in rows] == [[LONG, "-"], ["watcher", "daily"]]
    assert all(re.match("[0-9a-f]{8}-[0-9a-f-]{27} ", row) for row in rows), "whole when piped"


def test_backfilled_runs_stand_in_the_order_of_their_fire_times(rota, owner_url):
    rota("schedules", "add", "watcher", "0 * * * *", "--name", "hourly")
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    hours = [now - timedelta(hours=n) for n in (1, 2, 3)]
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute("UPDATE agent_schedules SET created_at = now() - interval '1 day'")
    rota("schedules", "backfill", "hourly", "--from", f"{hours[-1]:%Y-%m-%d %H:%M}", "--to",
         f"{hours[0]:%Y-%m-%d %H:%M}")  # fmt: skip

    listed = rota("runs", "list").splitlines()[1:]

    assert [re.findall(r"backfill +(\S+ \S+)", row) for row in listed] == [
        [f"{hour:%Y-%m-%d %H:%M}"] for hour in hours
    ]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_no_row_is_wider_than_the_terminal(monkeypatch, capsys, width):
    monkeypatch.setattr(output, "_width", lambda: width)

    output.table(
        ["ID", "NAME", "TITLE", "COST"],
        [("12345678", "n" * 70, "東" * 50, "$1.00"), ("1", "n", "t\nu", "-")],
        empty="",
        optional=["COST"],
    )

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert max(map(cell_len, lines)) < width
    assert lines[1].startswith("12345678  nnnn")
    assert "…" in lines[1]


def test_nothing_is_cut_and_little_is_padded_where_no_terminal_reads_it(capsys):
    long = "x" * 50_000

    output.table(["WITH", "RISK"], [(long, "high"), ("y", "low")], empty="", optional=["RISK"])

    head, first, second = capsys.readouterr().out.splitlines()
    assert first == f"{long}  high"
    assert head.split() == ["WITH", "RISK"]
    assert second == "y".ljust(102) + "low"


def test_texts_are_wrapped_under_their_column_and_whole(monkeypatch, capsys):
    monkeypatch.setattr(output, "_width", lambda: 50)
    text = " ".join(f"word{n}" for n in range(30))

    output.table(["CHECK", "WHAT"], [("Clock", text)], empty="", texts=["WHAT"])

    _, *lines = capsys.readouterr().out.splitlines()
    assert " ".join(line.removeprefix("Clock").strip() for line in lines) == text
    assert all(line.startswith("       ") for line in lines[1:])


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (timedelta(hours=4, minutes=20), "in 4 h"),
        (timedelta(seconds=5), "in 5 s"),
        (timedelta(days=3), "in 3 d"),
        (timedelta(minutes=-59), "59 min ago"),
        (timedelta(0), "0 s ago"),
    ],
)
def test_how_far_a_time_is(length, said):
    assert output.from_now(NOW + length, NOW) == said
