"""Connections over HTTP: tried before they are stored, and never shown with their secrets."""

from __future__ import annotations

import pytest

from rota.api.callers import Scope
from rota.domain.errors import InvalidInputError, UnavailableError
from rota.services.agents.connection_removal import RemovedConnection
from rota.services.agents.reachable import require_public
from rota.shown.connections import ConnectedShown, ConnectionCheckShown, ConnectionShown
from rota.shown.models import model_of
from tests.cli.agents.test_calendars import SECRET, feed, ics, in_an_hour  # noqa: F401

OTHERS = frozenset({Scope.READ, Scope.TRIGGER, Scope.DECIDE})
ICS = {"kind": "ics", "secret": "https://127.0.0.1/secret/cal.ics"}


@pytest.fixture
def pages(feed):  # noqa: F811  the fixture
    feed.pages[SECRET] = ics(in_an_hour("Board", "b"))
    return feed


@pytest.fixture
def asked(pages):
    return {
        "kind": "ics",
        "name": "work",
        "secret": f"{pages.url}{SECRET}",
    }


@pytest.fixture
def boss(client, alice):
    """Alice as an operator, who may name servers of this machine."""
    return client(alice, operator=True)


async def test_a_calendar_is_connected_checked_and_removed(boss, asked, pages):
    made = await boss.post("/connections", json=asked)
    assert made.status_code == 201, made.text
    shown = ConnectedShown.model_validate(made.json())
    assert (shown.name, shown.kind, shown.state, shown.may) == ("work", "ics", "ok", "reading")
    assert "1 event" in shown.found
    read = await boss.get("/connections/work")
    assert ConnectionShown.model_validate(read.json()).account == "127.0.0.1"
    (listed,) = (await boss.get("/connections", params={"count": True})).json()["items"]
    assert listed == read.json()

    good = (await boss.post("/connections/work/check")).json()
    del pages.pages[SECRET]
    bad = (await boss.post("/connections/work/check")).json()

    assert ConnectionCheckShown.model_validate(good).problem == ""
    assert (bad["found"], bad["problem"] != "") == ("", True)
    assert (await boss.get("/connections/work")).json()["state"] != "ok"
    gone = await boss.delete("/connections/work")
    assert gone.status_code == 200
    assert "still valid" in model_of(RemovedConnection).model_validate(gone.json()).left
    assert (await boss.get("/connections/work")).status_code == 404
    assert (await boss.delete("/connections/work")).status_code == 404


async def test_no_answer_has_the_secret(boss, asked):
    made = await boss.post("/connections", json=asked)
    again = await boss.post("/connections", json=asked)
    wrong = await boss.post("/connections", json=asked | {"kind": "carrier pigeon"})
    tried = await boss.post("/connections/work/check")
    answers = [made, again, wrong, tried, await boss.get("/connections")]

    assert [one.status_code for one in answers] == [201, 409, 422, 200, 200]
    for one in answers:
        assert SECRET not in one.text


async def test_what_does_not_work_is_not_stored(boss, asked, pages):
    pages.pages.clear()

    refused = await boss.post("/connections", json=asked)

    assert refused.status_code in {409, 422, 503}
    assert (await boss.get("/connections")).json()["items"] == []


async def test_a_name_is_replaced_only_if_asked(boss, asked):
    assert (await boss.post("/connections", json=asked)).status_code == 201
    taken = await boss.post("/connections", json=asked)
    other = await boss.post(
        "/connections", json={"kind": "imap", "name": "work", "account": "a@b.de", "secret": "x"}
    )

    assert (taken.status_code, other.status_code) == (409, 409)
    assert (await boss.post("/connections", json=asked | {"replace": True})).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        ICS,
        ICS | {"secret": "https://localhost/cal.ics"},
        ICS | {"secret": "https://[::1]/cal.ics"},
        ICS | {"secret": "https://10.0.0.1/cal.ics"},
        ICS | {"secret": "https://169.254.169.254/latest/meta-data"},
        {"kind": "caldav", "account": "a", "secret": "x", "url": "https://192.168.1.1/"},
        {"kind": "imap", "account": "a@b.de", "secret": "x", "host": "127.0.0.1"},
        {"kind": "imap", "account": "a@b.de", "secret": "x", "host": "0.0.0.0"},
        {
            "kind": "imap",
            "account": "a@b.de",
            "secret": "x",
            "host": "8.8.8.8",
            "smtp_host": "172.16.0.1",
        },
    ],
)
async def test_a_person_reaches_nothing_of_the_servers_own_network(client, alice, body):
    refused = await client(alice).post("/connections", json=body)

    assert refused.status_code == 422, refused.text
    assert "is not on the public network" in refused.json()["detail"]
    assert (await client(alice).get("/connections")).json()["items"] == []


@pytest.mark.parametrize(
    "host",
    ["2130706433", "::ffff:127.0.0.1", "fe80::1", "100.64.0.1", "224.0.0.1", "2002:7f00:1::"],
)
async def test_another_way_to_write_an_address_is_seen_through(host):
    with pytest.raises((InvalidInputError, UnavailableError)):
        await require_public(host, field="host")


async def test_a_public_address_is_let_pass():
    await require_public("8.8.8.8", field="host")
    await require_public("2001:4860:4860::8888", field="host")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "pop3"}, "body.kind"),
        ({"secret": None}, "body.secret"),
        ({"secret": ""}, "body.secret"),
        ({"secret": "no address"}, "body.secret"),
        ({"name": "No Name"}, "body.name"),
        ({"port": 0}, "body.port"),
        ({"encryption": "none"}, "body.encryption"),
        ({"password": "x"}, "body.password"),
    ],
)
async def test_bad_input_names_its_field(boss, changes, field):
    refused = await boss.post("/connections", json=ICS | changes)

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == field


async def test_a_stranger_finds_and_changes_nothing(client, boss, bob, asked):
    await boss.post("/connections", json=asked)
    other = client(bob, operator=True)

    assert (await other.get("/connections")).json()["items"] == []
    assert (await other.get("/connections/work")).status_code == 404
    assert (await other.post("/connections/work/check")).status_code == 404
    assert (await other.delete("/connections/work")).status_code == 404
    assert (await boss.get("/connections/work")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/connections", None),
        ("POST", "/connections", ICS),
        ("GET", "/connections/work", None),
        ("POST", "/connections/work/check", None),
        ("DELETE", "/connections/work", None),
    ],
)
async def test_nobody_is_401_and_too_little_is_403(client, alice, method, path, body):
    scopes = OTHERS - {Scope.READ} if method == "GET" else OTHERS
    assert (await client().request(method, path, json=body)).status_code == 401
    assert (await client(alice, scopes=scopes).request(method, path, json=body)).status_code == 403
