"""An approval with “always”: a rule of exactly this call."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rota.domain.approvals.actions import ActionStatus
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from tests.services.approvals.under_rules.policies import (
    draft,
    scripted,
)
from tests.services.deciding import send
from tests.services.harness import clock


async def test_always_allow_makes_a_rule_of_exactly_this_call(desk, rules):
    me = desk.workshop.user
    await scripted(desk, send("bob", text="hello"))
    action = await desk.action()

    always = await rules.approve_always(me, str(action["id"]), via="cli")

    assert always.action.status is ActionStatus.APPROVED
    made = always.rule.draft
    assert (made.effect, made.tool, made.agent_name, made.tool_version) == (
        "allow",
        "send",
        "watcher",
        1,
    )
    assert [str(condition) for condition in made.conditions] == [
        "to equals bob",
        "text equals hello",
        "* only text to",
    ]
    assert made.expires_at <= clock() + timedelta(days=90)
    explain = rules.explain
    decisions = [
        (await explain(me, "send", arguments, agent_name="watcher")).verdict.decision
        for arguments in (
            {"to": "bob", "text": "hello"},
            {"to": "bob", "text": "hullo"},
            {"to": "bob"},
            {"to": "bob", "text": "hello", "bcc": "eve"},
        )
    ]
    assert decisions == ["allowed", "held", "held", "held"]

    await desk.workshop.declare("send", version=2)
    verdict = (await explain(me, "send", {"to": "bob", "text": "hello"})).verdict
    assert verdict.decision == "held"


async def test_always_allow_may_be_held_to_some_arguments_and_forbids_new_ones(desk, rules):
    me = desk.workshop.user
    await scripted(desk, send("bob", text="hello"))
    reference = str((await desk.action())["id"])

    await rules.approve_always(me, reference, only=["to"], lasts=timedelta(days=7), via="cli")

    for arguments, expected in (
        ({"to": "bob", "text": "other"}, "allowed"),
        ({"to": "eve", "text": "hello"}, "held"),
        ({"to": "bob", "text": "other", "bcc": "eve"}, "held"),
    ):
        explained = await rules.explain(me, "send", arguments, agent_name="watcher")
        assert explained.verdict.decision == expected, arguments


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ({"declare": {"default_tier": "requires_approval"}}, "requires approval"),
        ({"declare": {"version": 2}}, "was changed"),
        ({"rule": draft("require")}, "rule"),
        ({"rule": draft("deny")}, "refuses"),
    ],
    ids=["tier", "version", "require", "deny"],
)
async def test_always_allow_is_refused_where_it_would_not_help(desk, rules, prepare, said):
    me = desk.workshop.user
    await scripted(desk, send())
    await desk.workshop.declare("send", **prepare.get("declare", {}))
    if "rule" in prepare:
        await rules.add(None, [prepare["rule"]])

    reference = str((await desk.action())["id"])
    with pytest.raises(ConflictError, match=said) as caught:
        await rules.approve_always(me, reference, via="cli")
    if said in {"requires approval", "rule"}:
        assert caught.value.message.startswith("Nothing was approved and no rule was made")
        assert f"`rota approvals approve {reference[:8]}`" in caught.value.message
    assert len(await desk.workshop.rows("approval_rules")) == ("rule" in prepare)
    assert (await desk.action())["status"] == "pending"


async def test_always_allow_approves_nothing_where_the_rule_is_one_too_many(desk, rules):
    me = desk.workshop.user
    await scripted(desk, send())
    reference = str((await desk.action())["id"])
    await rules.add(me, [draft("deny", tool=f"tool_{n}") for n in range(500)])

    with pytest.raises(ConflictError, match="500"):
        await rules.approve_always(me, reference, via="cli")

    assert (await desk.action())["status"] == "pending"
    assert len(await desk.workshop.rows("approval_rules")) == 500
    assert "approved" not in {decision for decision, _ in await desk.decisions()}


async def test_always_allow_makes_no_rule_of_what_was_decided_or_edited_meanwhile(desk, rules):
    me = desk.workshop.user
    await scripted(desk, send())
    reference = str((await desk.action())["id"])
    await desk.edit({"to": "bob", "text": "other"})
    with pytest.raises(ConflictError, match="was changed after it was shown"):
        await rules.approve_always(me, reference, version=1, via="cli")
    await desk.refuse()
    with pytest.raises(ConflictError, match="refused"):
        await rules.approve_always(me, reference, via="cli")

    assert await desk.workshop.rows("approval_rules") == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": ["subject"]}, "to, text"),
        ({"only": []}, "to, text"),
        ({"lasts": timedelta(days=91)}, "90 days"),
        ({"only": ["text"]}, "holds a secret"),
    ],
    ids=str,
)
async def test_always_allow_says_what_is_wrong(desk, rules, options, said):
    me = desk.workshop.user
    await scripted(desk, send("bob", text="sk-aaaaaaaaaaaaaaaaaaaaaaaa"))

    with pytest.raises(InvalidInputError, match=said):
        await rules.approve_always(me, str((await desk.action())["id"]), via="cli", **options)


async def test_always_allow_of_somebody_elses_action_is_not_found(desk, rules, bob):
    await scripted(desk, send())

    with pytest.raises(NotFoundError):
        await rules.approve_always(bob, str((await desk.action())["id"]), via="cli")
