"""Versions of agents are bounded: by number, by age, and by what changes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rota.services.operations.retention import RetentionService
from tests.services.harness import clock
from tests.services.operations.test_retention import CHECKPOINTS


async def versions(owner, alice):
    cursor = await owner.execute(
        "SELECT agent_name, version, change FROM agent_versions WHERE user_id = %s ORDER BY id",
        [alice],
    )
    return await cursor.fetchall()


async def set_prompt(owner, prompt):
    await owner.execute("UPDATE agent_configurations SET system_prompt = %s", [prompt])


@pytest.fixture
async def agent(owner, alice):
    await owner.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model) VALUES (%s, 'a', 'b:c')",
        [alice],
    )


@pytest.mark.usefixtures("agent")
async def test_the_latest_hundred_of_an_agent_are_kept(owner, alice):
    for number in range(105):
        await set_prompt(owner, f"Prompt {number}")
        await set_prompt(owner, f"Prompt {number}")

    found = await versions(owner, alice)

    assert [version for _, version, _ in found] == list(range(7, 107))


@pytest.mark.usefixtures("agent")
async def test_a_renamed_agent_begins_anew_and_the_old_name_ends(owner, alice):
    await owner.execute("UPDATE agent_configurations SET agent_name = 'b' WHERE agent_name = 'a'")

    assert await versions(owner, alice) == [
        ("a", 1, "created"),
        ("a", 2, "removed"),
        ("b", 1, "created"),
    ]


@pytest.mark.usefixtures("agent")
async def test_a_person_goes_with_their_versions(owner, alice):
    await owner.execute("DELETE FROM auth.users WHERE id = %s", [alice])

    assert await versions(owner, alice) == []


@pytest.mark.usefixtures("agent")
async def test_retention_keeps_the_latest_version_of_what_is_there(database, owner, alice):
    retention = RetentionService(database, CHECKPOINTS)
    await set_prompt(owner, "Second.")
    await owner.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model) VALUES (%s, 'z', 'b:c')",
        [alice],
    )
    await owner.execute("DELETE FROM agent_configurations WHERE agent_name = 'z'")

    await retention.prune(clock() + timedelta(days=300))
    assert len(await versions(owner, alice)) == 4
    await retention.prune(clock() + timedelta(days=400))

    assert await versions(owner, alice) == [("a", 2, "updated")]
