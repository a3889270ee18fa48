"""The audit log from the command line: read, verified, exported."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import datetime, timedelta
from functools import partial

import pytest
import typer
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import InvalidInputError
from rota.domain.operations.retention import Period
from rota.services.audit.checkpoints import Checkpoints
from rota.services.audit.sealing import AuditSealer
from rota.services.operations.retention import RetentionService
from tests.cli.terminal import on_terminal
from tests.services.auditing import LONG_AGO, Log
from tests.services.deciding import desk_of, look, send
from tests.services.harness import CIPHER, Workshop, clock


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
    tools = [entry["tool"] for entry in json.loads(await rota("list", "--json"))]
    assert set(tools) == {"send", "look"}
    assert {
        entry["tool"] for entry in json.loads(await rota("list", "--tool", "look", "--json"))
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


async def test_list_of_one_request_joins_what_belongs_to_it(desk, rota):
    await desk.run(send("ann"))
    first, second = (str(action["id"]) for action in await desk.actions())

    found = json.loads(await rota("list", "--action", first[:8].upper(), "--json"))

    assert {"held", "approved"} <= {entry["decision"] for entry in found}
    assert all(first in (entry["action_id"], entry["detail"][-36:]) for entry in found)
    assert json.loads(await rota("list", "--action", second, "--json"))[0]["decision"] == "held"


async def test_list_since_a_length_of_time(desk, rota):
    await desk.workshop.owner.execute(
        "UPDATE audit_logs SET called_at = now() - interval '2 days' WHERE tool_name = 'look'"
    )
    for since, tools in (("1d", {"send"}), ("1d 2h", {"send"}), ("3d", {"send", "look"})):
        found = json.loads(await rota("list", "--since", since, "--json"))
        assert {entry["tool"] for entry in found} == tools
    with pytest.raises(InvalidInputError, match="not understood"):
        await rota("list", "--since", "soon")


async def test_times_in_json_say_that_they_are_in_utc(desk, rota):
    for entry in json.loads(await rota("list", "--json")):
        for name in ("called_at", "created_at"):
            assert entry[name].endswith("Z")
            assert datetime.fromisoformat(entry[name]).utcoffset() == timedelta(0)


@pytest.fixture
def screen(database_url):
    environment = {
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_SECRET_KEY": "6b" * 32,
    }

    async def run(*arguments, width):
        return await asyncio.to_thread(
            partial(on_terminal, ["audit", *arguments], environment, width=width)
        )

    return run


@pytest.mark.parametrize("width", [60, 80, 120, 160])
async def test_list_can_be_read_on_a_terminal(desk, screen, bob, width):
    owner = desk.workshop.owner
    await owner.execute(
        "INSERT INTO approval_deputies (user_id, deputy_id, user_name, deputy_name)"
        " VALUES (%s, %s, 'alice', 'bob@example.com')",
        [desk.workshop.user, bob],
    )
    await owner.execute(
        "UPDATE audit_logs SET actor = %s WHERE decision = 'approved' AND origin = 'telegram'",
        [str(bob)],
    )
    (action,) = await desk.actions()

    shown = await screen("list", width=width)

    assert "\n".join(shown.lines) == shown.text, "a line was too long"
    assert str(bob) not in shown.text
    assert str(action["id"]) not in shown.text
    assert f"pending action {str(action['id'])[:8]}" in shown.text
    text = shown.text if width == 160 else shown.text.replace("by bob@", "bob@")
    assert re.search("bob@example.com,? +(from )?telegram", text)
    for line in shown.lines:
        assert not {"DECISIO", "approve", "succeede"} & set(line.split()), "a word was cut"
    if width < 150:
        assert any(line.startswith("      by bob@example.com, from") for line in shown.lines)
        assert '      by agent, from worker: {"query": "news"}' in shown.lines


async def test_long_names_are_cut_so_that_the_rest_can_be_read(desk, screen):
    await desk.workshop.owner.execute(
        "UPDATE audit_logs SET agent_name = repeat('a', 60), tool_name = repeat('t', 60),"
        " detail = repeat('Risk          low ', 20)"
    )
    shown = await screen("list", width=80)
    assert "\n".join(shown.lines) == shown.text, "a line was too long"
    strangers = [line for line in shown.lines if line.startswith(("Risk", "low"))]
    assert strangers == []
    assert "aaa… " in shown.text


async def test_chain_in_order(desk, rota):
    said = await rota("verify")
    assert "The audit log is in order." in said
    assert json.loads(await rota("verify", "--json"))["problems"] == []
    assert "The audit log is in order." in await rota("verify", "--all")


async def test_one_entry_that_waits_is_counted_in_words_that_fit_one(desk, rota):
    log = Log(desk.workshop.database, desk.workshop.owner)
    await log.write(desk.workshop.user, to="late")

    assert "not sealed yet: 1" in await rota("verify")


async def test_head_is_found_again_and_a_foreign_one_is_not(desk, rota, tmp_path):
    line = await rota("head")
    assert json.loads(line).keys() == {"type", "chain", "seq", "hash"}
    head = json.loads(line)["hash"]
    assert "the head is in it" in await rota("verify", "--head", head)
    assert "the head is in it" in await rota("verify", "--head", line)
    file = tmp_path / "head.jsonl"
    file.write_text(line)
    await desk.run(send("eve"))
    await AuditSealer(desk.workshop.database).seal(clock())
    assert "the head is in it" in await rota("verify", "--head", str(file))
    file.write_text(await rota("head", "--all"))
    assert "the head is in it" in await rota("verify", "--all", "--head", str(file))
    file.write_text(await rota("head", "--json"))
    assert "the head is in it" in await rota("verify", "--head", str(file))
    file.write_text(f"{head}\n\n{line}{head}\n")
    assert "all 3 heads are in it" in await rota("verify", "--head", str(file))
    file.write_text(await rota("export"))
    assert "the head is in it" in await rota("verify", "--head", str(file))
    assert "NOT in order" in await rota("verify", "--head", "00" * 32, exit_code=1)


async def test_head_that_was_pruned_is_told_of(desk, rota, database):
    early = await rota("head")
    owner = desk.workshop.owner
    await owner.execute("DELETE FROM audit_blocks")
    await owner.execute("DELETE FROM audit_logs")
    await owner.execute("UPDATE audit_chains SET length = 0, head = NULL")
    await owner.execute("DELETE FROM rota.audit_sealed")
    log = Log(database, owner)
    await log.sealed(desk.workshop.user, blocks=3, at=LONG_AGO)
    retention = RetentionService(database, Checkpoints(CIPHER))
    await retention.set({Period.AUDIT: 365})
    await retention.prune(clock())

    said = await rota("verify", "--head", early)

    assert "was pruned; it cannot be checked any more" in said
    assert "the head is in it" not in said


HEAD = '{{"type": "head", "chain": {chain}, "seq": {seq}, "hash": {hash}}}'
CHAIN, HASH = '"5437576d-68f7-4509-92ce-6785ddb6da44"', f'"{"00" * 32}"'


@pytest.mark.parametrize(
    "head",
    [
        *("", "zz", "abc", "{", '{"type": "head"}', "[1]", "[]", "[[1]]", "null", "[" * 5_000),
        *("a" * 300, "head-2026-11-23.txt", "a\0b", "/", '{"type": "entry"}'),
        HEAD.format(chain=5, seq=1, hash=HASH),
        HEAD.format(chain='"no id"', seq=1, hash=HASH),
        HEAD.format(chain=CHAIN, seq="null", hash=HASH),
        HEAD.format(chain=CHAIN, seq="true", hash=HASH),
        HEAD.format(chain=CHAIN, seq=0, hash=HASH),
        HEAD.format(chain=CHAIN, seq=1, hash=5),
        HEAD.format(chain=CHAIN, seq=1, hash='"00"'),
    ],
)
async def test_what_is_no_head_is_named(desk, rota, tmp_path, head):
    with pytest.raises(InvalidInputError):
        await rota("verify", "--head", head)
    file = tmp_path / "head.txt"
    file.write_text(head)
    with pytest.raises(InvalidInputError, match=r"head\.txt"):
        await rota("verify", "--head", str(file))


async def test_file_that_is_not_there_or_no_text_is_named(desk, rota, tmp_path):
    with pytest.raises(InvalidInputError, match=r"x\.txt is not a head, and there is no file"):
        await rota("verify", "--head", str(tmp_path / "x.txt"))
    file = tmp_path / "head.bin"
    file.write_bytes(b"\xff\xfe\x00abc")
    with pytest.raises(InvalidInputError, match="not a text"):
        await rota("verify", "--head", str(file))


async def test_heads_of_everybody_are_for_verify_with_all(desk, rota):
    await Log(desk.workshop.database, desk.workshop.owner).sealed(None, blocks=1)
    with pytest.raises(InvalidInputError, match="--all"):
        await rota("verify", "--head", await rota("head", "--all"))
    assert "all 2 heads are in it" in await rota(
        "verify", "--all", "--head", await rota("head", "--all")
    )


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
    head = await rota("head")
    owner = desk.workshop.owner
    await owner.execute("DELETE FROM audit_blocks")
    assert "NOT in order" in await rota("verify", "--head", head, exit_code=1)


async def test_export_ends_with_the_head(desk, rota):
    lines = [json.loads(line) for line in (await rota("export")).splitlines()]
    assert lines[-1] == json.loads(await rota("head"))
    assert len(lines) > 3


async def test_nothing_sealed_yet(workshop, rota):
    assert await rota("head") == ""
    assert "The audit log is in order" in await rota("verify")
    assert await rota("list") == "There is no entry.\n"


async def test_time_that_no_calendar_has_is_listed_as_it_stands(desk, rota):
    owner = desk.workshop.owner
    await owner.execute("ALTER TABLE audit_logs DROP CONSTRAINT audit_logs_times_check")
    await owner.execute("UPDATE audit_logs SET called_at = 'infinity'")
    assert "infinity" in await rota("list")


async def test_chains_of_deleted_people_are_counted(desk, rota):
    owner = desk.workshop.owner
    await owner.execute("INSERT INTO auth.users (email) VALUES ('bob@example.com')")
    await owner.execute(
        "INSERT INTO audit_logs (user_id, agent_name, tool_name, tier, decision, outcome,"
        " arguments_hash, called_at) SELECT id, 'a', 't', 'auto', 'allowed', 'succeeded', '', now()"
        " FROM auth.users WHERE email = 'bob@example.com'"
    )
    await AuditSealer(desk.workshop.database).seal(clock())
    assert "deleted" not in await rota("verify", "--all")
    await owner.execute("DELETE FROM auth.users WHERE email = 'bob@example.com'")
    assert "chains of people who were deleted: 1" in await rota("verify", "--all")
