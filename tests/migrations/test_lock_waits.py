"""A migration waits for no lock for long, and names who keeps it."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress

import psycopg
import pytest

from rota.domain.errors import MigrationError
from rota.store.lock_waits import Patience
from rota.store.migrations import Migration, migrate, migrations

CHANGE = Migration(
    "20991231000000", "20991231000000_change", "ALTER TABLE public.tools ADD COLUMN extra text"
)
FILES = (*migrations(), CHANGE)
SHORT = Patience(lock_timeout=1.0, pauses=(0.1, 0.1))
LONG = Patience(lock_timeout=1.0, pauses=(0.1,) * 600)


@pytest.fixture
async def reader(database_url):
    """A transaction that has read `tools`, and stays open."""
    async with await psycopg.AsyncConnection.connect(
        database_url, application_name="forgotten report"
    ) as conn:
        await conn.execute("SELECT count(*) FROM public.tools")
        yield conn


async def test_who_reads_for_ever_is_named_and_nothing_is_changed(owner_url, owner, reader):
    with pytest.raises(MigrationError) as refused:
        await migrate(owner_url, shipped=FILES, patience=SHORT)

    said = refused.value.message
    assert f"process {reader.info.backend_pid} (role rota_backend" in said
    assert "application forgotten report) has AccessShareLock on tools since 20" in said
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", said)
    assert "rota migrate" in said
    cursor = await owner.execute(
        "SELECT count(*) FROM rota.schema_migrations WHERE version = %s", [CHANGE.version]
    )
    assert await cursor.fetchone() == (0,)


async def test_others_read_on_while_a_migration_waits_for_a_reader(
    owner_url, database_url, owner, reader
):
    migrating = asyncio.create_task(migrate(owner_url, shipped=FILES, patience=LONG))
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'tools'::regclass"
    async with asyncio.timeout(60):
        while await (await owner.execute(waiting)).fetchone() == (0,):
            await asyncio.sleep(0.02)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
        await other.execute("SET statement_timeout = '60s'")
        for _ in range(3):  # behind a waiting ALTER TABLE, until it gives way
            await other.execute("SELECT count(*) FROM public.tools")
    assert not migrating.done()

    await reader.rollback()

    assert (await migrating).applied == (CHANGE.name,)


async def test_who_keeps_the_lock_of_migrations_is_named(owner_url, database_url):
    async with await psycopg.AsyncConnection.connect(
        database_url, application_name="a stranger", autocommit=True
    ) as stranger:
        await stranger.execute("SELECT pg_advisory_lock(x'726F7461'::int)")

        with pytest.raises(MigrationError) as refused:
            await migrate(owner_url, patience=SHORT)

        said = refused.value.message
        assert f"process {stranger.info.backend_pid} (role rota_backend, " in said
        assert "application a stranger) has the lock of migrations since 20" in said


async def test_deadlock_with_a_writer_is_tried_again(owner_url, owner, database_url):
    both = Migration(
        CHANGE.version,
        CHANGE.name,
        "LOCK TABLE public.tools IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(0.5);"
        " LOCK TABLE public.connections IN ACCESS EXCLUSIVE MODE",
    )

    async def other_way_round() -> None:
        async with await psycopg.AsyncConnection.connect(owner_url) as conn:
            await conn.execute("LOCK TABLE public.connections IN ACCESS EXCLUSIVE MODE")
            migrating.set()
            with suppress(psycopg.errors.DeadlockDetected):
                await conn.execute("LOCK TABLE public.tools IN ACCESS EXCLUSIVE MODE")

    migrating = asyncio.Event()
    writing = asyncio.create_task(other_way_round())
    await migrating.wait()
    report = await migrate(owner_url, shipped=(*migrations(), both), patience=LONG)
    await writing

    assert report.applied == (both.name,)
