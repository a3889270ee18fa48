"""Numbers are given in the order of commits, and nothing is lost or told twice."""

from __future__ import annotations

import asyncio
import random

import psycopg
import pytest

from rota.api.app import make_api
from rota.api.identity.authentication import Authentication
from rota.bootstrap.app import App, Server
from rota.settings import Settings
from rota.store.database import Database
from tests.api.events.conftest import Serving
from tests.api.events.test_streams import move, new_run
from tests.services.harness import CIPHER, clock


async def test_an_open_transaction_holds_nobody_up_and_its_events_come_when_it_commits(
    serving, owner, owner_url, alice, bob
):
    async with (
        serving.stream(alice) as hers,
        serving.stream(bob) as his,
        await psycopg.AsyncConnection.connect(owner_url) as open_for_long,
    ):
        late = await new_run(open_for_long, alice)
        early = [await new_run(owner, alice), await new_run(owner, alice)]
        of_bob = await new_run(owner, bob)
        assert [(await hers.next_event()).data["id"] for _ in range(2)] == early
        assert (await his.next_event()).data["id"] == of_bob
        await open_for_long.commit()
        assert (await hers.next_event()).data["id"] == late
        numbers = [event.id for event in hers.events]
        assert numbers == sorted(numbers)
    written = await owner.execute("SELECT subject FROM person_events WHERE user_id = %s", [alice])
    assert {str(row[0]) for row in await written.fetchall()} == {late, *early}
    first = await owner.execute("SELECT subject FROM person_events ORDER BY id LIMIT 1")
    assert str((await first.fetchone())[0]) == late  # it was written first, and committed last


async def test_the_changes_of_one_thing_are_told_in_their_order(serving, owner, owner_url, alice):
    order = ["queued", "running", "suspended", "waiting", "queued", "running", "finished"]
    async with serving.stream(alice) as stream:
        runs = [await new_run(owner, alice) for _ in range(8)]

        async def live(run):
            async with await psycopg.AsyncConnection.connect(owner_url) as conn:
                for status in order:
                    await move(conn, run, status)
                    await conn.commit()

        await asyncio.gather(*map(live, runs))
        told: dict[str, list[str]] = {run: [] for run in runs}
        for _ in range(8 * (len(order) + 1)):
            event = await stream.next_event()
            told[event.data["id"]].append(event.data["status"])
    assert told == {run: ["waiting", *order] for run in runs}


@pytest.mark.slow
async def test_two_hundred_reconnects_lose_nothing_and_repeat_nothing(
    serving, owner, owner_url, alice, bob
):
    # Each writes a step of work in a transaction of its own, some of which stay open for a while.
    chance = random.Random(18)
    runs: list[str] = []
    is_done = asyncio.Event()

    async def write(seed: int) -> None:
        mine = random.Random(seed)
        async with await psycopg.AsyncConnection.connect(owner_url) as conn:
            while not is_done.is_set():
                made = [await new_run(conn, alice) for _ in range(mine.randint(1, 3))]
                await new_run(conn, bob)
                await asyncio.sleep(mine.choice((0, 0, 0.02, 0.2)))
                if mine.random() < 0.1:
                    await conn.rollback()
                else:
                    await conn.commit()
                    runs.extend(made)
                await asyncio.sleep(0.02)

    told: list[str] = []
    numbers: list[int] = []
    async with serving.stream(alice) as stream:
        last = stream.position
    async with asyncio.TaskGroup() as writers:
        for seed in range(4):
            writers.create_task(write(seed))
        for _ in range(200):
            async with serving.stream(alice, last=last) as stream:
                for _ in range(chance.randint(0, 4)):
                    event = await stream.next_event()
                    told.append(event.data["id"])
                    numbers.append(event.id)
                    last = event.id
        is_done.set()
    end = await new_run(owner, alice)
    async with serving.stream(alice, last=last) as stream:
        while (event := await stream.next_event()).data["id"] != end:
            told.append(event.data["id"])
            numbers.append(event.id)
    assert sorted(told) == sorted(runs)
    assert len(told) > 200
    assert numbers == sorted(set(numbers))


@pytest.fixture
async def other(database_url, bounds):
    """A second server on the same database, with a pool of its own."""
    async with Database(database_url).opened() as database:
        server = Server(database_url, database_url, None)
        app = App(Settings(), server, database, CIPHER, clock=clock)
        api = make_api(app, Authentication(app))
        api.state.streams = bounds
        made = Serving(api, app)
        await made.start()
        yield made
        await made.stop()


async def test_two_servers_tell_the_same_and_one_goes_on_where_the_other_was(
    serving, other, owner, alice
):
    async with serving.stream(alice) as one, other.stream(alice) as two:
        runs = [await new_run(owner, alice) for _ in range(20)]
        by_one = [await one.next_event() for _ in range(20)]
        by_two = [await two.next_event() for _ in range(20)]
        assert by_one == by_two
        assert [event.data["id"] for event in by_one] == runs
    later = await new_run(owner, alice)
    async with other.stream(alice, last=by_one[4].id) as resumed:
        told = [(await resumed.next_event()).data["id"] for _ in range(16)]
    assert told == [*runs[5:], later]


async def test_a_notification_that_does_not_arrive_is_made_up_for(
    serving, database, owner, alice, monkeypatch
):
    # As behind a transaction pooler: LISTEN is accepted, and nothing comes.
    await owner.execute(
        "CREATE OR REPLACE FUNCTION rota.announce_events() RETURNS void LANGUAGE sql AS 'SELECT'"
    )
    async with serving.stream(alice) as stream:
        run = await new_run(owner, alice)
        assert (await stream.next_event()).data["id"] == run


async def test_nobody_is_notified_while_nobody_listens(serving, app, owner, database, alice):
    async with database.dedicated(listening=True) as conn:
        await conn.execute("LISTEN rota_events")
        await new_run(owner, alice)
        await conn.execute("SELECT")
        heard = [told async for told in conn.notifies(timeout=0.2)]
        assert heard == []
        async with serving.stream(alice):
            await new_run(owner, alice)
            heard = [told async for told in conn.notifies(timeout=10, stop_after=1)]
        assert heard
