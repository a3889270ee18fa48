"""docs/howto/fastapi.md, as printed: its application on a real database, asked over HTTP."""

import asyncio
import importlib.util
import re
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn

import rota
from rota import testing
from rota.domain.approvals.rules import RuleDraft
from rota.sample import recent_sample

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "fastapi.md"


@pytest.fixture
def application(tmp_path):
    """The page's application, from the files that the page has its reader write."""
    blocks = re.findall(r"```\w+\n(# (\S+)\n.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    for text, name in blocks:
        (tmp_path / name).write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("api", tmp_path / "api.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["api"] = module
    spec.loader.exec_module(module)
    yield module.api
    del sys.modules["api"]


@pytest.fixture
async def house(server, tmp_path):
    mail = tmp_path / "inbox.mbox"
    mail.write_bytes(recent_sample(datetime.now(UTC)))
    async with testing.house(server, settings={"ROTA_MAIL": str(mail)}) as house:
        yield house


@pytest.fixture
async def client(house, application, tmp_path, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", house.app.server.app_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ROTA_USER", "owner@localhost")
    monkeypatch.chdir(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application, log_level="warning", ws="none"))
        serving = asyncio.create_task(server.serve([listener]))
        host, port = listener.getsockname()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=30) as client:
            yield client
        server.should_exit = True
        await serving


async def test_agent_is_applied_and_its_call_approved_over_http(client, house):
    applied = await client.put("/agents/clerk")
    assert (applied.status_code, applied.json()) == (200, ["agent clerk: created"])
    await house.app.rules.add(house.user, [RuleDraft("require", "mail_search", agent_name="clerk")])

    added = await client.post("/schedules", json={"name": "unread", "when": "weekdays at 7:30"})
    assert (added.status_code, added.json()) == (201, {"name": "unread", "state": "active"})
    asked = await client.post("/schedules/unread/run")
    assert (asked.status_code, (await client.get("/results")).json()) == (202, [])

    (request,) = (await client.get("/approvals")).json()
    assert (request["agent"], request["tool"], request["arguments"]) == (
        "clerk",
        "mail_search",
        {"query": "is:unread newer_than:1d", "max_results": 20, "mailbox": ""},
    )
    path = f"/approvals/{request['id']}/approve"
    assert (await client.post(path, params={"version": 2})).status_code == 409
    approved = await client.post(path, params={"version": request["version"]})
    assert (approved.status_code, approved.json()) == (200, {"status": "approved"})
    again = await client.post(path, params={"version": request["version"]})
    assert (again.status_code, "approved" in again.json()["detail"]) == (409, True)

    await house.settle()
    (result,) = (await client.get("/results")).json()
    assert (result["schedule"], result["status"]) == ("unread", "success")
    assert re.fullmatch(r"\d+ unread messages since yesterday\.", result["answer"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("POST", "/schedules/nothing/run", None, 404, "No schedule 'nothing'"),
        ("POST", "/approvals/12345678/approve?version=1", None, 404, "No request '12345678'"),
        ("POST", "/schedules", {"name": "x", "when": "when it rains"}, 422, "not understood"),
        ("POST", "/schedules", {"name": "x", "when": "* * * *"}, 422, "cron"),
    ],
)
async def test_errors_become_statuses_with_a_sentence(client, method, path, body, status, detail):
    await client.put("/agents/clerk")
    answer = await client.request(method, path, json=body)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


async def test_nobody_approves_what_is_somebody_elses(client, house, monkeypatch):
    await client.put("/agents/clerk")
    await house.app.rules.add(house.user, [RuleDraft("require", "mail_search")])
    await client.post("/schedules", json={"name": "unread", "when": "weekdays at 7:30"})
    await client.post("/schedules/unread/run")
    (request,) = (await client.get("/approvals")).json()

    await house.app.people.add(["bob@example.org"])
    bob = await house.app.named("bob@example.org")
    api = sys.modules["api"]
    api.api.dependency_overrides[api.signed_in] = lambda: bob
    assert (await client.get("/approvals")).json() == []
    refused = await client.post(f"/approvals/{request['id']}/approve", params={"version": 1})
    assert refused.status_code == 404


@pytest.mark.parametrize("via", ["my-app", "", "My", "a" * 32])
async def test_name_of_a_program_that_cannot_be_stored_is_an_error_of_the_caller(house, via):
    approvals = house.app.approvals
    for decision in (
        approvals.decide(house.user, "12345678", "approve", via=via),
        approvals.edit(house.user, "12345678", {}, via=via),
        approvals.settle(house.user, "12345678", "happened", via=via),
        approvals.details(house.user, "12345678", now=house.clock(), via=via),
    ):
        with pytest.raises(rota.InvalidInputError, match="my_app"):
            await decision
