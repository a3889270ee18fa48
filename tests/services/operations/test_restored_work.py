"""After a restore over a database that went on: rota works, no number comes twice, runs end."""

from __future__ import annotations

import psycopg
import pytest

from rota.store.embedded.server import EmbeddedPostgres
from rota.store.migrations import migrate
from tests.services.harness import Workshop
from tests.services.operations.test_backups import back_up, restore
from tests.services.running import make_run, queue_runs, results, working

FURTHER = 60

NUMBERS = """
    SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, 0)
    FROM pg_sequences WHERE schemaname IN ('public', 'rota')
"""
NUMBERED = """
    SELECT d.objid::regclass::text
    FROM pg_depend AS d JOIN pg_class AS s ON s.oid = d.objid AND s.relkind = 'S'
    WHERE d.deptype IN ('a', 'i') AND s.relnamespace::regnamespace::text IN ('public', 'rota')
"""


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    await made.agent({"steps": [], "answer": "All quiet."})
    return made


async def execute(workshop, url, count):
    """Make runs and have a worker execute them."""
    there = len(await workshop.rows("agent_execution_results"))
    for _ in range(count):
        await make_run(workshop)
    assert await queue_runs(workshop.database) == count
    async with working(workshop, url):
        return await results(workshop, there + count)


def numbers(url):
    with psycopg.connect(url) as conn:
        return dict(conn.execute(NUMBERS).fetchall())


async def test_runs_complete_after_a_restore_over_a_database_that_went_on(
    workshop, owner_url, database_url, tmp_path
):
    await execute(workshop, database_url, 2)
    await back_up(owner_url, tmp_path / "a.zip")
    await execute(workshop, database_url, FURTHER)
    assert (await workshop.row("(SELECT count(*) AS n FROM rota.pgqueuer_log) AS x"))["n"] > FURTHER
    before = numbers(owner_url)

    await restore(owner_url, tmp_path / "a.zip", replaces=True)

    assert len(await workshop.rows("agent_runs")) == 2
    assert await workshop.rows("rota.pgqueuer_log") == []
    assert await workshop.rows("rota.pgqueuer") == []
    after = numbers(owner_url)
    assert {name: after[name] >= last for name, last in before.items()} == dict.fromkeys(
        before, True
    )
    ended = await execute(workshop, database_url, FURTHER)
    assert [row["status"] for row in ended] == ["success"] * (FURTHER + 2)
    tokens = [run["fencing_token"] for run in await workshop.rows("agent_runs", "created_at")]
    assert min(tokens[2:]) > before["rota.fencing_tokens"]


async def test_number_that_stands_behind_its_rows_is_moved_past_them(workshop, owner_url, tmp_path):
    await workshop.schedule()
    await workshop.owner.execute("UPDATE agent_schedules SET cron = '0 8 * * *'")
    (change, *_) = await workshop.rows("schedule_changes")
    with psycopg.connect(owner_url, autocommit=True) as conn:
        numbered = conn.execute(NUMBERED).fetchall()
        for (sequence,) in numbered:  # as a restore of before left them
            conn.execute("SELECT setval(%s, 1, false)", [sequence])
    await back_up(owner_url, tmp_path / "a.zip")

    await restore(owner_url, tmp_path / "a.zip", replaces=True)

    assert len(numbered) >= 5
    assert numbers(owner_url)["public.schedule_changes_id_seq"] >= change["id"]
    await workshop.owner.execute("UPDATE agent_schedules SET cron = '0 9 * * *'")
    assert len(await workshop.rows("schedule_changes")) > 1


async def test_embedded_database_that_takes_the_place_of_another_numbers_on(
    workshop, owner_url, tmp_path
):
    await back_up(owner_url, tmp_path / "a.zip")
    embedded = EmbeddedPostgres.open(tmp_path / "data", durable=False)
    try:
        await migrate(embedded.owner_url)
        with psycopg.connect(embedded.owner_url) as conn:
            conn.execute("SELECT setval('rota.fencing_tokens', 4711)")
            conn.execute("SELECT setval(pg_get_serial_sequence('audit_logs', 'id'), 815)")

        await restore(embedded.owner_url, tmp_path / "a.zip", embedded=embedded, replaces=True)

        after = numbers(embedded.owner_url)
        assert after["rota.fencing_tokens"] == 4711
        assert after["public.audit_logs_id_seq"] == 815
    finally:
        embedded.destroy()


async def test_rows_that_no_backup_has_do_not_outlive_a_restore(workshop, owner_url, tmp_path):
    await back_up(owner_url, tmp_path / "a.zip")
    await workshop.owner.execute(
        "INSERT INTO rota.processes (id, kind, host, pid, version, seen_at)"
        " VALUES (gen_random_uuid(), 'worker', 'here', 4711, '1', now() - interval '1 day')"
    )
    await workshop.owner.execute(
        "INSERT INTO rota.pgqueuer_statistics (count, priority, status, entrypoint)"
        " VALUES (1, 0, 'successful', 'rota.run')"
    )

    await restore(owner_url, tmp_path / "a.zip", replaces=True)

    assert await workshop.rows("rota.processes") == []
    assert await workshop.rows("rota.pgqueuer_statistics") == []


async def test_run_that_was_under_way_is_over_at_once_with_a_result(workshop, owner_url, tmp_path):
    run = await make_run(workshop)
    await queue_runs(workshop.database)
    await workshop.service().take(run.id)
    await back_up(owner_url, tmp_path / "a.zip")

    restored = await restore(owner_url, tmp_path / "a.zip", replaces=True)

    assert restored.cancelled == 1
    row = await workshop.row("agent_runs")
    assert (row["status"], row["finished_at"] is not None) == ("cancelled", True)
    assert "what this run did after it is not known" in row["cancel_reason"]
    result = await workshop.row("agent_execution_results")
    assert result["status"] == "error"
    assert result["result_content"].startswith("Cancelled: rota was restored from a backup of")
    titles = [row["title"] for row in await workshop.rows("notifications", "title")]
    assert titles[1] == "watcher was cancelled"
    assert titles[0].startswith("rota was restored from a backup of")
    assert await workshop.rows("rota.pgqueuer") == []


async def test_action_that_was_being_executed_is_of_unknown_outcome(workshop, owner_url, tmp_path):
    first = await make_run(workshop)
    await workshop.owner.execute(
        "INSERT INTO pending_actions (id, user_id, run_id, agent_name, tool_name, arguments,"
        " arguments_hash) VALUES (gen_random_uuid(), %s, %s, 'watcher', 'send', '{}', 'x')",
        [workshop.user, first.id],
    )
    await workshop.owner.execute("UPDATE agent_runs SET status = 'cancelled'")
    action = await workshop.row("pending_actions")
    run = await make_run(workshop, trigger="action", action_id=action["id"])
    await workshop.service().take(run.id)
    await workshop.owner.execute("ALTER TABLE pending_actions DISABLE TRIGGER USER")
    await workshop.owner.execute(
        "UPDATE pending_actions SET status = 'running', started_at = now(),"
        " decided_at = now(), executing_token = 1"
    )
    await workshop.owner.execute("ALTER TABLE pending_actions ENABLE TRIGGER USER")
    await back_up(owner_url, tmp_path / "a.zip")

    await restore(owner_url, tmp_path / "a.zip", replaces=True)

    assert (await workshop.row("pending_actions"))["status"] == "unknown"
    titles = {row["title"] for row in await workshop.rows("notifications")}
    assert any("send" in title for title in titles), titles
