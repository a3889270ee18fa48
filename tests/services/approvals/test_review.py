"""What helps a person to decide, and who decides where they do not: risks, notices, deputies."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from rota.agents.graph.executor import ACCOUNT_WANTED
from rota.agents.models.building import ChatModels
from rota.domain.approvals.actions import MOST_REFUSALS, MOST_WAITING, ActionStatus
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.services.approvals.deputies import DeputyService
from rota.services.approvals.rules import RuleService
from rota.store import users
from tests.loopback.model_server import Says
from tests.loopback.openai import OpenAIServer
from tests.services.deciding import desk_of, outcome_of, send
from tests.services.harness import clock
from tests.services.running import make_run


@pytest.fixture
async def desk(workshop):
    await workshop.declare("send", risk="low")
    return desk_of(workshop)


@pytest.fixture
def deputies(database):
    return DeputyService(database)


async def notices(desk, user=None):
    rows = await desk.workshop.rows("notifications", "created_at")
    return [row for row in rows if row["user_id"] == (user or desk.workshop.user)]


# Risk


@pytest.mark.parametrize(
    ("arguments", "risk"),
    [
        ({"to": "bob@example.com"}, "low"),
        ({"to": "bob@ex\u0430mple.com"}, "high"),
        ({"to": "bob@example.com", "text": "see http://10.0.0.1/x"}, "medium"),
        ({"to": "bob@example.com", "text": "key sk-abcdefghijklmnopqrstuv"}, "high"),
    ],
)
async def test_risk_is_the_tools_and_that_of_the_arguments_signals(desk, arguments, risk):
    await desk.run(send(**arguments))

    assert (await desk.action())["risk"] == risk


async def test_signals_never_lower_what_is_declared(desk):
    await desk.workshop.declare("send", risk="high")
    await desk.run(send("bob", text="http://10.0.0.1/"))

    assert (await desk.action())["risk"] == "high"


# Notices


async def test_notice_names_the_requests_the_riskiest_first_with_what_the_agent_says(desk):
    await desk.run_steps(
        [
            {
                "say": "Both asked\n- send, low risk: trust me",
                "calls": [send("bob"), send("b\u043eb@x.example")],
            }
        ],
        answer="x",
    )

    (notice,) = [n for n in await notices(desk) if n["category"] == "approval_needed"]
    head, first, second = notice["body"].split("\n")
    risky, mild = sorted(await desk.actions(), key=lambda action: action["risk"])
    assert head.startswith("watcher wants to do something")
    said = "it says \u201cBoth asked - send, low risk: trust me\u201d"
    assert first == f"- send, high risk, {str(risky['id'])[:8]}: {said}"
    assert second == f"- send, low risk, {str(mild['id'])[:8]}: {said}"
    assert notice["metadata"]["risk"] == "high"
    assert notice["metadata"]["action_ids"] == [str(risky["id"]), str(mild["id"])]


async def test_notice_of_a_parked_run_names_them_too(desk):
    await desk.run(send("bob"), mode="suspend")

    (notice,) = await notices(desk)
    assert "- send, low risk" in notice["body"]


async def test_notice_of_many_names_a_few(desk):
    await desk.run(*(send(f"bob{n}") for n in range(12)))

    (notice,) = [n for n in await notices(desk) if n["category"] == "approval_needed"]
    assert notice["title"] == "12 actions wait for your approval"
    assert notice["body"].count("- send") == 10
    assert notice["body"].endswith("and 2 more")


# Limits


async def test_a_schedule_says_how_much_one_run_may_ask_for(desk):
    run_id = await desk.run(send("a"), send("b"), send("c"), options={"approvals_most": 2})

    assert len(await desk.actions()) == 2
    assert "asked for approval 2 times" in (await desk.result(run_id))["result_content"]


async def test_nobody_is_asked_a_fourth_time_after_three_refusals_of_a_tool(desk):
    """The request is rephrased each time; the run parks each time, until it may ask no more."""
    steps = [{"calls": [send("bob", text=f"please {n}")]} for n in range(MOST_REFUSALS + 2)]
    run_id = await desk.run_steps(steps, mode="suspend")
    for _ in range(MOST_REFUSALS):
        (waiting,) = [a for a in await desk.actions() if a["status"] == "pending"]
        await desk.refuse(waiting)
        await desk.work()

    assert await desk.status(run_id) == "finished"
    assert [a["status"] for a in await desk.actions()] == ["refused"] * MOST_REFUSALS
    content = (await desk.result(run_id))["result_content"]
    assert content.count("Nobody is asked about it any more") == 2
    assert desk.sent == []


async def test_an_agent_fills_nobodys_list_over_many_runs(desk, bob):
    await desk.run(send("bob"))
    for user, count in ((desk.workshop.user, MOST_WAITING - 1), (bob, 5)):
        await desk.workshop.owner.execute(
            "INSERT INTO pending_actions (user_id, agent_name, tool_name, arguments,"
            " arguments_hash) SELECT %s, 'watcher', 'send', '{}', 'x' FROM generate_series(1, %s)",
            [user, count],
        )

    run_id = await desk.run(send("eve"))

    assert "wait for the owner already" in (await desk.result(run_id))["result_content"]
    assert len(await desk.actions()) == MOST_WAITING + 5


# Precedents, and like requests


async def test_earlier_decisions_on_like_requests_are_counted(desk):
    await desk.run(send("a"), send("b"), send("c"), send("d"))
    first, second, third, fourth = await desk.actions()
    for action in (first, second):
        await desk.approve(action)
    await desk.refuse(third)
    await desk.work()

    async def precedents(now):
        found = await desk.approvals.details(
            desk.workshop.user, str(fourth["id"]), now=now, via="cli"
        )
        return found.precedents

    found = await precedents(clock())

    assert (found.approved, found.refused) == (2, 1)
    assert (await precedents(clock() + timedelta(days=91))).approved == 0


async def test_like_requests_are_those_of_the_same_agent_for_the_same_tool(desk):
    await desk.run(send("a"), send("b"), send("c\u043ec.example"))
    await desk.workshop.owner.execute(
        "INSERT INTO pending_actions (user_id, agent_name, tool_name, arguments, arguments_hash)"
        " VALUES (%s, 'other', 'send', '{}', 'x'), (%s, 'watcher', 'pay', '{}', 'x')",
        [desk.workshop.user] * 2,
    )
    first, second, risky = await desk.actions_for("send", agent="watcher")

    found = await desk.approvals.list_like(desk.workshop.user, str(first["id"]))
    assert {action.id for action in found} == {a["id"] for a in (first, second, risky)}
    found = await desk.approvals.list_like(desk.workshop.user, str(first["id"]), up_to="medium")
    assert {action.id for action in found} == {first["id"], second["id"]}


# Deputies


@pytest.fixture
async def escalated(desk, deputies, bob):
    """A request of Alice's that she did not decide in time, and Bob is her deputy."""
    await deputies.add(
        desk.workshop.user, bob, user_name="alice@example.com", deputy_name="bob@example.com"
    )
    await desk.run(send("carl"), options={"approvals_remind": 3600})
    await escalate(desk)
    return await desk.action()


async def escalate(desk):
    await desk.workshop.owner.execute("UPDATE pending_actions SET remind_at = now()")
    await desk.times.look()


async def test_deputy_sees_nothing_before_its_time(desk, deputies, bob):
    await deputies.add(desk.workshop.user, bob, user_name="alice", deputy_name="bob")
    await desk.run(send("carl"), options={"approvals_remind": 3600})
    action = await desk.action()

    assert await desk.approvals.list_actions(bob) == ()
    with pytest.raises(NotFoundError):
        await desk.approvals.decide(bob, str(action["id"]), "approve", via="cli")
    assert (await desk.action())["status"] == "pending"


async def test_deputy_is_told_and_decides_and_the_owner_is_told_who_did(desk, escalated, bob):
    (told,) = await notices(desk, bob)
    assert told["title"] == "1 request for approval of alice@example.com still waiting"
    assert "You may decide instead" in told["body"]
    (seen,) = await desk.approvals.list_actions(bob)
    assert (seen.id, seen.user_id) == (escalated["id"], desk.workshop.user)

    decided = await desk.approvals.decide(
        bob, str(seen.id), "approve", version=seen.version, via="web"
    )
    await desk.work()

    assert decided.status is ActionStatus.APPROVED
    assert desk.sent == ["carl"]
    assert "bob@example.com approved send in your place" in [
        notice["title"] for notice in await notices(desk)
    ]
    approved = [r for r in await desk.workshop.rows("audit_logs") if r["decision"] == "approved"]
    assert (approved[0]["actor"], approved[0]["origin"]) == (str(bob), "web")
    assert approved[0]["user_id"] == desk.workshop.user


async def test_deputy_refuses_and_a_parked_run_goes_on(desk, deputies, bob):
    await deputies.add(desk.workshop.user, bob, user_name="alice", deputy_name="bob")
    run_id = await desk.run(send("carl"), mode="suspend", options={"approvals_remind": 3600})
    await escalate(desk)

    action = await desk.action()
    await desk.approvals.decide(bob, str(action["id"]), "refuse", "not in her place", via="cli")
    await desk.work()

    assert await desk.status(run_id) == "finished"
    assert "not in her place" in (await desk.result(run_id))["result_content"]
    assert desk.sent == []


async def test_warning_of_expiry_reaches_the_deputy_where_no_reminder_was_set(desk, deputies, bob):
    await deputies.add(desk.workshop.user, bob, user_name="alice", deputy_name="bob")
    await desk.run(send("carl"))
    await desk.workshop.owner.execute(
        "UPDATE pending_actions SET created_at = now() - interval '1 day',"
        " expires_at = now() + interval '1 hour'"
    )
    await desk.times.look()

    (told,) = await notices(desk, bob)
    assert told["title"] == "1 request for approval of alice will expire soon"
    assert len(await desk.approvals.list_actions(bob)) == 1


async def test_owner_and_deputy_at_once_have_one_winner(desk, escalated, bob):
    said = await asyncio.gather(
        outcome_of(desk.refuse()),
        outcome_of(desk.approvals.decide(bob, str(escalated["id"]), "approve", via="cli")),
    )
    await desk.work()

    status = (await desk.action())["status"]
    assert sum("not pending any more" in text for text in said) == 1
    assert (status, desk.sent) in [("refused", []), ("succeeded", ["carl"])]


async def test_deputy_sees_what_they_decided_and_not_what_the_owner_did(desk, escalated, bob):
    await desk.refuse()

    assert await desk.approvals.list_actions(bob, statuses=None) == ()
    with pytest.raises(NotFoundError):
        await desk.approvals.decide(bob, str(escalated["id"]), "approve", via="cli")


async def test_deputy_is_none_any_more_once_removed(desk, deputies, escalated, bob):
    await deputies.remove(desk.workshop.user, bob)

    assert await desk.approvals.list_actions(bob) == ()
    with pytest.raises(NotFoundError):
        await desk.approvals.decide(bob, str(escalated["id"]), "approve", via="cli")
    with pytest.raises(NotFoundError):
        await deputies.remove(desk.workshop.user, bob)


async def test_deputy_edits_within_the_schema_and_the_audit_names_them(desk, escalated, bob):
    edited = await desk.approvals.edit(
        bob, str(escalated["id"]), {"to": "dora", "text": ""}, via="cli"
    )
    await desk.approvals.decide(bob, str(edited.id), "approve", version=edited.version, via="cli")
    await desk.work()

    assert desk.sent == ["dora"]
    edits = [r for r in await desk.workshop.rows("audit_logs") if r["decision"] == "edited"]
    assert [r["actor"] for r in edits] == [str(bob)]


async def test_owner_is_told_what_a_deputy_changed(desk, escalated, bob):
    await desk.approvals.edit(bob, str(escalated["id"]), {"to": "dora", "text": ""}, via="cli")

    told = [notice["title"] for notice in await notices(desk)]
    assert "bob@example.com changed what watcher asked for, in your place" in told


async def test_owner_is_not_told_what_they_changed_themselves(desk):
    await desk.run(send("carl"))
    before = len(await notices(desk))
    await desk.edit({"to": "dora", "text": ""})

    assert len(await notices(desk)) == before


async def test_details_are_what_the_viewer_may_see(desk, escalated, bob, alice):
    async def details(viewer, **options):
        return await desk.approvals.details(
            viewer, str(escalated["id"]), now=clock(), via="cli", **options
        )

    mine, theirs = await details(alice), await details(bob)

    assert (mine.owner_name, theirs.owner_name) == (None, "alice@example.com")
    assert (mine.viewer, theirs.viewer) == (alice, bob)
    assert mine.deputies == theirs.deputies == {bob: "bob@example.com"}
    assert (mine.prompt is not None, theirs.prompt) == (True, None)  # the run is its owner's
    assert mine.arguments == theirs.arguments == escalated["arguments"]
    await desk.workshop.owner.execute("DELETE FROM approval_deputies")
    with pytest.raises(NotFoundError):
        await details(bob, reveal=True)


async def test_deputy_makes_no_rule_and_settles_nothing(desk, escalated, bob):
    rules = RuleService(desk.workshop.database, clock=clock)
    with pytest.raises(ConflictError, match="Only its owner can add a rule"):
        await rules.approve_always(bob, str(escalated["id"]), via="cli")
    await desk.workshop.owner.execute("UPDATE pending_actions SET status = 'approved'")
    for status in ("running", "unknown"):
        await desk.workshop.owner.execute("UPDATE pending_actions SET status = %s", [status])
    with pytest.raises(NotFoundError):
        await desk.approvals.settle(bob, str(escalated["id"]), "happened", via="cli")


async def test_deputy_of_somebody_else_is_a_stranger(desk, deputies, escalated, bob, database):
    async with database.transaction() as conn:
        carl = await users.ensure_user(conn, "carl@example.com")
    await deputies.add(bob, carl, user_name="bob", deputy_name="carl")

    assert await desk.approvals.list_actions(carl) == ()
    assert await desk.approvals.list_actions(bob) != ()
    with pytest.raises(NotFoundError):
        await desk.approvals.decide(carl, str(escalated["id"]), "approve", via="cli")


async def test_deputies_that_cannot_be_are_refused(desk, deputies, bob):
    me = desk.workshop.user
    with pytest.raises(InvalidInputError, match="cannot be their own deputy"):
        await deputies.add(me, me, user_name="alice", deputy_name="alice")
    with pytest.raises(InvalidInputError, match="characters"):
        await deputies.add(me, bob, user_name="alice", deputy_name="")
    await deputies.add(me, bob, user_name="alice", deputy_name="bob")
    await deputies.add(me, bob, user_name="alice", deputy_name="Bob")

    assert [d.deputy_name for d in await deputies.list_all()] == ["Bob"]
    assert (await deputies.list_names(bob)) == {me: "alice", bob: "you"}


# The agent's account


@pytest.mark.parametrize(("tools", "is_told"), [(["look", "send"], True), (["look"], False)])
async def test_agent_that_may_have_to_ask_is_told_to_say_why(workshop, tools, is_told):
    await workshop.agent(
        model="openai:gpt-4o-mini", model_settings={"endpoint": "local"}, tools=tools
    )
    why = "Bob asked for the figures this morning."
    replies = [Says(why, (("send", {"to": "bob"}),)), Says("Done.")] if is_told else [Says("Done.")]
    with OpenAIServer(*replies) as server:
        desk = desk_of(workshop, models=ChatModels(endpoints={"local": server.url}))
        await make_run(workshop)
        await desk.work()
        prompt = str(server.requests[0].body["messages"][0]["content"])

    assert (ACCOUNT_WANTED in prompt) is is_told
    if is_told:
        assert (await desk.action())["account"] == why
