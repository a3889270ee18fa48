"""kill -9 between fire and finish: the run goes on elsewhere, and leaves one result."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys

import pytest

from tests.services.harness import Workshop

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300)]  # many processes, begun one by one

OWNER = "alice@example.com"
SLOW = {
    "steps": [
        {"calls": [{"tool": "mail_search", "args": {"query": "invoice"}}]},
        {"sleep_ms": 3_000},
    ],
    "answer": "{{ results[0] | length }} found",
}


@pytest.fixture
def start(database_url):
    """Start `rota scheduler` or `rota worker` as a process of its own."""
    from rota.sample import sample_mailbox_path

    environment = os.environ | {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": OWNER,
        "ROTA_MAIL": str(sample_mailbox_path()),
        "ROTA_SECRET_KEY": "00" * 32,
    }
    started = []

    def start(command):
        process = subprocess.Popen([sys.executable, "-m", "rota", command], env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    return Workshop(database, owner, alice)


async def until(condition, seconds=120.0):
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
    return found


async def make_due(workshop):
    await workshop.agent(SLOW, tools=["mail_search"])
    schedule = await workshop.schedule()
    await workshop.owner.execute("UPDATE agent_schedules SET next_fire_at = now()")
    return schedule


async def in_the_middle(workshop):
    """Return the run once its first tool call is in the journal and it is not over."""

    async def look():
        rows = await workshop.rows("agent_run_steps")
        runs = await workshop.rows("agent_runs")
        searched = any((r["kind"], r["status"]) == ("tool", "finished") for r in rows)
        return searched and runs[0]["status"] == "running" and runs[0]

    return await until(look)


async def one_result(workshop, run, *, attempt):
    await until(lambda: workshop.rows("agent_execution_results"))
    await asyncio.sleep(1.0)  # whoever might do it twice has had the time
    result = await workshop.row("agent_execution_results")
    assert (result["run_id"], result["status"]) == (run["id"], "success")
    assert result["metadata"]["attempt"] == attempt
    assert len(await workshop.rows("schedule_occurrences")) == 1
    assert len(await workshop.rows("notifications")) == 1
    assert (await workshop.row("agent_runs"))["status"] == "finished"
    return result


async def test_worker_killed_in_mid_run_is_replaced_by_another(workshop, start):
    start("scheduler")
    first = start("worker")
    await make_due(workshop)
    run = await in_the_middle(workshop)

    first.send_signal(signal.SIGKILL)
    first.wait()
    start("worker")

    result = await one_result(workshop, run, attempt=2)
    assert result["metadata"]["replayed_steps"] >= 2
    searches = [r for r in await workshop.rows("audit_logs") if r["tool_name"] == "mail_search"]
    assert len(searches) == 1  # finished before the kill, so not repeated


async def test_scheduler_killed_after_the_fire_loses_nothing(workshop, start):
    scheduler = start("scheduler")
    await make_due(workshop)
    await until(lambda: workshop.rows("schedule_occurrences"))
    scheduler.send_signal(signal.SIGKILL)
    scheduler.wait()

    start("worker")
    start("scheduler")

    run = (await workshop.rows("agent_runs"))[0]
    await one_result(workshop, run, attempt=1)


async def test_stalled_worker_that_comes_back_writes_nothing_more(workshop, start):
    start("scheduler")
    stalled = start("worker")
    await make_due(workshop)
    run = await in_the_middle(workshop)

    stalled.send_signal(signal.SIGSTOP)
    start("worker")
    result = await one_result(workshop, run, attempt=2)
    stalled.send_signal(signal.SIGCONT)
    await asyncio.sleep(4.0)

    assert (await workshop.row("agent_execution_results"))["id"] == result["id"]
    assert len(await workshop.rows("notifications")) == 1


async def test_worker_told_to_stop_hands_its_run_over(workshop, start):
    start("scheduler")
    first = start("worker")
    slow = SLOW | {"steps": [SLOW["steps"][0], {"sleep_ms": 12_000}]}
    await workshop.agent(slow, tools=["mail_search"])
    await workshop.schedule()
    await workshop.owner.execute("UPDATE agent_schedules SET next_fire_at = now()")
    run = await in_the_middle(workshop)

    first.terminate()
    await asyncio.to_thread(first.wait, 60)
    assert first.returncode == 0
    assert (await workshop.row("agent_runs"))["status"] != "finished"
    start("worker")

    await one_result(workshop, run, attempt=2)


async def test_cut_connections_are_made_anew(workshop, start):
    start("scheduler")
    start("worker")
    await until(lambda: _both_alive(workshop))
    await workshop.owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await asyncio.sleep(1.0)

    await make_due(workshop)

    run = await in_the_middle(workshop)
    await one_result(workshop, run, attempt=run["attempt"])


async def _both_alive(workshop):
    return len(await workshop.rows("rota.processes")) == 2


async def test_run_that_another_fire_replaces_is_ended_for_it(workshop, start):
    """Overlap policy cancel_other, and a worker that would be at the earlier run for long."""
    start("scheduler")
    start("worker")
    slow = SLOW | {"steps": [SLOW["steps"][0], {"sleep_ms": 600_000}]}
    await workshop.agent(slow, tools=["mail_search"])
    await workshop.schedule(overlap_policy="cancel_other")
    await workshop.owner.execute("UPDATE agent_schedules SET next_fire_at = now()")
    first = await in_the_middle(workshop)
    await workshop.agent({"steps": [], "answer": "Quick."}, name="quick")
    await workshop.owner.execute(
        "UPDATE agent_schedules SET agent_name = 'quick', next_fire_at = now(),"
        " next_fire_time = date_trunc('second', now()) + interval '1 second'"
    )

    results = await until(lambda: _results(workshop, 2))

    by_run = {result["run_id"]: result for result in results}
    replaced = by_run.pop(first["id"])
    assert "took its place" in replaced["metadata"]["cancelled"]
    (quick,) = by_run.values()
    assert (quick["result_content"], quick["status"]) == ("Quick.", "success")
    runs = {run["id"]: run for run in await workshop.rows("agent_runs")}
    assert runs[quick["run_id"]]["started_at"] >= runs[first["id"]]["finished_at"]


async def _results(workshop, count):
    rows = await workshop.rows("agent_execution_results")
    return rows if len(rows) >= count else None
