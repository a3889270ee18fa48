"""The operator's row, and what deleting needs of the schema."""

from __future__ import annotations

import psycopg
import pytest

DENIED = psycopg.errors.InsufficientPrivilege

# Foreign keys to tables that rows are pruned from, without an index that begins with their columns.
UNINDEXED = """
SELECT k.conrelid::regclass || '.' || k.conname
FROM pg_constraint AS k
WHERE k.contype = 'f' AND k.confrelid::regclass::text = ANY (%(tables)s)
  AND NOT EXISTS (
      SELECT FROM pg_index AS i
      WHERE i.indrelid = k.conrelid AND i.indisvalid
        AND (i.indkey::smallint[])[0:cardinality(k.conkey) - 1] @> k.conkey
        AND (i.indpred IS NULL
             OR pg_get_expr(i.indpred, i.indrelid) = '(' || (
                 SELECT a.attname FROM pg_attribute AS a
                 WHERE a.attrelid = k.conrelid AND a.attnum = k.conkey[1]) || ' IS NOT NULL)')
  )
"""


async def test_every_key_that_a_deletion_follows_has_an_index(owner):
    """Without one, each deleted run would read the whole table that refers to it."""
    tables = [
        *("agent_runs", "agent_execution_results", "agent_run_steps", "schedule_occurrences"),
        *("notifications", "schedule_changes", "incidents"),
    ]
    cursor = await owner.execute(UNINDEXED, {"tables": tables})
    assert await cursor.fetchall() == []

    await owner.execute("DROP INDEX notifications_run_idx")
    cursor = await owner.execute(UNINDEXED, {"tables": tables})
    assert await cursor.fetchall() == [("notifications.notifications_run_id_fkey",)]


@pytest.mark.parametrize(
    "change",
    [
        "journal_days = 0",
        "run_days = -1",
        "notification_days = 36501",
        "history_days = 0",
        "queue_log_days = 0",
        "audit_days = 0",
        "journal_days = 366",
        "run_days = 29",
        "journal_days = NULL",
        "is_only = false",
    ],
)
async def test_policy_that_cannot_be_is_refused_by_the_database_too(database, change):
    async with database.connection() as conn:
        with pytest.raises(psycopg.errors.CheckViolation):
            await conn.execute(f"UPDATE rota.retention SET {change}")


async def test_there_is_one_policy_and_the_backend_cannot_lose_it(database, owner):
    async with database.connection() as conn:
        for statement in (
            "DELETE FROM rota.retention",
            "INSERT INTO rota.retention DEFAULT VALUES",
            "TRUNCATE rota.retention",
        ):
            with pytest.raises(DENIED):
                await conn.execute(statement)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await owner.execute("INSERT INTO rota.retention DEFAULT VALUES")


async def test_no_person_reads_or_changes_it(database, alice):
    for statement in (
        "SELECT 1 FROM rota.retention",
        "UPDATE rota.retention SET run_days = NULL, journal_days = NULL",
        "SELECT 1 FROM rota.prunable_runs",
        "UPDATE public.agent_runs SET journal_pruned_at = now()",
    ):
        async with database.acting_as(alice) as conn:
            with pytest.raises(DENIED):
                await conn.execute(statement)
