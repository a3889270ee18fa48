"""A client that openapi-python-client generates from the document does the whole story."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn

from rota import testing
from rota.api.app import make_api
from rota.api.description import describe
from rota.domain.identity.scopes import ALL_SCOPES
from rota.sample import recent_sample

pytestmark = pytest.mark.long

GENERATOR = Path(sys.executable).with_name("openapi-python-client")
TEXTS = {
    "GET /api/v1/audit/export",
    "GET /api/v1/people/me/export",
    "GET /api/v1/people/{person}/export",
    "GET /api/v1/results/{result}/text",
    "PUT /api/v1/calendars/{calendar}/icalendar",
}
"""What answers, or is sent, a text or a file: the generator knows JSON alone, and says so."""


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """The generated package, and what the generator warned of."""
    folder = tmp_path_factory.mktemp("client")
    described = describe(make_api(None))
    (folder / "rota.json").write_text(json.dumps(described), encoding="utf-8")
    done = subprocess.run(
        [GENERATOR, "generate", "--path=rota.json", "--output-path=rota_client", "--meta=none"],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    sys.path.insert(0, str(folder))
    yield SimpleNamespace(said=done.stdout + done.stderr, described=described)
    sys.path.remove(str(folder))


def of(operation):
    """The module of an operation: `of("runs.get_run").asyncio(...)`."""
    return importlib.import_module(f"rota_client.api.{operation}")


def model(name):
    return getattr(importlib.import_module("rota_client.models"), name)


@pytest.fixture(scope="module")
def embedded():
    with testing.server() as server:
        yield server


@pytest.fixture
async def house(embedded, tmp_path):
    mail = tmp_path / "inbox.mbox"
    mail.write_bytes(recent_sample(datetime.now(UTC)))
    async with testing.house(embedded, settings={"ROTA_MAIL": str(mail)}) as house:
        yield house


@pytest.fixture
async def client(house, generated):
    made = await house.app.tokens.create(house.user, "generated", ALL_SCOPES, lasts=None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = uvicorn.Server(
            uvicorn.Config(make_api(house.app), log_level="warning", ws="none", lifespan="off")
        )
        task = asyncio.create_task(serving.serve([listener]))
        host, port = listener.getsockname()
        signed_in = importlib.import_module("rota_client.client").AuthenticatedClient
        async with signed_in(base_url=f"http://{host}:{port}", token=made.secret) as one:
            yield one
        serving.should_exit = True
        await task


def test_every_operation_is_generated_but_those_of_texts(generated):
    warned = {
        line.removeprefix("WARNING parsing ").partition(" within")[0]
        for line in generated.said.splitlines()
        if line.startswith("WARNING parsing")
    }
    assert warned <= TEXTS
    assert "Unable to" not in generated.said


def test_no_two_models_have_one_name(generated):
    assert [name for name in generated.described["components"]["schemas"] if "__" in name] == []


async def test_whole_story(client, house):
    clerk = {
        "model": "scripted:plan",
        "tools": ["mail_search"],
        "script": {
            "steps": [{"calls": [{"tool": "mail_search", "args": {"query": "is:unread"}}]}],
            "answer": "{{ results[0] | length }} unread messages.",
        },
    }
    written = await of("agents.put_agent").asyncio(
        "clerk", client=client, body=model("AgentAsked").from_dict(clerk)
    )
    assert written.agent == "clerk"
    rule = {"effect": "require", "tool": "mail_search", "agent": "clerk"}
    await of("rules.add_rule").asyncio(client=client, body=model("RuleAsked").from_dict(rule))
    noon = {"agent": "clerk", "when": "weekdays at 7:30", "approvals": "suspend"}
    schedule = await of("schedules.put_schedule").asyncio_detailed(
        "unread", client=client, body=model("ScheduleBody").from_dict(noon)
    )
    assert schedule.status_code == 201
    started = await of("schedules.run_schedule").asyncio(
        "unread", client=client, body=model("RunOfSchedule")(), prefer="wait=1"
    )

    await house.settle()
    waiting = await of("approvals.list_approvals").asyncio(client=client)
    (request,) = waiting.items
    seen = await of("approvals.get_approval").asyncio(str(request.id), client=client)
    decision = {"version": seen.version, "arguments_hash": seen.arguments_hash}
    await of("approvals.approve_action").asyncio(
        str(request.id), client=client, body=model("Decision").from_dict(decision)
    )
    await house.settle()

    run = await of("runs.get_run").asyncio(str(started.run_id), client=client)
    assert run.status == "finished"
    result = await of("runs.get_result_of_run").asyncio(str(started.run_id), client=client)
    assert re.fullmatch(r"\d+ unread messages\.", result.result_content)
    told = await of("notifications.list_notifications").asyncio(client=client)
    assert {str(one.category) for one in told.items} == {"approval_needed", "agent_result"}
    stale = await of("approvals.approve_action").asyncio_detailed(
        str(request.id), client=client, body=model("Decision").from_dict(decision)
    )
    assert (stale.status_code, stale.parsed.type_) == (409, "urn:rota:problem:conflict")
