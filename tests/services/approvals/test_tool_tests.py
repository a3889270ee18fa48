"""A tool called by a person: through the same gate, with a yes of theirs, and in the audit log."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import httpx
import pytest
from langchain_core.tools import tool
from typer.testing import CliRunner

from rota.agents.tools.context import ToolContext
from rota.cli.main import app
from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SetupRequiredError,
)
from rota.services.approvals.tool_tests import ToolTestService
from tests.cli.terminal import on_terminal
from tests.services.harness import ANSWER, clock

KEY = "sk-abcdefghijklmnop1234"


def context(user_id, now):
    async def secret(service):
        raise SetupRequiredError(f"{service} is not connected.", what=service)

    return ToolContext(user_id, now, secret, lambda: Path("/"), httpx.AsyncClient())


@pytest.fixture
def call(workshop):
    registry = workshop.toolbox.registry()

    @tool
    def secretive(note: str) -> list[dict[str, str]]:
        """Answer in blocks."""
        return [{"type": "text", "text": f"noted {note}"}]

    registry.register("secretive", lambda _: secretive)
    service = ToolTestService(
        workshop.database, registry=registry, tool_context=context, clock=clock
    )

    async def make(name, arguments=None, user=None, **options):
        return await service.call(
            user or workshop.user, name, arguments or {}, via="cli", **options
        )

    return make


async def rule(workshop, effect, tool_name, **columns):
    names = ", ".join(("user_id", "effect", "tool", *columns))
    places = ", ".join(["%s"] * (3 + len(columns)))
    await workshop.owner.execute(
        f"INSERT INTO approval_rules ({names}) VALUES ({places})",
        [workshop.user, effect, tool_name, *columns.values()],
    )


async def audited(workshop):
    return [
        (row["tool_name"], row["decision"], row["outcome"], row["actor"], row["origin"])
        for row in await workshop.rows("audit_logs", "id")
    ]


async def test_reading_tool_runs_and_its_answer_comes_back(workshop, call):
    tested = await call("look", {"query": "x"})

    assert (tested.decision, tested.outcome, json.loads(tested.answer)) == (
        "allowed",
        "succeeded",
        {"seen": "x"},
    )
    assert tested.reason == "the tool runs without approval"
    assert workshop.toolbox.calls == [("look", "x")]
    me = str(workshop.user)
    assert await audited(workshop) == [("look", "allowed", "succeeded", me, "cli")]
    assert await workshop.rows("agent_runs") == []


async def test_call_that_waits_is_not_made_without_a_yes_and_is_with_one(workshop, call):
    held = await call("send", {"to": "a"})
    assert (held.decision, held.outcome) == ("held", "not_run")
    assert held.answer == (
        "The call waits for approval and did not run: the tool requires approval."
    )
    assert workshop.toolbox.calls == []

    made = await call("send", {"to": "a"}, is_approved=True)

    assert (made.decision, made.outcome, made.answer) == ("approved", "succeeded", "sent to a")
    assert workshop.toolbox.calls == [("send", "a")]
    assert await workshop.rows("pending_actions") == []
    me = str(workshop.user)
    assert await audited(workshop) == [
        ("send", "held", "not_run", me, "cli"),
        ("send", "approved", "started", me, "cli"),
        ("send", "approved", "succeeded", me, "cli"),
    ]


async def test_what_a_rule_denies_is_not_called_whatever_the_person_says(workshop, call):
    await rule(workshop, "deny", "look")

    tested = await call("look", {"query": "x"}, is_approved=True)

    assert (tested.decision, tested.outcome) == ("refused", "not_run")
    assert workshop.toolbox.calls == []


async def test_rule_of_an_agent_counts_where_that_agent_is_named_and_its_use_too(workshop, call):
    await workshop.declare("send", default_tier="user_configurable")
    await workshop.agent(ANSWER, tools=["send"])
    await rule(workshop, "allow", "send", agent_name="watcher", uses_left=1)

    decisions = [
        (await call("send", {"to": "a"}, agent_name=agent)).decision
        for agent in (None, "watcher", "watcher")
    ]

    assert decisions == ["held", "allowed", "held"]


async def test_failure_and_time_out_are_told_as_an_agent_hears_them(workshop, call):
    failed = await call("boom")
    workshop.toolbox.gate = asyncio.Event()
    await workshop.declare("wait", timeout_seconds=0.2)
    late = await call("wait")

    assert (failed.outcome, failed.answer) == ("failed", "RuntimeError: the tool exploded")
    assert late.outcome == "failed"
    assert "did not answer within 0.2 s" in late.answer


async def test_arguments_that_the_tool_does_not_take_are_named(workshop, call):
    with pytest.raises(InvalidInputError, match=r"send does not take these arguments: to: "):
        await call("send", {"from": "a"}, is_approved=True)
    assert workshop.toolbox.calls == []


async def test_arguments_that_the_tool_has_not_are_said_to_be_left_out(workshop, call):
    tested = await call("look", {"query": "x", "quer": "y"})

    assert tested.left_out == ("quer",)
    assert dict(tested.arguments) == {"query": "x"}


async def test_account_that_is_missing_is_named(call):
    with pytest.raises(SetupRequiredError, match="Gmail is not connected"):
        await call("setup")


async def test_tool_that_is_not_declared_is_the_operators_to_try(workshop, call):
    with pytest.raises(NotFoundError):
        await call("secretive", {"note": "x"}, is_approved=True)
    held = await call("secretive", {"note": "x"}, is_operator=True)
    made = await call("secretive", {"note": KEY}, is_operator=True, is_approved=True)

    assert held.decision == "held"
    assert "not a declared tool" in held.reason
    assert made.answer.startswith("noted")
    assert KEY not in json.dumps(dict(made.arguments))
    assert KEY not in str(await workshop.rows("audit_logs"))


async def test_unknown_tool_names_the_nearest(call):
    with pytest.raises(NotFoundError, match="Did you mean look"):
        await call("lok", is_operator=True)


async def test_whoever_may_not_run_agents_calls_no_tool_either(workshop, call):
    await workshop.owner.execute(
        "INSERT INTO rota.people (user_id, may_run) VALUES (%s, false)", [workshop.user]
    )
    with pytest.raises(SetupRequiredError, match="may not run agents"):
        await call("look", {"query": "x"})


@pytest.fixture
def rota(database_url, workshop, tmp_path, monkeypatch):
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "own_tools_of_a_test.py").write_text(
        "from pathlib import Path\n"
        "from langchain_core.tools import tool\n"
        f"WRITTEN = Path({str(tmp_path / 'written')!r})\n"
        "@tool\n"
        "def note(text: str) -> str:\n"
        "    'Write a note.'\n"
        "    WRITTEN.write_text(text)\n"
        "    return f'wrote {text}'\n"
    )
    environment = {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "00" * 32,
        "ROTA_TOOLS": "note=own_tools_of_a_test:note",
        "ROTA_MAIL": str(Path(__file__).parents[3] / "src/rota/sample/inbox.mbox"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(folder)

    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    run.environment = environment | {"PYTHONPATH": os.pathsep.join(paths)}
    run.written = tmp_path / "written"
    return run


async def test_terminal_says_what_a_run_would_do_and_asks_before_anything_changes(rota):
    with pytest.raises(InvalidInputError, match=r"waits for approval: .* Use --yes to call it"):
        await rota("tools", "test", "note", '{"text": "x"}')
    with pytest.raises(InvalidInputError, match="Use --yes"):
        await rota("tools", "test", "note", '{"text": "x"}', "--json")
    refused = await asyncio.to_thread(
        CliRunner().invoke, app, ["tools", "test", "note", '{"text": "x"}']
    )
    assert refused.stdout == ""  # the refusal says it, and nothing says it twice
    assert not rota.written.exists()

    said = (await rota("tools", "test", "note", '{"text": "x"}', "--yes")).stdout

    assert said.splitlines()[0] == (
        "In a run, this call waits for approval: note is not a declared tool. note may change"
        " things."
    )
    assert "It succeeded after" in said
    assert said.rstrip().endswith("  wrote x")
    assert rota.written.read_text() == "x"


async def test_no_on_a_terminal_calls_nothing(rota):
    screen = await asyncio.to_thread(
        on_terminal,
        ["tools", "test", "note", '{"text": "x"}'],
        rota.environment,
        width=80,
        typed="n\n",
    )

    assert "Call it now? [y/N]: " in screen.text
    assert "Nothing was called." in screen.text
    assert (screen.exit_code, rota.written.exists()) == (1, False)


async def test_reader_is_called_at_once_and_denied_calls_are_not(workshop, rota):
    tested = json.loads(
        (await rota("tools", "test", "mail_search", '{"query": ""}', "--json")).stdout
    )
    assert (tested["decision"], tested["outcome"]) == ("allowed", "succeeded")
    assert len(json.loads(tested["answer"])) > 1

    await rule(workshop, "deny", "mail_search")
    with pytest.raises(ConflictError, match="This call is refused and was not made"):
        await rota("tools", "test", "mail_search", '{"query": ""}', "--yes")
    with pytest.raises(NotFoundError, match="Did you mean mail_search"):
        await rota("tools", "test", "mail_serch")
