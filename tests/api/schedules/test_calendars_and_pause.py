"""Calendars of days off, and the pause of everything."""

from __future__ import annotations

import asyncio

import pytest

from rota.api.callers import Scope
from rota.shown.schedule_models import (
    CalendarDetailModel,
    CalendarModel,
    PausedModel,
    PauseModel,
)
from tests.unit.schedules.test_calendar_files import calendar

OFF = {"days": [{"first": "2039-12-24", "last": "2040-01-01", "summary": "Holidays"}]}
FILE = calendar("UID:1\nDTSTART;VALUE=DATE:20270501\nSUMMARY:May Day")


def fields(response):
    return [one["field"] for one in response.json()["errors"]]


async def test_a_calendar_is_made_shown_replaced_and_removed(hers):
    made = await hers.put("/calendars/off", json=OFF)
    assert made.status_code == 201, made.text
    CalendarDetailModel.model_validate(made.json())
    assert made.json()["days"] == OFF["days"]
    assert made.json()["next_day"] == "2039-12-24"
    etag = made.headers["etag"]
    assert (await hers.get("/calendars/off")).headers["etag"] == etag
    one = {"days": [{"first": "2039-05-01"}]}
    assert (await hers.put("/calendars/off", json=one)).status_code == 428
    replaced = await hers.put("/calendars/off", json=one, headers={"If-Match": etag})
    assert replaced.status_code == 200
    assert replaced.json()["days"] == [{"first": "2039-05-01", "last": "2039-05-01", "summary": ""}]
    assert (await hers.delete("/calendars/off", headers={"If-Match": etag})).status_code == 412
    gone = await hers.delete("/calendars/off", headers={"If-Match": replaced.headers["etag"]})
    assert gone.status_code == 204
    assert (await hers.get("/calendars/off")).status_code == 404


async def test_of_two_who_replace_days_at_once_one_is_told(hers):
    etag = (await hers.put("/calendars/off", json=OFF)).headers["etag"]
    answers = await asyncio.gather(
        *[
            hers.put(
                "/calendars/off",
                json={"days": [{"first": f"2039-05-0{day}"}]},
                headers={"If-Match": etag},
            )
            for day in range(1, 5)
        ]
    )
    assert sorted(one.status_code for one in answers) == [200, 412, 412, 412]
    first = await asyncio.gather(*[hers.put("/calendars/new", json=OFF) for _ in range(3)])
    assert [one.status_code for one in first].count(201) == 1
    assert {one.status_code for one in first} <= {201, 412, 428}


async def test_days_are_added_and_removed_one_by_one(hers):
    added = await hers.post("/calendars/off/days", json=OFF)
    assert added.status_code == 200, added.text
    await hers.post("/calendars/off/days", json={"days": [{"first": "2039-05-01"}]})
    first = await hers.delete("/calendars/off/days/2039-12-24..2040-01-01")
    assert first.status_code == 204
    assert [one["first"] for one in (await hers.get("/calendars/off")).json()["days"]] == [
        "2039-05-01"
    ]
    for day, status in {
        "2039-05-02": 404,
        "2039-12-24": 404,
        "tomorrow": 422,
        "2039-02-30": 422,
    }.items():
        assert (await hers.delete(f"/calendars/off/days/{day}")).status_code == status


async def test_an_icalendar_text_is_imported_and_again(hers):
    sent = {"content": FILE, "headers": {"Content-Type": "text/calendar; charset=utf-8"}}
    made = await hers.put("/calendars/de/icalendar", params={"source": "de.ics"}, **sent)
    assert made.status_code == 201, made.text
    assert made.json()["days"] == [
        {"first": "2027-05-01", "last": "2027-05-01", "summary": "May Day"}
    ]
    assert made.json()["source"] == "de.ics"
    assert (await hers.put("/calendars/de/icalendar", **sent)).status_code == 428
    sent["headers"]["If-Match"] = "*"
    assert (await hers.put("/calendars/de/icalendar", **sent)).status_code == 200
    sent["headers"]["Content-Type"] = "application/json"
    assert (await hers.put("/calendars/de/icalendar", **sent)).status_code == 415
    sent = {"content": b"no calendar", "headers": {"Content-Type": "text/calendar"}}
    assert (await hers.put("/calendars/no/icalendar", **sent)).status_code == 422


async def test_a_calendar_in_use_is_not_removed(hers, put):
    etag = (await hers.put("/calendars/off", json=OFF)).headers["etag"]
    await put("noon", except_calendars=["off"])
    refused = await hers.delete("/calendars/off", headers={"If-Match": etag})
    assert refused.status_code == 409
    assert "noon" in refused.json()["detail"]


async def test_calendars_are_listed_in_pages(hers):
    for name in ("a", "b", "c"):
        await hers.put(f"/calendars/{name}", json=OFF)
    page = (await hers.get("/calendars", params={"limit": 2, "count": True})).json()
    for one in page["items"]:
        CalendarModel.model_validate(one)
    assert ([one["name"] for one in page["items"]], page["count"]) == (["a", "b"], 3)
    rest = (await hers.get("/calendars", params={"limit": 2, "after": page["next"]})).status_code
    assert rest == 200
    rest = await hers.get("/calendars", params={"limit": 2, "count": True, "after": page["next"]})
    assert ([one["name"] for one in rest.json()["items"]], rest.json()["next"]) == (["c"], None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.days"),
        ({"days": [{"first": "2039-02-30"}]}, "body.days.0"),
        ({"days": [{"first": "2039-05-02", "last": "2039-05-01"}]}, "body.days.0"),
        ({"days": [{"first": "1. Mai"}]}, "body.days.0.first"),
        ({"days": [{"last": "2039-05-01"}]}, "body.days.0.first"),
        ({"days": [{"first": 20390501}]}, "body.days.0.first"),
        ({"days": "2039-05-01"}, "body.days"),
    ],
)
async def test_days_that_make_no_sense_name_their_field(hers, body, field):
    refused = await hers.put("/calendars/off", json=body)
    assert refused.status_code == 422, refused.text
    assert fields(refused) == [field]


async def test_everything_pauses_and_resumes(hers, put):
    none = await hers.get("/pause")
    assert none.json() == {"pause": None, "time_zone": "UTC"}
    await put("once", at=["2039-06-01 12:00"])
    made = await hers.put(
        "/pause", json={"from": "2039-05-01", "until": "2039-07-01", "note": "away"}
    )
    assert made.status_code == 200, made.text
    PausedModel.model_validate(made.json())
    assert made.json()["pause"] == {
        "starts_at": "2039-05-01T00:00:00Z",
        "ends_at": "2039-07-01T00:00:00Z",
        "note": "away",
    }
    assert made.json()["schedules_without_fire"] == ["once"]
    shown = await hers.get("/pause")
    PauseModel.model_validate(shown.json())
    assert shown.headers["etag"] == made.headers["etag"]
    assert (await hers.put("/pause", json={"for": "2w"})).status_code == 428
    assert (await hers.delete("/pause", headers={"If-Match": '"x"'})).status_code == 412
    shorter = await hers.put(
        "/pause", json={"for": "2w"}, headers={"If-Match": shown.headers["etag"]}
    )
    assert shorter.json()["pause"]["note"] == "away"
    gone = await hers.delete("/pause", headers={"If-Match": "*"})
    assert gone.status_code == 204
    assert (await hers.delete("/pause", headers={"If-Match": "*"})).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"until": "some day"}, "body.until"),
        ({"until": "2039-01-01", "for": "2w"}, "body.for"),
        ({"for": "0d"}, "body.for"),
        ({"from": "some day"}, "body.from"),
        ({"note": "x" * 1_001}, "body.note"),
        ({"reason": "x"}, "body.reason"),
    ],
)
async def test_a_pause_that_makes_no_sense_names_its_field(hers, body, field):
    refused = await hers.put("/pause", json=body)
    assert refused.status_code == 422, refused.text
    assert fields(refused) == [field]


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/calendars", "read"),
        ("GET", "/calendars/off", "read"),
        ("PUT", "/calendars/off", "manage"),
        ("PUT", "/calendars/off/icalendar", "manage"),
        ("DELETE", "/calendars/off", "manage"),
        ("POST", "/calendars/off/days", "manage"),
        ("DELETE", "/calendars/off/days/2039-12-24..2040-01-01", "manage"),
        ("GET", "/pause", "read"),
        ("PUT", "/pause", "manage"),
        ("DELETE", "/pause", "manage"),
        ("GET", "/forecast", "read"),
    ],
)
async def test_nobody_strangers_and_tokens_without_the_scope_get_nothing(
    hers, client, alice, bob, method, path, scope
):
    await hers.put("/calendars/off", json=OFF)
    await hers.put("/pause", json={"from": "2039-05-01", "note": "Alice's secret."})
    before = (await hers.get("/calendars/off")).json(), (await hers.get("/pause")).json()
    sent = (
        {} if method in {"GET", "DELETE"} else {"json": {"for": "1d"} if "pause" in path else OFF}
    )
    if path.endswith("icalendar"):
        sent = {"content": FILE}
    sent["headers"] = {"If-Match": "*"}
    if path.endswith("icalendar"):
        sent["headers"]["Content-Type"] = "text/calendar"

    assert (await client().request(method, path, **sent)).status_code == 401
    others = frozenset(Scope) - {scope}
    refused = await client(alice, scopes=others).request(method, path, **sent)
    assert (refused.status_code, refused.json()["scope"]) == (403, scope)
    stranger = await client(bob).request(method, path, **sent)
    assert "secret" not in stranger.text
    if method == "GET":
        assert "Holidays" not in stranger.text
    after = (await hers.get("/calendars/off")).json(), (await hers.get("/pause")).json()
    assert after == before
