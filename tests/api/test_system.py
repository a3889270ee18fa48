"""How rota itself is over HTTP, and somebody's day."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from rota.api.callers import Scope
from rota.shown.system import StatusShown, SystemShown
from rota.store.operations import processes


@pytest.fixture
async def alive(app):
    """A scheduler that looked at the clock five seconds ago."""
    async with app.database.transaction() as conn:
        await processes.report(
            conn,
            uuid.uuid4(),
            kind="scheduler",
            host="secret-host",
            pid=4711,
            version="1",
            ticked_ago=5.0,
            settings=["ROTA_DATABASE_URL"],
            key_ids=["abcd"],
        )


@pytest.mark.usefixtures("alive")
async def test_everybody_sees_whether_rota_works_and_not_where_it_runs(client, bob, workshop):
    await workshop.agent()
    await workshop.schedule()
    answered = await client(bob).get("/system")
    shown = SystemShown.model_validate(answered.json())
    assert (shown.is_scheduler_alive, shown.is_worker_alive, shown.is_writable) == (
        True,
        False,
        True,
    )
    assert 5 <= shown.scheduler_silent_for < 300
    assert (shown.queue, shown.overdue_fires) == (None, None)
    (process,) = shown.processes
    assert process.kind == "scheduler"
    for text in (answered.text, (await client(bob).get("/status")).text):
        assert not {"secret-host", "4711", "ROTA_DATABASE_URL", "abcd"} & set(
            text.replace(":", '"').replace(",", '"').split('"')
        )


@pytest.mark.usefixtures("alive")
async def test_operators_see_everybodys_queue_and_its_lag(client, owner, alice, bob, workshop):
    await workshop.agent()
    await owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger, status, created_at, not_before)"
        " SELECT %s, 'watcher', 'manual', 'waiting', now() - ago, until"
        " FROM (VALUES (interval '90 s', NULL), ('1 h', now() + interval '1 h'),"
        "              ('2 h', now() - interval '20 s')) AS runs (ago, until)",
        [alice],
    )
    shown = SystemShown.model_validate((await client(bob, operator=True).get("/system")).json())
    assert (shown.queue.waiting, shown.queue.running) == (3, 0)
    assert 90 <= shown.queue.lag < 3_600
    assert shown.overdue_fires == 0
    assert (shown.processes[0].host, shown.processes[0].settings) == (
        "secret-host",
        ["ROTA_DATABASE_URL"],
    )


async def test_a_database_that_takes_no_writes_is_told(app, owner, owner_url):
    name = owner_url.rpartition("/")[2].partition("?")[0]
    assert (await app.status.system(for_operator=False)).is_writable is True
    await owner.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    await owner.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await asyncio.sleep(1.1)  # the pool asks connections whether they live after a second
    assert (await app.status.system(for_operator=False)).is_writable is False


async def test_the_status_is_ones_own_day(client, app, alice, bob, workshop):
    await workshop.agent()
    await workshop.schedule(is_active=False)
    await app.notifications.notify_user(alice, "one", "")
    mine = StatusShown.model_validate((await client(alice).get("/status")).json())
    assert mine.waiting.unread_notifications == 1
    assert [one.schedule for one in mine.paused_schedules] == ["morning"]
    others = StatusShown.model_validate((await client(bob).get("/status")).json())
    assert others.waiting.unread_notifications == 0
    assert others.paused_schedules == []


async def test_nobody_and_a_token_without_the_scope_see_nothing(client, alice):
    for path in ("/system", "/status"):
        assert (await client().get(path)).status_code == 401
        assert (await client(alice, scopes=frozenset({Scope.DECIDE})).get(path)).status_code == 403
