"""One run, followed over HTTP from its beginning to its end."""

from __future__ import annotations

import asyncio

from rota.api.operations.events import StreamBounds
from tests.api.events.test_streams import move, new_run

WAITS = {
    "steps": [
        {"calls": [{"tool": "look", "args": {"query": "x"}}]},
        {"calls": [{"tool": "wait", "args": {}}]},
    ],
    "answer": "Done.",
}


def told_of(stream):
    return [(event.event, event.data.get("status")) for event in stream.events]


async def test_a_run_is_followed_live_to_its_end(serving, workshop, alice):
    workshop.toolbox.gate = asyncio.Event()
    await workshop.agent(WAITS, tools=["look", "wait"])
    schedule = await workshop.schedule()
    execution = asyncio.create_task(workshop.service().execute(schedule))
    while not await workshop.rows("agent_run_steps"):
        await asyncio.sleep(0.01)
    run = str((await workshop.row("agent_runs"))["id"])
    async with serving.stream(alice, f"/runs/{run[:13]}/events") as stream:
        await stream.until(lambda told: told.event == "step")
        assert not execution.done()  # it goes on all the while
        workshop.toolbox.gate.set()
        rest = await stream.rest()
    await execution
    assert rest[-1].event == "end"
    assert rest[-1].data == {"run_id": run}
    assert [status for event, status in told_of(stream) if event == "run"][-1] == "finished"
    steps = {
        (event.data["model_step"], event.data["call_index"])
        for event in stream.events
        if event.event == "step" and event.data["status"] == "finished"
    }
    assert len(steps) == 5  # three calls of the model, two of tools
    assert all(event.data["run_id"] == run for event in stream.events)


async def test_a_run_that_is_over_is_told_whole_and_ends_at_once(serving, owner, alice):
    run = await new_run(owner, alice)
    await move(owner, run, "queued", "running", "finished")
    await new_run(owner, alice)
    async with serving.stream(alice, f"/runs/{run}/events") as stream:
        await stream.rest()
    runs = [("run", status) for status in ("waiting", "queued", "running", "finished")]
    assert told_of(stream) == [*runs, ("end", None)]
    async with serving.stream(alice, f"/runs/{run}/events", last=stream.events[1].id) as resumed:
        await resumed.rest()
    assert told_of(resumed) == [*runs[2:], ("end", None)]
    async with serving.stream(alice, f"/runs/{run}/events", last=stream.position) as again:
        await again.rest()
    assert told_of(again) == [("end", None)]


async def test_one_that_waits_for_a_decision_goes_on_being_followed(serving, owner, alice):
    run = await new_run(owner, alice)
    async with serving.stream(alice, f"/runs/{run}/events") as stream:
        await move(owner, run, "queued", "running", "suspended", "waiting", "cancelled")
        await stream.rest()
    assert told_of(stream)[-3:] == [("run", "waiting"), ("run", "cancelled"), ("end", None)]


async def test_a_run_whose_beginning_is_gone_is_read_anew(serving, app, owner, alice):
    run = await new_run(owner, alice, status="running")
    await owner.execute("UPDATE agent_runs SET created_at = created_at - interval '2 hours'")
    await owner.execute("UPDATE person_events SET at = at - interval '2 hours'")
    await app.events.prune(app.clock())
    async with serving.stream(alice, f"/runs/{run}/events") as stream:
        assert (await stream.next_event()).event == "reset"
        await move(owner, run, "finished")
        await stream.rest()
    assert told_of(stream)[1:] == [("run", "finished"), ("end", None)]


async def test_a_run_of_another_person_or_none_is_not_found(client, app, owner, alice, bob):
    run = await new_run(owner, alice)
    for reference in (run, run[:8], "0f0e7f5c-8a53-4f0e-9d8f-0d1a2b3c4d5e"):
        answer = await client(bob).get(f"/runs/{reference}/events")
        assert answer.status_code == 404
        assert answer.json()["type"] == "urn:rota:problem:not-found"
    assert app.events.count() == 0


async def test_row_level_security_holds_without_a_filter(serving, app, owner, alice, bob):
    # The queries for what somebody missed name no person: the database leaves what is theirs.
    async with serving.stream(bob) as his:
        runs = [await new_run(owner, person) for person in (alice, bob, alice)]
        await his.next_event()
    async with app.database.acting_as(bob) as conn:
        found = await (await conn.execute("SELECT subject FROM person_events")).fetchall()
    assert [str(row[0]) for row in found] == [runs[1]]


async def test_a_heartbeat_comes_while_a_run_rests(serving, api, owner, alice):
    api.state.streams = StreamBounds(heartbeat=0.05)
    run = await new_run(owner, alice)
    async with serving.stream(alice, f"/runs/{run}/events") as stream:
        assert (await stream.next_event()).data["status"] == "waiting"
        assert (await stream.next()).comment == "heartbeat"
