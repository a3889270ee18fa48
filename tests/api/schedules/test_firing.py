"""Runs now and of the past, what became of fire times, why, and what lies ahead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rota.shown.runs import RunStarted
from rota.shown.schedule_models import (
    BackfillModel,
    ExplanationsModel,
    ForecastPageModel,
    OccurrenceModel,
    PreviewModel,
)


def fields(response):
    return [one["field"] for one in response.json()["errors"]]


async def test_a_run_now_has_its_place_and_its_own_prompt_and_options(hers, put, workshop):
    await put("noon", prompt="Look.")
    asked = await hers.post(
        "/schedules/noon/runs",
        json={"prompt": "Only today.", "limits": {"steps": 3}, "overlap": "allow_all"},
    )
    assert asked.status_code == 202, asked.text
    run = asked.json()
    RunStarted.model_validate(run)
    assert asked.headers["location"] == f"/api/v1/runs/{run['run_id']}"
    row = await (
        await workshop.owner.execute(
            "SELECT prompt, options FROM agent_runs WHERE id = %s", [run["run_id"]]
        )
    ).fetchone()
    assert tuple(row) == ("Only today.", {"limits": {"steps": 3}})
    plain = await hers.post("/schedules/noon/runs")
    assert plain.status_code == 409  # the policy is to skip, and one is under way
    assert "--overlap" in plain.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"overlap": "sometimes"}, "body.overlap"),
        ({"model": "nothing"}, "body.model"),
        ({"limits": {"steps": 0}}, "body.limits.steps"),
        ({"prompt": 3}, "body.prompt"),
        ({"retries": 3}, "body.retries"),
    ],
)
async def test_a_run_that_makes_no_sense_names_its_field(hers, put, body, field):
    await put("noon")
    refused = await hers.post("/schedules/noon/runs", json=body)
    assert refused.status_code == 422, refused.text
    assert fields(refused) == [field]


async def test_backfill_says_the_fire_times_then_runs_them_once(hers, put):
    await put("noon", when="daily at 12:00", time_zone="Europe/Berlin")
    asked = {"from": "2026-03-01", "to": "2026-03-03", "dry_run": True}
    dry = await hers.post("/schedules/noon/backfill", json=asked)
    assert dry.status_code == 200, dry.text
    BackfillModel.model_validate(dry.json())
    assert dry.json() == {
        "schedule": "noon",
        "fire_times": [f"2026-03-0{day}T11:00:00Z" for day in (1, 2, 3)],
        "runs": [],
    }
    ran = await hers.post("/schedules/noon/backfill", json=asked | {"dry_run": False})
    assert ran.status_code == 202
    assert len(ran.json()["runs"]) == 3
    again = await hers.post("/schedules/noon/backfill", json=asked | {"dry_run": False})
    assert again.json()["runs"] == []


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"from": "some day"}, "body.from"),
        ({"to": "2090-01-01"}, "body.to"),
        ({"overlap": "skip"}, "body.overlap"),
        ({"from": None}, "body.from"),
        ({"until": "2026-03-03"}, "body.until"),
    ],
)
async def test_a_backfill_that_makes_no_sense_names_its_field(hers, put, change, field):
    await put("noon")
    asked = {"from": "2026-03-01", "to": "2026-03-03"} | change
    refused = await hers.post("/schedules/noon/backfill", json=asked)
    assert refused.status_code == 422, refused.text
    assert fields(refused) == [field]


@pytest.fixture
async def past(put, workshop):
    """A schedule whose fires of five days fired or were missed, in turn."""
    made = (await put("noon")).json()
    for day in range(1, 6):
        await workshop.owner.execute(
            "INSERT INTO schedule_occurrences (schedule_id, fire_time, user_id, outcome, reason)"
            " VALUES (%s, %s, %s, %s, 'why')",
            [
                made["id"],
                datetime(2026, 3, day, 12, tzinfo=UTC),
                made["user_id"],
                "fired" if day % 2 else "missed",
            ],
        )
    return made


async def test_occurrences_have_pages_and_a_filter(hers, past):
    async def days(**filters):
        seen, after = [], {}
        while True:
            page = await hers.get(
                "/schedules/noon/occurrences", params={"limit": 2, **filters, **after}
            )
            assert page.status_code == 200, page.text
            for one in page.json()["items"]:
                OccurrenceModel.model_validate(one)
            seen += [int(one["fire_time"][8:10]) for one in page.json()["items"]]
            if page.json()["next"] is None:
                return seen
            after = {"after": page.json()["next"]}

    assert await days() == [5, 4, 3, 2, 1]
    assert await days(outcome="missed") == [4, 2]
    counted = await hers.get(
        "/schedules/noon/occurrences", params={"count": True, "outcome": "fired"}
    )
    assert counted.json()["count"] == 3
    bad = await hers.get("/schedules/noon/occurrences", params={"outcome": "lost"})
    assert fields(bad) == ["query.outcome"]
    shown = await hers.get("/schedules/noon", params={"occurrences": 2})
    assert len(shown.json()["occurrences"]) == 2


async def test_a_cursor_of_another_list_is_refused(hers, past, put):
    await put("other")
    page = await hers.get("/schedules/noon/occurrences", params={"limit": 1})
    after = page.json()["next"]
    for path in ("/schedules/other/occurrences", "/schedules", "/forecast"):
        refused = await hers.get(path, params={"limit": 1, "after": after})
        assert refused.status_code == 422, refused.text
        assert fields(refused) == ["query.after"]


async def test_why_explains_a_time_and_the_last_fires(hers, put, past):
    why = await hers.get("/schedules/noon/why", params={"at": "2026-03-02 12:00"})
    assert why.status_code == 200, why.text
    ExplanationsModel.model_validate(why.json())
    (one,) = why.json()["explanations"]
    assert (one["verdict"], one["time_zone"]) == ("missed", "UTC")
    latest = await hers.get("/schedules/noon/why")
    ExplanationsModel.model_validate(latest.json())
    assert [one["verdict"] for one in latest.json()["explanations"]] == ["upcoming"]
    bad = await hers.get("/schedules/noon/why", params={"at": "at some time"})
    assert bad.status_code == 422
    assert fields(bad) == ["query.at"]


async def test_preview_shows_fires_and_changes_of_the_clock_and_stores_nothing(hers):
    seen = await hers.post(
        "/schedules/preview",
        json={"when": "daily at 2:30", "time_zone": "Europe/Berlin", "fires": 3},
    )
    assert seen.status_code == 200, seen.text
    PreviewModel.model_validate(seen.json())
    assert seen.json()["in_words"] == "At 02:30 (Europe/Berlin)"
    assert len(seen.json()["next_fires"]) == 3
    assert any("does not exist" in note for note in seen.json()["clock_changes"])
    assert (await hers.get("/schedules")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.when"),
        ({"when": "@daily", "every": "1h"}, "body.every"),
        ({"cron": "* * *"}, "body.cron"),
        ({"every": "0s"}, "body.every"),
        ({"when": "@daily", "time_zone": "Mars"}, "body.time_zone"),
        ({"when": "@daily", "except": "x"}, "body.except"),
        ({"when": "@daily", "fires": 1001}, "body.fires"),
        ({"when": "@daily", "prompt": "x"}, "body.prompt"),
        ({"when": "0 9 * * mon", "active_days": "sat"}, "body.active_days"),
    ],
)
async def test_a_rule_that_makes_no_sense_names_its_field(hers, body, field):
    refused = await hers.post("/schedules/preview", json=body)
    assert refused.status_code == 422, refused.text
    assert fields(refused) == [field]


async def test_a_forecast_has_all_fires_once_in_order_of_time(hers, put, client, bob):
    await hers.put("/calendars/off", json={"days": [{"first": "2020-01-01", "last": "2040-01-01"}]})
    await put("hourly", when="0 * * * *")
    await put("half", when="0,30 * * * *")
    await put("off", when="0 * * * *", except_calendars=["off"])
    await put("thrice", when="0 * * * *", max_runs=3)
    await put("paused", when="0 * * * *")
    await hers.post("/schedules/paused/pause")

    seen, after = [], {}
    while True:
        page = await hers.get("/forecast", params={"hours": 5, "limit": 4, **after})
        assert page.status_code == 200, page.text
        ForecastPageModel.model_validate(page.json())
        assert page.json()["time_zone"] == "UTC"
        seen += page.json()["items"]
        if page.json()["next"] is None:
            break
        after = {"after": page.json()["next"]}
    places = [(one["fire_time"], one["schedule"]) for one in seen]
    assert places == sorted(set(places))
    counts = {name: [p[1] for p in places].count(name) for name in {p[1] for p in places}}
    assert counts == {"hourly": 5, "half": 10, "off": 5, "thrice": 3}
    assert all((one["suppressed"] is None) == (one["schedule"] != "off") for one in seen)
    whole = await hers.get("/forecast", params={"hours": 5, "limit": 200})
    assert whole.json()["items"] == seen
    one = await hers.get("/forecast", params={"name_prefix": "ha", "hours": 1})
    assert {item["schedule"] for item in one.json()["items"]} == {"half"}
    assert (await client(bob).get("/forecast")).json()["items"] == []
    assert fields(await hers.get("/forecast", params={"days": 32})) == ["query.days"]


async def test_a_forecast_shows_the_pause_of_everything(hers, put):
    await put("hourly", when="0 * * * *")
    await hers.put("/pause", json={"for": "2d", "note": "away"})
    page = await hers.get("/forecast", params={"hours": 2})
    assert all("away" in one["suppressed"] for one in page.json()["items"])
    assert len(page.json()["items"]) == 2
    until = datetime.fromisoformat(page.json()["until"])
    assert until - datetime.now(UTC) < timedelta(hours=2)
