"""SPEC-003's integration test: from a due schedule to the notification, with nothing faked."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from rota.engine.queue import QueueWorker
from rota.services.notifications.incidents import IncidentService
from rota.services.notifications.service import NotificationService
from rota.services.operations.agent_hosts import AgentHosts
from rota.services.operations.background_tasks import BackgroundTaskService
from rota.services.operations.health import SchedulerWatch
from rota.services.operations.scheduler_loop import SchedulerLoop
from tests.services.harness import Workshop, clock


async def until(condition, seconds: float = 20.0):
    """Wait for a condition on the database, or fail."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
    return found


def running(workshop: Workshop, hosts: AgentHosts) -> BackgroundTaskService:
    return BackgroundTaskService(
        workshop.database,
        scheduler_loop=SchedulerLoop(
            workshop.database,
            workshop.scheduler(),
            clock=clock,
        ),
        worker=QueueWorker(workshop.database, concurrency=4, lease=timedelta(seconds=2)),
        hosts=hosts,
        watch=SchedulerWatch(
            workshop.database,
            IncidentService(workshop.database, NotificationService(workshop.database)),
            operators=(),
        ),
    )


async def test_full_execution_cycle(workshop, database_url):
    await workshop.agent(
        {
            "steps": [
                {
                    "calls": [
                        {"tool": "look", "args": {"query": "{{ prompt }}"}},
                        {"tool": "send", "args": {"to": "bob@example.com"}},
                    ]
                }
            ],
            "answer": "Looked at {{ by_tool.look[0].seen }}; the mail waits.",
        },
        tools=["look", "send"],
    )
    schedule = await workshop.schedule(prompt="the inbox")
    due = clock() - timedelta(seconds=1)
    await workshop.owner.execute("UPDATE agent_schedules SET next_fire_at = %s", [due])

    hosts = workshop.hosts(database_url)
    await hosts.open()
    background = running(workshop, hosts)
    stop = asyncio.Event()
    loops = [
        asyncio.create_task(background.run_scheduler(stop)),
        asyncio.create_task(background.run_worker(stop)),
    ]
    try:
        await until(lambda: workshop.rows("agent_execution_results"))
    finally:
        stop.set()
        await asyncio.gather(*loops)
        await hosts.close()

    occurrence = await workshop.row("schedule_occurrences")
    run = await workshop.row("agent_runs")
    result = await workshop.row("agent_execution_results")
    assert (occurrence["outcome"], occurrence["fire_time"]) == ("fired", due)
    assert occurrence["run_id"] == run["id"] == result["run_id"]
    assert (run["status"], run["trigger"], run["attempt"]) == ("finished", "schedule", 1)
    assert run["fire_time"] == due
    assert result["status"] == "success"
    assert result["result_content"] == "Looked at the inbox; the mail waits."
    assert result["schedule_id"] == schedule.id
    assert result["pending_actions_created"] == 1
    assert result["execution_duration_ms"] >= 0
    assert workshop.toolbox.calls == [("look", "the inbox")]
    assert (await workshop.row("pending_actions"))["tool_name"] == "send"
    assert sorted(n["category"] for n in await workshop.rows("notifications")) == [
        "agent_result",
        "approval_needed",
    ]
    assert (await workshop.row("agent_schedules"))["next_fire_at"] > clock()
    assert await workshop.rows("rota.processes") == []  # both said goodbye
