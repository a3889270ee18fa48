"""What runs is what was shown: edits of a waiting call, its secrets, and tools that changed."""

from __future__ import annotations

import asyncio
import json

import pytest

from rota.domain.approvals.actions import ActionStatus
from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    SetupRequiredError,
)
from tests.services.deciding import desk_of, outcome_of, send, set_column

SECRET = "hush-hush-0123456789"


@pytest.fixture
async def desk(workshop):
    return desk_of(workshop)


# Edited


async def test_edited_action_runs_with_what_the_owner_wrote(desk):
    await desk.run(send("bob", text="hi"))

    edited = await desk.edit({"to": "bob", "text": "hello"})
    assert (edited.status, edited.version) == (ActionStatus.PENDING, 2)
    assert edited.proposed_arguments == {"to": "bob", "text": "hi"}
    await desk.approve(version=2)
    (outcome,) = await desk.work()

    assert outcome.status == "success"
    assert desk.sent == ["bob"]
    rows = await desk.workshop.rows("audit_logs", "id")
    assert [r["decision"] for r in rows][:3] == ["held", "edited", "approved"]
    assert rows[0]["arguments_hash"] != rows[1]["arguments_hash"]
    assert {r["arguments_hash"] for r in rows[1:]} == {rows[1]["arguments_hash"]}


async def test_what_is_edited_after_it_was_listed_is_not_approved(desk):
    await desk.run(send("bob"), send("carl"))
    listed = await desk.approvals.list_actions(desk.workshop.user)
    bob, _ = await desk.actions()
    await desk.edit({"to": "eve", "text": ""}, bob)

    await desk.approvals.decide_all(desk.workshop.user, listed, "approve", via="cli")
    await desk.work()

    assert desk.sent == ["carl"]
    assert (await desk.actions())[0]["status"] == "pending"


@pytest.mark.parametrize("decision", ["approve", "refuse"])
async def test_decision_on_what_was_edited_meanwhile_is_refused(desk, decision):
    await desk.run(send("bob"))
    await desk.edit({"to": "eve"})

    with pytest.raises(ConflictError, match="changed after it was shown"):
        await getattr(desk, decision)(version=1)

    assert (await desk.action())["status"] == "pending"


async def test_two_edits_at_once_have_one_winner(desk):
    await desk.run(send("bob"))

    said = await asyncio.gather(
        *(outcome_of(desk.edit({"to": f"eve{n}"}, version=1)) for n in range(6))
    )

    assert said.count("pending") == 1
    assert (await desk.action())["version"] == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "required"),
        ({"to": 7}, "not of type"),
        ({"to": "bob", "bcc": "eve"}, "bcc"),
        ({"to": "bob", "tool": "boom"}, "tool"),
        ({"to": "bob", "text": float("nan")}, "JSON"),
    ],
)
async def test_edit_that_the_tool_does_not_take_is_refused(desk, arguments, said):
    await desk.run(send("bob"))

    with pytest.raises(InvalidInputError, match=said):
        await desk.edit(arguments)

    action = await desk.action()
    assert (action["version"], action["arguments"]["to"]) == (1, "bob")


async def test_edit_is_gone_where_the_approval_with_it_fails(desk):
    run_id = await desk.run(send("bob"))
    before = await desk.action()
    await desk.workshop.owner.execute(
        "UPDATE pending_actions SET expires_at = clock_timestamp() + interval '1 second'"
    )

    async def approve_changed():
        return await desk.edit({"to": "eve", "text": ""}, before, approve=True)

    async with desk.workshop.database.transaction() as conn:
        # A decision waits for the run's row, an edit does not.
        await conn.execute("SELECT FROM agent_runs WHERE id = %s FOR NO KEY UPDATE", [run_id])
        approving = asyncio.create_task(outcome_of(approve_changed()))
        await asyncio.sleep(1.2)
    assert "The request has expired" in await approving

    after = await desk.action()
    assert (after["status"], after["version"]) == ("pending", 1)
    assert after["arguments"] == before["arguments"]
    assert [decision for decision, _ in await desk.decisions()] == ["held"]


async def test_edit_and_approval_at_once_run_once_with_the_new_arguments(desk):
    await desk.run(send("bob"))
    approved = await desk.edit({"to": "eve", "text": ""}, approve=True)
    await desk.work()

    assert (approved.status, approved.version) == (ActionStatus.APPROVED, 2)
    assert desk.sent == ["eve"]


async def test_secret_that_was_shown_as_one_stays_through_an_edit(desk):
    await desk.run(send(f"bearer {SECRET}", text="Hello"))
    shown = (await desk.action())["arguments"]
    assert shown == {"to": "[redacted]", "text": "Hello"}

    edited = await desk.edit({**shown, "text": "Bye"})
    edited = await desk.edit({**shown, "text": "Bye, Bob"})
    await desk.approve(version=edited.version)
    await desk.work()

    assert edited.arguments == {"to": "[redacted]", "text": "Bye, Bob"}
    assert desk.sent == [f"bearer {SECRET}"]
    shown = json.dumps(
        [await desk.workshop.rows(t) for t in ("audit_logs", "notifications", "pending_actions")],
        default=str,
    )
    assert SECRET not in shown


async def test_secret_is_replaced_by_another(desk):
    await desk.run(send(f"bearer {SECRET}"))
    await desk.edit({"to": "bearer other-secret-9876543210", "text": ""})
    await desk.approve()
    await desk.work()
    assert desk.sent == ["bearer other-secret-9876543210"]


@pytest.mark.parametrize(
    "arguments",
    [
        {"to": "[redacted]", "text": ""},
        {"to": "bob", "text": "see [redacted], please"},
        {"to": "[redacted]", "text": "[redacted]"},
    ],
)
async def test_mark_that_stands_for_no_secret_is_refused(desk, arguments):
    await desk.run(send("bob", text=f"see bearer {SECRET}"))

    with pytest.raises(InvalidInputError, match=r"\[redacted\] can only be used unchanged"):
        await desk.edit(arguments)

    assert (await desk.action())["version"] == 1


async def test_secret_of_another_request_is_not_put_back(desk):
    await desk.run(send("bob", text=f"bearer {SECRET}"), send("eve", text=f"bearer {SECRET}"))
    bob, eve = await desk.actions()
    await set_column(desk, "sealed_arguments", eve["sealed_arguments"], action=bob)

    with pytest.raises(SetupRequiredError):
        await desk.edit({"to": "carl", "text": "[redacted]"}, bob)


async def test_what_was_shown_is_left_out_only_where_it_is_the_default(desk):
    await desk.run(send("bob", text="Hello"), send("carl"))
    hello, silent = await desk.actions()

    with pytest.raises(InvalidInputError, match="text was in the request, but is missing now"):
        await desk.edit({"to": "eve"}, hello)
    edited = await desk.edit({"to": "eve"}, silent)

    assert edited.arguments == {"to": "eve", "text": ""}
    assert [a["version"] for a in await desk.actions()] == [1, 2]


async def test_edit_after_the_decision_changes_nothing(desk):
    await desk.run(send("bob"))
    await desk.approve()
    with pytest.raises(ConflictError):
        await desk.edit({"to": "eve"})
    await desk.work()
    assert desk.sent == ["bob"]


# What runs is what was shown


async def test_arguments_changed_after_the_approval_do_not_run(desk):
    await desk.run(send("bob"))
    await desk.approve()
    await set_column(desk, "arguments", json.dumps({"to": "eve", "text": ""}))

    (outcome,) = await desk.work()

    assert desk.sent == []
    assert outcome.status == "error"
    assert "not those that were approved" in outcome.content
    assert (await desk.action())["status"] == "failed"


async def test_sealed_arguments_of_another_action_do_not_run(desk):
    await desk.run(send("bob", text=f"bearer {SECRET}"), send("eve", text=f"bearer {SECRET}"))
    bob, eve = await desk.actions()
    assert bob["sealed_arguments"] is not None, "the text was to be redacted"
    await set_column(desk, "sealed_arguments", eve["sealed_arguments"], action=bob)
    await desk.approve(bob)

    (outcome,) = await desk.work()

    assert desk.sent == []
    assert outcome.status == "error"


async def test_secret_in_an_argument_is_not_shown_and_yet_runs(desk):
    await desk.run(send("bob", text=f"bearer {SECRET}"))
    action = await desk.action()
    assert SECRET not in json.dumps(action["arguments"])
    assert SECRET.encode() not in bytes(action["sealed_arguments"])

    await desk.approve()
    await desk.work()

    assert desk.sent == ["bob"]
    shown = json.dumps(
        [await desk.workshop.rows(t) for t in ("audit_logs", "notifications", "pending_actions")],
        default=str,
    )
    assert SECRET not in shown


async def test_tool_that_was_changed_while_it_waited_does_not_run(desk):
    await desk.run(send("bob"))
    await desk.workshop.owner.execute("UPDATE tools SET version = version + 1")
    await desk.approve()

    (outcome,) = await desk.work()

    assert desk.sent == []
    assert "was changed since it was asked for" in outcome.content
    assert (await desk.action())["status"] == "failed"


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM agent_tools",
        "UPDATE tools SET is_active = false",
        "DELETE FROM agent_configurations",
        "UPDATE agent_configurations SET is_active = false",
    ],
)
async def test_tool_that_its_agent_no_longer_has_does_not_run(desk, change):
    """Whoever took it away wins over whoever approved before."""
    await desk.run(send("bob"))
    await desk.approve()
    await desk.workshop.owner.execute(change)

    (outcome,) = await desk.work()

    assert desk.sent == []
    assert outcome.status == "error"
    assert (await desk.action())["status"] == "failed"
    assert await desk.workshop.rows("notifications")


async def test_tool_that_fails_is_a_failed_action(desk):
    await desk.workshop.declare("boom", default_tier="requires_approval", read_only=False)
    await desk.run({"tool": "boom"})
    await desk.approve()

    (outcome,) = await desk.work()

    assert outcome.status == "error"
    assert "the tool exploded" in outcome.content
    assert (await desk.action())["status"] == "failed"


async def test_tool_that_is_now_allowed_runs_what_was_approved_once(desk):
    await desk.run(send("bob"))
    await desk.workshop.owner.execute("UPDATE tools SET default_tier = 'auto' WHERE name = 'send'")
    await desk.approve()
    await desk.work()
    assert desk.sent == ["bob"]
