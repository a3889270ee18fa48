"""Schedules from the command line: added, read back, changed, explained, backfilled."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from tests.unit.schedules.test_calendar_files import calendar


@pytest.fixture
def owner_sql(owner_url):
    with psycopg.connect(owner_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def rota(database_url, alice, owner_sql, monkeypatch):
    """Run a command in this process; returns what it printed, or its JSON."""
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    owner_sql.execute(
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


def test_phrase_is_added_and_read_back_with_fires_and_changes_of_the_clock(rota):
    said = rota("schedules", "add", "watcher", "daily at 2:30", "--time-zone", "Europe/Berlin")
    first, *rest = said.splitlines()
    assert first == "Added watcher: At 02:30 (Europe/Berlin)."
    assert sum("02:30:00 CE" in line for line in rest) == 5
    assert sum("does not exist; it fires at 03:00 CEST" in line for line in rest) == 1
    assert sum("comes twice; it fires once" in line for line in rest) == 1


def test_every_kind_of_rule_can_be_added(rota):
    rota("schedules", "add", "watcher", "30 7 * * mon-fri; 0 9 * * sat", "--name", "cron")
    rota("schedules", "add", "watcher", "--every", "90m", "--name", "interval")
    year = datetime.now(UTC).year + 1
    rota("schedules", "add", "watcher", "--at", f"{year}-12-24 18:00", "--name", "once")

    listed = {s["schedule"]: s for s in rota("schedules", "list", "--json")}

    assert listed["cron"]["cron"] == "30 7 * * mon-fri; 0 9 * * sat"
    assert listed["interval"]["every"] == 5_400
    assert listed["once"]["instants"] == [f"{year}-12-24T18:00:00Z"]
    assert listed["once"]["in_words"].startswith("Once, on ")


def test_all_limits_and_policies_are_shown_and_can_be_taken_away(rota, tmp_path):
    file = tmp_path / "h.ics"
    file.write_bytes(calendar("UID:1\nDTSTART;VALUE=DATE:20200101\nRRULE:FREQ=YEARLY\nSUMMARY:NY"))
    assert rota("calendars", "import", "holidays", str(file)).startswith("holidays has ")
    rota(
        *(
            "schedules",
            "add",
            "watcher",
            "0 9 * * *",
            "--start",
            "2030-01-01",
            "--end",
            "2031-01-01",
        ),
        *("--jitter", "5m", "--active-hours", "08:00-18:00", "--active-days", "mon-fri"),
        *("--except", "2030-12-24", "--except-calendar", "holidays", "--dst-gap", "skip"),
        *("--dst-overlap", "twice", "--overlap", "buffer_one", "--catch-up", "all"),
        *("--catch-up-window", "2h", "--max-runs", "7", "--pause-after-failures", "3"),
    )

    shown = rota("schedules", "show", "watcher")

    for part in (
        *("Starts     Tue 2030-01-01", "Ends       Wed 2031-01-01", "0 of 7", "up to 5 minutes"),
        *("mon-fri 08:00-18:00", "2030-12-24, holidays", "buffer_one", "all, within 2 hours"),
        *("after 3 in a row", "gap skip, overlap twice"),
    ):
        assert part in shown
    rota(
        *("schedules", "edit", "watcher", "--start", "none", "--end", "none", "--max-runs", "0"),
        *("--active-hours", "none", "--except", "none", "--except-calendar", "none"),
    )
    edited = rota("schedules", "show", "watcher", "--json")
    assert [edited[k] for k in ("starts_at", "ends_at", "max_runs", "active_hours")] == [None] * 4
    assert edited["calendars"] == []
    assert edited["jitter"] == 300


def test_edit_reads_the_new_rule_back(rota):
    rota("schedules", "add", "watcher", "@daily")
    said = rota("schedules", "edit", "watcher", "weekdays at 7:30")
    assert said.startswith("Changed watcher: At 07:30, Monday through Friday (UTC).")
    with pytest.raises(ConflictError, match="revision 2"):
        rota("schedules", "edit", "watcher", "--prompt", "x", "--revision", "1")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("add", "nobody", "@daily"), NotFoundError),
        (("add", "watcher", "every blue moon"), InvalidInputError),
        (("add", "watcher", "@daily", "--every", "1h"), InvalidInputError),
        (("add", "watcher", "--at", "2020-01-01"), InvalidInputError),
        (("add", "watcher", "@daily", "--except-calendar", "none-such"), NotFoundError),
        (("edit", "nothing", "@daily"), NotFoundError),
        (("why", "nothing", "--at", "7:00"), NotFoundError),
        (("preview", "61 * * * *"), InvalidInputError),
        (("backfill", "nothing", "--from", "7:00", "--to", "8:00"), NotFoundError),
    ],
)
def test_what_cannot_be_meant_is_refused(rota, arguments, error):
    with pytest.raises(error):
        rota("schedules", *arguments)


def test_prompt_that_is_too_long_is_refused_with_its_bound(rota):
    with pytest.raises(InvalidInputError, match="at most 100,000 characters"):
        rota("schedules", "add", "watcher", "every 1h", "--prompt", "x" * 100_001)


def test_why_and_backfill_speak_of_a_missed_time(rota, owner_sql):
    rota("schedules", "add", "watcher", "@hourly")
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    owner_sql.execute(
        "UPDATE agent_schedules SET created_at = %s, plan_from = %s",
        [hour - timedelta(days=1), hour - timedelta(days=1)],
    )
    owner_sql.execute(
        "INSERT INTO schedule_occurrences (schedule_id, fire_time, user_id, outcome, reason)"
        " SELECT id, %s, user_id, 'missed', 'nobody was there' FROM agent_schedules",
        [hour],
    )
    at = f"{hour:%Y-%m-%d %H:%M}"

    said = rota("schedules", "why", "watcher", "--at", at)
    assert f"{hour:%H:%M:%S} UTC: missed." in said
    assert "Nobody was there." in said
    rehearsal = rota("schedules", "backfill", "watcher", "--from", at, "--to", at, "--dry-run")
    assert "1 fire time; nothing was done." in rehearsal
    done = rota("schedules", "backfill", "watcher", "--from", at, "--to", at, "--json")

    assert len(done["runs"]) == 1
    again = rota("schedules", "why", "watcher", "--at", at, "--json")
    assert (again["verdict"], again["occurrence"]["run_id"]) == ("fired", done["runs"][0])


def test_calendar_folds_what_fires_often_and_shows_the_rest_by_day(rota):
    rota("schedules", "add", "watcher", "*/15 * * * *", "--name", "pulse")
    rota("schedules", "add", "watcher", "daily at 23:59", "--name", "night")
    rota("schedules", "add", "watcher", "@daily", "--name", "off")
    rota("schedules", "pause", "off", "--note", "later")

    said = rota("schedules", "calendar", "--days", "2")

    assert said.count("23:59        night") == 2
    assert "00:00-23:45  pulse  96 times" in said
    assert "off" not in said
    listed = rota("schedules", "calendar", "--days", "1", "--json")
    assert {item["schedule"] for item in listed} == {"pulse", "night"}
    assert listed == sorted(listed, key=lambda item: item["fire_time"])


def test_why_without_a_time_explains_the_last_fire_times(rota, owner_sql):
    rota("schedules", "add", "watcher", "@hourly")
    (new,) = rota("schedules", "why", "watcher", "--json")
    assert new["verdict"] == "upcoming"

    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
    made = hour - timedelta(minutes=30)
    owner_sql.execute("UPDATE agent_schedules SET created_at = %s, plan_from = %s", [made, made])
    owner_sql.execute(
        "INSERT INTO schedule_occurrences (schedule_id, fire_time, user_id, outcome, reason)"
        " SELECT id, %s, user_id, 'missed', 'nobody was there' FROM agent_schedules",
        [hour],
    )
    found = rota("schedules", "why", "watcher", "--json")

    assert [one["verdict"] for one in found] == ["overdue", "overdue", "missed"]
    assert [datetime.fromisoformat(one["at"]) for one in found] == [
        hour + timedelta(hours=late) for late in (2, 1, 0)
    ]
    said = rota("schedules", "why", "watcher")
    assert said.splitlines()[0].split() == ["TIME", "VERDICT", "WHY"]
    assert said.count("overdue") == 2
    assert "Nobody was there." in said


def test_paused_schedule_says_why_and_resumes_in_the_future(rota):
    rota("schedules", "add", "watcher", "@hourly", "--paused")
    assert "Paused     it was added paused" in rota("schedules", "show", "watcher")
    rota("schedules", "pause", "watcher", "--note", "on holiday")
    assert "Paused     on holiday" in rota("schedules", "show", "watcher")
    said = rota("schedules", "resume", "watcher", "--note", "back early")
    assert said.startswith("Resumed watcher: Every hour")
    shown = rota("schedules", "show", "watcher", "--json")
    assert shown["pause_note"] == "on holiday; resumed: back early"
    assert shown["state"] == "active"


def test_calendars_are_listed_shown_and_removed(rota):
    rota("calendars", "add", "office", "2030-12-24..2031-01-01", "--summary", "Closed")
    assert rota("calendars", "list", "--json")[0]["next_day"] == "2030-12-24"
    assert "2030-12-24  2031-01-01  Closed" in rota("calendars", "show", "office")
    rota("calendars", "remove", "office")
    assert "There are no calendars" in rota("calendars", "list")


def test_preview_leaves_out_what_will_not_fire():
    arguments = ["schedules", "preview", "@hourly", "--active-hours", "08:00-09:00", "--json"]
    shown = json.loads(CliRunner().invoke(app, arguments).stdout)
    assert {fire[11:16] for fire in shown["next_fires"]} == {"08:00"}


def day(offset):
    return (datetime.now(UTC) + timedelta(days=offset)).date().isoformat()


def test_fires_that_will_be_suppressed_are_told_apart_from_those_that_run(rota):
    off = f"{day(0)}..{day(2)}"
    added = rota("schedules", "add", "watcher", "daily at 23:59", "--except", off)
    shown = rota("schedules", "show", "watcher")
    edited = rota("schedules", "edit", "watcher", "--max-runs", "2")

    for said in (added, shown, edited):
        fires = [line for line in said.splitlines() if "23:59:00 UTC" in line]
        assert not any(day(offset) in line for offset in range(3) for line in fires[:-1])
        assert day(3) in fires[0]
        assert fires[-1].startswith("Suppressed")
        assert f"({day(0)} is a day off by its own exclusions), and 2 more" in fires[-1]
    assert [line[11:].split()[1] for line in edited.splitlines() if "23:59:00" in line][:-1] == [
        day(3),
        day(4),
    ], "it runs twice at most"
    assert day(3) in rota("schedules", "list")
    (listed,) = rota("schedules", "list", "--json")
    assert [fire[:10] for fire in listed["next_fires"]] == [day(3)]
    assert [fire["fire_time"][:10] for fire in listed["suppressed_fires"]] == [
        day(0),
        day(1),
        day(2),
    ]


def test_calendar_of_a_schedule_suppresses_its_next_fires_everywhere(rota):
    rota("calendars", "add", "office", f"{day(0)}..{day(1)}", "--summary", "Closed")
    rota("schedules", "add", "watcher", "daily at 23:59", "--except-calendar", "office")

    shown = rota("schedules", "show", "watcher", "--json")
    assert shown["next_fires"][0][:10] == day(2)
    assert "(Closed) by office" in shown["suppressed_fires"][0]["suppressed"]
    assert day(2) in rota("schedules", "list")
    week = rota("schedules", "calendar", "--json")
    assert [item["suppressed"] is None for item in week[:3]] == [False, False, True]


@pytest.mark.parametrize("command", [("add", "watcher"), ("preview",)])
def test_rule_that_its_active_time_never_lets_run_is_refused(rota, command):
    with pytest.raises(InvalidInputError, match=r"never runs.*07:00 is outside the active hours"):
        rota("schedules", *command, "daily at 7:00", "--active-hours", "08:00-18:00")


def test_preview_says_what_days_off_suppress():
    said = CliRunner().invoke(
        app, ["schedules", "preview", "daily at 23:59", "--except", day(0), "--count", "1"]
    )
    assert day(1) in said.stdout.splitlines()[1]
    assert f"({day(0)} is a day off by its own exclusions)" in said.stdout
