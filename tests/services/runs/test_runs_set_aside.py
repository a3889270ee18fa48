"""A run whose rows cannot be read or made anything of ends once, with what is wrong as its result.

Rows are written by the owner past the bounds that people have now: they may be there from before.
"""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.services.harness import ANSWER, Workshop
from tests.services.running import make_run, queue_runs, results, working

DIGITS = "jsonb_build_object('a', repeat('1', 5000)::numeric)"


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    for table in ("agent_configurations", "agent_runs", "agent_schedules"):
        await owner.execute(f"ALTER TABLE {table} DROP CONSTRAINT {table}_bounds_check")
    await made.agent(ANSWER)
    return made


@pytest.fixture
async def bobs(workshop, bob) -> Workshop:
    made = Workshop(workshop.database, workshop.owner, bob)
    await made.agent(ANSWER)
    return made


async def executed(workshop, bobs, url) -> dict[str, Any]:
    """Execute all that waits, two runs of Bob's too; returns Alice's only result."""
    await make_run(bobs)
    await make_run(bobs)
    await queue_runs(workshop.database)
    async with working(workshop, url):
        found = await results(workshop, 3)
    (hers,) = [result for result in found if result["user_id"] == workshop.user]
    assert [result["status"] for result in found if result["user_id"] == bobs.user] == [
        "success",
        "success",
    ]
    cursor = await workshop.owner.execute("SELECT DISTINCT status FROM agent_runs")
    assert await cursor.fetchall() == [("finished",)]
    told = [n for n in await workshop.rows("notifications") if n["user_id"] == workshop.user]
    assert len(told) == 1
    return hers


async def test_agent_that_cannot_be_read_ends_its_run_and_no_other(workshop, bobs, database_url):
    await workshop.owner.execute(
        f"UPDATE agent_configurations SET model_settings = {DIGITS} WHERE user_id = %s",
        [workshop.user],
    )
    await make_run(workshop)

    with capture_logs() as logs:
        result = await executed(workshop, bobs, database_url)

    assert result["status"] == "error"
    assert "model_settings" in result["result_content"]
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["run_set_aside"]


async def test_schedule_whose_options_cannot_be_read_is_paused_by_its_run(
    workshop, bobs, database_url
):
    schedule = await workshop.schedule()
    await make_run(workshop, schedule_id=schedule.id)
    await workshop.owner.execute(f"UPDATE agent_schedules SET options = {DIGITS}")

    result = await executed(workshop, bobs, database_url)

    assert "options" in result["result_content"]
    cursor = await workshop.owner.execute("SELECT is_active, pause_note FROM agent_schedules")
    assert await cursor.fetchall() == [(False, result["result_content"])]


async def test_run_whose_own_options_cannot_be_read_ends(workshop, bobs, database_url):
    await make_run(workshop)
    await workshop.owner.execute(f"UPDATE agent_runs SET options = {DIGITS}")

    result = await executed(workshop, bobs, database_url)

    assert (result["status"], "options" in result["result_content"]) == ("error", True)


@pytest.mark.parametrize("zone", ["FOO+3", "EST5EDT,M3.2.0,M11.1.0"])
async def test_run_of_a_person_in_an_unknown_zone_ends_and_names_it(
    workshop, bobs, database_url, zone
):
    await workshop.owner.execute(
        "INSERT INTO user_settings (user_id, time_zone) VALUES (%s, %s)", [workshop.user, zone]
    )
    await make_run(workshop)

    result = await executed(workshop, bobs, database_url)

    assert (result["status"], zone in result["result_content"]) == ("error", True)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("fallback_models", "'{NULL}'"),
        ("fallback_models", "'{{a:b},{c:d}}'"),
        ("limits", """'{"tokens": {"a": 1}}'"""),
        ("model_settings", "'[1]'"),
        ("model", "':'"),
    ],
)
async def test_agent_that_nothing_can_be_made_of_ends_its_run(
    workshop, bobs, database_url, column, value
):
    await workshop.owner.execute(
        "ALTER TABLE agent_configurations DROP CONSTRAINT IF EXISTS"
        " agent_configurations_model_settings_check;"
        "ALTER TABLE agent_configurations DROP CONSTRAINT IF EXISTS"
        " agent_configurations_fallback_models_check;"
        "ALTER TABLE agent_configurations DROP CONSTRAINT IF EXISTS"
        " agent_configurations_model_check"
    )
    await workshop.owner.execute(
        f"UPDATE agent_configurations SET {column} = {value} WHERE user_id = '{workshop.user}'"
    )
    await make_run(workshop)

    result = await executed(workshop, bobs, database_url)

    assert result["status"] == "error"


async def test_run_whose_result_the_database_refuses_ends_with_that(workshop, bobs, database_url):
    await workshop.owner.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'not this one'; END $$"
    )
    await workshop.owner.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON agent_execution_results FOR EACH ROW"
        f" WHEN (NEW.user_id = '{workshop.user}' AND NEW.status = 'success')"
        " EXECUTE FUNCTION refuse()"
    )
    await make_run(workshop)

    result = await executed(workshop, bobs, database_url)

    assert (result["status"], "not this one" in result["result_content"]) == ("error", True)
