"""Each run leaves its lines in the log: that it is due, that it starts, and how it ended."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from rota.agents.own_code.callables import AsyncFunction
from rota.cli.logs import configure_logs
from rota.domain.errors import SuspendedError
from rota.settings import Settings
from tests.services.harness import Workshop

MONDAY_7 = datetime(2026, 11, 30, 7, 0, tzinfo=UTC)
ANSWER = {"steps": [], "answer": "All quiet."}


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made


async def execute(workshop, script, **columns):
    await workshop.agent(script, tools=["boom", "send"])
    schedule = await workshop.schedule(**columns)
    with capture_logs() as logs, suppress(SuspendedError):
        await workshop.service().execute(schedule)
    return [line for line in logs if line["event"].startswith("run_")]


async def test_run_that_succeeds_says_when_it_starts_and_how_it_ended(workshop):
    started, ended = await execute(workshop, ANSWER)

    run_id = str((await workshop.row("agent_runs"))["id"])
    for line in (started, ended):
        assert line["schedule"] == "morning"
        assert line["agent"] == "watcher"
        assert line["run_id"] == run_id
        assert (line["trigger"], line["attempt"]) == ("manual", 1)
        assert line["log_level"] == "info"
    assert (started["event"], ended["event"]) == ("run_started", "run_ended")
    assert (ended["status"], ended["requests"]) == ("success", 0)
    assert ended["duration_ms"] >= 0
    assert "reason" not in ended


async def test_run_that_fails_says_why(workshop):
    script = {"steps": [], "answer": "{{ nothing.at.all }}"}
    _, ended = await execute(workshop, script)

    assert ended["status"] == "error"
    assert ended["log_level"] == "warning"
    assert "nothing" in ended["reason"]


async def test_failed_run_says_why_once(workshop, capsys):
    async def breaks(_context, _prompt):
        raise socket.gaierror(-2, "Name or service not known")

    await workshop.agent(model="callable:breaks")
    schedule = await workshop.schedule()
    configure_logs(Settings(), level="info")
    service = workshop.service(callables={"breaks": AsyncFunction("breaks", breaks)})
    await service.execute(schedule)

    started, failed = capsys.readouterr().err.splitlines()
    assert "morning: started" in started
    assert "[warning] morning: error after" in failed
    assert "The callable breaks failed: gaierror: [Errno -2] Name or service" in failed
    assert "Check that the worker reaches the server that it asks" in failed


async def test_run_that_asks_says_how_many_requests_wait(workshop):
    script = {"steps": [{"calls": [{"tool": "send", "args": {"to": "bob@example.com"}}]}]}
    _, ended = await execute(workshop, script | {"answer": "Asked."})

    assert (ended["status"], ended["requests"]) == ("success", 1)


async def test_run_that_parks_says_so(workshop):
    script = {"steps": [{"calls": [{"tool": "send", "args": {"to": "bob@example.com"}}]}]}
    _, parked = await execute(
        workshop, script | {"answer": "Sent."}, options=json.dumps({"approvals": "suspend"})
    )

    assert parked["event"] == "run_suspended"
    assert (parked["schedule"], parked["pending"]) == ("morning", 1)


async def test_run_that_is_due_is_said_by_the_scheduler(workshop):
    await workshop.agent(ANSWER)
    await workshop.due(MONDAY_7)

    with capture_logs() as logs:
        await workshop.scheduler().tick(MONDAY_7)

    [line] = [line for line in logs if line["event"].startswith("run")]
    assert line["event"] == "run_due"
    assert line["schedule"] == "morning"
    assert line["fire_time"] == "2026-11-30T07:00:00+00:00"
    assert line["run_id"] == str((await workshop.row("agent_runs"))["id"])


async def test_herd_is_said_in_one_line(workshop):
    await workshop.agent(ANSWER)
    for number in range(101):
        await workshop.due(MONDAY_7, name=f"s{number}")

    with capture_logs() as logs:
        await workshop.scheduler().tick(MONDAY_7)

    assert [line["count"] for line in logs if line["event"] == "runs_due"] == [101]
    assert [line for line in logs if line["event"] == "run_due"] == []


# -- How a line looks

FACTS = {"schedule": "briefing", "agent": "mailer", "run_id": "1a2b3c4d", "trigger": "schedule"}


def lines(capsys, log_format="text", **events):
    configure_logs(Settings(log_format=log_format), level="info")
    for event, more in events.items():
        structlog.get_logger("rota").info(event, **FACTS, **more)
    return capsys.readouterr().err.splitlines()


def test_line_reads_as_a_sentence_with_its_time(capsys):
    due, started, again, ended, failed = (
        lines(
            capsys,
            run_due={"fire_time": "2026-11-30T07:00:00+00:00", "late": False},
            run_started={"attempt": 1},
        )
        + lines(
            capsys,
            run_started={"attempt": 2},
            run_ended={"attempt": 1, "status": "success", "duration_ms": 12340, "requests": 0},
        )
        + lines(
            capsys,
            run_ended={
                "attempt": 1,
                "status": "error",
                "duration_ms": 900,
                "requests": 2,
                "reason": "The key\nwas \x1b[31mrefused",
            },
        )
    )

    for line in (due, started, again, ended, failed):
        assert datetime.strptime(line[:24], "%Y-%m-%d %H:%M:%S%z")
        assert "run_id=1a2b3c4d" in line
        assert "agent=mailer" in line
    assert due[25:].startswith("[info] briefing: due, a run is made ")
    assert started[25:].startswith("[info] briefing: started ")
    assert "attempt" not in started
    assert "attempt=2" in again
    assert ended[25:].startswith("[info] briefing: success after 12.3 s ")
    assert failed[25:].startswith(
        "[info] briefing: error after 0.9 s, 2 waiting for a decision: The key was "
    )
    assert "\x1b" not in failed
    assert "The key was \\u001b[31mrefused" in failed.replace("\\\\", "\\")


def test_line_on_a_terminal_fits_it(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logs(Settings(), level="info")
    facts = FACTS | {"agent": "briefing", "run_id": "1a2b3c4d-1111-4222-8333-444444444444"}
    structlog.get_logger("rota").info("run_started", **facts, attempt=1)

    plain = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).rstrip("\n")
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d \[info\] briefing: started run_id=1a2b3c4d trigger=schedule", plain
    )


def test_line_for_machines_has_the_fields(capsys):
    [line] = lines(
        capsys, "json", run_ended={"status": "success", "duration_ms": 12340, "requests": 0}
    )

    said = json.loads(line)
    assert said["event"] == "run_ended"
    assert (said["status"], said["duration_ms"], said["schedule"]) == ("success", 12340, "briefing")
    assert datetime.fromisoformat(said["timestamp"]).tzinfo is not None


@pytest.mark.parametrize("kind", ["full", "closed", "none", "a pipe that nobody reads"])
def test_log_that_cannot_be_written_costs_no_run(monkeypatch, capfd, kind):
    if kind == "none":
        stream = None
    elif kind == "a pipe that nobody reads":
        reading, writing = os.pipe()
        os.close(reading)
        stream = os.fdopen(writing, "w", encoding="utf-8")
    else:
        stream = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115  closed below
    if kind == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logs(Settings(), level="info")

    structlog.get_logger("rota").info("run_ended", **FACTS, status="success", duration_ms=1)

    assert capfd.readouterr().out == ""
    with suppress(OSError):
        if stream is not None:
            stream.close()


def test_commands_that_end_say_nothing_of_runs(capsys):
    configure_logs(Settings())
    structlog.get_logger("rota").info("run_started", **FACTS)

    assert capsys.readouterr().err == ""
