"""Tools, preferences and prices over HTTP."""

from __future__ import annotations

import pytest

from rota.api.callers import Scope
from rota.services.agents.preferences import ToolPreference
from rota.shown.models import model_of
from rota.shown.prices import PriceSetShown, QuoteShown
from rota.shown.tools import DeclaredToolShown, UsableToolShown

READS = frozenset({Scope.READ, Scope.TRIGGER, Scope.DECIDE})
PRICE = {"input": "0.25", "output": "2.00"}


@pytest.fixture(autouse=True)
def _tools(workshop):
    """The tools of the workshop are declared."""


@pytest.fixture
def boss(client, bob):
    return client(bob, operator=True)


async def test_tools_are_listed_with_what_one_lacks(client, alice):
    me = client(alice)
    told, after = [], None
    while True:
        params = {"limit": 5} | ({"after": after} if after else {})
        page = (await me.get("/tools", params=params)).json()
        told += [UsableToolShown.model_validate(one) for one in page["items"]]
        if (after := page["next"]) is None:
            break
    found = {one.tool: one for one in told}
    assert [one.tool for one in told] == sorted(found)
    assert found["mail_search"].missing == "You have connected no mailbox."
    assert found["calendar_agenda"].missing == "You have connected no calendar."
    assert found["look"].missing == (
        "Its code is not named in ROTA_TOOLS here; a worker may have it."
    )
    assert (found["look"].decision, found["send"].decision) == ("allowed", "held")


async def test_a_connection_is_no_longer_missing(client, alice, app):
    await app.connections.keep(alice, "imap", "{}", account="a@example.org")

    one = (await client(alice).get("/tools/send_mail")).json()

    assert one["missing"] is None


async def test_operators_declare_change_and_forget_tools(boss):
    made = await boss.put("/tools/fresh", json={"read_only": True, "risk": "low"})
    tool = DeclaredToolShown.model_validate(made.json())
    assert (made.status_code, tool.change, tool.version) == (201, "created", 1)
    assert (tool.read_only, tool.risk, tool.default_tier) == (True, "low", "requires_approval")
    assert (await boss.put("/tools/fresh", json={})).status_code == 428
    etag = made.headers["etag"]
    changed = await boss.put("/tools/fresh", json={}, headers={"If-Match": etag})
    assert (changed.json()["read_only"], changed.json()["version"]) == (False, 2)
    stale = await boss.put("/tools/fresh", json={"risk": "low"}, headers={"If-Match": etag})
    assert stale.status_code == 412
    assert (await boss.delete("/tools/fresh")).status_code == 428
    assert (await boss.delete("/tools/fresh", headers={"If-Match": etag})).status_code == 412
    now = {"If-Match": (await boss.get("/tools/fresh")).headers["etag"]}
    assert (await boss.delete("/tools/fresh", headers=now)).status_code == 204
    assert (await boss.get("/tools/fresh")).status_code == 404
    assert (await boss.delete("/tools/fresh", headers=now)).status_code == 404
    own = {"If-Match": (await boss.get("/tools/mail_search")).headers["etag"]}
    assert (await boss.delete("/tools/mail_search", headers=own)).status_code == 409


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("a.b", {}, "A tool's name"),
        ("fresh", {"risk": "none"}, "body.risk"),
        ("fresh", {"timeout_seconds": 0}, "body.timeout_seconds"),
        ("fresh", {"timeout_seconds": 1e9}, "timeout_seconds"),
        ("fresh", {"description": "x" * 2001}, "description"),
        ("fresh", {"annotations": {"niceHint": True}}, "niceHint"),
        ("fresh", {"pin": True}, "body.pin"),
    ],
)
async def test_a_bad_declaration_is_422(boss, name, body, said):
    refused = await boss.put(f"/tools/{name}", json=body)

    assert refused.status_code == 422
    assert said in refused.text


async def test_a_preference_is_ones_own(client, alice, bob):
    me, other = client(alice), client(bob)
    set_ = await me.put("/tools/look/preference", json={"preference": "requires_approval"})
    assert model_of(ToolPreference).model_validate(set_.json()).decision == "held"
    assert (await me.get("/tools/look")).json()["preference"] == "requires_approval"
    assert (await other.get("/tools/look")).json()["preference"] is None
    back = await me.put("/tools/look/preference", json={"preference": "none"})
    assert back.json()["preference"] is None
    unknown = await me.put("/tools/lok/preference", json={"preference": "auto"})
    assert (unknown.status_code, "look" in unknown.json()["detail"]) == (404, True)
    bad = await me.put("/tools/look/preference", json={"preference": "sometimes"})
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "body.preference")


async def test_operators_set_and_remove_prices(boss, client, alice):
    me = client(alice)
    await me.put("/agents/small", json={"model": "openai:house/one"})
    assert (await me.get("/prices/openai:house/one")).status_code == 404
    unknown = (await me.get("/prices")).json()["items"]
    assert {"model": "openai:house/one", "price": None} in unknown

    made = await boss.put("/prices/openai:house/one", json=PRICE | {"cached_input": "0.1"})

    shown = PriceSetShown.model_validate(made.json())
    assert (made.status_code, shown.model, shown.is_used) == (200, "openai:house/one", True)
    assert made.json()["price"]["input"] == "0.25"
    quote = QuoteShown.model_validate((await me.get("/prices/openai:house/one")).json())
    assert quote.source == "operator"
    assert (await boss.delete("/prices/openai:house/one")).status_code == 204
    assert (await boss.delete("/prices/openai:house/one")).status_code == 404


@pytest.mark.parametrize(
    ("model", "body", "field"),
    [
        ("openai:x", {"input": "1"}, "body.output"),
        ("openai:x", PRICE | {"input": "cheap"}, "body.input"),
        ("openai:x", PRICE | {"output": "-1"}, "body.output"),
        ("openai:x", PRICE | {"cache_write": "NaN"}, "body.cache_write"),
        ("openai:x", PRICE | {"input": 1}, "body.input"),
    ],
)
async def test_a_bad_price_names_its_field(boss, model, body, field):
    refused = await boss.put(f"/prices/{model}", json=body)

    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == field


async def test_models_of_strangers_are_not_in_the_prices(client, alice, bob):
    await client(alice).put("/agents/small", json={"model": "openai:secret-project"})

    assert "secret-project" not in (await client(bob).get("/prices")).text
    assert "secret-project" in (await client(bob, operator=True).get("/prices")).text


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/tools/look", {}),
        ("DELETE", "/tools/look", None),
        ("PUT", "/prices/openai:x", PRICE),
        ("DELETE", "/prices/openai:x", None),
        ("PUT", "/tools/look/preference", {"preference": "auto"}),
        ("GET", "/tools", None),
        ("GET", "/tools/look", None),
        ("GET", "/prices", None),
        ("GET", "/prices/openai:x", None),
    ],
)
async def test_nobody_too_little_and_no_operator(client, alice, method, path, body):
    async def status(who):
        return (await who.request(method, path, json=body)).status_code

    scopes = READS - {Scope.READ} if method == "GET" else READS
    assert await status(client()) == 401
    assert await status(client(alice, scopes=scopes, operator=True)) == 403
    if method != "GET" and "preference" not in path:
        assert await status(client(alice)) == 403
