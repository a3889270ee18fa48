"""Agents over HTTP: made, replaced, removed, and restored from their history."""

from __future__ import annotations

import pytest

from rota.api.agents.agents import WrittenAgent
from rota.api.callers import Scope
from rota.services.agent_files.editing import AgentChange
from rota.shown.agents import AgentShown, CheckedShown
from rota.shown.models import model_of

READS = frozenset({Scope.READ})
OTHERS = frozenset({Scope.READ, Scope.TRIGGER, Scope.DECIDE})
SMALL = {"model": "openai:gpt-5-mini", "tools": ["look"], "limits": {"cost": "0.50"}}


@pytest.fixture(autouse=True)
def _tools(workshop):
    """The tools of the workshop are declared."""


@pytest.fixture
def me(client, alice):
    return client(alice)


async def put(client, name="small", etag=None, **changes):
    headers = {} if etag is None else {"If-Match": etag}
    return await client.put(f"/agents/{name}", json=SMALL | changes, headers=headers)


async def test_an_agent_is_made_read_and_replaced(me):
    made = await put(me)
    assert made.status_code == 201
    agent = WrittenAgent.model_validate(made.json())
    assert (agent.agent, agent.max_steps, agent.limits) == ("small", 25, {"cost_usd": "0.50"})
    assert [tool.tool for tool in agent.tools] == ["look"]
    read = await me.get("/agents/small")
    assert AgentShown.model_validate(read.json())
    assert read.headers["etag"] == made.headers["etag"]

    again = await put(me, etag=read.headers["etag"], system_prompt="Look.", tools=[])

    assert (again.status_code, again.json()["system_prompt"]) == (200, "Look.")
    assert again.json()["tools"] == []
    assert again.headers["etag"] != made.headers["etag"]


async def test_a_change_needs_what_was_seen_of_it(me):
    first = (await put(me)).headers["etag"]
    assert (await put(me)).status_code == 428
    assert (await put(me, etag=first, description="One.")).status_code == 200
    stale = await put(me, etag=first, description="Two.")
    assert stale.status_code == 412
    assert (await me.get("/agents/small")).json()["description"] == "One."
    assert (await me.delete("/agents/small")).status_code == 428
    assert (await me.delete("/agents/small", headers={"If-Match": first})).status_code == 412
    only_new = await me.put("/agents/small", json=SMALL, headers={"If-None-Match": "*"})
    assert only_new.status_code == 412
    gone = await me.put("/agents/none", json=SMALL, headers={"If-Match": first})
    assert gone.status_code == 412
    now = (await me.get("/agents/small")).headers["etag"]
    assert (await me.delete("/agents/small", headers={"If-Match": now})).status_code == 204
    assert (await me.get("/agents/small")).status_code == 404
    assert (await me.delete("/agents/small", headers={"If-Match": now})).status_code == 404


async def test_an_agent_that_schedules_use_is_not_removed(me, workshop):
    await workshop.agent()
    await workshop.schedule()
    etag = (await me.get("/agents/watcher")).headers["etag"]

    refused = await me.delete("/agents/watcher", headers={"If-Match": etag})

    assert refused.status_code == 409
    assert "watcher is run by schedules: morning" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"model": "gpt"}, "body.model", "provider:model"),
        ({"model": "scripted:x"}, "body.model", "follows a script, and there is none"),
        ({"tools": ["lok"]}, "body.tools[0]", "did you mean 'look'?"),
        ({"tools": ["look", "look"]}, "body.tools", "a tool is named twice"),
        ({"limits": {"cost": 0}}, "body.limits.cost", ""),
        ({"limits": {"spoons": 1}}, "body.limits.spoons", ""),
        ({"max_steps": 0}, "body.max_steps", ""),
        ({"max_steps": True}, "body.max_steps", ""),
        ({"schedules": []}, "body.schedules", ""),
        ({"max_concurrency": 10**9}, "body.max_concurrency", ""),
        ({"fallback_models": ["openai"]}, "body.fallback_models[0]", ""),
    ],
)
async def test_bad_input_names_its_field(me, changes, field, said):
    refused = await put(me, **changes)

    assert refused.status_code == 422, refused.text
    fault = refused.json()["errors"][0]
    assert (fault["field"], said in fault["detail"]) == (field, True), fault
    assert (await me.get("/agents/small")).status_code == 404


@pytest.mark.parametrize("name", ["Small", "a b", "-x", "x" * 64, "%2e%2e", "ä"])
async def test_a_name_is_a_name(me, name):
    assert (await put(me, name)).status_code == 422


async def test_scripts_are_written_by_operators(client, alice, me):
    script = {"model": "scripted:x", "tools": [], "script": {"steps": [], "answer": "Fine."}}
    refused = await put(me, **script)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "body.script")
    boss = client(alice, operator=True)
    made = await put(boss, **script)
    assert made.status_code == 201
    kept = await put(me, etag=made.headers["etag"], description="Mine.", **script)
    assert (kept.status_code, kept.json()["description"]) == (200, "Mine.")


async def test_agents_are_listed_by_name_page_by_page(me):
    for name in ("c", "a", "b"):
        await put(me, name)
    told, after = [], None
    while True:
        params = {"limit": 2, "count": True} | ({"after": after} if after else {})
        page = (await me.get("/agents", params=params)).json()
        told += [one["agent"] for one in page["items"]]
        assert page["count"] == 4
        if (after := page["next"]) is None:
            break
    assert told == ["a", "b", "c", "orchestrator"]


async def test_a_history_says_what_changed_and_restores_it(me):
    first = await put(me)
    second = await put(
        me, etag=first.headers["etag"], system_prompt="Look.", tools=["look", "send"]
    )
    third = await put(
        me, etag=second.headers["etag"], system_prompt="Look.", tools=["look", "send"]
    )
    assert third.headers["etag"] == second.headers["etag"]

    page = (await me.get("/agents/small/history")).json()
    changes = [model_of(AgentChange).model_validate(one) for one in page["items"]]
    assert [(one.version, one.change, one.by, one.fields) for one in changes] == [
        (2, "updated", "owner", ["system_prompt", "tools"]),
        (1, "created", "owner", []),
    ]
    assert changes[1].entry == {
        "name": "small",
        "model": "openai:gpt-5-mini",
        "limits": {"cost": "0.50"},
        "tools": ["look"],
    }
    blind = await me.post("/agents/small/restore", json={"version": 1})
    assert blind.status_code == 428
    headers = {"If-Match": second.headers["etag"]}
    restored = await me.post("/agents/small/restore", json={"version": 1}, headers=headers)
    assert (restored.status_code, restored.headers["etag"]) == (200, first.headers["etag"])
    headers = {"If-Match": first.headers["etag"]}
    none = await me.post("/agents/small/restore", json={"version": 9}, headers=headers)
    assert none.status_code == 404

    assert (await me.delete("/agents/small", headers=headers)).status_code == 204
    history = "/agents/small/history"
    page = (await me.get(history, params={"limit": 1})).json()
    assert [(one["version"], one["change"]) for one in page["items"]] == [(4, "removed")]
    rest = (await me.get(history, params={"limit": 9, "after": page["next"]})).json()["items"]
    assert [one["version"] for one in rest] == [3, 2, 1]
    back = await me.post("/agents/small/restore", json={"version": 2})
    assert (back.status_code, back.json()["system_prompt"]) == (201, "Look.")
    assert (await me.get("/agents/small/history")).json()["items"][0]["change"] == "created"


async def test_a_version_whose_tool_is_gone_is_not_restored_in_part(me, workshop):
    first = await put(me)
    second = await put(me, etag=first.headers["etag"], tools=[])
    await workshop.owner.execute("UPDATE tools SET is_active = false WHERE name = 'look'")

    refused = await me.post(
        "/agents/small/restore",
        json={"version": 1},
        headers={"If-Match": second.headers["etag"]},
    )

    assert refused.status_code == 422
    assert "no tool 'look'" in refused.json()["detail"]
    assert (await me.get("/agents/small")).json()["limits"] == {"cost_usd": "0.50"}


async def test_an_agent_file_is_checked_and_nothing_is_written(me):
    text = "name: small\nmodel: openai:x\nschedules: [{name: m, cron: '@daily'}]\n"
    good = await me.post("/agents/validate", json={"text": text})
    bad = await me.post(
        "/agents/validate", json={"text": "name: small\nmodel: x\ntools: [lok]", "name": "a.yaml"}
    )

    assert good.status_code == bad.status_code == 200
    assert CheckedShown.model_validate(good.json()).valid is True
    assert [one["change"] for one in good.json()["changes"]] == ["created", "created"]
    assert bad.json()["valid"] is False
    assert [one[:9] for one in bad.json()["errors"]] == ["a.yaml:2:", "a.yaml:3:"]
    assert (await me.get("/agents/small")).status_code == 404


async def test_a_stranger_finds_and_changes_nothing(client, me, bob):
    etag = (await put(me)).headers["etag"]
    other = client(bob)

    assert "small" not in (await other.get("/agents")).text
    for path in ("/agents/small", "/agents/small/history"):
        assert (await other.get(path)).status_code == 404
    headers = {"If-Match": etag}
    assert (await other.delete("/agents/small", headers=headers)).status_code == 404
    restored = await other.post("/agents/small/restore", json={"version": 1})
    assert restored.status_code == 404
    assert (await put(other, description="Bob's.")).status_code == 201
    assert (await me.get("/agents/small")).headers["etag"] == etag


async def test_rows_of_strangers_are_kept_by_the_database(database, me, bob):
    """Without the condition on the owner in the query it is row-level security that decides."""
    await put(me)
    async with database.acting_as(bob) as conn:
        found = await (await conn.execute("SELECT agent_name FROM agent_versions")).fetchall()
    assert ("small",) not in found


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/agents"),
        ("GET", "/agents/small"),
        ("GET", "/agents/small/history"),
        ("PUT", "/agents/small"),
        ("DELETE", "/agents/small"),
        ("POST", "/agents/small/restore"),
        ("POST", "/agents/validate"),
    ],
)
async def test_nobody_is_401_and_too_little_is_403(client, alice, method, path):
    body = {"json": {}} if method in {"PUT", "POST"} else {}
    assert (await client().request(method, path, **body)).status_code == 401
    scopes = OTHERS - READS if method == "GET" else OTHERS
    refused = await client(alice, scopes=scopes).request(method, path, **body)
    assert (refused.status_code, refused.json()["type"]) == (
        403,
        "urn:rota:problem:insufficient-scope",
    )
