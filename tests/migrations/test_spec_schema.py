"""AC-1 and AC-7: what the spec says of the results table and of the orchestrator."""

from __future__ import annotations

import psycopg
import pytest


async def fetch(owner, query, *values):
    return await (await owner.execute(query, values)).fetchall()


async def test_results_table_has_the_specs_columns(owner):
    columns = dict(
        await fetch(
            owner,
            "SELECT column_name, data_type FROM information_schema.columns"
            " WHERE table_name = 'agent_execution_results'",
        )
    )

    assert columns == {
        "id": "uuid",
        "user_id": "uuid",
        "schedule_id": "uuid",
        "run_id": "uuid",
        "agent_name": "text",
        "prompt": "text",
        "result_content": "text",
        "status": "text",
        "pending_actions_created": "integer",
        "execution_duration_ms": "integer",
        "metadata": "jsonb",
        "created_at": "timestamp with time zone",
    }


async def test_results_table_has_the_specs_indexes(owner):
    definitions = " ".join(
        row[0]
        for row in await fetch(
            owner, "SELECT indexdef FROM pg_indexes WHERE tablename = 'agent_execution_results'"
        )
    )

    assert "(user_id, created_at DESC)" in definitions
    assert "(schedule_id)" in definitions


async def test_results_table_has_the_specs_policies(owner):
    policies = await fetch(
        owner,
        "SELECT cmd, roles::text[] FROM pg_policies WHERE tablename = 'agent_execution_results'",
    )

    assert ("SELECT", ["authenticated"]) in policies
    assert ("ALL", ["service_role"]) in policies


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", "'running'"),
        ("execution_duration_ms", "-1"),
        ("pending_actions_created", "-1"),
        ("result_content", "repeat('x', 50001)"),
    ],
)
async def test_checks_refuse_what_the_spec_does_not_know(owner, alice, column, value):
    run = await fetch(
        owner,
        "INSERT INTO agent_runs (user_id, agent_name, trigger) VALUES (%s, 'a', 'manual')"
        " RETURNING id",
        alice,
    )
    row = {"status": "'success'", "execution_duration_ms": "1"} | {column: value}
    names, values = ", ".join(row), ", ".join(row.values())

    with pytest.raises(psycopg.errors.CheckViolation):
        await owner.execute(
            f"INSERT INTO agent_execution_results (user_id, run_id, agent_name, {names})"
            f" VALUES (%s, %s, 'a', {values})",
            [alice, run[0][0]],
        )


async def test_orchestrator_is_sonnet_reads_only_and_links_gmail(owner):
    ((model, prompt, user_id),) = await fetch(
        owner,
        "SELECT model, system_prompt, user_id FROM agent_configurations"
        " WHERE agent_name = 'orchestrator'",
    )
    tools = await fetch(
        owner,
        "SELECT t.name, t.read_only, t.default_tier FROM agent_tools AS l"
        " JOIN tools AS t ON t.id = l.tool_id JOIN agent_configurations AS a ON a.id = l.agent_id"
        " WHERE a.agent_name = 'orchestrator' ORDER BY l.position",
    )

    assert model.startswith("anthropic:claude-sonnet")
    assert "You may only read" in prompt
    assert user_id is None
    assert tools == [("gmail_search", True, "auto"), ("gmail_get_message", True, "auto")]
