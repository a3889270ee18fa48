"""Rules at the gate: real rows, real agents, and what really ran."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import timedelta

import pytest
from langchain_core.tools import tool
from psycopg.types.json import Jsonb

from rota.agents.tools.context import ToolRegistry
from rota.domain.approvals.verdict import judge
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.ids import RuleId
from rota.domain.runs.run import Trigger
from rota.security.gate import policy as call_policy
from rota.store.approvals import rules as rule_rows
from tests.services.approvals.under_rules.policies import (
    draft,
    mail,
    pay,
    scripted,
    statuses,
)
from tests.services.deciding import look, send
from tests.services.harness import CIPHER, clock
from tests.services.running import make_run


async def test_mail_to_the_own_domain_runs_and_other_mail_waits(desk, rules):
    await rules.add(desk.workshop.user, [draft("allow", "to email_domain own.com", tool="mail")])
    calls = [
        mail("a@own.com"),
        mail("a@own.com", bcc="b@evil.com"),
        mail("a@own.com.evil.com"),
        mail('"x@own.com"@evil.com'),
    ]

    await scripted(desk, *calls)

    assert desk.workshop.toolbox.calls == [("mail", "a@own.com")]
    actions = await desk.actions()
    assert [action["arguments"]["to"] for action in actions] == [c["args"]["to"] for c in calls[1:]]
    assert {action["reason"] for action in actions} == {
        "the tool requires approval unless you allow it"
    }
    log = await desk.workshop.rows("audit_logs", "id")
    assert ("allowed", "succeeded") in [(row["decision"], row["outcome"]) for row in log]


async def test_what_is_over_100_waits_although_the_tool_is_allowed(desk, rules, paid):
    me = desk.workshop.user
    await rules.add(
        me,
        [draft("allow", tool="pay"), draft("require", "amount_eur > 100", tool="pay", risk="high")],
    )

    await scripted(desk, pay(100), pay(100.01), pay("250"))

    assert paid == [(100, "bob")]
    assert [(a["arguments"]["amount_eur"], a["risk"]) for a in await desk.actions()] == [
        (100.01, "high"),
        (250, "high"),  # as the tool would get it, not as the model wrote it
    ]
    await desk.approve((await desk.actions())[0])
    await desk.work()
    assert paid == [(100, "bob"), (100.01, "bob")]


@pytest.mark.parametrize("mode", ["queue", "suspend"])
async def test_denied_calls_are_refused_and_nothing_waits(desk, rules, mode):
    await rules.add(None, [draft("deny", "to equals eve", note="no mail to Eve")])
    await rules.add(desk.workshop.user, [draft("allow")])

    run_id = await scripted(desk, send("eve"), send("bob"), options={"approvals": mode})

    assert desk.sent == ["bob"]
    assert await desk.actions() == []
    result = await desk.result(run_id)
    assert "send was refused and did not run" in result["result_content"]
    assert "no mail to Eve" in result["result_content"]
    steps = await desk.workshop.rows("agent_run_steps")
    assert sorted(s["status"] for s in steps if s["kind"] == "tool") == ["finished", "refused"]
    assert result["pending_actions_created"] == 0
    log = await desk.workshop.rows("audit_logs", "id")
    (refused,) = [row for row in log if row["decision"] == "refused"]
    assert (refused["outcome"], refused["arguments"]) == ("not_run", {"to": "eve", "text": ""})
    notes = await desk.workshop.rows("notifications")
    assert "approval_needed" not in {note["category"] for note in notes}


async def test_the_operators_tier_is_not_loosened_by_its_owner(desk, rules):
    await desk.workshop.declare("send", default_tier="requires_approval")
    await rules.add(desk.workshop.user, [draft("allow")])

    await scripted(desk, send())
    assert (desk.sent, await statuses(desk)) == ([], ["pending"])

    await rules.add(None, [draft("allow", "to equals bob")])
    await scripted(desk, send())
    assert desk.sent == ["bob"]


async def test_a_rule_that_comes_after_the_question_refuses_the_approved_call(desk, rules):
    await scripted(desk, send())
    await rules.add(desk.workshop.user, [draft("deny", "to equals bob")])
    await desk.approve()
    await desk.work()

    action = await desk.action()
    assert desk.sent == []
    assert action["status"] == "failed"
    assert "not allowed any more" in action["result"]


async def test_a_rule_for_a_schedule_holds_for_actions_of_its_runs(desk, rules):
    schedule = await desk.workshop.schedule()
    await scripted(desk, send(), schedule_id=schedule.id, trigger=Trigger.SCHEDULE)
    only_here = {"schedule_id": schedule.id, "attendance": "unattended"}
    await rules.add(desk.workshop.user, [draft("deny", **only_here)])
    await desk.approve()
    await desk.work()

    assert desk.sent == []
    assert (await desk.action())["status"] == "failed"


async def test_a_rule_for_unattended_runs_leaves_the_approved_calls_of_others(desk, rules):
    await scripted(desk, send(), trigger=Trigger.MANUAL)
    await rules.add(desk.workshop.user, [draft("deny", attendance="unattended")])
    await desk.approve()
    await desk.work()

    assert desk.sent == ["bob"]


@pytest.mark.parametrize(
    ("trigger", "sent"), [(Trigger.MANUAL, ["bob"]), (Trigger.BACKFILL, []), (Trigger.RETRY, [])]
)
async def test_unattended_runs_may_be_held_to_more(desk, rules, trigger, sent):
    await rules.add(desk.workshop.user, [draft("allow", attendance="interactive")])

    await scripted(desk, send(), trigger=trigger)

    assert desk.sent == sent


async def test_edited_arguments_are_judged_too(desk, rules):
    await rules.add(desk.workshop.user, [draft("deny", "to equals eve")])
    run_id = await scripted(desk, send("bob"), options={"approvals": "suspend"})
    edited = await desk.edit({"to": "eve"})
    await desk.approve(version=edited.version)
    await desk.work()

    assert desk.sent == []
    assert (await desk.action())["status"] == "failed"
    assert (
        "did not run: It is not allowed any more" in (await desk.result(run_id))["result_content"]
    )


async def test_rules_are_read_afresh_at_each_attempt(desk, rules, paid):
    (made,) = await rules.add(desk.workshop.user, [draft("allow", tool="pay")])
    run_id = await scripted(desk, send(), pay(5), options={"approvals": "suspend"})
    assert paid == [(5, "bob")]
    assert await desk.status(run_id) == "suspended"

    await rules.remove(desk.workshop.user, str(made.id))
    await rules.add(desk.workshop.user, [draft("deny", tool="send")])
    await desk.approve()
    await desk.work()

    assert (desk.sent, paid) == ([], [(5, "bob")])  # what ran is not run again


async def test_a_stricter_rule_holds_at_once_within_a_run(desk, rules, monkeypatch):
    monkeypatch.setattr(call_policy, "FRESH_FOR", timedelta(0))
    me = desk.workshop.user
    await rules.add(me, [draft("allow")])
    registry = desk.workshop.toolbox.registry()

    @tool
    async def look(query: str = "") -> str:
        """Look, while somebody changes the rules."""
        await rules.add(None, [draft("deny", "to equals bob")])
        return "seen"

    changing = ToolRegistry(
        {
            "look": lambda _context: look,
            "send": lambda context: registry.build("send", context),
            "boom": lambda context: registry.build("boom", context),
            "wait": lambda context: registry.build("wait", context),
        }
    )
    desk.service = desk.workshop.service(registry=changing, cipher=CIPHER)
    steps = [{"calls": [{"tool": "look", "args": {}}]}, {"calls": [send("bob"), send("ann")]}]

    run_id = await desk.run_steps(steps)

    assert desk.sent == ["ann"]
    assert "send was refused" in (await desk.result(run_id))["result_content"]
    steps = await desk.workshop.rows("agent_run_steps", "model_step, call_index")
    refused = next(s for s in steps if s["request"].get("arguments") == {"to": "bob"})
    assert refused["request"]["held"] is True  # no later attempt takes it for one that ran


async def test_a_call_held_by_a_rule_made_meanwhile_is_asked_and_runs_once(
    desk, rules, monkeypatch
):
    monkeypatch.setattr(call_policy, "FRESH_FOR", timedelta(0))
    await rules.add(desk.workshop.user, [draft("allow")])
    standard = desk.workshop.toolbox.registry()

    @tool
    async def look(query: str = "") -> str:
        """Look, while somebody changes the rules."""
        await rules.add(None, [draft("require", "to equals bob")])
        return "seen"

    names = {n: (lambda c, n=n: standard.build(n, c)) for n in ("send", "boom", "wait")}
    registry = ToolRegistry({**names, "look": lambda _context: look})
    desk.service = desk.workshop.service(registry=registry, cipher=CIPHER)
    steps = [{"calls": [{"tool": "look", "args": {}}]}, {"calls": [send("bob"), send("ann")]}]

    run_id = await desk.run_steps(steps, mode="suspend")
    assert (desk.sent, await desk.status(run_id)) == (["ann"], "suspended")
    await desk.approve()
    await desk.work()

    assert desk.sent == ["ann", "bob"]
    assert (await desk.action())["status"] == "succeeded"
    assert "sent to bob" in (await desk.result(run_id))["result_content"]


async def test_an_expired_rule_allows_nothing(desk, rules, workshop):
    (made,) = await rules.add(
        workshop.user, [draft("allow", expires_at=clock() + timedelta(hours=1))]
    )
    await workshop.owner.execute(
        "UPDATE approval_rules SET expires_at = now() - interval '1 second' WHERE id = %s",
        [made.id],
    )

    await scripted(desk, send())

    assert (desk.sent, await statuses(desk)) == ([], ["pending"])


async def test_uses_run_out(desk, rules):
    await rules.add(desk.workshop.user, [draft("allow", uses_left=2)])

    await scripted(desk, send("a"), send("b"), send("c"), send("d"))

    assert len(desk.sent) == 2
    assert await statuses(desk) == ["pending", "pending"]
    assert (await desk.workshop.row("approval_rules"))["uses_left"] == 0


async def test_uses_run_out_once_however_many_runs_want_them(workshop, rules, database_url):
    await rules.add(workshop.user, [draft("allow", uses_left=5)])
    await workshop.agent({"steps": [{"calls": [send()]}], "answer": "done"}, tools=["send"])
    services = [workshop.service(cipher=CIPHER) for _ in range(3)]
    runs = [await make_run(workshop) for _ in range(12)]

    await asyncio.gather(*(services[n % 3].execute_run(run) for n, run in enumerate(runs)))

    sent = [call for call in workshop.toolbox.calls if call[0] == "send"]
    assert len(sent) == 5
    assert len(await workshop.rows("pending_actions")) == 7
    assert (await workshop.row("approval_rules"))["uses_left"] == 0


async def test_a_call_that_runs_anyway_uses_nothing_up(desk, rules):
    await desk.workshop.declare("send", default_tier="auto")
    await rules.add(desk.workshop.user, [draft("allow", uses_left=2)])

    await scripted(desk, send("a"), send("b"), send("c"))

    assert len(desk.sent) == 3
    assert (await desk.workshop.row("approval_rules"))["uses_left"] == 2


@pytest.mark.parametrize(
    "conditions",
    [
        [{"arguments": ["to"], "test": "eval", "values": ["x"]}],
        ["import os"],
        [{"arguments": ["a" * 500], "test": "over", "values": [1]}],
        [{"arguments": ["a"], "test": "over", "values": [10**5000]}],
        [{"arguments": ["to"], "test": "matches", "values": ["("]}],
    ],
    ids=["unknown", "text", "path", "digits", "pattern"],
)
async def test_what_somebody_wrote_past_rota_asks_and_stops_nobody_else(
    desk, workshop, bob, conditions
):
    # What the database refuses by now may be there from before, and is read all the same.
    await workshop.owner.execute(
        "ALTER TABLE approval_rules DROP CONSTRAINT approval_rules_bounds_check"
    )
    await workshop.declare("send", default_tier="auto")
    await workshop.declare("look", default_tier="auto")
    async with workshop.database.acting_as(workshop.user) as conn:
        await conn.execute(
            "INSERT INTO approval_rules (user_id, effect, tool, conditions)"
            " VALUES (%s, 'allow', 'send', %s)",
            [workshop.user, Jsonb(conditions, dumps=_dumps)],
        )

    run_id = await scripted(desk, send(), look())

    assert workshop.toolbox.calls == [("look", "a")]
    (action,) = await desk.actions()
    assert "has an error" in action["reason"]
    assert (await desk.result(run_id))["status"] == "success"


def _dumps(value):
    import sys

    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(value)
    finally:
        sys.set_int_max_str_digits(before)


async def test_nobody_has_more_rules_than_a_run_can_look_at(rules, workshop):
    await workshop.owner.execute(
        "INSERT INTO approval_rules (user_id, effect, tool)"
        " SELECT %s, 'deny', 'x' FROM generate_series(1, 499)",
        [workshop.user],
    )
    await rules.add(workshop.user, [draft("deny", tool="y")])

    with pytest.raises(ConflictError, match="500 rules"):
        await rules.add(workshop.user, [draft("deny", tool="z")])
    await rules.add(None, [draft("deny", tool="z")])


async def test_adding_a_rule_clears_away_those_that_expired_long_ago(rules, workshop, bob):
    later = clock() + timedelta(hours=1)
    old, recent = await rules.add(
        workshop.user,
        [draft("deny", tool="old", expires_at=later), draft("deny", tool="new", expires_at=later)],
    )
    await workshop.owner.execute(
        "UPDATE approval_rules SET expires_at = now() - interval '1 day'"
        " * CASE tool WHEN 'old' THEN 31 ELSE 29 END"
    )
    await rules.add(bob, [draft("deny")])
    assert len(await workshop.rows("approval_rules")) == 3

    await rules.add(workshop.user, [draft("deny")])

    left = {row["id"] for row in await workshop.rows("approval_rules")}
    assert (old.id in left, recent.id in left, len(left)) == (False, True, 3)


async def test_rules_of_others_are_neither_read_nor_removed(rules, workshop, bob):
    (alices,) = await rules.add(workshop.user, [draft("deny")])
    (operators,) = await rules.add(None, [draft("deny", for_user=workshop.user)])
    (everyones,) = await rules.add(None, [draft("require")])

    assert [rule.id for rule in await rules.list_rules(bob)] == [everyones.id]
    assert {rule.id for rule in await rules.list_rules(workshop.user)} == {
        alices.id,
        operators.id,
        everyones.id,
    }
    for rule in (alices, operators, everyones):
        with pytest.raises(NotFoundError):
            await rules.remove(bob, str(rule.id))
    with pytest.raises(NotFoundError, match="operator"):
        await rules.remove(workshop.user, str(everyones.id))
    assert len(await workshop.rows("approval_rules")) == 3


async def test_a_rule_names_only_schedules_and_agents_of_its_owner(rules, workshop, bob):
    schedule = await workshop.schedule(await workshop.agent({"steps": [], "answer": "x"}))

    for fields in ({"schedule_id": schedule.id}, {"agent_name": "watcher"}):
        with pytest.raises(NotFoundError):
            await rules.add(bob, [draft("deny", **fields)])
        await rules.add(workshop.user, [draft("deny", **fields)])
    assert len(await workshop.rows("approval_rules")) == 2
    await workshop.owner.execute("DELETE FROM agent_schedules")
    assert [row["schedule_id"] for row in await workshop.rows("approval_rules")] == [None]


async def test_several_rules_are_added_all_or_none(rules, workshop):
    with pytest.raises(InvalidInputError):
        await rules.add(workshop.user, [draft("deny"), draft("deny", tool="no tool")])

    assert await workshop.rows("approval_rules") == []


async def test_a_use_is_not_counted_past_the_end_of_a_rule(workshop, rules):
    (made,) = await rules.add(
        workshop.user,
        [draft("allow", uses_left=3, expires_at=clock() + timedelta(hours=1))],
    )
    await workshop.owner.execute("UPDATE approval_rules SET expires_at = now()")

    async with workshop.database.connection() as conn:
        assert not await rule_rows.use_rule(conn, made.id)
        assert not await rule_rows.use_rule(conn, RuleId(uuid.uuid4()))


async def test_without_rules_the_arguments_are_not_looked_at(workshop):
    verdict = judge("send", None)

    assert (verdict.decision, verdict.uses) == ("held", None)
