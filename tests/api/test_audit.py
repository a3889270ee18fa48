"""The audit log over HTTP."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rota.api.callers import Scope
from rota.services.audit.sealing import AuditSealer
from rota.shown.audit import AuditEntryShown, VerificationShown
from rota.store.statements import statement
from tests.services.deciding import desk_of, look, send


@pytest.fixture
async def desk(workshop):
    made = desk_of(workshop)
    await made.run(look("a"), send("bob"))
    return made


async def seal(app):
    await AuditSealer(app.database).seal(app.clock())


async def test_entries_are_listed_newest_first_and_counted(client, alice, desk):
    me = client(alice)
    first = (await me.get("/audit", params={"limit": 1, "count": True})).json()
    rest = (await me.get("/audit", params={"limit": 1, "after": first["next"]})).json()
    entries = [AuditEntryShown.model_validate(one) for one in first["items"] + rest["items"]]
    assert (first["count"], rest["next"]) == (2, None)
    assert entries[0].id > entries[1].id
    assert {one.tool for one in entries} == {"look", "send"}


async def test_entries_are_filtered(client, app, alice, desk):
    action = await desk.action()
    now = app.clock()
    for params, count in (
        ({"tool": "send"}, 1),
        ({"tool": "boom"}, 0),
        ({"action": str(action["id"])[:8]}, 1),
        ({"run": str(action["run_id"])}, 2),
        ({"run": "zzzz"}, 0),
        ({"since": (now - timedelta(hours=1)).isoformat()}, 2),
        ({"since": (now + timedelta(hours=1)).isoformat()}, 0),
    ):
        found = (await client(alice).get("/audit", params=params | {"count": True})).json()
        assert (len(found["items"]), found["count"]) == (count, count), params


async def test_the_log_is_verified_with_its_head_and_a_change_is_found(client, app, alice, desk):
    await seal(app)
    me = client(alice)
    (head,) = (await me.get("/audit/heads")).json()["items"]
    for kept in (head["hash"], json.dumps(head)):
        found = (await me.get("/audit/verify", params={"head": [kept]})).json()
        assert VerificationShown.model_validate(found).heads_there == 1
        assert found["problems"] == []
    await desk.workshop.owner.execute("SET session_replication_role = replica")
    await desk.workshop.owner.execute(
        "UPDATE audit_logs SET detail = 'never' WHERE tool_name = 'look'"
    )
    changed = (await me.get("/audit/verify")).json()
    assert len(changed["problems"]) == 1


async def test_the_export_is_lines_of_json_with_the_head_at_the_end(client, app, alice, desk):
    await seal(app)
    exported = await client(alice).get("/audit/export")
    assert exported.headers["content-type"].startswith("application/x-ndjson")
    assert exported.headers["content-disposition"] == 'attachment; filename="rota-audit.jsonl"'
    lines = [json.loads(line) for line in exported.text.splitlines()]
    assert [line["type"] for line in lines][:: len(lines) - 1] == ["chain", "head"]
    assert sum(line["type"] == "entry" for line in lines) == 2
    expected = [line async for line in app.audit.export(alice)]
    assert lines == json.loads(json.dumps(expected))


async def test_everybodys_log_is_for_operators(client, app, alice, bob, desk):
    await seal(app)
    for path in ("/audit/verify", "/audit/heads", "/audit/export"):
        refused = await client(alice).get(path, params={"everybody": True})
        assert refused.status_code == 403
    boss = client(bob, operator=True)
    exported = await boss.get("/audit/export", params={"everybody": True})
    assert str(alice) in exported.text
    verified = (await boss.get("/audit/verify", params={"everybody": True})).json()
    assert sum(chain["entries"] for chain in verified["chains"]) >= 2


async def test_a_stranger_gets_nothing_of_anothers_log(client, app, alice, bob, desk):
    await seal(app)
    (head,) = (await client(alice).get("/audit/heads")).json()["items"]
    stranger = client(bob)
    listed = await stranger.get("/audit", params={"count": True})
    assert listed.json() == {"items": [], "next": None, "count": 0}
    assert (await stranger.get("/audit/heads")).json() == {"items": []}
    assert (await stranger.get("/audit/export")).text == ""
    strange = await stranger.get("/audit/verify", params={"head": [json.dumps(head)]})
    assert strange.status_code == 422
    assert (await stranger.get("/audit/verify")).json()["chains"][0]["entries"] == 0
    async with app.database.acting_as(bob) as conn:  # as a route with a bug would ask
        found = await conn.execute("SELECT id FROM public.audit_logs")
        assert await found.fetchall() == []


async def test_nobody_and_a_token_without_the_scope_are_refused(client, alice, desk):
    for path in ("/audit", "/audit/verify", "/audit/heads", "/audit/export"):
        assert (await client().get(path)).status_code == 401
        assert (await client(alice, scopes=frozenset({Scope.DECIDE})).get(path)).status_code == 403


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/audit", {"since": "yesterday"}, "query.since"),
        ("/audit", {"since": "2026-01-01T00:00:00"}, "query.since"),
        ("/audit", {"limit": 201}, "query.limit"),
        ("/audit/verify", {"head": "abc"}, "query.head"),
        ("/audit/verify", {"head": "{"}, "query.head"),
        ("/audit/verify", {"everybody": "perhaps"}, "query.everybody"),
    ],
)
async def test_what_is_wrong_is_named(client, alice, path, params, field):
    refused = await client(alice).get(path, params=params)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


async def test_a_page_deep_in_the_log_is_read_from_an_index(app, owner, alice, bob):
    for who in (alice, bob):
        await owner.execute(
            "INSERT INTO audit_logs (user_id, agent_name, tool_name, tier, decision, outcome,"
            " arguments_hash, actor, origin, called_at)"
            " SELECT %s, 'watcher', 'look', 'auto', 'allowed', 'succeeded', repeat('0', 64),"
            "        'agent', 'agent', now()"
            " FROM generate_series(1, 10000)",
            [who],
        )
    await owner.execute("ANALYZE audit_logs")
    async with app.database.acting_as(alice) as conn:
        found = await conn.execute(
            b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement("audit/list_audit"),
            dict.fromkeys(("run", "action", "tool", "since")) | {"before": 5_000, "limit": 51},
        )
        (row,) = await found.fetchall()
    scan = row[0][0]["Plan"]
    while "Index Name" not in scan:
        scan = scan["Plans"][-1]
    assert scan["Index Name"] in {"audit_logs_user_idx", "audit_logs_pkey"}
    assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) == 51
