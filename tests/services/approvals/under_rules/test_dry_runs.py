"""A dry run reads, and does nothing else."""

from __future__ import annotations

from tests.services.approvals.under_rules.policies import (
    draft,
    scripted,
)
from tests.services.deciding import look, send
from tests.services.running import make_run


async def test_a_dry_run_reads_and_does_nothing_else(desk, rules):
    await rules.add(
        desk.workshop.user, [draft("allow", "to equals ann"), draft("deny", "to equals eve")]
    )
    calls = [look("x"), send("ann"), send("bob"), send("eve")]

    run_id = await scripted(desk, *calls, options={"dry_run": True})

    assert desk.workshop.toolbox.calls == [("look", "x")]
    assert await desk.actions() == []
    result = await desk.result(run_id)
    would = result["metadata"]["dry_run"]
    assert [(call["arguments"]["to"], call["would"]) for call in would] == [
        ("ann", "run"),
        ("bob", "wait"),
        ("eve", "be refused"),
    ]
    assert result["status"] == "success"
    assert result["result_content"].startswith("Dry run: nothing was done.")
    assert "send would wait" in result["result_content"]
    assert "In a real run this call would wait for the owner's approval" in result["result_content"]
    log = await desk.workshop.rows("audit_logs", "id")
    assert [row["outcome"] for row in log if row["tool_name"] == "send"] == ["not_run"] * 3
    assert {row["detail"][:7] for row in log if row["tool_name"] == "send"} == {"dry run"}
    notes = await desk.workshop.rows("notifications")
    assert "approval_needed" not in {note["category"] for note in notes}


async def test_a_dry_run_uses_no_rule_up(desk, rules):
    await rules.add(desk.workshop.user, [draft("allow", uses_left=1)])

    await scripted(desk, send(), options={"dry_run": True})

    assert (await desk.workshop.row("approval_rules"))["uses_left"] == 1


async def test_a_later_attempt_of_a_dry_run_begins_anew(desk, workshop):
    await workshop.agent(
        {"steps": [{"calls": [look("x"), send("bob")]}], "answer": "done"}, tools=["look", "send"]
    )
    run = await make_run(workshop, options={"dry_run": True})
    taken = await desk.service.take(run.id)
    await desk.service.execute_run(run, taken=taken)
    await workshop.owner.execute("DELETE FROM agent_execution_results")
    await workshop.owner.execute("ALTER TABLE agent_runs DISABLE TRIGGER refuse_transition")
    await workshop.owner.execute(
        "UPDATE agent_runs SET status = 'waiting', finished_at = NULL WHERE id = %s", [run.id]
    )

    outcome = await desk.service.execute_run(run)

    assert [call["would"] for call in outcome.metadata["dry_run"]] == ["wait"]
    assert desk.sent == []


async def test_an_agent_of_the_operators_own_code_has_no_dry_run(desk, workshop):
    await workshop.agent(name="own", model="callable:anything")
    run = await make_run(workshop, "own", options={"dry_run": True})

    outcome = await desk.service.execute_run(run)

    assert outcome.status == "error"
    assert "dry run cannot hold back" in outcome.content
