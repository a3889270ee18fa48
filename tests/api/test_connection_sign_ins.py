"""Connections by OAuth over HTTP, against providers on loopback with the real client code."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from rota.bootstrap.app import App, Server
from rota.settings import Settings
from rota.shown.connections import SignedInShown
from tests.loopback.gmail import GmailServer
from tests.loopback.oauth_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    PUBLIC_CLIENT_ID,
    OAuthProvider,
)
from tests.services.agents.grants import READ, Time
from tests.services.harness import CIPHER

BEGIN, FINISH = "/connections/sign-ins", "/connections/sign-ins/finish"
GMAIL = {"kind": "gmail", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
SAM = {"kind": "microsoft", "account": "sam@outlook.example", "client_id": PUBLIC_CLIENT_ID}


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def provider(time):
    with OAuthProvider(clock=time) as running:
        yield running


@pytest.fixture
def gmail(provider):
    with GmailServer(accepts=provider.accepts) as running:
        yield running


@pytest.fixture
def app(database, database_url, provider, gmail, time):
    endpoints = {
        "google-oauth": provider.url,
        "gmail": gmail.url,
        "microsoft-oauth": provider.url,
    }
    server = Server(database_url, database_url, None)
    return App(Settings(endpoints=endpoints), server, database, CIPHER, clock=time)


@pytest.fixture
def me(client, alice):
    return client(alice)


async def consent(url):
    """Consent as a browser does; return the address that it is led to."""
    async with httpx.AsyncClient() as browser:
        answer = await browser.get(url)
    assert answer.status_code == 302, answer.text
    return answer.headers["location"]


async def begun(me, **more):
    answer = await me.post(BEGIN, json=GMAIL | more)
    assert answer.status_code == 201, answer.text
    assert CLIENT_SECRET not in answer.text
    return answer.json()


async def finish(me, sign_in, answer=""):
    return await me.post(FINISH, json={"sign_in": sign_in, "answer": answer})


async def names(me):
    return [one["name"] for one in (await me.get("/connections")).json()["items"]]


@pytest.mark.parametrize("is_whole", [True, False])
async def test_gmail_is_connected_by_the_last_address_or_its_code(me, is_whole):
    one = await begun(me)
    address = await consent(one["url"])
    given = address if is_whole else parse_qs(urlsplit(address).query)["code"][0]

    made = await finish(me, one["sign_in"], given)

    assert made.status_code == 201, made.text
    shown = SignedInShown.model_validate(made.json())
    assert (shown.account, shown.scopes, shown.lacks) == ("alice@gmail.example", [READ], "")
    assert await names(me) == ["gmail"]
    again = await finish(me, one["sign_in"], given)
    assert again.status_code == 409
    assert "each works once" in again.json()["detail"]


async def test_a_sign_in_is_nobody_elses_and_whole(me, client, bob):
    one = await begun(me)
    address = await consent(one["url"])
    sealed = one["sign_in"]
    tampered = sealed[:50] + ("A" if sealed[50] != "A" else "B") + sealed[51:]
    tries = [(client(bob), sealed), (me, tampered), (me, "x"), (me, "é"), (me, sealed[:9])]

    for who, given in tries:
        refused = await finish(who, given, address)
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "body.sign_in")
    assert await names(me) == []
    assert await names(client(bob)) == []


async def test_an_answer_of_another_place_or_attempt(me, provider):
    one, other = await begun(me), await begun(me, name="other")
    address = await consent(one["url"])
    port = urlsplit(one["url"]).port
    elsewhere = address.replace("127.0.0.1", "evil.example")
    wrong = f"{address.partition('state=')[0]}state=wrong&code=4/0Aabcdefgh"

    for given in (elsewhere, wrong, await consent(other["url"]), ""):
        refused = await finish(me, one["sign_in"], given)
        assert refused.status_code == 422, (port, refused.text)
        assert refused.json()["errors"][0]["field"] == "body.answer"
    assert not any(asked.path == "/token" for asked in provider.asked)


async def test_a_sign_in_ends_after_15_minutes(me, time):
    one = await begun(me)
    address = await consent(one["url"])
    time.now += timedelta(minutes=15)

    refused = await finish(me, one["sign_in"], address)

    assert (refused.status_code, "too long" in refused.json()["detail"]) == (409, True)


async def test_what_was_unticked_or_refused(me, provider):
    one = await begun(me, send=True)
    provider.withheld = {"https://www.googleapis.com/auth/gmail.compose"}
    made = await finish(me, one["sign_in"], await consent(one["url"]))
    assert made.json()["lacks"] == "drafting and sending mail"
    provider.declines = "access_denied"
    one = await begun(me, name="work")
    refused = await finish(me, one["sign_in"], await consent(one["url"]))
    assert (refused.status_code, "consent was refused" in refused.text) == (409, True)


async def test_reconnecting_keeps_account_and_client(me, gmail):
    one = await begun(me)
    await finish(me, one["sign_in"], await consent(one["url"]))
    taken = await me.post(BEGIN, json=GMAIL)
    assert (taken.status_code, "reconnect" in taken.json()["detail"]) == (409, True)

    asked = await me.post(BEGIN, json={"kind": "gmail", "reconnect": True})
    gmail.account = "eve@gmail.example"
    other = await finish(me, asked.json()["sign_in"], await consent(asked.json()["url"]))
    gmail.account = "alice@gmail.example"
    asked = await me.post(BEGIN, json={"kind": "gmail", "reconnect": True})
    made = await finish(me, asked.json()["sign_in"], await consent(asked.json()["url"]))

    assert (other.status_code, made.status_code) == (422, 201)
    absent = await me.post(BEGIN, json={"kind": "gmail", "name": "no", "reconnect": True})
    assert absent.status_code == 404


async def test_google_leads_the_browser_back(me, client, bob):
    answer = await me.post(BEGIN, json=GMAIL | {"callback": True})
    assert answer.status_code == 201, answer.text
    kept = answer.headers["set-cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=lax" in kept
    address = await consent(answer.json()["url"])
    cookie = kept.partition(";")[0]
    stranger = client(bob)
    for who in (stranger, client()):
        await who.get("/connections")  # signs in
    name, _, value = cookie.partition("=")

    theirs = await get_with(stranger, address, name, value)
    nobodys = await get_with(client(), address, name, value)
    wrong = await get_with(me, address.replace("state=", "state=x"), name, value)
    assert (theirs.status_code, nobodys.status_code, wrong.status_code) == (400, 401, 400)
    assert await names(me) == []

    made = await get_with(me, address, name, value)
    assert (made.status_code, "alice@gmail.example" in made.text) == (200, True)
    assert made.headers["referrer-policy"] == "no-referrer"
    assert await names(me) == ["gmail"]
    without = await me.get(address)
    assert without.status_code == 403


async def get_with(who, address, name, value):
    """Open an address with a further cookie beside the session's."""

    async def add(request):
        there = request.headers.get("cookie")
        request.headers["cookie"] = "; ".join([*([there] if there else []), f"{name}={value}"])

    who.event_hooks["request"].append(add)
    who.cookies.clear()
    transport, sent = who._transport, who._transport.handle_async_request

    async def handle(request):
        await add(request)
        return await sent(request)

    transport.handle_async_request = handle
    who.event_hooks["request"].clear()
    try:
        return await who.get(address)
    finally:
        del transport.handle_async_request


async def test_microsoft_waits_for_the_code_and_says_who_declined(me, provider):
    answer = await me.post(BEGIN, json=SAM)
    assert answer.status_code == 201, answer.text
    one = answer.json()
    assert one["interval"] == 5
    waits = await finish(me, one["sign_in"])
    assert (waits.status_code, waits.json()) == (202, {"status": "waiting"})
    provider.enter(one["user_code"], declines=True)
    refused = await finish(me, one["sign_in"])
    assert (refused.status_code, "consent was refused" in refused.text) == (409, True)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"write": True}, "write"),
        ({"tenant": "common"}, "tenant"),
        ({"client_file": "no json"}, "client"),
        ({"kind": "microsoft", "client_secret": ""}, "account"),
        ({"client_id": "two words"}, "client"),
    ],
)
async def test_fields_of_another_kind(me, more, field):
    refused = await me.post(BEGIN, json=GMAIL | more)
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, f"body.{field}")


async def test_a_mail_server_of_ones_own_network_is_refused(me):
    refused = await me.post(BEGIN, json=SAM | {"host": "127.0.0.1"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "body.host")
