"""Approval rules and deputies over HTTP."""

from __future__ import annotations

import pytest

from rota.api.approvals.deputies import DeputyShown
from rota.api.approvals.rules import AddedRule
from rota.api.callers import Scope
from rota.shown.rules import ExplanationShown, ListedRuleShown

READS = frozenset({Scope.READ, Scope.TRIGGER, Scope.MANAGE})
REFUSE = {"effect": "refuse", "tool": "send", "when": ["to equals eve"]}


@pytest.fixture(autouse=True)
async def an_agent(workshop):
    await workshop.agent(tools=["look", "send"])
    await workshop.schedule()


async def test_a_rule_is_added_once_listed_and_removed(client, alice):
    me = client(alice)
    body = REFUSE | {"agent": "watcher", "schedule": "morning", "note": "Never.", "expires": "30d"}
    made = await me.post("/rules", json=body)
    assert made.status_code == 201
    rule = AddedRule.model_validate(made.json())
    assert (rule.effect, rule.whose, rule.when) == ("refuse", "you", ["to equals eve"])
    assert (rule.schedule, rule.warnings) == ("morning", [])
    again = await me.post("/rules", json=body)
    assert (again.status_code, again.json()["id"], again.json()["is_new"]) == (
        200,
        str(rule.id),
        False,
    )
    (listed,) = (await me.get("/rules")).json()["items"]
    assert ListedRuleShown.model_validate(listed).id == rule.id
    assert (await me.delete(f"/rules/{rule.id}")).status_code == 204
    assert (await me.get("/rules")).json()["items"] == []
    assert (await me.delete(f"/rules/{rule.id}")).status_code == 404


async def test_rules_are_listed_page_by_page_the_operators_first(client, alice):
    me = client(alice, operator=True)
    for name in ("a", "b"):
        await me.post("/rules", json={"effect": "require", "tool": name})
    await me.post("/rules", params={"operator": True}, json={"effect": "refuse", "tool": "c"})
    told, after = [], None
    while True:
        params = {"limit": 1, "count": True} | ({"after": after} if after else {})
        page = (await me.get("/rules", params=params)).json()
        told += [(one["whose"], one["tool"]) for one in page["items"]]
        assert page["count"] == 3
        if (after := page["next"]) is None:
            break
    assert told == [("operator", "c"), ("you", "a"), ("you", "b")]


async def test_a_rule_that_may_not_do_what_was_meant_is_warned_of(client, alice):
    made = await client(alice).post("/rules", json={"effect": "allow", "tool": "sned"})
    assert made.json()["warnings"] == [
        "No tool is declared as sned; see `rota tools list`. Did you mean send?"
    ]


async def test_the_operators_rules_are_the_operators(client, alice, bob):
    boss, me = client(bob, operator=True), client(alice)
    for call in (me.post("/rules", params={"operator": True}, json=REFUSE),):
        refused = await call
        assert (refused.status_code, refused.json()["type"]) == (
            403,
            "urn:rota:problem:operators-only",
        )
    assert (await me.get("/rules", params={"operator": True})).status_code == 403
    body = REFUSE | {"user": "alice@example.com"}
    made = await boss.post("/rules", params={"operator": True}, json=body)
    assert (made.status_code, made.json()["for_user"]) == (201, str(alice))
    path = f"/rules/{made.json()['id']}"
    assert [one["whose"] for one in (await me.get("/rules")).json()["items"]] == ["operator"]
    assert (await me.delete(path)).status_code == 404
    assert (await me.delete(path, params={"operator": True})).status_code == 403
    assert (await boss.delete(path, params={"operator": True})).status_code == 204


async def test_a_call_is_explained(client, alice):
    await client(alice).post("/rules", json=REFUSE)
    body = {"tool": "send", "arguments": {"to": "eve"}, "agent": "watcher"}
    explained = (await client(alice).post("/rules/explain", json=body)).json()
    shown = ExplanationShown.model_validate(explained)
    assert (shown.decision, shown.rules[0].rule) == ("refused", "refuse send; when to equals eve")


async def test_strangers_nobody_and_tokens_without_the_scope_get_nothing(client, app, alice, bob):
    made = (await client(alice).post("/rules", json=REFUSE)).json()
    assert (await client(bob).get("/rules", params={"count": True})).json() == {
        "items": [],
        "next": None,
        "count": 0,
    }
    assert (await client(bob).delete(f"/rules/{made['id']}")).status_code == 404
    explained = await client(bob).post("/rules/explain", json={"tool": "send", "agent": "watcher"})
    assert explained.status_code == 404
    hidden = await client(bob).post("/rules", json=REFUSE | {"schedule": "morning"})
    assert hidden.status_code == 404
    for one, status in ((client(), 401), (client(alice, scopes=READS), 403)):
        assert (await one.post("/rules", json=REFUSE)).status_code == status
        assert (await one.post("/rules/explain", json={"tool": "send"})).status_code == status
        assert (await one.delete(f"/rules/{made['id']}")).status_code == status
    assert (await client().get("/rules")).status_code == 401
    async with app.database.acting_as(bob) as conn:  # as a route with a bug would ask
        found = await conn.execute("SELECT FROM public.approval_rules")
        assert await found.fetchall() == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.effect"),
        ({"effect": "deny", "tool": "send"}, "body.effect"),
        (REFUSE | {"tool": "a b"}, "body.tool"),
        (REFUSE | {"when": "to equals eve"}, "body.when"),
        (REFUSE | {"when": ["to shines"]}, "body.when"),
        (REFUSE | {"runs": "never"}, "body.runs"),
        (REFUSE | {"risk": "some"}, "body.risk"),
        (REFUSE | {"note": "n" * 301}, "body.note"),
        (REFUSE | {"expires": "soon"}, "body.expires"),
        (REFUSE | {"uses": 3}, "body.uses"),
        (REFUSE | {"effect": "allow", "uses": 0}, "body.uses"),
        (REFUSE | {"user": "alice@example.com"}, "body.user"),
        (REFUSE | {"whose": "you"}, "body.whose"),
    ],
)
async def test_what_is_wrong_with_a_rule_is_named(client, alice, body, field):
    refused = await client(alice).post("/rules", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"][0]["field"] == field


async def test_an_operator_appoints_deputies_whom_both_see(client, alice, bob):
    boss = client(alice, operator=True)
    path = "/deputies/alice@example.com/bob@example.com"
    made = await boss.put(path)
    assert made.status_code == 201
    assert DeputyShown.model_validate(made.json()).deputy_id == bob
    assert (await boss.put(f"/deputies/{alice}/{bob}")).status_code == 200
    for one in (client(alice), client(bob)):
        (listed,) = (await one.get("/deputies")).json()["items"]
        assert (listed["user_name"], listed["deputy_name"]) == (
            "alice@example.com",
            "bob@example.com",
        )
    assert (await boss.delete(path)).status_code == 204
    assert (await boss.delete(path)).status_code == 404
    assert (await client(bob).get("/deputies")).json()["items"] == []


async def test_deputies_of_others_are_for_operators(client, owner, alice, bob):
    cursor = await owner.execute(
        "INSERT INTO auth.users (email) VALUES ('carl@example.com') RETURNING id"
    )
    (carl,) = await cursor.fetchone()
    boss = client(carl, operator=True)
    for name in ("alice", "carl"):
        assert (await boss.put(f"/deputies/{name}@example.com/{bob}")).status_code == 201
    first = (await boss.get("/deputies", params={"everybody": True, "limit": 1})).json()
    rest = (
        await boss.get("/deputies", params={"everybody": True, "limit": 1, "after": first["next"]})
    ).json()
    names = [one["user_name"] for one in [*first["items"], *rest["items"]]]
    assert (names, rest["next"]) == (["alice@example.com", "carl@example.com"], None)
    assert len((await client(alice).get("/deputies")).json()["items"]) == 1
    assert (await client(alice).get("/deputies", params={"everybody": True})).status_code == 403
    path = f"/deputies/{alice}/{bob}"
    for one, status in (
        (client(), 401),
        (client(alice), 403),
        (client(carl, operator=True, scopes=READS), 403),
    ):
        assert (await one.put(path)).status_code == status
        assert (await one.delete(path)).status_code == status


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/deputies/nobody@example.com/bob@example.com", 404),
        ("/deputies/alice@example.com/alice@example.com", 422),
    ],
)
async def test_a_deputy_is_somebody_else_who_is_known(client, alice, bob, path, status):
    assert (await client(alice, operator=True).put(path)).status_code == status
