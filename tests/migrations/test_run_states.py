"""What a run counts as is said once, in the schema, for each of its states."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rota.store
from rota.domain.runs.run import RunStatus

ADMITTED = "now()"
BY_ITSELF = "NULL"  # executed by a process itself, outside the queue


@pytest.mark.parametrize(
    ("status", "queued_at", "holds_slot", "is_unfinished"),
    [
        ("waiting", "NULL", False, True),
        ("queued", ADMITTED, True, True),
        ("running", ADMITTED, True, True),
        ("running", BY_ITSELF, False, False),
        ("suspended", ADMITTED, False, True),
        ("finished", ADMITTED, False, False),
        ("cancelled", "NULL", False, False),
    ],
)
async def test_what_a_run_counts_as(owner, alice, status, queued_at, holds_slot, is_unfinished):
    await owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger, status, queued_at)"
        f" VALUES (%s, 'a', 'manual', %s, {queued_at})",
        [alice, RunStatus(status)],
    )
    cursor = await owner.execute(
        "SELECT rota.holds_slot(r), rota.is_unfinished(r) FROM agent_runs AS r"
    )
    assert await cursor.fetchall() == [(holds_slot, is_unfinished)]


def test_no_query_says_it_again():
    for path in Path(rota.store.__file__).parent.rglob("*.sql"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"queued_at IS (NOT )?NULL\b", text), path
