"""All of a person is exported without secrets, and goes with them, whoever writes meanwhile."""

from __future__ import annotations

import asyncio
import json
import zipfile

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    SetupRequiredError,
)
from rota.domain.identity.scopes import ALL_SCOPES
from rota.domain.identity.sessions import SignedInBy
from rota.services.agents.connections import ConnectionService
from rota.services.audit.checkpoints import Checkpoints
from rota.services.audit.service import AuditService
from rota.services.identity.identities import IdentityService
from rota.services.identity.links import LinkService
from rota.services.identity.sessions import SessionService
from rota.services.identity.tokens import TokenService
from rota.services.operations import person_data
from rota.services.operations.person_data import PersonDataService
from rota.store.database import Database
from rota.store.migrations import migrate
from tests.services.auditing import Log, now
from tests.services.harness import CIPHER, Workshop, clock

LEFT = """
    SELECT c.relname, a.attname FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.atttypid = 'uuid'::regtype
    WHERE c.relkind = 'r' AND c.relnamespace::regnamespace::text IN ('public', 'rota', 'auth')
"""


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    await made.agent({"steps": [], "answer": "# All quiet\n\nÄ."}, tools=["look"])
    return made


@pytest.fixture
def rota(owner_url, database_url, monkeypatch, tmp_path):
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    async def run(*arguments, by_owner=True):
        monkeypatch.setenv("ROTA_DATABASE_URL", owner_url if by_owner else database_url)
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        if done.exception is not None:
            raise done.exception
        return json.loads(done.stdout) if "--json" in arguments else done.stdout

    return run


async def live(workshop):
    """Let a run of the person end, connect an account, and hold a call."""
    await workshop.schedule()
    await workshop.owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger, status, finished_at)"
        " VALUES (%s, 'watcher', 'manual', 'finished', now())",
        [workshop.user],
    )
    for content, whole in (("# All quiet\n\nÄ.", None), ("x" * 50_000, "x" * 50_001)):
        cursor = await workshop.owner.execute(
            "INSERT INTO agent_runs (user_id, agent_name, trigger, status, finished_at)"
            " VALUES (%s, 'watcher', 'manual', 'finished', now()) RETURNING id",
            [workshop.user],
        )
        cursor = await workshop.owner.execute(
            "INSERT INTO agent_execution_results"
            " (user_id, run_id, agent_name, result_content, status, execution_duration_ms)"
            " VALUES (%s, %s, 'watcher', %s, 'success', 1) RETURNING id",
            [workshop.user, (await cursor.fetchone())[0], content],
        )
        if whole is not None:
            await workshop.owner.execute(
                "INSERT INTO result_texts (result_id, user_id, content) VALUES (%s, %s, %s)",
                [(await cursor.fetchone())[0], workshop.user, whole],
            )
    await TokenService(workshop.database, clock=clock).create(
        workshop.user, "ci", ALL_SCOPES, lasts=None
    )
    await SessionService(workshop.database, clock=clock).begin(
        workshop.user, by=SignedInBy.LINK, user_agent="Firefox"
    )
    await IdentityService(workshop.database, clock=clock).link(
        workshop.user, "https://issuer.example", "alice-1"
    )
    await LinkService(workshop.database, clock=clock).make(workshop.user)
    connections = ConnectionService(workshop.database, CIPHER, clock=clock)
    await connections.keep(workshop.user, "gmail", "a-secret-token", account="alice@gmail.com")


async def count_left(owner, user_id):
    """Return in which columns of which tables a person's id still is."""
    left = set()
    cursor = await owner.execute(LEFT)
    for table, column in await cursor.fetchall():
        schema = "auth" if table == "users" else None
        for name in [schema] if schema else ["public", "rota"]:
            try:
                found = await owner.execute(
                    psycopg.sql.SQL("SELECT count(*) FROM {} WHERE {} = %s").format(
                        psycopg.sql.Identifier(name, table), psycopg.sql.Identifier(column)
                    ),
                    [user_id],
                )
            except psycopg.errors.UndefinedTable:
                continue
            if await found.fetchone() != (0,):
                left.add((table, column))
    return left


async def test_export_has_everything_and_no_secret(workshop, rota, alice, bob, tmp_path):
    await live(workshop)
    await workshop.schedule(user=bob, name="bobs own")
    file = tmp_path / "alice.zip"

    told = await rota("people", "export", "alice@example.com", str(file), "--json", by_owner=False)

    assert told["rows"]["agent_execution_results"] == 2
    assert file.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(file) as archive:
        texts = {name: archive.read(name).decode() for name in archive.namelist()}
    tables = {
        name[7:-5]: json.loads(text) for name, text in texts.items() if name.startswith("tables/")
    }
    assert json.loads(texts["person.json"])["email"] == "alice@example.com"
    assert [row["name"] for row in tables["agent_schedules"]] == ["morning"]
    assert tables["agent_tools"] == [{"agent_name": "watcher", "tool_name": "look", "position": 0}]
    assert [row["account"] for row in tables["connections"]] == ["alice@gmail.com"]
    assert "secret" not in tables["connections"][0]
    assert tables["calendars"] == []
    assert [row["name"] for row in tables["api_tokens"]] == ["ci"]
    assert [row["user_agent"] for row in tables["sessions"]] == ["Firefox"]
    assert [row["subject"] for row in tables["identities"]] == ["alice-1"]
    results = sorted(text for name, text in texts.items() if name.startswith("results/"))
    assert "# All quiet\n\nÄ." in results[0] + results[1]
    assert any("x" * 50_001 in text for text in results)  # whole, not as it was cut
    everything = "".join(texts.values())
    assert "a-secret-token" not in everything
    assert "hash" not in "".join(tables["api_tokens"][0]) + "".join(tables["sessions"][0])
    assert "bobs own" not in everything
    with pytest.raises(ConflictError, match="is there already"):
        await rota("people", "export", "alice@example.com", str(file))


async def test_every_table_with_rows_of_people_is_exported(database, owner, alice, tmp_path):
    service = PersonDataService(database, clock=clock)
    await service.export(alice, tmp_path / "a.zip")

    cursor = await owner.execute(
        "SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid"
        " WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        " AND a.attname = 'user_id'"
    )
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {f"tables/{name}.json" for (name,) in await cursor.fetchall()} <= set(
            archive.namelist()
        )


async def test_removal_takes_all_of_one_person_and_nothing_of_another(
    workshop, rota, owner, alice, bob
):
    await live(workshop)
    await workshop.schedule(user=bob, name="bobs own")

    assert ("agent_runs", "user_id") in await count_left(owner, alice)

    told = await rota("people", "remove", "alice@example.com", "--yes", "--json")

    assert told["rows"]["agent_schedules"] == 1
    assert await count_left(owner, alice) == set()
    assert [row["name"] for row in await workshop.rows("agent_schedules")] == ["bobs own"]
    with pytest.raises(NotFoundError):
        await rota("people", "remove", "alice@example.com", "--yes")


async def test_audit_log_keeps_what_was_called_and_still_verifies(
    workshop, rota, database, owner, alice
):
    log = Log(database, owner)
    await log.sealed(alice)
    before = len(await workshop.rows("audit_logs"))

    await rota("people", "remove", str(alice), "--yes")

    kept = [row for row in await workshop.rows("audit_logs") if row["decision"] != "forgotten"]
    assert len(kept) == before
    assert {(row["user_id"], row["detail"], str(row["arguments"])) for row in kept} == {
        (None, "", "{}")
    }
    verified = await AuditService(database, Checkpoints(CIPHER)).verify(None, now=now())
    assert verified.problems == ()


async def test_removal_is_asked_for_and_shows_what_goes(workshop, rota, alice):
    await live(workshop)

    with pytest.raises(InvalidInputError, match="schedules 1, runs 3, results 2") as caught:
        await rota("people", "remove", "alice@example.com")

    assert "--yes" in caught.value.message
    assert len(await workshop.rows("agent_schedules")) == 1


async def test_role_that_does_not_own_the_tables_removes_nobody(rota, workshop, alice):
    with pytest.raises(SetupRequiredError, match="does not own"):
        await rota("people", "remove", "alice@example.com", "--yes", by_owner=False)


async def test_what_is_under_way_is_cancelled_first(workshop, owner_url, owner, alice):
    for status in ("waiting", "queued", "running", "suspended"):
        await owner.execute(
            "INSERT INTO agent_runs (user_id, agent_name, trigger, status)"
            " VALUES (%s, 'watcher', 'manual', %s)",
            [alice, status],
        )
    await owner.execute(
        "INSERT INTO rota.processes (id, kind, host, pid, version)"
        " VALUES (gen_random_uuid(), 'worker', 'here', 1, '1')"
    )
    seen = []

    async def worker():
        async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as conn:
            while True:
                cursor = await conn.execute(
                    "UPDATE agent_runs SET status = 'cancelled', finished_at = now()"
                    " WHERE status = 'running' AND cancel_requested_at IS NOT NULL RETURNING id"
                )
                if found := await cursor.fetchall():
                    seen.extend(found)
                    return
                await asyncio.sleep(0.05)

    ending = asyncio.create_task(worker())
    async with Database(owner_url).opened() as as_owner:
        person = await PersonDataService(as_owner, clock=clock).count(alice)
        removed = await person_data.remove(as_owner, person, patience=60.0)
    await ending

    assert removed.cancelled == 4
    assert len(seen) == 1  # it was waited for
    assert await workshop.rows("agent_runs") == []


async def test_removal_that_a_deadlock_ends_is_tried_again(workshop, owner_url, owner, alice):
    schedule = await workshop.schedule()
    await owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger, status, finished_at)"
        " VALUES (%s, 'watcher', 'manual', 'finished', now())",
        [alice],
    )
    waits = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND query LIKE '%%schedules AS MATERIALIZED%%'"
    )
    (database_name,) = await (await owner.execute("SELECT current_database()")).fetchone()
    name = psycopg.sql.Identifier(database_name)
    # Of the two the removal is to look for a deadlock, and be the one that ends.
    await owner.execute(
        psycopg.sql.SQL("ALTER DATABASE {} SET deadlock_timeout = '3s'").format(name)
    )
    try:
        async with await psycopg.AsyncConnection.connect(owner_url) as other:
            await other.execute("SET deadlock_timeout = '1h'")
            await other.execute("SELECT FROM agent_runs FOR UPDATE")
            async with Database(owner_url).opened() as as_owner:
                person = await PersonDataService(as_owner, clock=clock).count(alice)
                removing = asyncio.create_task(person_data.remove(as_owner, person, patience=0.0))
                while await (await owner.execute(waits)).fetchone() == (0,):
                    await asyncio.sleep(0.02)
                await other.execute(
                    "UPDATE agent_schedules SET prompt = 'x' WHERE id = %s", [schedule.id]
                )
                await other.commit()
                await removing
    finally:
        await owner.execute(
            psycopg.sql.SQL("ALTER DATABASE {} RESET deadlock_timeout").format(name)
        )

    assert await count_left(owner, alice) == set()


@pytest.mark.postgres15
async def test_account_of_supabase_is_deleted_there(supabase_database):
    url = supabase_database.owner_url
    await migrate(url)
    alice = supabase_database.sign_up("alice@example.com")
    async with Database(url).opened() as as_owner:
        person = await PersonDataService(as_owner, clock=clock).count(alice)
        with pytest.raises(ConflictError, match="Delete it there"):
            await person_data.remove(as_owner, person, patience=0.0)
