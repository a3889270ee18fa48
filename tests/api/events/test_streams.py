"""Streams of events over real HTTP: what is told, to whom, and from where it goes on."""

from __future__ import annotations

import asyncio

import pytest

from rota.api.callers import Scope
from rota.api.operations.events import StreamBounds
from rota.domain.operations.events import Event
from rota.shown.models import model_of


async def new_run(owner, person, status="waiting"):
    cursor = await owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger, status)"
        " VALUES (%s, 'watcher', 'manual', %s) RETURNING id",
        [person, status],
    )
    return str((await cursor.fetchone())[0])


async def move(owner, run, *statuses):
    for status in statuses:
        await owner.execute("UPDATE agent_runs SET status = %s WHERE id = %s", [status, run])


def about(told):
    return [(each.event, each.data["id"], each.data["status"]) for each in told]


async def test_what_changes_is_told_as_it_changes(serving, owner, alice):
    async with serving.stream(alice) as stream:
        run = await new_run(owner, alice)
        told = await stream.next_event()
        assert (told.event, told.data["run_id"], told.data["status"]) == ("run", run, "waiting")
        assert told.id == told.data["number"]
        model_of(Event).model_validate(told.data)
        await move(owner, run, "queued", "running", "finished")
        statuses = [(await stream.next_event()).data["status"] for _ in range(3)]
    assert statuses == ["queued", "running", "finished"]
    numbers = [each.id for each in stream.events]
    assert numbers == sorted(set(numbers))


async def test_it_begins_now_and_not_with_what_was_before_anybody_listened(serving, owner, alice):
    await new_run(owner, alice)
    async with serving.stream(alice) as stream:
        run = await new_run(owner, alice)
        assert (await stream.next_event()).data["id"] == run


async def test_whoever_resumes_gets_what_came_meanwhile_and_nothing_twice(serving, owner, alice):
    async with serving.stream(alice) as stream:
        first = await new_run(owner, alice)
        seen = await stream.next_event()
    runs = [await new_run(owner, alice) for _ in range(3)]
    async with serving.stream(alice, last=seen.id) as stream:
        told = [(await stream.next_event()).data["id"] for _ in range(3)]
        runs.append(await new_run(owner, alice))
        told.append((await stream.next_event()).data["id"])
    assert told == runs
    async with serving.stream(alice, after=seen.id) as by_parameter:
        assert (await by_parameter.next_event()).data["id"] == runs[0]
    # The address of a page stays as it was; a browser that connects again says more.
    async with serving.stream(alice, after=0, last=seen.id) as both:
        assert (await both.next_event()).data["id"] == runs[0] != first


async def test_one_that_lost_the_connection_before_any_event_misses_none(serving, owner, alice):
    async with serving.stream(alice) as stream:
        begun = stream.position
    run = await new_run(owner, alice)
    async with serving.stream(alice, last=begun) as stream:
        assert (await stream.next_event()).data["id"] == run


async def test_only_kinds_that_are_wanted_are_told(serving, owner, workshop, alice):
    async with serving.stream(alice, kind=["agent", "schedule"]) as stream:
        await new_run(owner, alice)
        await workshop.agent()
        schedule = await workshop.schedule()
        assert about([await stream.next_event() for _ in range(2)])[1] == (
            "schedule",
            str(schedule.id),
            "created",
        )
        assert [each.event for each in stream.events] == ["agent", "schedule"]


async def test_each_listener_of_a_person_is_told(serving, owner, alice):
    async with serving.stream(alice) as one, serving.stream(alice) as other:
        run = await new_run(owner, alice)
        assert (await one.next_event()) == (await other.next_event())
        assert one.events[0].data["id"] == run


async def test_nobody_is_told_what_is_another_persons(serving, owner, alice, bob):
    async with serving.stream(alice) as hers, serving.stream(bob) as his:
        of_bob = await new_run(owner, bob)
        of_alice = await new_run(owner, alice)
        assert (await hers.next_event()).data["id"] == of_alice
        assert (await his.next_event()).data["id"] == of_bob
    async with serving.stream(alice, last=0) as missed:
        told = await missed.next_event()
        if told.event == "reset":
            told = await missed.next_event()
        assert told.data["id"] == of_alice


async def test_heartbeats_come_and_move_on_with_what_is_not_ones_own(
    serving, api, owner, alice, bob
):
    api.state.streams = StreamBounds(heartbeat=0.05)
    async with serving.stream(alice) as stream:
        begun = stream.position
        assert (await stream.next()).comment == "heartbeat"
        await new_run(owner, bob)
        while stream.position == begun:
            told = await stream.next()
            assert (told.event, told.comment) == (None, "heartbeat")
    run = await new_run(owner, alice)
    async with serving.stream(alice, last=stream.position) as resumed:
        assert (await resumed.next_event()).data["id"] == run


async def test_one_who_resumes_from_what_is_gone_is_told_to_read_anew(serving, app, owner, alice):
    async with serving.stream(alice) as stream:
        await new_run(owner, alice)
        seen = await stream.next_event()
        await new_run(owner, alice)
        await stream.next_event()
    await owner.execute("UPDATE person_events SET at = at - interval '61 minutes'")
    assert await app.events.prune(app.clock()) == 2
    async with serving.stream(alice, last=seen.id) as stream:
        told = await stream.next_event()
        assert told.event == "reset"
        assert told.id > seen.id
        run = await new_run(owner, alice)
        assert (await stream.next_event()).data["id"] == run
    async with serving.stream(alice, last=told.id) as again:
        assert (await again.next_event()).data["id"] == run


async def test_what_went_without_ever_having_a_number_is_a_gap_too(serving, app, owner, alice):
    async with serving.stream(alice) as stream:
        begun = stream.position
    await new_run(owner, alice)  # nobody listens, so nobody numbers it
    await owner.execute("UPDATE person_events SET at = at - interval '61 minutes'")
    await app.events.prune(app.clock())
    async with serving.stream(alice, last=begun) as stream:
        assert (await stream.next_event()).event == "reset"


async def test_a_number_that_was_never_given_is_answered_by_reset(serving, alice):
    async with serving.stream(alice, last=10**15) as stream:
        assert (await stream.next_event()).event == "reset"


@pytest.mark.parametrize("last", ["x", "-1", "1.5", str(2**63), ""])
async def test_an_id_that_is_no_number_is_refused(client, alice, last):
    answer = await client(alice).get("/events", headers={"Last-Event-ID": last})
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["field"].casefold() == "header.last-event-id"
    answer = await client(alice).get("/events", params={"after": last})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "query.after"


async def test_a_kind_that_there_is_not_is_refused(client, alice):
    answer = await client(alice).get("/events", params={"kind": ["run", "secret"]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "query.kind.1"


@pytest.mark.parametrize("path", ["/events", "/runs/0f0e7f5c-8a53-4f0e-9d8f-0d1a2b3c4d5e/events"])
async def test_nobody_and_a_token_that_may_not_read_are_refused(client, alice, path):
    assert (await client().get(path)).status_code == 401
    answer = await client(alice, scopes=frozenset({Scope.DECIDE})).get(path)
    assert (answer.status_code, answer.json()["scope"]) == (403, "read")


async def test_streams_of_a_person_are_bounded_and_a_closed_one_makes_room(
    serving, api, app, client, owner, alice, bob
):
    api.state.streams = StreamBounds(of_person=2, in_all=3)
    async with serving.stream(alice), serving.stream(bob):
        async with serving.stream(alice) as stream:
            answer = await client(alice).get("/events")
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
            answer = await client(bob).get("/events")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        while app.events.count(alice) == 2:
            await asyncio.sleep(0.01)
        async with serving.stream(alice) as stream:
            await new_run(owner, alice)
            await stream.next_event()
    while app.events.count():
        await asyncio.sleep(0.01)
