"""Runs over HTTP: lists in pages, one run, its calls and attempts, and cancelling it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from rota.api.callers import Scope
from rota.api.pages import page_of
from rota.domain.runs.views import AttemptView, RunView
from rota.shown.models import model_of
from rota.shown.runs import CallOfRun, RunShown, RunStarted
from tests.services.harness import ANSWER
from tests.services.running import make_run

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RunPage = page_of(model_of(RunView), "RunPage")
LOOKS_AND_ASKS = {
    "steps": [
        {"calls": [{"tool": "look", "args": {"query": "milk"}}]},
        {"calls": [{"tool": "send", "args": {"to": "bob@example.com", "text": "sk-" + "a" * 40}}]},
    ],
    "answer": "Done.",
}


async def runs_of(workshop, count, **columns):
    """Insert runs, one a minute before the other, newest first."""
    return [
        await make_run(workshop, created_at=NOON - timedelta(minutes=n), **columns)
        for n in range(count)
    ]


async def every_page(http, path, **parameters):
    """Return the items of all pages, page by page."""
    pages, after = [], None
    while after is not None or not pages:
        given = {**parameters, **({"after": after} if after is not None else {})}
        answered = await http.get(path, params=given)
        assert answered.status_code == 200, answered.text
        pages.append(answered.json()["items"])
        after = answered.json()["next"]
    return pages


def flat(pages):
    return [item for items in pages for item in items]


def ids(items):
    return [one["id"] for one in items]


async def test_runs_are_listed_in_pages_the_newest_first(client, workshop, alice):
    await workshop.agent(ANSWER)
    made = await runs_of(workshop, 5)
    pages = await every_page(client(alice), "/runs", limit=2)
    assert [len(one) for one in pages] == [2, 2, 1]
    assert ids(flat(pages)) == [str(run.id) for run in made]
    counted = (await client(alice).get("/runs", params={"limit": 2, "count": "true"})).json()
    assert counted["count"] == 5
    RunPage.model_validate(counted)


async def test_runs_of_one_instant_are_each_on_one_page(client, workshop, alice):
    """A backfill's are created at one time: they are sorted by fire time, and without one last."""
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    fired = [
        await make_run(
            workshop,
            created_at=NOON,
            fire_time=NOON - timedelta(days=n),
            schedule_id=schedule.id,
            trigger="backfill",
        )
        for n in range(4)
    ]
    others = [await make_run(workshop, created_at=NOON) for _ in range(3)]
    items = flat(await every_page(client(alice), "/runs", limit=1))
    assert ids(items)[:4] == [str(run.id) for run in fired]
    assert ids(items)[4:] == sorted((str(run.id) for run in others), reverse=True)


async def test_a_run_that_is_added_meanwhile_hides_none_and_shows_none_twice(
    client, workshop, alice
):
    await workshop.agent(ANSWER)
    made = await runs_of(workshop, 4)
    first = (await client(alice).get("/runs", params={"limit": 2})).json()
    await make_run(workshop, created_at=NOON + timedelta(hours=1))
    second = (await client(alice).get("/runs", params={"limit": 2, "after": first["next"]})).json()
    assert ids(first["items"] + second["items"]) == [str(run.id) for run in made]


async def test_runs_are_filtered(client, workshop, alice):
    await workshop.agent(ANSWER)
    await workshop.agent(ANSWER, name="other")
    schedule = await workshop.schedule()
    ended = await make_run(workshop, "other", created_at=NOON)
    await workshop.service().execute(None, ended)
    fired = await make_run(
        workshop,
        schedule_id=schedule.id,
        trigger="schedule",
        fire_time=NOON,
        created_at=NOON - timedelta(hours=1),
    )
    await make_run(workshop, created_at=NOON - timedelta(hours=2))

    async def found(**which):
        answered = await client(alice).get("/runs", params={"count": "true", **which})
        assert answered.status_code == 200, answered.text
        assert answered.json()["count"] == len(answered.json()["items"])
        return ids(answered.json()["items"])

    assert await found(agent="other") == [str(ended.id)]
    assert await found(agent="nobody") == []
    assert await found(schedule="morning") == [str(fired.id)]
    assert await found(schedule=str(schedule.id)) == [str(fired.id)]
    assert await found(status="finished") == [str(ended.id)]
    assert await found(result_status="success") == [str(ended.id)]
    assert await found(result_status="error") == []
    assert await found(trigger="schedule") == [str(fired.id)]
    assert len(await found(status="waiting", trigger="manual")) == 1
    assert len(await found(since=(NOON - timedelta(hours=1)).isoformat())) == 2
    assert len(await found(before=(NOON - timedelta(hours=1)).isoformat())) == 1
    assert len(await found(before="9999-12-31T23:59:59Z", since="0001-01-01T00:00:00Z")) == 3


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"status": "done"}, "query.status"),
        ({"result_status": "fine"}, "query.result_status"),
        ({"trigger": "me"}, "query.trigger"),
        ({"since": "yesterday"}, "query.since"),
        ({"since": "2026-01-01T00:00:00"}, "query.since"),
        ({"before": "2026-13-01T00:00:00Z"}, "query.before"),
        ({"limit": "0"}, "query.limit"),
        ({"limit": "201"}, "query.limit"),
        ({"after": "nonsense"}, "query.after"),
        ({"agent": "x" * 64}, "query.agent"),
    ],
)
async def test_what_is_wrong_with_a_filter_is_named(client, workshop, alice, given, field):
    refused = await client(alice).get("/runs", params=given)
    assert refused.status_code == 422, refused.text
    assert [one["field"] for one in refused.json()["errors"]] == [field]


async def test_a_cursor_of_another_list_is_refused(client, workshop, alice):
    await workshop.agent(ANSWER)
    await runs_of(workshop, 2)
    following = (await client(alice).get("/runs", params={"limit": 1})).json()["next"]
    other = {"limit": 1, "after": following, "agent": "watcher"}
    assert (await client(alice).get("/runs", params=other)).status_code == 422


async def test_a_list_has_the_beginning_of_a_long_prompt_and_a_run_all_of_it(
    client, workshop, alice
):
    await workshop.agent(ANSWER)
    run = await make_run(workshop, prompt="ä" * 100_000)
    (listed,) = (await client(alice).get("/runs")).json()["items"]
    assert listed["prompt"] == "ä" * 1_999 + "…"
    assert (await client(alice).get(f"/runs/{run.id}")).json()["prompt"] == "ä" * 100_000


async def test_a_run_says_what_it_used_and_why_it_failed(client, workshop, alice):
    await workshop.agent({"steps": [{"calls": [{"tool": "look"}]}], "fail": "It broke."})
    run = await make_run(workshop)
    await workshop.service().execute(None, run)
    shown = await client(alice).get(f"/runs/{run.id}")
    assert shown.status_code == 200
    RunShown.model_validate(shown.json())
    assert shown.json()["result_status"] == "error"
    assert shown.json()["error"]
    assert set(shown.json()["used"]) == {
        "model_calls",
        "failed_model_calls",
        "input_tokens",
        "output_tokens",
        "cost_usd",
    }


async def test_what_a_run_used_is_told_by_its_calls_and_once_they_are_pruned_by_its_result(
    client, workshop, alice
):
    await workshop.agent(ANSWER)
    run = await make_run(workshop)
    await workshop.service().execute(None, run)
    await workshop.owner.execute(
        "UPDATE agent_run_steps SET usage = %s, cost_usd = 0.25, attempts = %s",
        ['{"input_tokens": 70, "output_tokens": 7}', '[{"kind": "server"}]'],
    )
    used = (await client(alice).get(f"/runs/{run.id}")).json()["used"]
    assert used == {
        "model_calls": 1,
        "failed_model_calls": 1,
        "input_tokens": 70,
        "output_tokens": 7,
        "cost_usd": "0.25",
    }
    await workshop.owner.execute("DELETE FROM agent_run_steps")
    await workshop.owner.execute(
        "UPDATE agent_execution_results SET metadata = metadata || %s",
        ['{"tokens": {"input": 9, "output": 1}, "cost_usd": "0.50", "model_calls": 3}'],
    )
    used = (await client(alice).get(f"/runs/{run.id}")).json()["used"]
    assert (used["input_tokens"], used["output_tokens"], used["cost_usd"]) == (9, 1, "0.50")
    assert used["model_calls"] == 3


async def test_the_trace_has_each_call_in_order_with_what_was_decided(client, app, workshop, alice):
    await workshop.agent(LOOKS_AND_ASKS, tools=["look", "send"])
    run = await make_run(workshop)
    await workshop.service().execute(None, run)
    (action,) = await app.approvals.of_run(alice, run.id)
    pages = await every_page(client(alice), f"/runs/{run.id}/trace", limit=2)
    calls = [CallOfRun.model_validate(one) for one in flat(pages)]
    assert [len(one) for one in pages] == [2, 2, 1]
    assert [(one.model_step, one.call_index, one.name) for one in calls] == [
        (1, -1, "scripted:test"),
        (1, 0, "look"),
        (2, -1, "scripted:test"),
        (2, 0, "send"),
        (3, -1, "scripted:test"),
    ]
    looked, asked = calls[1], calls[3]
    assert looked.request["arguments"] == {"query": "milk"}
    assert looked.action is None
    assert asked.status == "held"
    assert (asked.action.id, asked.action.status) == (action.id, "pending")
    assert "sk-aaa" not in str(pages)


async def test_attempts_are_told_with_the_calls_that_each_made(client, workshop, alice):
    await workshop.agent(LOOKS_AND_ASKS, tools=["look", "send"])
    run = await make_run(workshop)
    await workshop.service().execute(None, run)
    await workshop.owner.execute("UPDATE agent_runs SET attempt = 3")
    await workshop.owner.execute("UPDATE agent_run_steps SET attempt = 3 WHERE model_step > 1")
    items = flat(await every_page(client(alice), f"/runs/{run.id}/attempts", limit=2))
    told = [model_of(AttemptView).model_validate(one) for one in items]
    assert [(one.attempt, one.model_calls, one.tool_calls) for one in told] == [
        (1, 1, 1),
        (2, 0, 0),
        (3, 2, 1),
    ]
    assert told[1].first_call_at is None
    assert told[0].first_call_at <= told[0].last_call_at <= told[2].first_call_at


async def test_a_run_that_has_not_begun_is_cancelled_at_once_with_a_note(client, workshop, alice):
    await workshop.agent(ANSWER)
    run = await make_run(workshop)
    done = await client(alice).post(f"/runs/{run.id}/cancel", json={"note": "Not today."})
    assert done.status_code == 200
    assert RunStarted.model_validate(done.json()).status == "cancelled"
    assert (await workshop.row("agent_runs"))["cancel_reason"] == "Not today."
    again = await client(alice).post(f"/runs/{run.id}/cancel", json={})
    assert again.status_code == 409
    assert again.json()["detail"] == "The run is over: it is cancelled."


async def test_a_note_is_bounded_and_named(client, workshop, alice):
    run = await make_run(workshop)
    for wrong in ({"note": "x" * 1_001}, {"note": 5}, {"note": None}):
        refused = await client(alice).post(f"/runs/{run.id}/cancel", json=wrong)
        assert refused.status_code == 422
        assert [one["field"] for one in refused.json()["errors"]] == ["body.note"]


async def test_a_run_is_retried_when_it_is_over_and_not_before(client, workshop, alice):
    await workshop.agent(ANSWER)
    run = await make_run(workshop, prompt="Once more.")
    early = await client(alice).post(f"/runs/{run.id}/retry")
    assert early.status_code == 409
    await workshop.service().execute(None, run)
    retried = await client(alice).post(f"/runs/{run.id}/retry")
    assert retried.status_code == 202
    shown = (await client(alice).get(f"/runs/{retried.json()['run_id']}")).json()
    assert (shown["retry_of"], shown["prompt"]) == (str(run.id), "Once more.")


@pytest.mark.parametrize("path", ["", "/trace", "/attempts", "/result"])
async def test_a_run_of_somebody_else_is_not_there(client, workshop, bob, path):
    await workshop.agent(ANSWER)
    run = await make_run(workshop)
    await workshop.service().execute(None, run)
    strangers = await client(bob).get(f"/runs/{run.id}{path}")
    nobodys = await client(bob).get(f"/runs/{uuid4()}{path}")
    assert strangers.status_code == nobodys.status_code == 404
    assert strangers.json()["type"] == nobodys.json()["type"]
    assert (await client(bob).get("/runs", params={"count": "true"})).json() == {
        "items": [],
        "next": None,
        "count": 0,
    }


async def test_a_stranger_can_neither_cancel_nor_retry(client, workshop, bob):
    await workshop.agent(ANSWER)
    run = await make_run(workshop)
    assert (await client(bob).post(f"/runs/{run.id}/cancel", json={})).status_code == 404
    assert (await client(bob).post(f"/runs/{run.id}/retry")).status_code == 404
    assert (await workshop.row("agent_runs"))["status"] == "waiting"


async def test_row_level_security_keeps_runs_apart_where_no_statement_does(
    app, workshop, alice, bob
):
    """No statement of this room names a person: what it finds is what the person may see."""
    await workshop.agent(ANSWER)
    run = await make_run(workshop)
    await workshop.service().execute(None, run)
    for person, count in ((alice, 1), (bob, 0)):
        async with app.database.acting_as(person) as conn:
            for table in ("agent_runs", "agent_execution_results", "agent_run_steps"):
                cursor = await conn.execute(f"SELECT 1 FROM public.{table}")
                assert len(await cursor.fetchall()) == count


async def test_reading_needs_the_scope_read_and_stopping_the_scope_trigger(client, workshop, alice):
    run = await make_run(workshop)
    may_decide = client(alice, scopes=frozenset({Scope.DECIDE, Scope.MANAGE, Scope.TRIGGER}))
    may_read = client(alice, scopes=frozenset({Scope.READ}))
    for path in ("", f"/{run.id}", f"/{run.id}/trace", f"/{run.id}/attempts", f"/{run.id}/result"):
        assert (await client().get(f"/runs{path}")).status_code == 401
        assert (await may_decide.get(f"/runs{path}")).status_code == 403
    assert (await may_read.post(f"/runs/{run.id}/cancel", json={})).status_code == 403
    assert (await client().post(f"/runs/{run.id}/cancel", json={})).status_code == 401


@pytest.mark.parametrize(
    "reference", ["x", "0", "----", "not-a-run", "0" * 40, "%00", "%F0%9F%98%80", "a" * 101]
)
async def test_what_is_no_id_is_not_there(client, alice, reference):
    assert (await client(alice).get(f"/runs/{reference}")).status_code in {404, 422}


async def test_the_beginning_of_an_id_is_enough(client, workshop, alice):
    await workshop.agent(ANSWER)
    run = await make_run(workshop, id="0f0e7f5c-8a53-4f0e-9d8f-0d1a2b3c4d5e")
    await make_run(workshop, id="0f0e7f5c-9a53-4f0e-9d8f-0d1a2b3c4d5e")
    assert (await client(alice).get("/runs/0f0e7f5c-8")).json()["id"] == str(run.id)
    assert (await client(alice).get("/runs/0F0E7F5C-8A")).json()["id"] == str(run.id)
    assert (await client(alice).get("/runs/0f0e7f5c8")).status_code == 404
    both = await client(alice).get("/runs/0f0e7f5c")
    assert both.status_code == 422
    assert "fits more than one run" in both.json()["detail"]


async def test_a_run_is_cancelled_without_a_body(client, workshop, alice):
    await workshop.agent(ANSWER)
    run = await make_run(workshop)
    assert (await client(alice).post(f"/runs/{run.id}/cancel")).status_code == 200


async def test_a_run_whose_agent_is_gone_is_not_retried(client, workshop, alice):
    await workshop.agent(ANSWER)
    run = await make_run(workshop)
    await workshop.service().execute(None, run)
    gone = await client(alice).delete("/agents/watcher", headers={"If-Match": "*"})
    assert gone.status_code == 204
    refused = await client(alice).post(f"/runs/{run.id}/retry")
    assert (refused.status_code, refused.json()["kind"]) == (404, "agent")
