"""The audit log from the command line: read, verified, exported."""

from __future__ import annotations

import asyncio
import json

import pytest
import typer
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import InvalidInputError
from rota.services.audit_sealing import AuditSealer
from tests.services.deciding import desk_of, look, send
from tests.services.harness import Workshop, clock


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made


@pytest.fixture
async def desk(workshop):
    """A person who has decided on something, all of it sealed."""
    made = desk_of(workshop)
    await made.run(send("bob"), look("news"))
    await made.approve(via="telegram")
    await made.work()
    await AuditSealer(workshop.database).seal(clock())
    return made


@pytest.fixture
def rota(database_url, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "6b" * 32)

    async def run(*arguments, exit_code=0):
        result = await asyncio.to_thread(CliRunner().invoke, app, ["audit", *arguments])
        if result.exception is not None and not isinstance(
            result.exception, SystemExit | typer.Exit
        ):
            raise result.exception
        assert result.exit_code == exit_code, result.output
        return result.stdout

    return run


async def test_list_tells_who_decided_what_from_where(desk, rota):
    lines = (await rota("list")).splitlines()
    (decided,) = [line for line in lines if "telegram" in line]
    assert "approved" in decided
    assert " you " in decided
    tools = [entry["tool_name"] for entry in json.loads(await rota("list", "--json"))]
    assert set(tools) == {"send", "look"}
    assert {
        entry["tool_name"] for entry in json.loads(await rota("list", "--tool", "look", "--json"))
    } == {"look"}
    assert json.loads(await rota("list", "--since", "2099-01-01", "--json")) == []


async def test_list_of_one_run(desk, rota):
    (run,) = {
        row["run_id"]
        for row in await desk.workshop.rows("audit_logs")
        if row["tool_name"] == "look"
    }
    found = json.loads(await rota("list", "--run", str(run)[:8], "--json"))
    assert {entry["run_id"] for entry in found} == {str(run)}


async def test_chain_in_order(desk, rota):
    said = await rota("verify")
    assert "In order." in said
    assert json.loads(await rota("verify", "--json"))["problems"] == []
    assert "In order." in await rota("verify", "--all")


async def test_head_is_found_again_and_a_foreign_one_is_not(desk, rota, tmp_path):
    head = (await rota("head")).strip()
    assert len(bytes.fromhex(head)) == 32
    assert "the head is there" in await rota("verify", "--head", head)
    file = tmp_path / "head.txt"
    file.write_text(head)
    await desk.run(send("eve"))
    await AuditSealer(desk.workshop.database).seal(clock())
    assert "the head is there" in await rota("verify", "--head", str(file))
    listed = tmp_path / "heads.jsonl"
    listed.write_text(await rota("head", "--all"))
    assert "the head is there" in await rota("verify", "--all", "--head", str(listed))
    assert "NOT in order" in await rota("verify", "--head", "00" * 32, exit_code=1)


@pytest.mark.parametrize("head", ["zz", "abc", "{", '{"type": "head"}', "[1]"])
async def test_what_is_no_head_is_named(desk, rota, head):
    with pytest.raises(InvalidInputError):
        await rota("verify", "--head", head)


async def test_edited_entry_is_named(desk, rota):
    (entry,) = [
        row for row in await desk.workshop.rows("audit_logs", "id") if row["origin"] == "telegram"
    ]
    await desk.workshop.owner.execute(
        "UPDATE audit_logs SET decision = 'refused' WHERE id = %s", [entry["id"]]
    )
    said = await rota("verify", exit_code=1)
    assert f"entry {entry['id']}" in said
    assert "NOT in order: 1 problem." in said
    problems = json.loads(await rota("verify", "--json", exit_code=1))["problems"]
    assert [problem["entry"] for problem in problems] == [entry["id"]]


async def test_cut_tail_is_found_by_the_head(desk, rota):
    head = (await rota("head")).strip()
    owner = desk.workshop.owner
    await owner.execute("DELETE FROM audit_blocks")
    assert "NOT in order" in await rota("verify", "--head", head, exit_code=1)


async def test_export_ends_with_the_head(desk, rota):
    lines = [json.loads(line) for line in (await rota("export")).splitlines()]
    head = (await rota("head")).strip()
    assert lines[-1]["type"] == "head"
    assert lines[-1]["hash"] == head
    assert len(lines) > 3


async def test_nothing_sealed_yet(workshop, rota):
    assert await rota("head") == ""
    assert "In order" in await rota("verify")
    assert await rota("list") == "There is no entry.\n"
