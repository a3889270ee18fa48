"""Odd inputs are refused in words, and never a fault."""

from __future__ import annotations

import pytest

ODD_TIMES = [
    "9999-12-31 23:59",
    "9999-12-31T23:59:59.999999Z",
    "0001-01-01",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59-23:59",
    "24:00",
    "2026-02-30",
    "",
    " ",
    "now",
    "none",
    "\u0664\u0662",
    "9" * 90,
    "2026-03-29 02:30",
]


@pytest.mark.parametrize("moment", ODD_TIMES)
async def test_an_odd_time_is_no_fault(hers, put, moment):
    await put("noon", time_zone="Europe/Berlin")
    answers = [
        await hers.get("/schedules/noon/why", params={"at": moment}),
        await hers.post("/schedules/noon/backfill", json={"from": moment, "to": "2026-01-02"}),
        await hers.post("/schedules/noon/backfill", json={"from": "2026-01-01", "to": moment}),
        await hers.put("/pause", json={"until": moment}, headers={"If-Match": "*"}),
        await hers.put("/pause", json={"from": moment}),
        await put("other", start=moment, when=None, every="1h"),
        await put("another", end=moment),
        await put("third", at=[moment], when=None),
        await hers.post("/schedules/preview", json={"when": "@daily", "start": moment}),
        await hers.delete(f"/calendars/off/days/{moment}"),
    ]
    for number, one in enumerate(answers):
        assert one.status_code < 500, (number, one.text)


@pytest.mark.parametrize(
    "rule",
    [
        {"when": "0 0 29 2 *"},
        {"when": "0 0 30 2 *"},
        {"when": "* * * * * *"},
        {"when": ";" * 50},
        {"when": "@daily;" * 30},
        {"when": "x" * 2_000},
        {"when": "every 1 second"},
        {"every": "1s"},
        {"every": "999999999999d"},
        {"every": "-1h"},
        {"at": ["2039-01-01"] * 5_000},
        {"at": []},
        {"when": "@daily", "jitter": "1000d"},
        {"when": "@daily", "jitter": "none"},
        {"when": "@daily", "active_hours": "25:00-26:00"},
        {"when": "@daily", "active_days": "moonday"},
        {"when": "@daily", "except": "2026-01-01.." * 3},
        {"when": "@daily", "time_zone": "../../etc/passwd"},
        {"when": "@daily", "time_zone": "/etc/localtime"},
        {"when": "@daily", "time_zone": ""},
        {"when": "@daily", "max_runs": 2**40},
        {"when": "@daily", "catch_up_window": "9999d"},
        {"when": "@daily", "prompt": "\U0001f4a5" * 100_001},
        {"when": "@daily", "prompt": ""},
        {"when": "@daily", "paused": ""},
        {"when": "@daily", "except_calendars": [""]},
        {"when": "@daily", "except_calendars": ["a\0"]},
        {"when": "@daily", "limits": {"cost": 1e308}},
        {"when": "@daily", "limits": {"steps": -1}},
        {"when": "@daily", "output": {"schema": {"type": "nothing"}}},
        {"when": "@daily", "precheck": {"tool": "none such"}},
        {"when": "@daily", "checklist": [""]},
        {"when": "@daily", "checklist": ["x"] * 101},
    ],
    ids=lambda rule: str(rule)[:60],
)
async def test_an_odd_schedule_is_no_fault(hers, put, rule):
    made = await put("noon", **rule)
    assert made.status_code in {201, 409, 422}, made.text
    if made.status_code == 201:
        shown = await hers.get("/schedules/noon", params={"fires": 100})
        assert shown.status_code == 200, shown.text
        again = await hers.put(
            "/schedules/noon",
            json=shown.json()["written"],
            headers={"If-Match": shown.headers["etag"]},
        )
        assert again.status_code == 200, again.text
        assert again.headers["etag"] == shown.headers["etag"]
    elif made.status_code == 409:
        assert "quota" in made.json()["detail"]
    else:
        assert made.json()["errors"], made.text
    for path in ("/schedules", "/forecast", "/schedules/noon/why"):
        assert (await hers.get(path)).status_code in {200, 404}


@pytest.mark.parametrize(
    "name", ["preview", "bulk", "none", "0000", "*", "a b", "\u202e", "a" * 100]
)
async def test_an_odd_name_is_a_name(hers, put, name):
    made = await put(name)
    assert made.status_code in {201, 422}, made.text
    if made.status_code == 201:
        assert (await hers.get(f"/schedules/{name}")).json()["schedule"] == name
        assert (await hers.post(f"/schedules/{name}/pause")).status_code == 200


async def test_a_schedule_whose_name_has_a_slash_is_addressed_by_its_id(hers, put):
    made = (await put("noon")).json()
    renamed = await hers.patch("/schedules/noon", json={"name": "a/b"}, headers={"If-Match": "*"})
    assert renamed.status_code == 200, renamed.text
    shown = await hers.get(f"/schedules/{made['id']}")
    assert shown.json()["schedule"] == "a/b"
    again = await hers.put(
        f"/schedules/{made['id']}",
        json=shown.json()["written"],
        headers={"If-Match": shown.headers["etag"]},
    )
    assert again.status_code == 200, again.text
    assert again.json() == shown.json()


@pytest.mark.parametrize("body", [[], "x", 3, None, {}, {"agent": "watcher"}, {"when": "@daily"}])
async def test_a_body_that_is_no_schedule_is_refused(hers, body):
    refused = await hers.put("/schedules/noon", json=body)
    assert refused.status_code == 422, refused.text
    assert refused.json()["errors"]
    patched = await hers.patch("/schedules/noon", json=body, headers={"If-Match": "*"})
    assert patched.status_code in {404, 422}
