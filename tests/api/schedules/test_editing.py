from __future__ import annotations

import asyncio

import jsonschema_rs
import pytest

from rota.api.callers import Scope
from rota.domain.schedules.drafts import Draft
from rota.services.schedules.service import ScheduleEdit
from rota.shown.schedule_models import ListedScheduleModel, ScheduleDetailModel
from tests import http_api


def fields(response):
    return [one["field"] for one in response.json()["errors"]]


async def test_put_makes_a_schedule_then_replaces_it(put):
    made = await put(
        "noon",
        when="weekdays at 7:30",
        time_zone="Europe/Berlin",
        prompt="Look.",
        end="2040-12-31",
        active_days="mon-thu",
        max_runs=5,
        limits={"steps": 9, "cost": "0.50"},
        **{"except": "2039-12-24..2040-01-01"},
    )
    assert made.status_code == 201, made.text
    shown = made.json()
    ScheduleDetailModel.model_validate(shown)
    assert made.headers["etag"] == f'"{shown["revision"]}"'
    assert shown["schedule"] == "noon"
    assert shown["in_words"] == "At 07:30, Monday through Friday (Europe/Berlin)"
    assert shown["time_zone"] == "Europe/Berlin"
    assert shown["ends_at"] == "2040-12-31T22:59:59.999999Z"
    assert shown["options"] == {"limits": {"steps": 9, "cost_usd": "0.50"}}
    assert len(shown["next_fires"]) == 5
    assert shown["clock_changes"] == []

    replaced = await put("noon", match=made.headers["etag"], when="daily at 8:00")
    assert replaced.status_code == 200
    shown = replaced.json()
    assert shown["cron"] == "0 8 * * *"
    assert (shown["prompt"], shown["ends_at"], shown["max_runs"]) == (None, None, None)
    assert (shown["active_days"], shown["options"]) == (None, {})


async def test_what_get_shows_as_written_put_takes_and_changes_nothing(hers, put):
    await hers.put("/calendars/off", json={"days": [{"first": "2040-01-01"}]})
    for name, rule in {
        "cron": {"when": "daily at 9", "start": "2039-01-01"},
        "often": {"every": "90m", "start": "2039-01-01 10:00", "jitter": "5m"},
        "once": {"at": ["2039-12-24 18:00", "2039-12-25T01:00:00Z"]},
    }.items():
        made = await put(
            name,
            **rule,
            time_zone="America/New_York",
            end="2040-01-01",
            except_calendars=["off"],
            catch_up_window="2h",
            limits={"time": "10m"},
        )
        assert made.status_code == 201, made.text
        again = await hers.put(
            f"/schedules/{name}",
            json=made.json()["written"],
            headers={"If-Match": made.headers["etag"]},
        )
        assert again.status_code == 200, again.text
        assert again.json() == made.json()


async def test_patch_changes_what_it_names_and_null_takes_away(hers, put):
    made = await put(
        "noon",
        when="daily at 12:00",
        prompt="Look.",
        time_zone="Asia/Tokyo",
        start="2039-01-01",
        max_runs=3,
        catch_up="all",
        dst_gap="skip",
        limits={"steps": 9, "time": "10m"},
        checklist=["Mail?"],
    )

    async def patch(etag, **change):
        return await hers.patch("/schedules/noon", json=change, headers={"If-Match": etag})

    changed = await patch(
        made.headers["etag"], prompt=None, max_runs=None, limits={"time": None}, catch_up=None
    )
    assert changed.status_code == 200, changed.text
    shown = changed.json()
    assert (shown["prompt"], shown["max_runs"], shown["catch_up"]) == (None, None, "latest")
    assert shown["options"] == {"limits": {"steps": 9}, "checklist": ["Mail?"]}
    assert (shown["cron"], shown["time_zone"]) == ("0 12 * * *", "Asia/Tokyo")
    assert shown["dst_gap"] == "skip"

    moved = await patch(
        changed.headers["etag"], time_zone=None, every="2h", dst_gap=None, checklist=None
    )
    shown = moved.json()
    assert shown["starts_at"] == made.json()["starts_at"]  # the same instant in another zone
    assert (shown["cron"], shown["every"], shown["time_zone"]) == (None, 7200, "UTC")
    assert shown["follows_owner_zone"]
    assert shown["dst_gap"] == "vixie"
    assert shown["options"] == {"limits": {"steps": 9}}

    renamed = await patch(moved.headers["etag"], name="midday", end="2041-01-01")
    assert renamed.json()["schedule"] == "midday"
    assert (await hers.get("/schedules/noon")).status_code == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"when": None}, "body.when"),
        ({"at": []}, "body.at"),
        ({"agent": None}, "body.agent"),
        ({"agent": "nobody"}, "body.agent"),
        ({"name": None}, "body.name"),
        ({"name": " x"}, "body.name"),
        ({"paused": "why"}, "body.paused"),
        ({"colour": "red"}, "body.colour"),
        ({"colour": None}, "body.colour"),
        ({"max_runs": 0}, "body.max_runs"),
        ({"max_runs": "3"}, "body.max_runs"),
        ({"when": "some day"}, "body.when"),
        ({"cron": "61 * * * *"}, "body.cron"),
        ({"end": "some day"}, "body.end"),
        ({"except": "tomorrow-ish"}, "body.except"),
        ({"except_calendars": ["none such"]}, "body.except_calendars"),
        ({"time_zone": "Mars/Olympus"}, "body.time_zone"),
        ({"limits": {"steps": "many"}}, "body.limits.steps"),
        ({"limits": {"stepz": 1}}, "body.limits.stepz"),
        ({"limits": 3}, "body.limits"),
        ({"model": "no provider"}, "body.model"),
        ({"approvals": "later"}, "body.approvals"),
        ({"run_options": {"model": "x:y"}}, "body.run_options"),
    ],
)
async def test_a_change_that_makes_no_sense_names_its_field(hers, put, change, field):
    made = await put("noon")
    for answer in (
        await hers.patch("/schedules/noon", json=change, headers={"If-Match": "*"}),
        *[
            await put("noon", match="*", **change)
            for _ in range(1)
            if field not in {"body.when", "body.paused", "body.name", "body.at"}
            and None not in change.values()
        ],
    ):
        assert answer.status_code == 422, answer.text
        assert fields(answer) == [field]
    assert (await hers.get("/schedules/noon")).json()["revision"] == made.json()["revision"]


def test_the_description_lets_a_change_take_away_what_the_route_lets_it():
    paths = http_api.described()["paths"]
    body = paths["/api/v1/schedules/{schedule}"]["patch"]["requestBody"]
    schema = jsonschema_rs.validator_for(body["content"]["application/json"]["schema"])
    for change in (
        {"prompt": None, "limits": {"cost": None}, "approvals": None, "checklist": None},
        {"when": "@daily", "limits": None, "except_calendars": None, "max_runs": None},
    ):
        assert schema.is_valid(change)
    for change in ({"agent": 3}, {"paused": "why"}, {"colour": "red"}, {"limits": {"stepz": 1}}):
        assert not schema.is_valid(change)


async def test_of_two_who_change_at_once_one_is_told(hers, put):
    etag = (await put("noon")).headers["etag"]
    answers = await asyncio.gather(
        *[put("noon", match=etag, when=f"daily at {hour}:00") for hour in range(5, 9)]
    )
    assert sorted(one.status_code for one in answers) == [200, 412, 412, 412]
    late = next(one for one in answers if one.status_code == 412)
    assert late.json()["type"] == "urn:rota:problem:changed-meanwhile"


async def test_a_change_of_calendars_alone_is_a_change(hers, put):
    await hers.put("/calendars/off", json={"days": [{"first": "2040-01-01"}]})
    etag = (await put("noon")).headers["etag"]
    change = {"except_calendars": ["off"]}
    one = await hers.patch("/schedules/noon", json=change, headers={"If-Match": etag})
    assert one.status_code == 200
    assert one.headers["etag"] != etag
    two = await hers.patch("/schedules/noon", json=change, headers={"If-Match": etag})
    assert two.status_code == 412
    same = await hers.patch(
        "/schedules/noon", json=change, headers={"If-Match": one.headers["etag"]}
    )
    assert same.headers["etag"] == one.headers["etag"]


async def test_an_edit_behind_the_check_of_the_etag_is_412_too(hers, app, put, alice, monkeypatch):
    made = await put("noon")
    edit = app.schedules.edit

    async def late(user_id, reference, change):
        await edit(user_id, reference, ScheduleEdit(draft=Draft(when="daily at 3:00")))
        return await edit(user_id, reference, change)

    monkeypatch.setattr(app.schedules, "edit", late)
    answer = await hers.patch(
        "/schedules/noon", json={"prompt": "x"}, headers={"If-Match": made.headers["etag"]}
    )
    assert answer.status_code == 412
    assert (await app.schedules.get(alice, "noon")).prompt is None


async def test_preconditions_are_asked_for_and_kept(hers, put):
    await put("noon")
    body = {"agent": "watcher", "when": "daily at 1:00"}
    assert (await hers.put("/schedules/noon", json=body)).status_code == 428
    assert (await hers.patch("/schedules/noon", json={"prompt": "x"})).status_code == 428
    assert (await hers.delete("/schedules/noon")).status_code == 428
    stale = {"If-Match": '"77"'}
    assert (await hers.put("/schedules/noon", json=body, headers=stale)).status_code == 412
    assert (await hers.delete("/schedules/noon", headers=stale)).status_code == 412
    only_new = {"If-None-Match": "*"}
    assert (await hers.put("/schedules/noon", json=body, headers=only_new)).status_code == 412
    assert (await hers.put("/schedules/other", json=body, headers=only_new)).status_code == 201
    assert (await hers.put("/schedules/third", json=body, headers=stale)).status_code == 412
    assert (await hers.get("/schedules/noon")).json()["cron"] == "0 12 * * *"


async def test_delete_answers_nothing_and_it_is_gone(hers, put):
    etag = (await put("noon")).headers["etag"]
    gone = await hers.delete("/schedules/noon", headers={"If-Match": etag})
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await hers.get("/schedules/noon")).status_code == 404


async def test_a_pause_keeps_its_note_and_resuming_adds_its_own(hers, put):
    await put("noon")
    paused = await hers.post("/schedules/noon/pause", json={"note": "vacation"})
    assert paused.status_code == 200
    assert (paused.json()["state"], paused.json()["pause_note"]) == ("paused", "vacation")
    again = await hers.post("/schedules/noon/pause")
    assert again.json()["pause_note"] == "vacation"
    resumed = await hers.post("/schedules/noon/resume", json={"note": "back"})
    assert (resumed.json()["state"], resumed.json()["pause_note"]) == (
        "active",
        "vacation; resumed: back",
    )
    ScheduleDetailModel.model_validate(resumed.json())


async def test_a_list_has_pages_filters_and_a_count(hers, put, workshop):
    await workshop.agent(name="other")
    for name in ("a", "b", "b2", "ß"):
        await put(name)
    await hers.put("/schedules/c", json={"agent": "other", "when": "daily at 1"})
    await hers.post("/schedules/b/pause")

    async def names(**filters):
        seen, after = [], {}
        while True:
            page = await hers.get("/schedules", params={"limit": 2, **filters, **after})
            assert page.status_code == 200, page.text
            for one in page.json()["items"]:
                ListedScheduleModel.model_validate(one)
            seen += [one["schedule"] for one in page.json()["items"]]
            if page.json()["next"] is None:
                return seen
            after = {"after": page.json()["next"]}

    every = await names()
    assert sorted(every) == ["a", "b", "b2", "c", "ß"]
    assert await names(agent="other") == ["c"]
    assert await names(state="paused") == ["b"]
    assert await names(name_prefix="b") == ["b", "b2"]
    assert await names(name_prefix="%") == []
    counted = await hers.get("/schedules", params={"limit": 1, "count": True, "state": "active"})
    assert counted.json()["count"] == 4
    (first,) = counted.json()["items"]
    assert len(first["next_fires"]) == 1
    assert first["last_run"] is None
    bad = await hers.get("/schedules", params={"state": "asleep"})
    assert fields(bad) == ["query.state"]


@pytest.mark.parametrize("reference", ["a%00b", "x" * 101, "%F0%9F%92%A5", "..%2Fnoon", "noon%0A"])
async def test_odd_references_are_no_fault(hers, reference):
    assert (await hers.get(f"/schedules/{reference}")).status_code in {404, 422}
    assert (await hers.delete(f"/schedules/{reference}")).status_code in {404, 422}


@pytest.mark.parametrize("field", ["prompt", "when", "model", "time_zone", "paused"])
async def test_a_nul_character_is_refused(hers, put, field):
    refused = await put("noon", **{field: "a\0b"})
    assert refused.status_code in {400, 422}, refused.text


CALLS = [
    ("GET", "/schedules", "read"),
    ("GET", "/schedules/noon", "read"),
    ("PUT", "/schedules/noon", "manage"),
    ("PATCH", "/schedules/noon", "manage"),
    ("DELETE", "/schedules/noon", "manage"),
    ("POST", "/schedules/noon/pause", "manage"),
    ("POST", "/schedules/noon/resume", "manage"),
    ("POST", "/schedules/preview", "read"),
    ("POST", "/schedules/noon/runs", "trigger"),
    ("POST", "/schedules/noon/backfill", "trigger"),
    ("GET", "/schedules/noon/occurrences", "read"),
    ("GET", "/schedules/noon/why", "read"),
]
BODIES = {
    "PUT": {"agent": "watcher", "when": "daily at 1:00"},
    "/schedules/noon/backfill": {"from": "2020-01-01", "to": "2020-01-02"},
    "/schedules/preview": {"when": "@daily"},
}


@pytest.mark.parametrize(("method", "path", "scope"), CALLS)
async def test_nobody_strangers_and_tokens_without_the_scope_get_nothing(
    hers, client, put, alice, bob, workshop, method, path, scope
):
    made = await put("noon", prompt="Alice's secret.")
    body = BODIES.get(path, BODIES.get(method, {}))
    sent = {} if method in {"GET", "DELETE"} else {"json": body}
    sent["headers"] = {"If-Match": "*"}

    assert (await client().request(method, path, **sent)).status_code == 401
    others = frozenset(Scope) - {scope}
    refused = await client(alice, scopes=others).request(method, path, **sent)
    assert (refused.status_code, refused.json()["scope"]) == (403, scope)

    stranger = await client(bob).request(method, path, **sent)
    if "noon" in path and method != "PUT":
        assert stranger.status_code == 404, stranger.text
    assert "secret" not in stranger.text
    assert made.json()["id"] not in stranger.text
    assert (await hers.get("/schedules/noon")).json() == made.json()


async def test_row_level_security_alone_keeps_schedules_apart(hers, put, client, bob):
    made = (await put("noon")).json()
    theirs = client(bob)
    for reference in ("noon", made["id"], made["id"][:8]):
        assert (await theirs.get(f"/schedules/{reference}")).status_code == 404
    assert (await theirs.get("/schedules")).json()["items"] == []
