"""How things stand for a person, counted from what the database holds; and how that reads."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.operations.status import PausedSchedule, Today, Waiting
from rota.services.operations.status import StatusService
from rota.services.schedules.pauses import PauseService
from rota.services.schedules.service import ScheduleService
from rota.store.operations import processes
from tests.services.harness import ANSWER

HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def status(database, workshop):
    schedules = ScheduleService(database, clock=now)
    service = StatusService(
        database, schedules, PauseService(database, schedules, clock=now), clock=now
    )

    async def get(user=None):
        return await service.get(user or workshop.user)

    return get


@pytest.fixture
def rota(database_url, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


async def result(workshop, status, metadata=None, created="now()", content="It broke.\nBadly."):
    await workshop.owner.execute(
        "WITH run AS (INSERT INTO agent_runs (user_id, agent_name, trigger, status)"
        " VALUES (%(user)s, 'watcher', 'manual', 'finished') RETURNING id)"
        " INSERT INTO agent_execution_results (user_id, run_id, agent_name, status,"
        " execution_duration_ms, result_content, metadata, created_at)"
        f" SELECT %(user)s, id, 'watcher', %(status)s, 1, %(content)s, %(metadata)s, {created}"
        " FROM run",
        {
            "user": workshop.user,
            "status": status,
            "content": content,
            "metadata": json.dumps(metadata or {}),
        },
    )


async def test_nothing_is_said_of_nothing(status):
    found = await status()

    assert found.today == Today(0, 0, 0, 0, 0, 0, 0, Decimal(0))
    assert found.waiting == Waiting(0, 0, 0, 0, 0, 0, None, 0)
    assert not found.is_scheduler_alive
    assert not found.is_worker_alive
    assert found.next_fires == found.failures == found.overdue == ()


async def test_today_begins_at_midnight_of_the_persons_zone(workshop, status):
    await workshop.owner.execute(
        "INSERT INTO user_settings (user_id, time_zone) VALUES (%s, 'Pacific/Kiritimati')",
        [workshop.user],
    )
    midnight = "date_trunc('day', now(), 'Pacific/Kiritimati')"
    await result(workshop, "success", created=midnight)
    await result(workshop, "success", created=f"{midnight} - interval '1 ms'")
    await result(workshop, "error", created=f"{midnight} - interval '1 ms'")

    found = await status()

    assert (found.today.succeeded, found.today.failed, found.failures) == (1, 0, ())
    assert found.since.astimezone(UTC).hour == 10


async def test_runs_and_fires_of_today_are_counted_by_what_became_of_them(workshop, status, bob):
    for kind in ("success", "success", "partial", "error"):
        await result(workshop, kind)
    await result(workshop, "partial", {"cancelled": "its owner asked for it"})
    await result(workshop, "error", {"cancelled": "its owner asked for it"})
    schedule = await workshop.schedule()
    for minutes, outcome, count in ((1, "skipped", 1), (2, "missed", 7), (3, "fired", 1)):
        await workshop.owner.execute(
            "INSERT INTO schedule_occurrences (schedule_id, user_id, fire_time, outcome,"
            " fire_count, last_fire_time) VALUES (%(id)s, %(me)s, now() + make_interval(mins =>"
            " %(mins)s), %(outcome)s, %(count)s, CASE WHEN %(count)s > 1 THEN now() + '1 day' END)",
            {
                "id": schedule.id,
                "me": workshop.user,
                "mins": minutes,
                "outcome": outcome,
                "count": count,
            },
        )
    await workshop.owner.execute(
        "INSERT INTO usage_days (user_id, day, input_tokens, output_tokens, cost_usd)"
        " VALUES (%s, (now() AT TIME ZONE 'UTC')::date, 900, 100, 0.25)",
        [workshop.user],
    )

    found = await status()

    assert found.today == Today(2, 1, 1, 2, 1, 7, 1000, Decimal("0.25"))
    assert [failed.message for failed in found.failures] == ["It broke.\nBadly."]
    assert (await status(bob)).today == Today(0, 0, 0, 0, 0, 0, 0, Decimal(0))


async def test_what_waits_is_counted(workshop, status):
    for kind in ("waiting", "queued", "queued", "running", "suspended", "finished"):
        await workshop.owner.execute(
            "INSERT INTO agent_runs (user_id, agent_name, trigger, status)"
            " VALUES (%s, 'watcher', 'manual', %s)",
            [workshop.user, kind],
        )
    soon = now().replace(microsecond=0) + HOUR
    for kind, expires in (("pending", soon), ("pending", soon + HOUR), ("unknown", soon - HOUR)):
        await workshop.owner.execute(
            "INSERT INTO pending_actions (user_id, agent_name, tool_name, arguments,"
            " arguments_hash, status, expires_at) VALUES (%s, 'a', 't', '{}', 'x', %s, %s)",
            [workshop.user, kind, expires],
        )
    await workshop.owner.execute(
        "INSERT INTO notifications (user_id, category, title, read_at)"
        " VALUES (%(me)s, 'info', 'new', NULL), (%(me)s, 'info', 'old', now())",
        {"me": workshop.user},
    )

    assert (await status()).waiting == Waiting(1, 2, 1, 1, 2, 1, soon, 1)


async def test_next_fires_of_all_schedules_come_in_their_order(workshop, status):
    start = now().replace(microsecond=0)
    await workshop.schedule(name="often", every_seconds=1800, anchor_at=start)
    await workshop.schedule(
        name="hourly", every_seconds=3600, anchor_at=start + timedelta(minutes=5)
    )
    await workshop.schedule(name="rests", is_active=False, pause_note="3 failures in a row")
    late = await workshop.schedule(name="late", next_fire_at=start - HOUR, every_seconds=86400)

    found = await status()

    assert [fire.schedule for fire in found.next_fires] == ["hourly", "often", "late"]
    assert found.next_fires[0].at == start + timedelta(minutes=5)
    assert found.paused_schedules == (PausedSchedule("rests", "3 failures in a row"),)
    assert found.overdue == (late.name,)


async def test_status_reads_at_a_glance(workshop, database, rota):
    said = await rota("status")
    assert (
        "Scheduler     none is running, nothing fires: start `rota up` or `rota scheduler`" in said
    )
    assert (
        "Worker        none is running, scheduled runs wait (`rota run` and `rota schedules run` "
        "execute theirs): start `rota up` or `rota worker`"
    ) in said
    assert "Server        not running (`rota up` or `rota serve` starts one)" in said
    assert "Today         no run has ended" in said
    assert "Next          nothing fires" in said
    await workshop.agent(ANSWER)
    await workshop.service().execute(await workshop.schedule())
    await result(workshop, "error")
    await workshop.owner.execute(
        "INSERT INTO pending_actions (user_id, agent_name, tool_name, arguments, arguments_hash,"
        " expires_at) VALUES (%s, 'a', 't', '{}', 'x', now() + interval '150 minutes')",
        [workshop.user],
    )
    async with database.connection() as conn:
        for kind in ("scheduler", "worker"):
            await processes.report(conn, uuid.uuid4(), kind=kind, host="den", pid=7, version="1")

    said = await rota("status")
    found = await rota("status", "--json")

    lines = said.splitlines()
    assert re.fullmatch(r"Scheduler     alive \(den:7, last seen \d+ s ago\)", lines[0])
    assert re.fullmatch(r"Worker        alive \(den:7, last seen \d+ s ago\)", lines[1])
    assert lines[3] == "Today         2 runs: 1 succeeded, 1 failed"
    assert lines[4].startswith("Failed")
    assert "watcher: It broke. (`rota runs show " in lines[4]
    assert (
        "Waits         1 call for your approval, it expires in 2 h (`rota approvals list`)" in said
    )
    assert said.rstrip().splitlines()[-2].startswith("Next          ")
    assert said.rstrip().splitlines()[-1] == "Times         in UTC"
    assert (found["is_scheduler_alive"], found["is_worker_alive"]) == (True, True)
    assert [fire["schedule"] for fire in found["next_fires"]] == ["morning"]
