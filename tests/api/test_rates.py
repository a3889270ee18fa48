"""How many requests a caller may send."""

from __future__ import annotations

import httpx
import pytest
from fastapi import Depends, FastAPI, Request

from rota.api import rates as rates_module
from rota.api.app import make_api
from rota.api.callers import Scope
from rota.api.problems import handle_errors
from rota.api.rates import FAILURES, Rates, address_of, at_most


@pytest.fixture
def api(app) -> FastAPI:
    """The API of the fixture `client`, with limits."""
    return make_api(app, rates=Rates(reads=8))


@pytest.fixture
def time(monkeypatch):
    """What time the limits believe it is, in a list."""
    now = [1_000_000.0]
    monkeypatch.setattr(rates_module.time, "time", lambda: now[0])
    return now


async def test_reads_and_changes_of_a_caller_are_counted_apart(client, alice, bob, time):
    mine = client(alice, scopes=frozenset({Scope.READ, Scope.TRIGGER}))
    for _ in range(8):
        assert (await mine.get("/session")).status_code == 200
    time[0] += 10.5
    refused = await mine.get("/session")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "50"
    assert refused.json()["type"] == "urn:rota:problem:too-many-requests"
    for _ in range(2):
        assert (await mine.post("/runs/1234abcd/retry")).status_code == 404
    assert (await mine.post("/runs/1234abcd/retry")).status_code == 429

    assert (await client(bob).get("/session")).status_code == 200  # others go on
    assert (await client(alice).get("/session")).status_code == 200  # in the browser, too
    time[0] += 50
    assert (await mine.get("/session")).status_code == 200


async def test_wrong_tokens_of_an_address_are_bounded_before_they_are_looked_up(client, app, time):
    nobody = client()
    wrong = {"Authorization": "Bearer rota_wrong"}
    for _ in range(FAILURES):
        assert (await nobody.get("/session", headers=wrong)).status_code == 401
    refused = await nobody.get("/session", headers=wrong)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    time[0] += 61
    assert (await nobody.get("/session", headers=wrong)).status_code == 401


async def test_requests_without_a_token_are_no_attempts_to_sign_in(client, alice):
    nobody = client()
    for _ in range(FAILURES + 5):
        answered = await nobody.get("/session", headers={"Cookie": "of=another-program"})
        assert answered.status_code == 401
    assert (await client(alice).get("/session")).status_code == 200


async def test_codes_of_links_cannot_be_guessed(client):
    nobody = client()
    statuses = [
        (await nobody.post("/session", json={"code": f"guess-{n}"})).status_code
        for n in range(FAILURES + 1)
    ]
    assert set(statuses[:-1]) == {401}
    assert statuses[-1] == 429


async def test_a_route_may_ask_for_a_stricter_limit_that_routes_share():
    api = FastAPI()
    api.state.rates = Rates(reads=1_000)
    handle_errors(api)

    @api.get("/one", dependencies=[Depends(at_most(3, "rare"))])
    @api.get("/two", dependencies=[Depends(at_most(3, "rare"))])
    async def rare() -> dict[str, str]:
        return {}

    async def ask(path: str, address: str) -> int:
        transport = httpx.ASGITransport(app=api, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as one:
            return (await one.get(path)).status_code

    paths = ("/one", "/two", "/one", "/two")
    assert [await ask(path, "10.0.0.1") for path in paths] == [200, 200, 200, 429]
    assert await ask("/one", "10.0.0.2") == 200


def of(address: str) -> Request:
    return Request({"type": "http", "client": (address, 1), "headers": [], "method": "GET"})


def test_an_ipv6_network_counts_as_one():
    assert address_of(of("2001:db8::1")) == address_of(of("2001:db8::ffff:2"))
    assert address_of(of("2001:db8:0:1::1")) != address_of(of("2001:db8::1"))
    assert address_of(of("10.0.0.1")) == "10.0.0.1"
    assert address_of(Request({"type": "http", "client": None, "headers": []})) == ""


def test_many_addresses_take_no_more_memory_and_forget_nobody_who_is_signed_in(time):
    rates = Rates(reads=4, most_keys=100)
    for _ in range(4):
        rates.count(of("10.0.0.1"), "token alice")
    for number in range(10_000):
        rates.count_failure(of(f"10.1.{number // 250}.{number % 250}"))
        time[0] += 0.001
    counters = rates._addresses.storage._counters
    assert len(counters) == 100
    with pytest.raises(Exception, match="more than 4 of these requests"):
        rates.count(of("10.0.0.1"), "token alice")
