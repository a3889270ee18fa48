"""What `rota runs show` says of failures, refusals, dry runs and decisions."""

from __future__ import annotations

import json

import pytest
import structlog

from rota.services.runs.service import RunService
from tests.cli.approving import terminal_of_alice
from tests.services.deciding import desk_of, send
from tests.services.harness import ANSWER, Workshop
from tests.services.running import make_run

BOOM = {"tool": "boom", "args": {}}


@pytest.fixture
async def desk(database, owner, alice):
    workshop = Workshop(database, owner, alice)
    await workshop.declare_tools()
    return desk_of(workshop)


@pytest.fixture
def rota(database_url, monkeypatch):
    return terminal_of_alice(database_url, monkeypatch, group="runs")


async def tool_steps(desk):
    rows = await desk.workshop.rows("agent_run_steps", "model_step, call_index")
    return [(row["name"], row["status"]) for row in rows if row["kind"] == "tool"]


async def test_a_run_that_failed_before_its_first_step_says_why_and_how_long(desk, rota):
    await desk.workshop.agent(model="nobody:knows")
    run = await make_run(desk.workshop)
    await desk.work()

    said = await rota("show", str(run.id))

    (result,) = await desk.workshop.rows("agent_execution_results")
    assert result["status"] == "error"
    assert f"Why        {result['result_content']}\n" in said
    assert "Took       " in said
    shown = await rota("show", str(run.id), "--json")
    assert (shown["error"], shown["steps"]) == (result["result_content"], [])


async def test_a_tool_that_threw_has_failed_and_its_traceback_is_logged(desk, rota):
    with structlog.testing.capture_logs() as logged:
        run_id = await desk.run(BOOM, {"tool": "look", "args": {}})

    assert await tool_steps(desk) == [("boom", "failed"), ("look", "finished")]
    audited = {a["tool_name"]: a["outcome"] for a in await desk.workshop.rows("audit_logs")}
    assert audited == {"boom": "failed", "look": "succeeded"}
    assert "1.0   tool boom: failed" in await rota("show", str(run_id))
    (told,) = [line for line in logged if line["event"] == "tool_failed"]
    assert (told["tool"], told["run_id"]) == ("boom", str(run_id))
    assert type(told["exc_info"]).__name__ == "RuntimeError"


async def test_a_call_that_nobody_is_asked_about_is_refused(desk, rota):
    run_id = await desk.run(send("ann"), send("bob"), options={"approvals_most": 1})
    assert await tool_steps(desk) == [("send", "held"), ("send", "refused")]
    assert "1.1   tool send: refused" in await rota("show", str(run_id))


async def test_a_call_with_arguments_that_the_tool_does_not_take_is_refused(desk):
    await desk.run({"tool": "send", "args": {"whom": "bob"}})
    assert await tool_steps(desk) == [("send", "refused")]


@pytest.mark.parametrize("mode", ["queue", "suspend"])
async def test_a_call_that_its_owner_refused_is_refused_and_by_whom(desk, rota, mode):
    run_id = await desk.run(send("bob"), mode=mode)
    assert await tool_steps(desk) == [("send", "held")]
    assert "It waits: `rota approvals show " in await rota("show", str(run_id))
    await desk.refuse(reason="not now")
    await desk.work()

    said = await rota("show", str(run_id))

    assert "1.0   tool send: refused" in said
    assert "Refused by you, from cli: “not now”." in said
    (step,) = [s for s in (await rota("show", str(run_id), "--json"))["steps"] if s["action"]]
    assert step["action"]["decided_by"] == str(desk.workshop.user)


async def test_a_call_that_a_deputy_or_nobody_decided_says_so(desk, rota, bob):
    run_id = await desk.run(send("ann"), send("bob"))
    first, second = await desk.actions()
    owner = desk.workshop.owner
    await owner.execute("ALTER TABLE pending_actions DISABLE TRIGGER USER")
    await owner.execute(
        "UPDATE pending_actions SET status = 'refused', decided_at = now(), decided_by = %s,"
        " decided_via = 'cli' WHERE id = %s",
        [bob, first["id"]],
    )
    await owner.execute(
        "UPDATE pending_actions SET status = 'expired', decided_at = now() WHERE id = %s",
        [second["id"]],
    )
    await owner.execute("ALTER TABLE pending_actions ENABLE TRIGGER USER")

    said = await rota("show", str(run_id))

    assert "Refused by a deputy, from cli." in said
    assert "1.1   tool send: expired" in said
    assert "Decided by nobody: it expired." in said


async def test_an_approved_call_says_what_came_of_it(desk, rota):
    run_id = await desk.run(send("bob"))
    await desk.approve()
    await desk.work()
    said = await rota("show", str(run_id))
    assert "1.0   tool send: held, then succeeded" in said
    assert "Approved by you, from cli; it has succeeded." in said


async def test_a_dry_run_is_marked(desk, rota):
    run_id = await desk.run(send("bob"), {"tool": "look", "args": {}}, options={"dry_run": True})

    assert await tool_steps(desk) == [("send", "rehearsed"), ("look", "finished")]
    assert "manual, dry run" in await rota("list")
    said = await rota("show", str(run_id))
    assert "Trigger    manual, dry run\n" in said
    assert "1.0   tool send: not made (dry run)" in said


async def test_what_was_cancelled_under_way_is_cancelled_in_lists(desk, rota):
    await desk.workshop.agent(ANSWER)
    run = await make_run(desk.workshop)
    await desk.workshop.owner.execute("UPDATE agent_runs SET status = 'running'")
    await RunService(desk.workshop.database).cancel(desk.workshop.user, str(run.id), note="enough")
    await desk.service.execute_run(run)

    (listed,) = await rota("list", "--status", "cancelled", "--json")

    assert listed["id"] == str(run.id)
    assert json.dumps(listed["metadata"]["cancelled"]) == '"enough"'
    said = await rota("show", str(run.id))
    assert "Cancelled  enough\n" in said
    assert not {"Why", "Result"} & {line.split(" ")[0] for line in said.splitlines()}


async def test_a_reason_of_several_lines_cannot_pass_for_what_rota_says(desk, rota):
    await desk.workshop.agent(model="nobody:knows")
    run = await make_run(desk.workshop)
    await desk.work()
    await desk.workshop.owner.execute(
        "UPDATE agent_execution_results SET result_content = E'No.\\nResult     success'"
    )
    said = (await rota("show", str(run.id))).splitlines()
    assert "Why        No." in said
    assert "  | Result     success" in said


ASKED = '      {"to": "bob", "text": ""}'
CHANGED = '      changed before it was approved: {"to": "eve", "text": "x"}'
AGREED = "      Approved with other arguments by you, from cli; it has succeeded."


@pytest.mark.parametrize("mode", ["queue", "suspend"])
async def test_a_call_that_was_changed_shows_both_versions_in_each_run(desk, rota, mode):
    run_id = await desk.run(send("bob"), mode=mode)
    (action,) = await desk.actions()
    await desk.edit({"to": "eve", "text": "x"})
    pending = await rota("show", str(run_id))
    assert '      changed after it was asked for: {"to": "eve", "text": "x"}\n' in pending
    await desk.approve()
    await desk.work()

    assert desk.sent == ["eve"]
    made_by = {str(run["id"]) for run in await desk.workshop.rows("agent_runs")}
    assert len(made_by) == (2 if mode == "queue" else 1)
    for shown in made_by:
        said = (await rota("show", shown)).splitlines()
        at = next(n for n, line in enumerate(said) if "tool send" in line)
        assert said[at + 1 : at + 3] == [ASKED, CHANGED]
        assert AGREED in said
        *_, step = (s for s in (await rota("show", shown, "--json"))["steps"] if s["action"])
        assert step["action"]["id"] == str(action["id"])
        assert step["action"]["proposed_arguments"] == {"to": "bob", "text": ""}
        assert step["action"]["arguments"] == {"to": "eve", "text": "x"}
