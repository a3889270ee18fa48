"""Notifications over HTTP."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from rota.api.callers import Scope
from rota.api.notifications import NotificationShown
from rota.domain.notifications.notification import Category
from rota.store.statements import statement

READS = frozenset({Scope.READ})


@pytest.fixture
async def told(app, alice):
    """Three notifications to Alice, the last one an error, each after the other."""
    return [
        await app.notifications.notify_user(alice, title, "Body.", category=category)
        for title, category in (
            ("one", Category.INFO),
            ("two", Category.INFO),
            ("three", Category.ERROR),
        )
    ]


async def test_notifications_are_listed_newest_first_and_counted(client, alice, told):
    me = client(alice)
    first = (await me.get("/notifications", params={"limit": 2, "count": True})).json()
    rest = (await me.get("/notifications", params={"limit": 2, "after": first["next"]})).json()
    shown = [NotificationShown.model_validate(one) for one in first["items"] + rest["items"]]
    assert [one.title for one in shown] == ["three", "two", "one"]
    assert (first["count"], rest["next"]) == (3, None)


async def test_what_was_written_in_one_moment_is_paged_without_loss(client, owner, alice, told):
    await owner.execute("UPDATE notifications SET created_at = '2026-01-01 00:00:00.123456+00'")
    seen, after = [], None
    while True:
        params = {"limit": 1} | ({"after": after} if after else {})
        page = (await client(alice).get("/notifications", params=params)).json()
        seen += [one["title"] for one in page["items"]]
        if (after := page["next"]) is None:
            break
    assert sorted(seen) == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("params", "titles"),
    [
        ({"category": "error"}, ["three"]),
        ({"category": "heartbeat"}, []),
        ({"unread": True}, ["three", "one"]),
        ({"unread": True, "category": "info"}, ["one"]),
    ],
)
async def test_notifications_are_filtered(client, app, alice, told, params, titles):
    await app.notifications.mark_read(alice, [str(told[1])])
    found = (await client(alice).get("/notifications", params=params | {"count": True})).json()
    assert [one["title"] for one in found["items"]] == titles
    assert found["count"] == len(titles)


async def test_one_is_shown_and_stays_unread(client, alice, told):
    shown = (await client(alice).get(f"/notifications/{told[0]}")).json()
    assert (shown["title"], shown["read_at"]) == ("one", None)
    assert (await client(alice).get(f"/notifications/{told[0]}")).json()["read_at"] is None


async def test_notifications_are_marked_as_read_by_their_ids_or_all(client, alice, told):
    me = client(alice)
    ids = [str(told[0]), str(told[1])[:13]]
    assert (await me.post("/notifications/read", json={"ids": ids})).json() == {"marked": 2}
    assert (await me.post("/notifications/read", json={"ids": ids})).json() == {"marked": 0}
    assert (await me.post("/notifications/read", json={"all": True})).json() == {"marked": 1}
    found = await me.get("/notifications", params={"unread": True})
    assert found.json()["items"] == []


async def test_none_is_marked_where_one_of_a_list_is_not_there(client, alice, bob, app, told):
    bobs = await app.notifications.notify_user(bob, "bob's", "")
    for other in (str(bobs), str(uuid4()), "zzzz", ""):
        refused = await client(alice).post(
            "/notifications/read", json={"ids": [str(told[0]), other]}
        )
        assert refused.status_code == 404
    unread = await client(alice).get("/notifications", params={"unread": True, "count": True})
    assert unread.json()["count"] == 3
    assert (await app.notifications.get(bob, str(bobs))).read_at is None


async def test_a_stranger_sees_and_marks_nothing(client, app, bob, told):
    stranger = client(bob)
    assert (await stranger.get("/notifications", params={"count": True})).json() == {
        "items": [],
        "next": None,
        "count": 0,
    }
    assert (await stranger.get(f"/notifications/{told[0]}")).status_code == 404
    marked = await stranger.post("/notifications/read", json={"ids": [str(told[0])]})
    assert marked.status_code == 404
    assert (await stranger.post("/notifications/read", json={"all": True})).json()["marked"] == 0
    async with app.database.acting_as(bob) as conn:  # as a route with a bug would ask
        found = await conn.execute("SELECT id FROM public.notifications")
        assert await found.fetchall() == []


async def test_nobody_and_a_token_without_the_scope_are_refused(client, alice, told):
    for path in ("/notifications", f"/notifications/{told[0]}"):
        assert (await client().get(path)).status_code == 401
        no_reader = client(alice, scopes=frozenset({Scope.DECIDE}))
        assert (await no_reader.get(path)).status_code == 403
    assert (await client().post("/notifications/read", json={"all": True})).status_code == 401
    reads = await client(alice, scopes=READS).post("/notifications/read", json={"all": True})
    assert reads.status_code == 403


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.ids"),
        ({"ids": []}, "body.ids"),
        ({"ids": ["abcd"], "all": True}, "body.ids"),
        ({"ids": "abcd"}, "body.ids"),
        ({"all": "yes"}, "body.all"),
        ({"ids": ["abcd"] * 201}, "body.ids"),
    ],
)
async def test_what_is_to_be_marked_has_to_be_clear(client, alice, body, field):
    refused = await client(alice).post("/notifications/read", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize("unread", [True, False])
async def test_a_page_of_ten_thousand_is_read_from_an_index(app, owner, alice, bob, unread):
    for who in (alice, bob):
        await owner.execute(
            "INSERT INTO notifications (user_id, category, title, created_at, read_at)"
            " SELECT %s, 'info', 'told', now() - n * interval '1 second',"
            "        CASE WHEN n %% 50 <> 0 THEN now() END"
            " FROM generate_series(1, 10000) AS n",
            [who],
        )
    await owner.execute("ANALYZE notifications")
    for after in (None, datetime.now(UTC)):
        async with app.database.acting_as(alice) as conn:
            found = await conn.execute(
                b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement("notifications/list_notifications"),
                {
                    "unread_only": unread,
                    "category": None,
                    "after_at": after,
                    "after_id": alice,
                    "limit": 51,
                },
            )
            (row,) = await found.fetchall()
        plan = row[0][0]["Plan"]
        scan = plan
        while "Relation Name" not in scan:
            scan = scan["Plans"][-1]
        expected = "notifications_unread_pages_idx" if unread else "notifications_pages_idx"
        assert scan["Index Name"] == expected, json.dumps(plan)
        assert scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) == 51
