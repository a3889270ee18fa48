"""A disk that is full for a while: no row claims what did not happen, and none is missing after."""

from __future__ import annotations

import asyncio

import pytest
from psycopg import sql

from rota.engine.admission import requeue_lost
from tests.services.operations.test_outages import finished, fires_each_second, loops

pytestmark = pytest.mark.long

LOOKS = {
    "steps": [{"calls": [{"tool": "look", "args": {"query": "x"}}]}],
    "answer": "{{ by_tool.look[0].seen }} was seen.",
}


async def fill_disk(workshop, table):
    await workshop.owner.execute(
        "CREATE OR REPLACE FUNCTION public.no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100';"
        " END $$"
    )
    await workshop.owner.execute(
        sql.SQL(
            "CREATE TRIGGER no_room BEFORE INSERT ON {} FOR EACH ROW EXECUTE FUNCTION no_room()"
        ).format(sql.Identifier(table))
    )


async def make_room(workshop, table):
    await workshop.owner.execute(
        sql.SQL("DROP TRIGGER no_room ON {}").format(sql.Identifier(table))
    )


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    "table",
    [
        "schedule_occurrences",
        "agent_runs",
        "agent_run_steps",
        "agent_execution_results",
        "notifications",
        "audit_logs",
    ],
)
async def test_every_fire_and_run_has_its_true_row_after_the_disk_was_full(
    workshop, database_url, table
):
    await fires_each_second(workshop, LOOKS, tools=["look"])
    async with loops(workshop, database_url) as scheduler:
        await finished(workshop, 2)
        await fill_disk(workshop, table)
        await asyncio.sleep(4)
        assert not scheduler.done()
        await make_room(workshop, table)
        await finished(workshop, 3)
        await workshop.owner.execute("UPDATE agent_schedules SET is_active = false")
        async with asyncio.timeout(120):
            while any(r["status"] != "finished" for r in await workshop.rows("agent_runs")):
                async with workshop.database.transaction() as conn:
                    await requeue_lost(conn, older_than_seconds=1)  # else it takes a minute
                await asyncio.sleep(0.5)

    fires = await workshop.rows("schedule_occurrences", "fire_time")
    runs = {run["id"]: run for run in await workshop.rows("agent_runs")}
    results = await workshop.rows("agent_execution_results")
    times = [row["fire_time"].timestamp() for row in fires]
    assert times == [times[0] + n for n in range(len(times))]
    fired = [row for row in fires if row["outcome"] == "fired"]
    assert sorted(row["run_id"] for row in fired) == sorted(runs)
    assert all(runs[row["run_id"]]["fire_time"] == row["fire_time"] for row in fired)
    assert sorted(row["run_id"] for row in results) == sorted(runs)
    assert {row["status"] for row in results} == {"success"}, [r["result_content"] for r in results]
    assert {row["result_content"] for row in results} == {"x was seen."}
    told = {row["run_id"] for row in await workshop.rows("notifications")}
    untold = {r["run_id"] for r in results if "notification_error" in r["metadata"]}
    assert told | untold >= set(runs)
    called = {row["run_id"] for row in await workshop.rows("audit_logs")}
    assert called >= set(runs)
