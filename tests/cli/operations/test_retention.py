"""`rota retention`: the operator sees, sets and applies what is kept for how long."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import InvalidInputError
from tests.services.auditing import LONG_AGO, Log

DEFAULTS = {
    "journal_days": 30,
    "run_days": 365,
    "notification_days": 365,
    "history_days": 365,
    "queue_log_days": 7,
    "audit_days": None,
}
NOTHING = {
    "steps": 0,
    "runs": 0,
    "results": 0,
    "occurrences": 0,
    "notifications": 0,
    "schedule_changes": 0,
    "incidents": 0,
    "queue_log": 0,
    "audit": 0,
    "audit_refused": 0,
}


@pytest.fixture
def rota(database_url, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)  # and no ROTA_USER: nobody's command

    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, ["retention", *arguments])
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


@pytest.fixture
async def old_run(owner, alice):
    """A run of two years ago with a step and a result."""
    await owner.execute(
        "WITH run AS (INSERT INTO agent_runs"
        " (user_id, agent_name, trigger, status, attempt, finished_at)"
        " VALUES (%s, 'a', 'manual', 'finished', 1, now() - interval '2 years')"
        " RETURNING id, user_id, finished_at), step AS (INSERT INTO agent_run_steps"
        " (run_id, model_step, call_index, user_id, kind, name, status, attempt, started_at)"
        " SELECT id, 1, -1, user_id, 'model', 'm', 'finished', 1, finished_at FROM run)"
        " INSERT INTO agent_execution_results"
        " (user_id, run_id, agent_name, status, execution_duration_ms)"
        " SELECT user_id, id, 'a', 'success', 1 FROM run",
        [alice],
    )


def table(said):
    """Return the cells of the first two columns by line, the headings left out."""
    return {
        cells[0]: cells[1]
        for line in said.partition("\n\n")[0].splitlines()[1:]
        if (cells := [cell for cell in line.split("  ") if cell.strip()])
    }


async def test_what_is_kept_is_shown_and_set(rota):
    assert await rota("show", "--json") == DEFAULTS
    shown = table(await rota("show"))
    assert {name: days.strip() for name, days in shown.items()} == {
        "--journal-days": "30 days",
        "--run-days": "365 days",
        "--notification-days": "365 days",
        "--history-days": "365 days",
        "--queue-log-days": "7 days",
        "--audit-days": "forever",
    }

    said = await rota(
        *("set", "--journal-days", "1", "--run-days", "forever", "--notification-days", "90"),
        *("--history-days", "Forever", "--queue-log-days", "2"),
        *("--audit-days", "3650"),
    )

    assert {name: days.strip() for name, days in table(said).items()} == {
        "--journal-days": "1 day",
        "--run-days": "forever",
        "--notification-days": "90 days",
        "--history-days": "forever",
        "--queue-log-days": "2 days",
        "--audit-days": "3650 days",
    }
    assert await rota("show", "--json") == {
        "journal_days": 1,
        "run_days": None,
        "notification_days": 90,
        "history_days": None,
        "queue_log_days": 2,
        "audit_days": 3650,
    }


async def test_setting_says_when_it_takes_effect_and_what_mends_a_journal_that_is_too_long(rota):
    assert "`rota retention run --dry-run` shows how much that is." in await rota(
        "set", "--notification-days", "90"
    )
    with pytest.raises(InvalidInputError, match="Keep journals for 365 days or less, or runs for"):
        await rota("set", "--journal-days", "forever")


async def test_a_setting_that_is_left_out_stays(rota):
    await rota("set", "--queue-log-days", "3")

    assert await rota("show", "--json") == DEFAULTS | {"queue_log_days": 3}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name what to change"),
        (("--run-days", "soon"), "run_days is a number of days, or forever, not 'soon'"),
        (("--run-days", "0"), "run_days is 1 to 36500 days"),
        (("--run-days", "7"), "A journal cannot outlive its run"),
        (("--journal-days", "forever"), "A journal cannot outlive its run"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(rota, arguments, said):
    with pytest.raises(InvalidInputError, match=said):
        await rota("set", *arguments)

    assert await rota("show", "--json") == DEFAULTS


async def test_a_dry_run_says_what_would_go_and_a_run_what_went(rota, old_run, owner):
    going = NOTHING | {"steps": 1, "runs": 1, "results": 1}

    would = await rota("run", "--dry-run")
    assert "WOULD GO" in would
    assert {what: count.strip() for what, count in table(would).items()} == {
        "steps of journals": "1",
        "runs": "1",
        "results": "1",
        "fire times": "0",
        "notifications": "0",
        "earlier rules of schedules": "0",
        "closed incidents": "0",
        "lines of the queue's log": "0",
        "entries of the audit log": "0",
    }
    assert await rota("run", "--dry-run", "--json") == going

    assert await rota("run", "--json") == going

    assert await rota("run", "--json") == NOTHING
    assert "WENT" in await rota("run")
    assert await (await owner.execute("SELECT count(*) FROM agent_runs")).fetchone() == (0,)


async def test_what_is_kept_for_ever_stays(rota, old_run):
    await rota("set", "--journal-days", "forever", "--run-days", "forever")

    assert await rota("run", "--json") == NOTHING


async def test_run_whose_journal_is_gone_says_when_it_went(rota, old_run, monkeypatch):
    await rota("set", "--run-days", "forever")
    await rota("run")

    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    listed = await asyncio.to_thread(CliRunner().invoke, app, ["runs", "list", "--json"])
    (run,) = json.loads(listed.stdout)
    shown = await asyncio.to_thread(CliRunner().invoke, app, ["runs", "show", run["id"], "--json"])

    assert run["result_status"] == "success"
    assert json.loads(shown.stdout)["steps"] == []
    assert json.loads(shown.stdout)["journal_pruned_at"] is not None


async def test_chain_of_the_audit_log_that_was_not_pruned_is_told_of(rota, database, owner, alice):
    log = Log(database, owner)
    await log.sealed(alice, at=LONG_AGO)
    await owner.execute("UPDATE audit_logs SET outcome = 'failed'")
    await rota("set", "--audit-days", "365")

    said = await rota("run")

    assert "because they were changed: 1." in said
