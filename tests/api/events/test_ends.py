"""What ends a stream: its caller, the server, or a client that does not read."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from rota.api.operations.events import StreamBounds
from rota.domain.identity.sessions import SignedInBy
from rota.services.operations import event_feed
from tests.api.events.conftest import WITHIN, Stream
from tests.api.events.test_streams import new_run


@pytest.fixture
def bounds() -> StreamBounds:
    """Each look at the stream looks at its caller, too."""
    return StreamBounds(heartbeat=0.05, check=0.0)


async def ended(stream):
    async with asyncio.timeout(WITHIN):
        await stream.rest()


async def test_it_ends_when_its_token_is_revoked(serving, app, owner, alice):
    async with serving.stream(alice) as stream:
        await new_run(owner, alice)
        await stream.next_event()
        [token] = await app.tokens.all(alice)
        await app.tokens.revoke(alice, str(token.id))
        await ended(stream)
    assert app.events.count() == 0


async def test_nothing_is_told_once_the_token_is_revoked(serving, app, owner, alice):
    async with serving.stream(alice) as stream:
        [token] = await app.tokens.all(alice)
        await app.tokens.revoke(alice, str(token.id))
        await new_run(owner, alice)
        await ended(stream)
    assert stream.events == []


async def test_it_ends_when_its_token_loses_the_scope_or_its_time_is_over(serving, owner, alice):
    for change in ("expires_at = now() - interval '1 minute'", "scopes = '{trigger}'"):
        async with serving.stream(alice) as stream:
            await owner.execute(f"UPDATE rota.api_tokens SET {change}")
            await ended(stream)
        await owner.execute("DELETE FROM rota.api_tokens")
        serving.forget_tokens()


async def test_it_ends_when_its_person_is_removed(serving, owner, alice):
    async with serving.stream(alice) as stream:
        await owner.execute("DELETE FROM auth.users WHERE id = %s", [alice])
        await ended(stream)


async def test_it_ends_at_once_when_the_server_stops(serving, api, alice):
    api.state.streams = StreamBounds(heartbeat=300.0)
    async with serving.stream(alice) as stream:
        api.state.stopping.set()
        await ended(stream)


async def test_a_reader_that_is_too_slow_is_given_up_and_resumes(app, owner, alice, monkeypatch):
    monkeypatch.setattr(event_feed, "MOST_WAITING", 5)
    stop = asyncio.Event()
    slow = await app.events.open(alice)
    begun = slow.position
    runs = [await new_run(owner, alice) for _ in range(9)]
    async with asyncio.timeout(WITHIN):
        while not slow.is_given_up:
            await asyncio.sleep(0.01)
    slow.close()
    resumed = await app.events.open(alice, after=begun)
    told = []
    async for events in app.events.follow(resumed, stop, heartbeat=300.0):
        told += [str(event.id) for event in events]
        if len(told) == 9:
            stop.set()
    resumed.close()
    assert told == runs
    # The stream of the slow one ends, once it is read again, without what it missed.
    assert [events async for events in _follow_live(app, slow)] == []


async def _follow_live(app, listener):
    listener.position = 10**9
    async for events in app.events.follow(listener, asyncio.Event(), heartbeat=300.0):
        yield events


async def test_no_connection_of_the_pool_is_held_while_nothing_happens(
    serving, api, app, owner, alice
):
    api.state.streams = StreamBounds(heartbeat=300.0, of_person=60)
    streams = [serving.stream(alice) for _ in range(40)]  # the pool has ten
    opened = [await stream.__aenter__() for stream in streams]
    run = await new_run(owner, alice)
    assert {(await one.next_event()).data["id"] for one in opened} == {run}
    listening = await owner.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND query LIKE 'LISTEN%'"
    )
    assert await listening.fetchone() == (1,)
    for stream in streams:
        await stream.__aexit__(None, None, None)


async def test_a_session_of_a_browser_follows_by_its_cookie(serving, app, owner, alice):

    session = await app.sessions.begin(alice, by=SignedInBy.LINK, user_agent="tests")
    port = httpx.URL(serving.url).port
    headers = {"Cookie": f"rota-{port}={session.secret}"}
    async with serving.client.stream("GET", f"{serving.url}/events", headers=headers) as response:
        assert response.status_code == 200
        stream = Stream(response)
        await stream.next()
        run = await new_run(owner, alice)
        assert (await stream.next_event()).data["id"] == run
        await app.sessions.end(alice, session.session.id)
        await ended(stream)


async def test_a_stream_that_ended_leaves_nothing_behind(serving, api, app, owner, alice):
    api.state.streams = StreamBounds(heartbeat=300.0)

    def waiting():
        return sum("Event.wait" in repr(task) for task in asyncio.all_tasks())

    before = waiting()
    for _ in range(5):
        async with serving.stream(alice) as stream:
            await new_run(owner, alice)
            await stream.next_event()
    async with asyncio.timeout(WITHIN):
        while app.events.count() or waiting() > before:
            await asyncio.sleep(0.01)


async def test_five_hundred_listeners_cost_one_query_a_look(app, owner, alice, monkeypatch):
    cursor = await owner.execute(
        "INSERT INTO auth.users (email) SELECT i || '@example.com' FROM generate_series(1, 50) AS i"
        " RETURNING id"
    )
    people = [row[0] for row in await cursor.fetchall()]
    async with asyncio.TaskGroup() as opening:
        tasks = [opening.create_task(app.events.open(person)) for person in people * 10]
    listeners = [task.result() for task in tasks]
    assert app.events.count() == 500
    asked = []
    list_new = event_feed.rows.list_new

    async def counted(conn, people, **which):
        found = await list_new(conn, people, **which)
        asked.append(len(found.events))
        return found

    monkeypatch.setattr(event_feed.rows, "list_new", counted)
    await owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger)"
        " SELECT id, 'watcher', 'manual' FROM auth.users WHERE id = ANY(%s)",
        [people],
    )
    async with asyncio.timeout(WITHIN):
        while not all(listener.woken.is_set() for listener in listeners):
            await asyncio.sleep(0.01)
    assert [count for count in asked if count] == [50]
    for listener in listeners:
        [event] = listener.take()
        assert event.kind == "run"
        listener.close()
    assert app.events.count() == 0
