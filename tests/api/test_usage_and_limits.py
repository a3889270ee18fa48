"""Usage and limits over HTTP."""

from __future__ import annotations

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from rota.api.callers import Scope
from rota.api.runs import limits
from rota.api.runs.usage import AgentUsagePage, UsagePage
from rota.domain.runs.limits import OwnLimits
from rota.services.runs.limits import LimitsShown
from rota.shown.models import model_of
from tests.services.harness import ANSWER, clock
from tests.services.running import make_run

ALL = frozenset(Scope)


def today():
    return clock().astimezone(ZoneInfo("UTC")).date()


async def use(workshop, user, *, day, tokens, cost="0.5", schedule=None):
    await workshop.owner.execute(
        "INSERT INTO usage_days (user_id, day, schedule_id, model_calls, input_tokens,"
        " output_tokens, cost_usd) VALUES (%s, %s, %s, 1, %s, 0, %s)",
        [user, day, schedule, tokens, cost],
    )


async def test_usage_is_told_by_day_in_all_and_by_schedule_in_pages(client, workshop, alice):
    await workshop.agent(ANSWER)
    schedule = await workshop.schedule()
    other = await workshop.schedule(name="evening")
    for n in range(3):
        day = today() - timedelta(days=n)
        await use(workshop, alice, day=day, tokens=30 + n)
        await use(workshop, alice, day=day, tokens=20, schedule=schedule.id)
        await use(workshop, alice, day=day, tokens=10, schedule=other.id)
    seen, after = [], None
    while after is not None or not seen:
        given = {"limit": 2, "days": 2, **({"after": after} if after else {})}
        answered = await client(alice).get("/usage", params=given)
        assert answered.status_code == 200, answered.text
        page = answered.json()
        UsagePage.model_validate(page)
        seen += [(one["day"], one["schedule"], one["input_tokens"]) for one in page["items"]]
        after = page["next"]
    days = [str(today() - timedelta(days=n)) for n in range(2)]
    assert [one for one in seen if one[1] is None] == [(days[0], None, 30), (days[1], None, 31)]
    assert (
        sorted(one[1:] for one in seen if one[1]) == [("evening", 10)] * 2 + [("morning", 20)] * 2
    )
    assert [day for day, _, _ in seen] == [days[0]] * 3 + [days[1]] * 3
    only = (await client(alice).get("/usage", params={"schedule": "evening"})).json()
    assert [one["schedule"] for one in only["items"]] == ["evening"] * 3
    assert only["time_zone"]
    assert only["items"][0]["cost_usd"] == "0.5"


async def test_calls_of_an_unknown_price_are_counted(client, workshop, alice):
    await workshop.agent(ANSWER)
    run = await make_run(workshop)
    await workshop.service().execute(None, run)
    await workshop.owner.execute("DELETE FROM usage_days")
    await use(workshop, alice, day=today(), tokens=5)
    await workshop.owner.execute(
        "UPDATE agent_run_steps SET usage = '{}', cost_usd = NULL, started_at = %s", [clock()]
    )
    (one,) = (await client(alice).get("/usage")).json()["items"]
    assert one["unpriced_calls"] == 1


async def test_usage_is_told_by_agent(client, workshop, alice):
    await workshop.agent(ANSWER)
    await workshop.agent(ANSWER, name="other")
    for name in ("watcher", "watcher", "other"):
        await workshop.service().execute(None, await make_run(workshop, name))
    await workshop.owner.execute(
        "UPDATE agent_execution_results SET metadata = metadata || %s",
        ['{"tokens": {"input": 7, "output": 3}, "cost_usd": "0.25", "model_calls": 2}'],
    )
    answered = (await client(alice).get("/usage/agents", params={"limit": 1})).json()
    AgentUsagePage.model_validate(answered)
    (first,) = answered["items"]
    assert (first["agent"], first["runs"], first["cost_usd"]) == ("other", 1, "0.25")
    given = {"limit": 1, "after": answered["next"]}
    (second,) = (await client(alice).get("/usage/agents", params=given)).json()["items"]
    assert (second["agent"], second["runs"], second["input_tokens"]) == ("watcher", 2, 14)
    assert (second["model_calls"], second["unpriced_runs"]) == (4, 0)
    only = (await client(alice).get("/usage/agents", params={"agent": "watcher"})).json()
    assert [one["agent"] for one in only["items"]] == ["watcher"]


async def test_usage_is_nobody_elses(client, workshop, alice, bob):
    await workshop.agent(ANSWER)
    await use(workshop, alice, day=today(), tokens=5)
    await workshop.service().execute(None, await make_run(workshop))
    for path in ("/usage", "/usage/agents"):
        assert len((await client(alice).get(path)).json()["items"]) == 1
        assert (await client(bob).get(path)).json()["items"] == []
        assert (await client().get(path)).status_code == 401
        too_little = client(alice, scopes=ALL - {Scope.READ})
        assert (await too_little.get(path)).status_code == 403
        for days in ("0", "367", "x", "-1"):
            refused = await client(alice).get(path, params={"days": days})
            assert refused.status_code == 422
            assert refused.json()["errors"][0]["field"] == "query.days"


async def test_a_person_sees_what_holds_for_them(client, app, workshop, alice, bob):
    await app.limits.set_for(None, {"max_concurrency": 5, "max_rules": 7})
    await app.limits.set_for(alice, {"max_concurrency": 2})
    await make_run(workshop, status="queued", queued_at=clock())
    hers = (await client(alice).get("/limits")).json()
    model_of(OwnLimits).model_validate(hers)
    assert (hers["max_concurrency"], hers["under_way"]) == (2, 1)
    assert (hers["quotas"]["max_rules"], hers["quotas"]["max_schedules"]) == (7, 200)
    his = (await client(bob).get("/limits")).json()
    assert (his["max_concurrency"], his["under_way"]) == (5, 0)
    assert (await client().get("/limits")).status_code == 401


async def test_an_operator_sets_limits_that_nobody_changed_meanwhile(client, alice, bob):
    http = client(alice, operator=True)
    before = await http.get("/limits/all")
    model_of(LimitsShown).model_validate(before.json())
    tag = {"If-Match": before.headers["etag"]}
    change = {"max_concurrency": 3, "day_cost_usd": "2.50", "max_rules": "none"}
    assert (await http.patch("/limits/people/bob@example.com", json=change)).status_code == 428
    done = await http.patch("/limits/people/bob@example.com", json=change, headers=tag)
    assert done.status_code == 200, done.text
    (his,) = done.json()["persons"]
    assert (his["user_id"], his["max_concurrency"]) == (str(bob), 3)
    assert (his["day_cost_usd"], his["unlimited"]) == ("2.50", ["max_rules"])
    stale = await http.patch("/limits/everyone", json={"day_tokens": 9}, headers=tag)
    assert stale.status_code == 412
    assert stale.headers["etag"] == done.headers["etag"]
    tag = {"If-Match": done.headers["etag"]}
    everyone = await http.patch("/limits/everyone", json={"day_tokens": 9}, headers=tag)
    assert everyone.json()["everyone"]["day_tokens"] == 9
    tag = {"If-Match": everyone.headers["etag"]}
    both = await http.patch("/limits/together", json={"max_concurrency": 8}, headers=tag)
    assert both.json()["in_all"]["max_concurrency"] == 8
    tag = {"If-Match": both.headers["etag"]}
    default = {"max_concurrency": "default"}
    back = await http.patch(f"/limits/people/{bob}", json=default, headers=tag)
    assert back.json()["persons"][0]["max_concurrency"] is None


async def test_runs_under_way_make_no_other_etag(client, workshop, alice):
    http = client(alice, operator=True)
    before = (await http.get("/limits/all")).headers["etag"]
    await make_run(workshop, status="queued", queued_at=clock())
    after = await http.get("/limits/all")
    assert after.json()["in_all"]["under_way"] == 1
    assert after.headers["etag"] == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({}, "body.max_concurrency"),
        ({"max_concurrency": 0}, "body.max_concurrency"),
        ({"max_concurrency": 10**7}, "body.max_concurrency"),
        ({"day_tokens": -1}, "body.day_tokens"),
        ({"day_cost_usd": "much"}, "body.day_cost_usd"),
        ({"day_cost_usd": "Infinity"}, "body.day_cost_usd"),
        ({"max_rules": "some"}, "body.max_rules"),
        ({"max_people": 1}, "body.max_people"),
    ],
)
async def test_what_is_wrong_with_a_limit_is_named(client, alice, change, field):
    refused = await client(alice, operator=True).patch(
        "/limits/everyone", json=change, headers={"If-Match": "*"}
    )
    assert refused.status_code == 422, refused.text
    named = [one["field"] for one in refused.json()["errors"]]
    assert all(one.startswith(field) for one in named), named
    assert named


async def test_only_operators_see_and_set_limits_of_others(client, workshop, alice, bob):
    for http in (
        client(alice),
        client(bob, scopes=ALL - {Scope.MANAGE, Scope.READ}, operator=True),
    ):
        assert (await http.get("/limits/all")).status_code == 403
        for path in ("together", "everyone", f"people/{bob}"):
            refused = await http.patch(
                f"/limits/{path}", json={"max_concurrency": 1}, headers={"If-Match": "*"}
            )
            assert refused.status_code == 403
    unknown = await client(alice, operator=True).patch(
        "/limits/people/eve@example.com", json={"max_concurrency": 1}, headers={"If-Match": "*"}
    )
    assert unknown.status_code == 404
    assert [row for row in await workshop.rows("user_limits") if row["max_concurrency"]] == []


def test_the_examples_are_answers():
    model_of(OwnLimits).model_validate(limits._OWN)
    model_of(LimitsShown).model_validate(limits._ALL)
