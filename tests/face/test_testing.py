"""rota.testing, as somebody uses it for an agent of their own."""

from datetime import UTC, datetime, timedelta

import pytest

import rota
from rota import testing
from tests.face import house as registered

NOON = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)
KEEPER = """
name: keeper
model: scripted:keeper
script:
  steps: [{calls: [{tool: write_note, args: {text: milk}}]}]
  answer: "{{ results[0] }}"
tools: [write_note]
"""
TELLER = """
name: teller
model: callable:tell
schedules: [{name: noon, cron: "0 12 * * *", time_zone: UTC, prompt: It is}]
"""


@pytest.fixture
async def house(server):
    registered.NOTES.clear()
    async with testing.house(
        server,
        now=NOON,
        tools={"write_note": "tests.face.house:note_writer"},
        callables={"tell": "tests.face.house:tell_the_time"},
    ) as house:
        yield house


async def test_agent_asks_before_it_writes(house):
    await house.app.tools.declare(
        "write_note", rota.ToolChange(read_only=False, default_tier="requires_approval")
    )
    await house.apply(KEEPER)

    asked = await house.run("keeper")
    assert asked.pending_actions_created == 1
    assert registered.NOTES == []

    (action,) = await house.app.approvals.list_actions(house.user)
    await house.app.approvals.decide(
        house.user, str(action.id), "approve", version=action.version, via="test"
    )
    await house.settle()
    assert registered.NOTES == ["2026-11-30 milk"]


async def test_schedule_fires_when_the_clock_says_so(house):
    await house.apply(TELLER)
    assert await house.fire_due() == ()

    house.clock.advance(timedelta(hours=24))
    (result,) = await house.fire_due()
    assert (result.status, result.result_content) == ("success", "It is 2026-12-01 12:00")

    house.clock.advance(timedelta(minutes=1))
    assert await house.fire_due() == ()


async def test_houses_know_nothing_of_each_other(server, house):
    await house.apply(TELLER)
    async with testing.house(server) as other:
        assert await other.app.schedules.all(other.user) == ()
        with pytest.raises(rota.NotFoundError):
            await other.run("teller")


async def test_agent_that_does_not_end_is_an_error_of_the_test(house):
    await house.apply(TELLER)
    with pytest.raises(rota.UnavailableError, match="did not end within 0 s"):
        await house.run("teller", limit=0)


def test_clock_takes_times_with_a_zone_only():
    with pytest.raises(rota.InvalidInputError, match="time zone"):
        testing.Clock(datetime(2026, 11, 30, 12, 0))
