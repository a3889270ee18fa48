"""Decisions over HTTP: each request is decided once, as it was shown, by who may."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from rota.api.approvals.approvals import DecidedShown
from rota.api.callers import Scope
from rota.shown.approvals import ActionShown
from rota.shown.rules import ApprovedAlwaysShown
from tests.services.deciding import desk_of, send

READS = frozenset({Scope.READ, Scope.TRIGGER, Scope.MANAGE})


@pytest.fixture
async def desk(workshop):
    return desk_of(workshop)


def seen(action, **more):
    """What a client saw of a request, as a decision on it says."""
    return {"version": action["version"], "arguments_hash": action["arguments_hash"], **more}


async def test_an_approved_call_runs_once_and_the_audit_log_says_by_which_way(client, alice, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    made = await client(alice).post(f"/approvals/{action['id']}/approve", json=seen(action))
    assert made.status_code == 200
    assert ActionShown.model_validate(made.json()).status == "approved"
    await desk.work()
    assert desk.sent == ["bob"]
    assert (await desk.action())["decided_via"] == "api"


async def test_a_refused_call_does_not_run_and_keeps_the_reason(client, alice, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    body = seen(action, reason="Not today.")
    made = await client(alice).post(f"/approvals/{action['id']}/refuse", json=body)
    assert (made.json()["status"], made.json()["decision_reason"]) == ("refused", "Not today.")
    await desk.work()
    assert desk.sent == []


async def test_a_double_click_decides_once(client, alice, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    path = f"/approvals/{action['id']}/approve"
    answers = await asyncio.gather(*(client(alice).post(path, json=seen(action)) for _ in range(4)))
    assert sorted(one.status_code for one in answers) == [200, 409, 409, 409]
    late = next(one.json() for one in answers if one.status_code == 409)
    assert late["reached"] == "approved"
    assert late["detail"] == (
        "It is not pending any more: it was approved, from api, and will run soon."
    )
    await desk.work()
    assert desk.sent == ["bob"]


async def test_approve_against_refuse_at_once_has_one_winner(client, alice, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    answers = await asyncio.gather(
        *(
            client(alice).post(f"/approvals/{action['id']}/{what}", json=seen(action))
            for what in ("approve", "refuse", "approve", "refuse")
        )
    )
    (won,) = [one.json()["status"] for one in answers if one.status_code == 200]
    assert {one.json()["reached"] for one in answers if one.status_code == 409} == {won}
    await desk.work()
    assert desk.sent == (["bob"] if won == "approved" else [])


@pytest.mark.parametrize("decision", ["approve", "refuse", "approve-always"])
async def test_a_stale_version_is_not_decided_on(client, alice, desk, decision):
    await desk.run(send("bob"))
    before = await desk.action()
    path = f"/approvals/{before['id']}"
    edited = await client(alice).post(
        f"{path}/edit", json={"arguments": {"to": "eve"}, "version": 1}
    )
    assert edited.json()["version"] == 2
    stale = await client(alice).post(f"{path}/{decision}", json=seen(before))
    assert stale.status_code == 409
    assert (await desk.action())["status"] == "pending"


async def test_another_hash_under_the_same_version_is_not_decided_on(client, alice, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    other = seen(action) | {"arguments_hash": "0" * 64}
    refused = await client(alice).post(f"/approvals/{action['id']}/approve", json=other)
    assert (refused.status_code, refused.json()["reached"]) == (409, "edited")
    assert (await desk.action())["status"] == "pending"


@pytest.mark.parametrize("decision", ["approve", "refuse"])
async def test_an_expired_request_is_not_decided_on(client, alice, desk, decision):
    await desk.run(send("bob"))
    await desk.workshop.owner.execute("UPDATE pending_actions SET expires_at = now()")
    action = await desk.action()
    late = await client(alice).post(f"/approvals/{action['id']}/{decision}", json=seen(action))
    assert (late.status_code, late.json()["reached"]) == (409, "expired")
    assert late.json()["detail"] == "The request has expired: nobody decided in time."


async def test_edited_arguments_run_once_approved_with_them(client, alice, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    body = {"arguments": {"to": "carl"}, "version": 1, "approve": True}
    made = await client(alice).post(f"/approvals/{action['id']}/edit", json=body)
    assert (made.json()["status"], made.json()["proposed_arguments"]["to"]) == ("approved", "bob")
    await desk.work()
    assert desk.sent == ["carl"]


async def test_two_edits_at_once_have_one_winner(client, alice, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    path = f"/approvals/{action['id']}/edit"
    answers = await asyncio.gather(
        *(
            client(alice).post(path, json={"arguments": {"to": f"eve{n}"}, "version": 1})
            for n in range(4)
        )
    )
    assert sorted(one.status_code for one in answers) == [200, 409, 409, 409]
    assert (await desk.action())["version"] == 2


@pytest.mark.parametrize(
    "arguments", [{}, {"to": 7}, {"to": "bob", "bcc": "eve"}, {"to": "a\u0000b"}]
)
async def test_arguments_that_the_tool_does_not_take_are_named(client, alice, desk, arguments):
    await desk.run(send("bob"))
    action = await desk.action()
    refused = await client(alice).post(
        f"/approvals/{action['id']}/edit", json={"arguments": arguments, "version": 1}
    )
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"].startswith("body.arguments")
    assert (await desk.action())["version"] == 1


@pytest.mark.parametrize(
    ("outcome", "status"), [("happened", "succeeded"), ("did_not", "failed"), ("again", "approved")]
)
async def test_an_unknown_outcome_is_settled(client, alice, desk, outcome, status):
    await desk.run(send("bob"))
    await desk.approve()
    await desk.workshop.owner.execute(
        "UPDATE pending_actions SET status = 'running', started_at = now()"
    )
    await desk.workshop.owner.execute("UPDATE pending_actions SET status = 'unknown'")
    action = await desk.action()
    path = f"/approvals/{action['id']}/settle"
    made = await client(alice).post(path, json={"outcome": outcome})
    assert (made.status_code, made.json()["status"]) == (200, status)
    again = await client(alice).post(path, json={"outcome": outcome})
    assert (again.status_code, again.json()["reached"]) == (409, status)


async def test_many_are_decided_each_by_itself(client, alice, bob, desk, owner):
    await desk.run(send("bob"), send("carl"), send("dora"))
    bobs, carls, doras = await desk.actions()
    await desk.refuse(carls)
    await owner.execute("UPDATE pending_actions SET user_id = %s WHERE id = %s", [bob, doras["id"]])
    asked = [
        seen(bobs, request=str(bobs["id"])),
        seen(carls, request=str(carls["id"])),
        seen(doras, request=str(doras["id"])),
        seen(bobs, request=str(uuid4())),
    ]
    made = await client(alice).post(
        "/approvals/decide", json={"decision": "approve", "requests": asked}
    )
    assert made.status_code == 200
    items = made.json()["items"]
    assert [DecidedShown.model_validate(one).request for one in items] == [
        one["request"] for one in asked
    ]
    assert [(one["action"] or {}).get("status") for one in items] == ["approved", None, None, None]
    assert [one["reached"] for one in items] == [None, "refused", None, None]
    # Somebody else's is told of as one that is not there.
    gone, never = (one["problem"].replace(one["request"], "ID") for one in items[2:])
    assert gone == never
    rows = await desk.workshop.rows("pending_actions")
    assert {row["arguments"]["to"]: row["status"] for row in rows} == {
        "bob": "approved",
        "carl": "refused",
        "dora": "pending",
    }


async def test_the_same_request_twice_in_a_list_is_decided_once(client, alice, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    asked = [seen(action, request=str(action["id"]))] * 2
    made = await client(alice).post(
        "/approvals/decide", json={"decision": "approve", "requests": asked}
    )
    assert [one["reached"] for one in made.json()["items"]] == [None, "approved"]


async def test_an_approval_may_make_a_rule_of_it(client, alice, desk, workshop):
    await workshop.declare("send", default_tier="user_configurable")
    await desk.run(send("bob"))
    action = await desk.action()
    made = await client(alice).post(
        f"/approvals/{action['id']}/approve-always",
        json=seen(action, **{"only": ["to"], "for": "10d"}),
    )
    assert made.status_code == 200, made.text
    shown = ApprovedAlwaysShown.model_validate(made.json())
    assert (shown.action.status, shown.rule.tool, shown.rule.from_action) == (
        "approved",
        "send",
        action["id"],
    )
    assert shown.rule.when[0] == "to equals bob"


@pytest.mark.parametrize(
    ("more", "field"),
    [({"for": "400d"}, "body.for"), ({"only": ["cc"]}, "body.only"), ({"only": []}, "body.only")],
)
async def test_a_rule_that_cannot_be_made_approves_nothing(client, alice, desk, more, field):
    await desk.run(send("bob"))
    action = await desk.action()
    refused = await client(alice).post(
        f"/approvals/{action['id']}/approve-always", json=seen(action, **more)
    )
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
    assert (await desk.action())["status"] == "pending"


ROUTES = [
    ("approve", {"version": 1, "arguments_hash": "0" * 64}),
    ("refuse", {"version": 1, "arguments_hash": "0" * 64}),
    ("approve-always", {"version": 1, "arguments_hash": "0" * 64}),
    ("edit", {"arguments": {"to": "eve"}, "version": 1}),
    ("settle", {"outcome": "happened"}),
]


@pytest.mark.parametrize(("route", "body"), ROUTES)
async def test_only_who_may_decide_decides(client, alice, bob, desk, route, body):
    await desk.run(send("bob"))
    action = await desk.action()
    body = body | ({"arguments_hash": action["arguments_hash"]} if "arguments_hash" in body else {})
    path = f"/approvals/{action['id']}/{route}"
    assert (await client().post(path, json=body)).status_code == 401
    refused = await client(alice, scopes=READS).post(path, json=body)
    assert (refused.status_code, refused.json()["scope"]) == (403, "decide")
    hidden = await client(bob).post(path, json=body)
    assert hidden.status_code == 404
    after = await desk.action()
    assert (after["status"], after["version"]) == ("pending", 1)


async def test_many_need_the_scope_too(client, alice, bob, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    body = {"decision": "approve", "requests": [seen(action, request=str(action["id"]))]}
    assert (await client().post("/approvals/decide", json=body)).status_code == 401
    refused = await client(alice, scopes=READS).post("/approvals/decide", json=body)
    assert refused.status_code == 403
    (other,) = (await client(bob).post("/approvals/decide", json=body)).json()["items"]
    assert (other["action"], other["reached"]) == (None, None)
    assert (await desk.action())["status"] == "pending"


async def test_a_deputy_decides_what_was_passed_on_and_settles_nothing(
    client, owner, alice, bob, desk
):
    await desk.run(send("carl"), send("dora"))
    await owner.execute(
        "INSERT INTO approval_deputies VALUES (%s, %s, 'alice@example.com', 'bob@example.com')",
        [alice, bob],
    )
    first, second = await desk.actions()
    early = await client(bob).post(f"/approvals/{first['id']}/approve", json=seen(first))
    assert early.status_code == 404
    await owner.execute("UPDATE pending_actions SET escalated_at = now()")
    made = await client(bob).post(f"/approvals/{first['id']}/approve", json=seen(first))
    assert made.json()["decided_by"] == str(bob)
    always = await client(bob).post(f"/approvals/{second['id']}/approve-always", json=seen(second))
    assert always.status_code == 409
    settled = await client(bob).post(
        f"/approvals/{first['id']}/settle", json={"outcome": "happened"}
    )
    assert settled.status_code == 409
    await desk.work()
    assert desk.sent == ["carl"]


@pytest.mark.parametrize(
    ("route", "body", "field"),
    [
        ("approve", {}, "body.version"),
        ("approve", {"version": 1}, "body.arguments_hash"),
        ("approve", {"version": 0, "arguments_hash": "0" * 64}, "body.version"),
        ("approve", {"version": 2**31, "arguments_hash": "0" * 64}, "body.version"),
        ("approve", {"version": 1, "arguments_hash": "x"}, "body.arguments_hash"),
        ("refuse", {"version": 1, "arguments_hash": "0" * 64, "reason": 7}, "body.reason"),
        ("refuse", {"version": 1, "arguments_hash": "0" * 64, "why": ""}, "body.why"),
        ("edit", {"arguments": [], "version": 1}, "body.arguments"),
        ("edit", {"arguments": {"to": "eve"}}, "body.version"),
        ("settle", {"outcome": "maybe"}, "body.outcome"),
        ("approve-always", {"version": 1, "arguments_hash": "0" * 64, "for": "x"}, "body.for"),
    ],
)
async def test_what_a_decision_lacks_is_named(client, alice, route, body, field):
    refused = await client(alice).post(f"/approvals/abcd/{route}", json=body)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == field


@pytest.mark.parametrize("requests", [[], [{"request": "abcd"}], [{"version": 1}] * 201])
async def test_a_list_that_is_none_is_refused(client, alice, requests):
    body = {"decision": "approve", "requests": requests}
    assert (await client(alice).post("/approvals/decide", json=body)).status_code == 422
