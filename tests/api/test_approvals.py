"""Approval requests over HTTP: what is shown, to whom, and page by page."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from rota.api.callers import Scope
from rota.shown.approvals import ActionDetailsShown, ActionShown, GroupShown
from rota.store.statements import statement
from tests.services.deciding import desk_of, send

SECRET = "hush-hush-0123456789"


@pytest.fixture
async def desk(workshop):
    return desk_of(workshop)


async def test_requests_are_listed_newest_first_and_counted(client, alice, desk):
    await desk.run(send("bob"), send("carl"), send("dora"))
    me = client(alice)

    first = (await me.get("/approvals", params={"limit": 2, "count": True})).json()
    rest = (await me.get("/approvals", params={"limit": 2, "after": first["next"]})).json()

    assert first["count"] == 3
    assert rest["next"] is None
    shown = [*first["items"], *rest["items"]]
    assert sorted(one["arguments"]["to"] for one in shown) == ["bob", "carl", "dora"]
    assert [one["created_at"] for one in shown] == sorted(
        (one["created_at"] for one in shown), reverse=True
    )
    assert [ActionShown.model_validate(one).tool for one in shown] == ["send"] * 3


@pytest.mark.parametrize(
    ("params", "there"),
    [
        ({}, True),
        ({"status": "pending"}, True),
        ({"status": ["refused", "pending"]}, True),
        ({"status": "all"}, True),
        ({"status": "refused"}, False),
        ({"agent": "watcher"}, True),
        ({"agent": "clerk"}, False),
        ({"tool": "send"}, True),
        ({"tool": "boom"}, False),
        ({"up_to": "high"}, True),
        ({"up_to": "low"}, False),
    ],
)
async def test_requests_are_filtered(client, alice, desk, params, there):
    await desk.workshop.owner.execute("UPDATE tools SET risk = 'high' WHERE name = 'send'")
    await desk.run(send("bob"))
    found = (await client(alice).get("/approvals", params=params | {"count": True})).json()
    assert (len(found["items"]), found["count"]) == (int(there), int(there))


async def test_like_requests_are_grouped(client, alice, desk):
    await desk.run(send("bob", text="hi"), send("carl", text="hi"))
    found = (await client(alice).get("/approvals/groups")).json()
    (group,) = found["items"]
    shown = GroupShown.model_validate(group)
    assert (len(shown.actions), shown.same, shown.differing) == (2, {"text": "hi"}, ["to"])
    assert found["all_shown"] is True


async def test_a_request_is_shown_with_all_that_a_decision_needs(client, alice, desk):
    await desk.run(send("bob", text="hi"), send("carl"), mode="suspend", prompt="Tell them.")
    action, other = await desk.actions()

    shown = ActionDetailsShown.model_validate(
        (await client(alice).get(f"/approvals/{action['id']}")).json()
    )

    assert shown.arguments == {"to": "bob", "text": "hi"}
    assert (shown.version, shown.arguments_hash) == (1, action["arguments_hash"])
    assert (shown.like, shown.like_ids) == (1, [other["id"]])
    assert shown.expires_at == action["expires_at"]
    assert shown.prompt == "Tell them."
    assert shown.if_approved == (
        "send is called once, with these arguments. The run that waits for it then goes on with "
        "the result."
    )
    assert (shown.whose, shown.deputies, shown.time_zone) == (None, [], "UTC")


async def test_the_same_call_twice_is_told(client, alice, desk):
    await desk.run(send("bob"))
    first = await desk.action()
    await desk.workshop.owner.execute(
        "INSERT INTO pending_actions (user_id, run_id, agent_name, tool_name, tool_version,"
        " arguments, arguments_hash, risk, reason, expires_at, mode)"
        " SELECT user_id, run_id, agent_name, tool_name, tool_version, arguments, arguments_hash,"
        " risk, reason, expires_at, mode FROM pending_actions"
    )
    shown = (await client(alice).get(f"/approvals/{first['id']}")).json()
    assert len(shown["same_call_ids"]) == 1
    assert shown["same_call_ids"] == shown["like_ids"]


async def test_redacted_values_are_revealed_on_the_record_to_who_may_decide(client, alice, desk):
    await desk.run(send("bob", text=f"password: {SECRET}"))
    action = await desk.action()
    path = f"/approvals/{action['id']}"

    assert SECRET not in (await client(alice).get(path)).text
    reads = client(alice, scopes=frozenset({Scope.READ}))
    assert (await reads.get(path, params={"reveal": True})).status_code == 403
    assert "revealed" not in [name for name, _ in await desk.decisions()]

    revealed = await client(alice).get(path, params={"reveal": True})
    assert SECRET in revealed.json()["arguments"]["text"]
    assert revealed.headers["cache-control"] == "no-store"
    rows = await desk.workshop.rows("audit_logs", "id")
    assert (rows[-1]["decision"], rows[-1]["actor"], rows[-1]["origin"]) == (
        "revealed",
        str(alice),
        "api",
    )


async def test_a_stranger_sees_no_request(client, bob, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    stranger = client(bob)
    listed = await stranger.get("/approvals", params={"status": "all", "count": True})
    assert listed.json() == {"items": [], "next": None, "count": 0}
    assert (await stranger.get("/approvals/groups")).json()["items"] == []
    for params in ({}, {"reveal": True}):
        hidden = await stranger.get(f"/approvals/{action['id']}", params=params)
        assert hidden.status_code == 404
        assert "send" not in hidden.text


async def test_row_security_alone_keeps_requests_from_strangers(client, app, bob, desk):
    """Without the condition on the person, as a route with a bug would ask."""
    await desk.run(send("bob"))
    async with app.database.acting_as(bob) as conn:
        found = await conn.execute("SELECT id FROM public.pending_actions")
        assert await found.fetchall() == []
    async with app.database.transaction() as conn:
        found = await conn.execute("SELECT id FROM public.pending_actions")
        assert len(await found.fetchall()) == 1


async def test_a_deputy_sees_what_was_passed_on_and_no_more(client, owner, alice, bob, desk):
    await desk.run(send("carl"))
    action = await desk.action()
    deputy = client(bob)
    await owner.execute(
        "INSERT INTO approval_deputies VALUES (%s, %s, 'alice@example.com', 'bob@example.com')",
        [alice, bob],
    )
    assert (await deputy.get("/approvals")).json()["items"] == []
    assert (await deputy.get(f"/approvals/{action['id']}")).status_code == 404

    await owner.execute("UPDATE pending_actions SET escalated_at = now()")
    (seen,) = (await deputy.get("/approvals", params={"count": True})).json()["items"]
    assert seen["user_id"] == str(alice)
    shown = (await deputy.get(f"/approvals/{action['id']}")).json()
    assert (shown["whose"], shown["prompt"]) == ("alice@example.com", None)
    assert shown["deputies"] == [{"user_id": str(bob), "name": "bob@example.com"}]


async def test_nobody_and_a_token_that_may_not_read_see_nothing(client, alice, desk):
    await desk.run(send("bob"))
    action = await desk.action()
    for path in ("/approvals", "/approvals/groups", f"/approvals/{action['id']}"):
        assert (await client().get(path)).status_code == 401
        refused = await client(alice, scopes=frozenset({Scope.DECIDE})).get(path)
        assert refused.status_code == 403


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"status": "sold"}, "query.status"),
        ({"up_to": "extreme"}, "query.up_to"),
        ({"limit": 0}, "query.limit"),
        ({"tool": "a\0b"}, None),
        ({"after": "bm90aGluZw"}, "query.after"),
    ],
)
async def test_what_a_list_does_not_understand_is_named(client, alice, params, field):
    refused = await client(alice).get("/approvals", params=params)
    assert refused.status_code == 422
    if field is not None:
        assert refused.json()["errors"][0]["field"].startswith(field)


@pytest.mark.parametrize("reference", ["no", "zzzz", "%00", "0" * 36, "a" * 90, "--------"])
async def test_an_id_that_can_be_none_is_not_found(client, alice, desk, reference):
    await desk.run(send("bob"))
    assert (await client(alice).get(f"/approvals/{reference}")).status_code == 404


async def test_a_cursor_is_good_for_its_own_filters_only(client, alice, desk):
    await desk.run(send("bob"), send("carl"))
    first = (await client(alice).get("/approvals", params={"limit": 1})).json()
    other = {"limit": 1, "after": first["next"], "status": "all"}
    assert (await client(alice).get("/approvals", params=other)).status_code == 422


async def test_a_page_of_ten_thousand_requests_is_read_from_an_index(app, owner, alice, bob):
    for who in (alice, bob):
        await owner.execute(
            "INSERT INTO pending_actions (user_id, agent_name, tool_name, arguments,"
            " arguments_hash, risk, reason, expires_at, mode, status, created_at)"
            " SELECT %s, 'watcher', 'send', '{}', repeat('0', 64), 'low', 'why',"
            "        now() + interval '1 day', 'queue',"
            "        CASE WHEN n %% 20 = 0 THEN 'pending' ELSE 'succeeded' END,"
            "        now() - n * interval '1 second'"
            " FROM generate_series(1, 10000) AS n",
            [who],
        )
    await owner.execute("ANALYZE pending_actions")
    parameters = {
        "statuses": ["pending", "unknown"],
        "after_at": datetime(2025, 1, 1, tzinfo=UTC),
        "after_id": alice,
        "agent_name": None,
        "tool_name": None,
        "risks": ["low", "medium", "high"],
        "limit": 51,
    }
    for after in (parameters["after_at"], None):
        async with app.database.acting_as(alice) as conn:
            found = await conn.execute(
                b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement("approvals/list_actions"),
                parameters | {"after_at": after, "statuses": ["pending", "unknown"]},
            )
            (row,) = await found.fetchall()
        plan = json.dumps(row[0])
        assert "pending_actions_pages_idx" in plan
        assert "Seq Scan" not in json.dumps(_nodes_on(row[0][0]["Plan"], "pending_actions"))
        read = sum(
            node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
            for node in _nodes_on(row[0][0]["Plan"], "pending_actions")
        )
        assert read <= 102


def _nodes_on(plan, table):
    own = [plan] if plan.get("Relation Name") == table else []
    return own + [node for child in plan.get("Plans", ()) for node in _nodes_on(child, table)]
