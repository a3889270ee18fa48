"""Tools from the command line: declared, listed and registered."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.agents.declared_tools import ToolChange
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.services.agent_files.applying import AgentFileService
from rota.services.agent_files.reading import parse_agent_file
from rota.services.agents.service import AgentService
from rota.services.agents.tools import ToolService
from rota.services.schedules.service import ScheduleService
from tests.services.harness import clock

UNKNOWN = {
    "tool": "mine",
    "is_declared": True,
    "description": "",
    "version": 1,
    "read_only": False,
    "idempotent": False,
    "risk": "high",
    "default_tier": "requires_approval",
    "timeout_seconds": 60,
    "is_active": True,
    "brings_outside_text": True,
    "reaches_outside": True,
    "annotations": {},
    "definition_hash": None,
}


@pytest.fixture
def rota(database_url, monkeypatch):
    """Run a command as the operator: no person is named."""
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        if isinstance(result.exception, SystemExit):
            return result.stderr
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


async def test_a_tool_that_nothing_is_said_of_is_taken_at_its_worst(rota):
    declared = await rota("tools", "declare", "mine", "--json")

    assert declared == UNKNOWN | {"change": "created"}
    said = await rota("tools", "declare", "mine")
    assert said == "mine: unchanged, version 1. It changes things; a call waits for approval.\n"


async def test_declaring_says_that_a_tool_that_runs_may_wait_after_reading(rota):
    outside = await rota("tools", "declare", "mine", "--tier", "auto")
    inside = await rota("tools", "declare", "mine", "--stays-inside")

    assert "In a run that has read text from outside it waits" in outside
    assert "waits" not in inside


async def test_declaring_anew_changes_what_is_said_and_counts_the_version(rota):
    first = ["--read-only", "--idempotent", "--risk", "low", "--tier", "auto", "--timeout", "2.5"]
    await rota("tools", "declare", "mine", *first, "--description", "Looks.")

    again = await rota("tools", "declare", "mine", *first, "--json")
    changed = await rota("tools", "declare", "mine", "--changes", "--risk", "medium", "--json")
    back = await rota("tools", "declare", "mine", "--not-idempotent", "--description", "", "--json")

    assert (again["change"], again["version"]) == ("unchanged", 1)
    assert changed == (
        UNKNOWN
        | {"version": 2, "idempotent": True, "risk": "medium", "default_tier": "auto"}
        | {"timeout_seconds": 2.5, "description": "Looks.", "change": "updated"}
    )
    assert back["version"] == 3
    assert (back["idempotent"], back["description"]) == (False, "")
    listed = await rota("tools", "list", "--json")
    assert [tool for tool in listed if tool["tool"] == "mine"] == [
        {n: v for n, v in back.items() if n != "change"}
    ]


async def test_what_comes_from_outside_and_goes_there_is_declared(rota):
    declared = await rota(
        "tools", "declare", "mine", "--no-outside-text", "--stays-inside", "--json"
    )
    again = await rota("tools", "declare", "mine", "--reaches-outside", "--json")

    assert declared == UNKNOWN | {
        "change": "created",
        "brings_outside_text": False,
        "reaches_outside": False,
    }
    assert again == UNKNOWN | {"change": "updated", "brings_outside_text": False, "version": 2}


async def test_list_shows_built_in_tools_and_what_is_not_declared_yet(rota, monkeypatch):
    monkeypatch.setenv("ROTA_TOOLS", "mine=house:mine mail_search2=house:search")
    await rota("tools", "declare", "mine", "--tier", "user_configurable")

    said = await rota("tools", "list")

    assert re.search(r"^mail_search +no +yes +yes +no +low +runs +60 +1 *$", said, re.MULTILINE)
    assert re.search(
        r"^mine +yes +no +yes +yes +high +waits .* unless its owner allows", said, re.MULTILINE
    )
    assert "mail_search2 is registered in ROTA_TOOLS, but agents cannot use it yet" in said
    listed = await rota("tools", "list", "--json")
    assert [tool["tool"] for tool in listed if not tool["is_declared"]] == ["mail_search2"]


async def test_a_tool_that_was_switched_off_stays_off_and_shows_it(rota, owner):
    await owner.execute("UPDATE tools SET is_active = false WHERE name = 'mail_search'")

    said = await rota("tools", "declare", "mail_search", "--timeout", "30")

    assert "updated, version 2" in said
    assert "the tool is off" in said
    listed = await rota("tools", "list", "--json")
    assert [tool["is_active"] for tool in listed if tool["tool"] == "mail_search"] == [False]


@pytest.mark.parametrize(
    "arguments",
    [
        ["not a name"],
        ["n" * 65],
        [""],
        ["näme"],
        ["mine\n"],
        ["mine", "--timeout", "0"],
        ["mine", "--timeout", "-1"],
        ["mine", "--timeout", "nan"],
        ["mine", "--timeout", "inf"],
        ["mine", "--timeout", "86401"],
        ["mine", "--description", "x" * 2_001],
        ["mine", "--description", "\ud800"],
    ],
)
async def test_what_cannot_be_meant_is_refused_and_nothing_is_written(rota, arguments):
    before = await rota("tools", "list", "--json")

    with pytest.raises(InvalidInputError):
        await rota("tools", "declare", *arguments)

    assert await rota("tools", "list", "--json") == before


@pytest.mark.parametrize("option", ["--risk", "--tier"])
async def test_words_that_are_none_are_refused(rota, option):
    assert "is not one of" in await rota("tools", "declare", "mine", option, "none")


async def test_pin_that_a_later_declaration_keeps_is_said_to_be_kept(rota):
    await rota("tools", "declare", "mail_search", "--pin")
    pinned = await rota("tools", "list", "--json")

    for change in (("--hints", '{"openWorldHint": true}'), ("--risk", "high")):
        said = await rota("tools", "declare", "mail_search", *change)
        assert "It stays pinned to its definition of before. --pin pins it to the one" in said
    unpinned = await rota("tools", "declare", "mail_search", "--no-pin")
    plain = await rota("tools", "declare", "mail_search", "--risk", "low")

    assert next(t for t in pinned if t["tool"] == "mail_search")["definition_hash"]
    assert "stays pinned" not in unpinned
    assert "stays pinned" not in plain


async def test_pin_and_hints_say_what_they_did(rota):
    hinted = await rota(
        *("tools", "declare", "mail_search", "--hints", '{"destructiveHint": true}', "--pin")
    )
    idle = await rota("tools", "declare", "mine", "--hints", '{"openWorldHint": true}')
    unpinned = await rota("tools", "declare", "mail_search", "--no-pin")
    plain = await rota("tools", "declare", "mine")

    calls = "a call waits for approval, unless its owner allows it."
    said = hinted.splitlines()
    assert said[0] == f"mail_search: updated, version 2. It changes things; {calls}"
    assert said[1] == (
        "Its hints add restrictions: it counts as changing things; its risk is high; " + calls
    )
    assert said[2].startswith("It is pinned to its definition as it is now. When its name, ")
    assert "Its hints add no restriction to what is declared." in idle
    assert "It is not pinned." in unpinned
    assert "pinned" not in plain


async def test_two_who_declare_at_once_count_two_versions(database):
    tools = ToolService(database)
    await tools.declare("mine", ToolChange())

    await asyncio.gather(
        *(tools.declare("mine", ToolChange(timeout_seconds=n)) for n in range(1, 9))
    )

    assert [tool.version for tool in await tools.all() if tool.name == "mine"] == [9]


async def test_a_declared_tool_can_be_linked_and_no_other(database, alice):
    agents = AgentFileService(database, ScheduleService(database, clock=clock))
    file = parse_agent_file(
        "{name: a, model: 'openai:x', tools: [mine]}", source="a.yaml", now=clock()
    )
    with pytest.raises(InvalidInputError, match="no tool 'mine'"):
        await agents.apply(alice, file)

    await ToolService(database).declare("mine", ToolChange(read_only=True))
    await agents.apply(alice, file)

    (tool,) = (await AgentService(database).get(alice, "a")).tools
    assert (tool.name, tool.read_only, tool.default_tier) == ("mine", True, "requires_approval")


async def test_a_script_is_refused_with_its_line_unless_the_operator_writes_it(database, alice):
    agents = AgentFileService(database, ScheduleService(database, clock=clock))
    file = parse_agent_file(
        "name: a\nmodel: scripted:x\nscript: {answer: hi}", source="a.yaml", now=clock()
    )
    with pytest.raises(InvalidInputError, match=r"a\.yaml:3: script: scripts are the operator's"):
        await agents.apply(alice, file)

    (applied,) = await agents.apply(alice, file, is_operator=True)

    assert applied.change == "created"


# -- As a person does it


@pytest.fixture
def environment(database_url, alice):
    return os.environ | {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "00" * 32,
        "COLUMNS": "200",
    }


def rota_process(environment, *arguments, folder=None):
    return subprocess.run(
        [sys.executable, "-m", "rota", *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        input="",
    )


@pytest.mark.parametrize("command", [("worker",), ("run", "anything")])
def test_a_worker_does_not_start_with_tools_that_cannot_be_loaded(environment, command):
    environment["ROTA_TOOLS"] = "mine=nowhere_to_be_found:tool"

    finished = rota_process(environment, *command)

    assert finished.returncode == 6
    assert finished.stderr.startswith("ROTA_TOOLS, entry mine=nowhere_to_be_found:tool: ")
    assert "Traceback" not in finished.stderr


RUNS_A_LOOP = """
import asyncio
import signal

async def look():
    return "looked before"

FOUND = asyncio.run(look())
signal.signal(signal.SIGUSR1, lambda *_: None)  # only possible in the main thread

async def report(context, prompt):
    return FOUND
"""


def test_a_module_may_run_an_event_loop_when_it_is_imported(environment, tmp_path):
    (tmp_path / "early.py").write_text(RUNS_A_LOOP, encoding="utf-8")
    (tmp_path / "own.yaml").write_text("name: own\nmodel: callable:report\n", encoding="utf-8")
    paths = [str(tmp_path), os.environ.get("PYTHONPATH")]
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    environment["ROTA_CALLABLES"] = "report=early:report"
    rota_process(environment, "agents", "apply", str(tmp_path / "own.yaml"))

    ran = rota_process(environment, "run", "own")
    worked = rota_process(environment, "worker", "--until-stdin-ends")

    assert (ran.returncode, worked.returncode) == (0, 0), ran.stderr + worked.stderr
    assert "looked before" in ran.stdout


HOUSE = """
from langchain_core.tools import tool


@tool
def place(runtime: str, text: str = "") -> str:
    "Place something."
    return runtime


@tool
def note(text: str) -> str:
    "Note something."
    return text
"""


async def test_tool_with_an_argument_that_never_reaches_it_is_not_declared(
    rota, monkeypatch, tmp_path
):
    (tmp_path / "reserved_names.py").write_text(HOUSE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("ROTA_TOOLS", "place=reserved_names:place note=reserved_names:note")

    with pytest.raises(
        InvalidInputError, match="'runtime', a name that LangChain keeps for itself"
    ):
        await rota("tools", "declare", "place", "--read-only")
    assert "note: created, version 1" in await rota("tools", "declare", "note")
    assert "place" not in {
        tool["tool"] for tool in await rota("tools", "list", "--json") if tool["is_declared"]
    }


async def test_tool_that_cannot_be_looked_at_is_declared_with_a_warning(rota, monkeypatch):
    monkeypatch.setenv("ROTA_TOOLS", "mine=nowhere_to_be_found:tool")

    assert "mine: created, version 1" in await rota("tools", "declare", "mine")
    assert (await rota("tools", "list", "--json"))[-1]["is_declared"]


async def test_a_tool_is_listed_as_its_hints_make_it(rota):
    declare = ["tools", "declare", "send_email", "--risk", "medium", "--tier", "auto"]
    hinted = await rota(*declare, "--hints", '{"destructiveHint": true}')
    assert "its risk is high; a call waits for approval, unless its owner allows it" in hinted

    (listed,) = [t for t in await rota("tools", "list", "--json") if t["tool"] == "send_email"]
    again = await rota("tools", "declare", "send_email", "--json")

    assert (listed["risk"], listed["default_tier"]) == ("high", "user_configurable")
    assert (again["risk"], again["default_tier"]) == ("high", "user_configurable")
    (line,) = [x for x in (await rota("tools", "list")).splitlines() if "send_email" in x]
    assert " high " in line
    assert "waits for approval, unless its owner allows it" in line


def declare_in_terminal(*arguments):
    return CliRunner().invoke(app, ["tools", "declare", *arguments])


@pytest.mark.parametrize(
    ("tools", "name", "near"),
    [
        ("send_email=somewhere:send_email", "send_emial", " Did you mean send_email?"),
        ("send_email=somewhere:send_email", "wire_transfer", ""),
        (None, "mail_serch", " Did you mean mail_search?"),
    ],
)
async def test_a_declaration_that_may_be_a_typo_is_warned_of(rota, monkeypatch, tools, name, near):
    if tools is not None:
        monkeypatch.setenv("ROTA_TOOLS", tools)

    created = await asyncio.to_thread(declare_in_terminal, name)
    again = await asyncio.to_thread(declare_in_terminal, name)

    assert created.stderr == (
        f"Warning: ROTA_TOOLS has no tool {name}.{near} `rota tools forget {name}` takes the "
        "declaration away.\n"
    )
    assert again.stderr == ""


async def test_a_declaration_where_no_tool_is_named_is_not_warned_of(rota):
    assert (await asyncio.to_thread(declare_in_terminal, "wire_transfer")).stderr == ""


async def test_a_declaration_is_forgotten_and_then_is_new_again(rota):
    await rota("tools", "declare", "send_emial", "--risk", "low")

    gone = await rota("tools", "forget", "send_emial", "--json")

    assert (gone["tool"], gone["risk"]) == ("send_emial", "low")
    assert "send_emial" not in {tool["tool"] for tool in await rota("tools", "list", "--json")}
    declared = await rota("tools", "declare", "send_emial", "--json")
    assert declared == UNKNOWN | {"tool": "send_emial", "change": "created"}
    assert await rota("tools", "forget", "send_emial") == "send_emial: forgotten.\n"


async def test_what_is_used_or_rotas_own_or_unknown_is_not_forgotten(rota, database, alice):
    await rota("tools", "declare", "send_email")
    text = "{name: clerk, model: 'scripted:x', script: {answer: x}, tools: [send_email]}"
    files = AgentFileService(database, ScheduleService(database, clock=clock))
    file = parse_agent_file(text, source="a.yaml", now=clock())
    await files.apply(alice, file, is_operator=True)

    with pytest.raises(ConflictError, match=r"used by 1 agent: clerk\. Take it out of their"):
        await rota("tools", "forget", "send_email")
    with pytest.raises(ConflictError, match="a tool of rota's own"):
        await rota("tools", "forget", "mail_search")
    with pytest.raises(NotFoundError) as caught:
        await rota("tools", "forget", "send_emial")
    assert caught.value.message == "No tool 'send_emial'. Did you mean send_email?"

    await files.remove(alice, "clerk")
    assert await rota("tools", "forget", "send_email") == "send_email: forgotten.\n"


PAIRS = [
    ("--read-only", "--changes"),
    ("--not-idempotent", "--idempotent"),
    ("--outside-text", "--no-outside-text"),
    ("--stays-inside", "--reaches-outside"),
    ("--pin", "--no-pin"),
]


@pytest.mark.parametrize("pair", PAIRS, ids=str)
async def test_flags_that_contradict_each_other_are_refused(rota, pair):
    with pytest.raises(InvalidInputError, match="contradict each other"):
        await rota("tools", "declare", "mine", *pair)

    assert "mine" not in {tool["tool"] for tool in await rota("tools", "list", "--json")}
