"""Many schedules changed at once, each with its own outcome."""

from __future__ import annotations

import pytest

from rota.api.callers import Scope
from rota.shown.schedule_models import BulkModel


def fields(response):
    return [one["field"] for one in response.json()["errors"]]


@pytest.fixture
async def three(put):
    return {name: (await put(name)).json() for name in ("a", "b", "c")}


@pytest.fixture
def change(hers):
    async def change(action, **asked):
        answer = await hers.post("/schedules/bulk", json={"action": action, **asked})
        assert answer.status_code == 200, answer.text
        BulkModel.model_validate(answer.json())
        return {one["schedule"]: one["outcome"] for one in answer.json()["items"]}

    return change


async def states(hers):
    items = (await hers.get("/schedules")).json()["items"]
    return {one["schedule"]: (one["state"], one["pause_note"]) for one in items}


async def test_each_has_its_own_outcome(hers, three, change):
    await hers.post("/schedules/b/pause", json={"note": "before"})
    asked = {"schedules": ["b", "none", "a", three["c"]["id"], "a"]}
    outcomes = await change("pause", **asked)
    assert outcomes == {"b": "unchanged", "none": "not_found", "a": "paused", "c": "paused"}
    assert list(outcomes) == ["b", "none", "a", "c"]  # in the order asked
    assert await states(hers) == {
        "a": ("paused", None),
        "b": ("paused", "before"),
        "c": ("paused", None),
    }
    resumed = await change("resume", filter={"state": "paused"}, note="back")
    assert resumed == {"a": "resumed", "b": "resumed", "c": "resumed"}
    assert (await states(hers))["b"] == ("active", "before; resumed: back")
    assert (await states(hers))["a"] == ("active", "resumed: back")
    assert await change("delete", filter={"name_prefix": "b"}) == {"b": "deleted"}
    assert set(await states(hers)) == {"a", "c"}


async def test_a_rehearsal_changes_nothing(hers, three, change):
    before = await states(hers)
    assert await change("delete", filter={}, dry_run=True) == dict.fromkeys("abc", "deleted")
    assert await states(hers) == before


async def test_one_whose_rule_cannot_be_read_is_refused_and_the_others_resume(
    hers, three, change, workshop
):
    await change("pause", filter={})
    await workshop.owner.execute("UPDATE agent_schedules SET cron = 'never' WHERE name = 'b'")
    assert await change("resume", filter={}) == {"a": "resumed", "b": "refused", "c": "resumed"}
    assert (await states(hers))["b"][0] == "paused"


async def test_a_long_note_of_one_does_not_stop_the_others(hers, three, change):
    await hers.post("/schedules/a/pause", json={"note": "x" * 1_000})
    assert await change("resume", schedules=["a"], note="y" * 100) == {"a": "resumed"}
    assert (await states(hers))["a"] == ("active", "x" * 1_000)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "pause"}, "body"),
        ({"action": "pause", "schedules": ["a"], "filter": {}}, "body"),
        ({"action": "explode", "filter": {}}, "body.action"),
        ({"action": "pause", "schedules": []}, "body.schedules"),
        ({"action": "pause", "schedules": ["a"] * 1_001}, "body.schedules"),
        ({"action": "pause", "filter": {"colour": "red"}}, "body.filter.colour"),
        ({"action": "pause", "filter": {"state": "asleep"}}, "body.filter.state"),
    ],
)
async def test_what_makes_no_sense_names_its_field(hers, body, field):
    refused = await hers.post("/schedules/bulk", json=body)
    assert refused.status_code == 422, refused.text
    assert fields(refused) == [field]


async def test_strangers_change_nothing_and_tokens_need_the_scope(hers, three, client, alice, bob):
    before = await states(hers)
    everything = {"action": "delete", "filter": {}}
    theirs = await client(bob).post("/schedules/bulk", json=everything)
    assert theirs.json()["items"] == []
    named = {"action": "delete", "schedules": ["a", three["b"]["id"]]}
    theirs = await client(bob).post("/schedules/bulk", json=named)
    assert {one["outcome"] for one in theirs.json()["items"]} == {"not_found"}
    assert (await client().post("/schedules/bulk", json=everything)).status_code == 401
    triggers = client(alice, scopes=frozenset({Scope.READ, Scope.TRIGGER}))
    assert (await triggers.post("/schedules/bulk", json=everything)).status_code == 403
    assert await states(hers) == before
