"""Rows of the tools that rota brings: seeded by the schema, kept as the code declares them."""

import subprocess
import sys
from dataclasses import asdict, replace
from operator import itemgetter

import pytest

from rota.agents.tools.builtin import builtin_facts, builtin_tools
from rota.domain.agents.configuration import ToolFacts
from rota.domain.agents.declared_tools import ToolChange
from rota.services.agents.tools import ToolService

FACTS = builtin_facts()


@pytest.fixture
def tools(database):
    return ToolService(database)


async def stored(tools):
    return {tool.name: tool for tool in await tools.all()}


async def test_seeded_rows_are_what_the_code_declares(owner):
    columns = ", ".join(f"{field!r}, {field}" for field in asdict(ToolFacts()))
    cursor = await owner.execute(
        f"SELECT name, jsonb_build_object({columns}), built_in, version FROM tools"
    )

    assert sorted(await cursor.fetchall(), key=itemgetter(0)) == [
        (name, asdict(FACTS[name]), asdict(FACTS[name]), 1) for name in sorted(FACTS)
    ]
    assert set(builtin_tools().names()) == set(FACTS)


async def test_an_unknown_tool_is_the_same_in_the_table_and_in_the_code(tools):
    declared = asdict((await tools.declare("mine", ToolChange())).tool)

    assert {field: declared[field] for field in asdict(ToolFacts())} == asdict(ToolFacts())


async def test_refreshing_what_did_not_change_changes_nothing(tools):
    before = await stored(tools)

    assert await tools.refresh(FACTS) == ()
    assert await stored(tools) == before


async def test_a_changed_declaration_raises_the_version_once(tools):
    changed = FACTS | {"mail_search": replace(FACTS["mail_search"], timeout_seconds=5, risk="high")}

    assert await tools.refresh(changed) == ("mail_search",)
    assert await tools.refresh(changed) == ()

    rows = await stored(tools)
    now = rows["mail_search"]
    assert (now.version, now.timeout_seconds, now.risk) == (2, 5, "high")
    assert {row.version for name, row in rows.items() if name != "mail_search"} == {1}


async def test_what_the_operator_declared_stays_and_the_rest_is_refreshed(tools):
    await tools.declare("mail_search", ToolChange(default_tier="requires_approval"))
    facts = replace(FACTS["mail_search"], default_tier="user_configurable", timeout_seconds=5)
    only_theirs = replace(FACTS["mail_search"], default_tier="user_configurable")

    assert await tools.refresh({"mail_search": only_theirs}) == ()
    assert await tools.refresh({"mail_search": facts}) == ("mail_search",)

    now = (await stored(tools))["mail_search"]
    assert (now.version, now.default_tier, now.timeout_seconds) == (3, "requires_approval", 5)


async def test_a_new_built_in_tool_gets_its_row(tools):
    assert await tools.refresh({"new": replace(FACTS["mail_search"], risk="medium")}) == ("new",)

    now = (await stored(tools))["new"]
    assert (now.version, now.risk, now.read_only, now.reaches_outside) == (1, "medium", True, False)


async def test_a_tool_that_the_operator_declared_first_stays_theirs(tools):
    mine = (await tools.declare("new", ToolChange(read_only=True))).tool

    assert await tools.refresh({"new": FACTS["mail_search"]}) == ()
    assert (await stored(tools))["new"] == mine


def test_declarations_are_read_without_loading_langchain():
    code = "import sys, rota.agents.tools.builtin; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"langchain_core", "httpx", "pydantic"} & set(loaded.stdout.split())
