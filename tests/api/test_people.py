"""People over HTTP: who there is, oneself, exports, and removal."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from rota.api.callers import Scope
from rota.api.operations.people import AddedShown, Me
from rota.bootstrap.app import Server
from rota.shown.people import PersonShown, RemovedShown

READS = frozenset({Scope.READ})


def archive(answered):
    assert answered.headers["content-type"] == "application/zip"
    assert int(answered.headers["content-length"]) == len(answered.content)
    return zipfile.ZipFile(io.BytesIO(answered.content))


async def test_operators_add_list_allow_and_refuse_people(client, alice):
    boss = client(alice, operator=True)
    body = {"emails": ["carl@example.com", "Dora@example.com", "carl@example.com"]}
    made = await boss.post("/people", json=body | {"may_run": False})
    added = [AddedShown.model_validate(one) for one in made.json()["items"]]
    assert [(one.email, one.is_new, one.may_run) for one in added] == [
        ("carl@example.com", True, False),
        ("dora@example.com", True, False),
    ]
    again = (await boss.post("/people", json=body)).json()["items"]
    assert [one["is_new"] for one in again] == [False, False]
    allowed = await boss.put("/people/carl@example.com/may-run", json={"may_run": True})
    assert PersonShown.model_validate(allowed.json()).may_run is True
    told, after = [], None
    while True:
        params = {"limit": 1, "count": True} | ({"after": after} if after else {})
        page = (await boss.get("/people", params=params)).json()
        told += [(one["email"], one["may_run"]) for one in page["items"]]
        if (after := page["next"]) is None:
            break
    assert told[1:] == [("carl@example.com", True), ("dora@example.com", False)]
    assert told[0][0] is None


async def test_operators_say_what_holds_for_everybody(client, alice, bob):
    boss = client(alice, operator=True)
    for may_run in (True, False):
        await boss.put("/people/everybody/may-run", json={"may_run": may_run})
        assert (await client(bob).get("/people/me")).json()["may_run"] is may_run


async def test_everybody_knows_who_they_are_and_sets_their_zone(client, alice):
    me = client(alice)
    shown = Me.model_validate((await me.get("/people/me")).json())
    assert (shown.user_id, shown.email, shown.time_zone, shown.is_operator) == (
        alice,
        "alice@example.com",
        "UTC",
        False,
    )
    made = await me.put("/people/me/time-zone", json={"time_zone": "Europe/Berlin"})
    assert made.json() == {"time_zone": "Europe/Berlin"}
    assert (await me.get("/people/me")).json()["time_zone"] == "Europe/Berlin"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"time_zone": "Mars/Base"}, "body.time_zone"),
        ({"time_zone": 7}, "body.time_zone"),
        ({}, "body.time_zone"),
    ],
)
async def test_a_zone_that_there_is_not_is_named(client, alice, body, field):
    refused = await client(alice).put("/people/me/time-zone", json=body)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


@pytest.mark.parametrize("emails", [[], ["nobody"], ["a@b", "c d@e"], "a@b", ["a\0@b"]])
async def test_what_is_no_address_adds_nobody(client, alice, emails):
    boss = client(alice, operator=True)
    refused = await boss.post("/people", json={"emails": emails})
    assert refused.status_code == 422
    assert len((await boss.get("/people")).json()["items"]) == 1


async def test_all_of_oneself_is_exported_and_nothing_of_others(client, alice, bob, workshop):
    await workshop.agent()
    await workshop.schedule(name="mine")
    with archive(await client(alice).get("/people/me/export")) as whole:
        assert json.loads(whole.read("person.json"))["email"] == "alice@example.com"
        assert "mine" in whole.read("tables/agent_schedules.json").decode()
        assert whole.testzip() is None
    with archive(await client(bob).get("/people/me/export")) as whole:
        assert json.loads(whole.read("tables/agent_schedules.json")) == []
    boss = client(bob, operator=True)
    with archive(await boss.get("/people/alice@example.com/export")) as whole:
        assert "mine" in whole.read("tables/agent_schedules.json").decode()


async def test_what_is_for_operators_is_refused_to_others(client, alice, bob):
    for one, status in (
        (client(), 401),
        (client(bob), 403),
        (client(alice, operator=True, scopes=frozenset({Scope.DECIDE})), 403),
    ):
        for method, path, body in (
            ("GET", "/people", None),
            ("POST", "/people", {"emails": ["eve@example.com"]}),
            ("PUT", "/people/everybody/may-run", {"may_run": True}),
            ("PUT", f"/people/{bob}/may-run", {"may_run": True}),
            ("GET", f"/people/{alice}/export", None),
        ):
            answered = await one.request(method, path, json=body)
            assert answered.status_code == status, path


async def test_nobody_and_a_token_without_the_scope_are_nobody_here(client, alice):
    for path in ("/people/me", "/people/me/export"):
        assert (await client().get(path)).status_code == 401
        assert (await client(alice, scopes=frozenset({Scope.DECIDE})).get(path)).status_code == 403
    zone = {"time_zone": "UTC"}
    assert (
        await client(alice, scopes=READS).put("/people/me/time-zone", json=zone)
    ).status_code == 403


async def remove(one, person, confirm):
    return await one.request("DELETE", f"/people/{person}", json={"confirm": confirm})


async def people_left(owner):
    cursor = await owner.execute("SELECT email FROM auth.users ORDER BY email")
    return [email for (email,) in await cursor.fetchall()]


@pytest.fixture
def as_owner(app, owner_url, database_url):
    app.server = Server(owner_url, database_url, None)


@pytest.mark.usefixtures("as_owner")
async def test_a_person_removes_themselves_once_they_confirm_it(client, owner, alice, bob):
    me = client(bob)
    for confirm in ("", "me", "alice@example.com", str(bob)[:8]):
        refused = await remove(me, "me", confirm)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "body.confirm")
    assert await people_left(owner) == ["alice@example.com", "bob@example.com"]
    made = await remove(me, "me", "Bob@example.com")
    assert RemovedShown.model_validate(made.json()).user_id == bob
    assert await people_left(owner) == ["alice@example.com"]
    assert (await me.get("/people/me")).status_code == 401


@pytest.mark.usefixtures("as_owner")
async def test_only_an_operator_removes_somebody_else(client, owner, alice, bob):
    for person in ("alice@example.com", str(alice), "nobody@example.com"):
        refused = await remove(client(bob), person, person)
        assert refused.status_code == 403
    token = client(bob, operator=True, scopes=frozenset({Scope.READ, Scope.MANAGE}))
    assert (await remove(token, str(alice), str(alice))).status_code == 403
    assert (await remove(client(), str(alice), str(alice))).status_code == 401
    assert await people_left(owner) == ["alice@example.com", "bob@example.com"]
    boss = client(bob, operator=True)
    assert (await remove(boss, "nobody@example.com", "nobody@example.com")).status_code == 404
    assert (await remove(boss, "alice@example.com", str(alice))).status_code == 200
    assert await people_left(owner) == ["bob@example.com"]


async def test_removal_needs_the_owners_url(client, owner, alice):
    refused = await remove(client(alice), "me", "alice@example.com")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:rota:problem:setup-required")
    assert await people_left(owner) == ["alice@example.com"]


async def test_a_token_that_reads_exports_its_person(client, workshop, alice):
    await workshop.agent()
    shown = await client(alice, scopes=frozenset({Scope.READ})).get("/people/me/export")
    assert (shown.status_code, shown.headers["content-type"]) == (200, "application/zip")
