"""Runs that are started over HTTP, and waited for."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import pytest

from rota.api.callers import Scope
from rota.domain.errors import SuspendedError
from rota.domain.runs.run import RunStatus
from rota.domain.runs.views import RunState
from rota.services.runs.service import RunService
from rota.shown.runs import RunStarted
from tests.services.harness import ANSWER
from tests.services.running import fetch_run, until

MAIL = {
    "steps": [{"calls": [{"tool": "send", "args": {"to": "bob@example.com"}}]}],
    "answer": "Sent.",
}


async def the_run(workshop):
    """Return the only run, once it is there."""

    async def is_there():
        return bool(await workshop.rows("agent_runs"))

    await until(is_there)
    row = await workshop.row("agent_runs")
    async with workshop.database.connection() as conn:
        return await fetch_run(conn, row["id"])


async def test_a_run_is_asked_for_and_named_by_its_location(client, workshop, alice):
    await workshop.agent(ANSWER)
    started = await client(alice).post("/runs", json={"agent": "watcher", "prompt": "Look."})
    assert started.status_code == 202
    run = await workshop.row("agent_runs")
    assert started.headers["location"] == f"/api/v1/runs/{run['id']}"
    assert "preference-applied" not in started.headers
    assert started.json() == {
        "run_id": str(run["id"]),
        "status": "waiting",
        "result_status": None,
        "result": None,
    }
    assert (run["user_id"], run["prompt"], run["trigger"]) == (alice, "Look.", "manual")


async def test_who_waits_gets_the_result_of_a_run_that_ends(client, workshop, alice):
    await workshop.agent(ANSWER)
    waits = asyncio.create_task(
        client(alice).post("/runs", json={"agent": "watcher"}, headers={"Prefer": "wait=30"})
    )
    outcome = await workshop.service().execute(None, await the_run(workshop))
    answered = await waits
    assert answered.status_code == 200
    assert answered.headers["preference-applied"] == "wait=30"
    shown = RunStarted.model_validate(answered.json())
    assert shown.status == "finished"
    assert shown.result_status == "success"
    assert answered.json()["result"]["id"] == str(outcome.result_id)
    assert answered.json()["result"]["result_content"] == "All quiet."
    assert answered.json()["result"]["whole_content"] is None


async def test_who_waits_is_answered_at_once_when_the_run_waits_for_an_approval(
    client, workshop, alice
):
    await workshop.agent(MAIL, tools=["send"])
    waits = asyncio.create_task(
        client(alice).post("/runs", json={"agent": "watcher"}, headers={"Prefer": "wait=60"})
    )
    await the_run(workshop)
    await workshop.owner.execute("UPDATE agent_runs SET options = %s", ['{"approvals": "suspend"}'])
    with pytest.raises(SuspendedError):
        await workshop.service().execute(None, await the_run(workshop))
    answered = await waits
    assert answered.status_code == 202
    assert answered.json()["status"] == "suspended"
    assert answered.json()["result"] is None


async def test_a_run_that_is_cancelled_before_it_began_is_over_without_a_result(
    client, app, workshop, alice
):
    await workshop.agent(ANSWER)
    waits = asyncio.create_task(
        client(alice).post("/runs", json={"agent": "watcher"}, headers={"Prefer": "wait=60"})
    )
    await app.runs.cancel(alice, str((await the_run(workshop)).id))
    answered = await waits
    assert answered.status_code == 200
    assert answered.json()["status"] == "cancelled"
    assert answered.json()["result"] is None


async def test_waiting_ends_with_202_and_the_run_goes_on(client, workshop, alice):
    await workshop.agent(ANSWER)
    answered = await client(alice).post(
        "/runs", json={"agent": "watcher"}, headers={"Prefer": "wait=0"}
    )
    assert answered.status_code == 202
    assert answered.headers["preference-applied"] == "wait=0"
    assert answered.json()["status"] == "waiting"


@pytest.mark.parametrize(
    ("said", "applied"),
    [
        ("wait=5", "wait=5"),
        ("Wait = 5", "wait=5"),
        ('wait="5"', "wait=5"),
        ("respond-async, wait=5; foo=bar", "wait=5"),
        ("wait=5, wait=9", "wait=5"),
        ("wait=61", "wait=60"),
        ("wait=99999999999999999999999", "wait=60"),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("wait=soon", None),
        ("wait", None),
        ('note="a, wait=5"', None),
        ("return=minimal", None),
        ("", None),
    ],
)
async def test_preferences_are_read_as_rfc_7240_has_them(
    client, workshop, alice, monkeypatch, said, applied
):
    """None of these waits: that is what the service does, and another test's."""

    async def state(self, user_id, run_id, *, wait):
        return RunState(run_id, RunStatus.WAITING, "", None)

    monkeypatch.setattr(RunService, "state", state)
    await workshop.agent(ANSWER)
    started = await client(alice).post("/runs", json={"agent": "watcher"}, headers={"Prefer": said})
    assert started.status_code == 202
    assert started.headers.get("preference-applied") == applied


async def test_preferences_may_come_in_several_headers(client, workshop, alice):
    await workshop.agent(ANSWER)
    headers = [("Prefer", "respond-async"), ("Prefer", "wait=0")]
    started = await client(alice).post("/runs", json={"agent": "watcher"}, headers=headers)
    assert started.headers["preference-applied"] == "wait=0"


async def test_a_token_that_may_not_read_is_not_given_results(client, workshop, alice):
    await workshop.agent(ANSWER)
    caller = client(alice, scopes=frozenset({Scope.TRIGGER}))
    answered = await caller.post("/runs", json={"agent": "watcher"}, headers={"Prefer": "wait=60"})
    assert answered.status_code == 202
    assert "preference-applied" not in answered.headers
    assert answered.json()["result"] is None


async def test_the_run_has_the_options_that_were_asked_for(client, workshop, alice):
    await workshop.agent(ANSWER)
    limits = {"time": "10m", "steps": 5, "cost": "0.50", "tokens": "2k", "idle": 60}
    asked = {"agent": "watcher", "model": "scripted:test", "limits": limits, "dry_run": True}
    started = await client(alice).post("/runs", json=asked)
    assert started.status_code == 202, started.text
    assert (await workshop.row("agent_runs"))["options"] == {
        "model": "scripted:test",
        "dry_run": True,
        "limits": {
            "wall_seconds": 600,
            "idle_seconds": 60,
            "steps": 5,
            "tokens": 2000,
            "cost_usd": "0.50",
        },
    }


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "body.agent"),
        ({"agent": ""}, "body.agent"),
        ({"agent": 5}, "body.agent"),
        ({"agent": "watcher", "promt": ""}, "body.promt"),
        ({"agent": "watcher", "prompt": None}, "body.prompt"),
        ({"agent": "watcher", "prompt": "x" * 100_001}, "body.prompt"),
        ({"agent": "watcher", "model": "nonsense"}, "body.model"),
        ({"agent": "watcher", "dry_run": "yes"}, "body.dry_run"),
        ({"agent": "watcher", "limits": {"time": "soon"}}, "body.limits.time"),
        ({"agent": "watcher", "limits": {"steps": 0}}, "body.limits.steps"),
        ({"agent": "watcher", "limits": {"steps": -5}}, "body.limits.steps"),
        ({"agent": "watcher", "limits": {"cost": "none"}}, "body.limits"),
        ({"agent": "watcher", "limits": {"tokens": 10**30}}, "body.limits.tokens"),
        ({"agent": "watcher", "limits": {"hours": 1}}, "body.limits.hours"),
        ({"agent": "watcher", "limits": []}, "body.limits"),
    ],
)
async def test_what_is_wrong_with_a_request_is_named(client, workshop, alice, wrong, field):
    await workshop.agent(ANSWER)
    refused = await client(alice).post("/runs", json=wrong)
    assert refused.status_code == 422, refused.text
    assert field in [one["field"] for one in refused.json()["errors"]], refused.json()
    assert await workshop.rows("agent_runs") == []


@pytest.mark.parametrize("text", ["\x00", "a\ud800"])
async def test_a_prompt_that_cannot_be_stored_is_no_fault_of_ours(client, workshop, alice, text):
    await workshop.agent(ANSWER)
    refused = await client(alice).post(
        "/runs",
        content=json.dumps({"agent": "watcher", "prompt": text}),
        headers={"Content-Type": "application/json"},
    )
    assert refused.status_code in {400, 422}, refused.text


async def test_an_agent_of_somebody_else_is_not_there(client, workshop, bob):
    await workshop.agent(ANSWER)
    refused = await client(bob).post("/runs", json={"agent": "watcher"})
    assert refused.status_code == 404
    assert refused.json()["detail"].startswith("No agent 'watcher'.")
    assert await workshop.rows("agent_runs") == []


@pytest.mark.parametrize("scope", [Scope.READ, Scope.MANAGE, Scope.DECIDE])
async def test_only_the_scope_trigger_starts_runs(client, workshop, alice, scope):
    await workshop.agent(ANSWER)
    caller = client(alice, scopes=frozenset({scope}))
    assert (await caller.post("/runs", json={"agent": "watcher"})).status_code == 403
    assert (await caller.post(f"/runs/{uuid4()}/retry")).status_code == 403
    assert (await client().post("/runs", json={"agent": "watcher"})).status_code == 401
    assert await workshop.rows("agent_runs") == []
