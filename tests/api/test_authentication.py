"""Tokens and sessions over HTTP: who gets in, with what, and who does not."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from rota.api.app import make_api
from rota.api.callers import ALL_SCOPES, Scope
from rota.api.origins import csrf_token
from rota.domain.identity.sessions import SignedInBy
from rota.domain.identity.tokens import ApiToken
from rota.shown.identity import NewTokenShown, PresentSession, SessionShown
from rota.shown.models import model_of
from tests.api.conftest import ORIGIN, Transport
from tests.services.harness import clock

COOKIE = "rota-80"


@pytest.fixture
async def browser(app):
    """A browser that nobody has signed in at, and the real authentication."""
    async with httpx.AsyncClient(
        transport=Transport(app=make_api(app), raise_app_exceptions=False),
        base_url=f"{ORIGIN}/api/v1",
    ) as made:
        yield made


async def sign_in(browser, app, person, **headers):
    link = await app.links.make(person)
    answered = await browser.post("/session", json={"code": link.code}, headers=headers)
    assert answered.status_code == 201, answered.text
    return answered


def by(token):
    return {"Authorization": f"Bearer {token}"}


def page_headers(browser):
    return {"Origin": ORIGIN, "X-CSRF-Token": csrf_token(browser.cookies[COOKIE])}


def is_nobody(answered):
    assert answered.status_code == 401, answered.text
    assert answered.json()["type"] == "urn:rota:problem:not-signed-in"
    assert answered.headers["www-authenticate"].startswith("Bearer")
    return True


async def test_token_acts_as_its_person_with_its_scopes(browser, app, alice):
    made = await app.tokens.create(alice, "ci", [Scope.TRIGGER, Scope.READ], lasts=None)

    told = (await browser.get("/session", headers=by(made.secret))).json()

    PresentSession.model_validate(told)
    assert told["user_id"] == str(alice)
    assert told["email"] == "alice@example.com"
    assert (told["scopes"], told["signed_in_by"]) == (["read", "trigger"], "token")
    assert (told["csrf_token"], told["is_operator"]) == (None, False)


@pytest.mark.parametrize(
    "header",
    [
        "Bearer rota_unknown",
        "Bearer ",
        "Bearer",
        "Basic YWxpY2U6eA==",
        "rota_SECRET",
        "Bearer SECRET",
        "Bearer rota_SECRET extra",
        "Token rota_SECRET",
        "Bearer rota_\udcff",
    ],
)
async def test_no_other_authorization_signs_anybody_in(browser, app, alice, header):
    made = await app.tokens.create(alice, "ci", ALL_SCOPES, lasts=None)
    await sign_in(browser, app, alice)  # the cookie does not help a wrong header
    given = header.replace("SECRET", made.secret.removeprefix("rota_"))

    answered = await browser.get(
        "/session", headers={"Authorization": given.encode("utf-8", "surrogateescape")}
    )

    assert is_nobody(answered)
    assert made.secret not in answered.text


async def test_two_authorization_headers_are_refused(browser, app, alice):
    made = await app.tokens.create(alice, "ci", ALL_SCOPES, lasts=None)
    both = [("Authorization", f"Bearer {made.secret}")] * 2

    assert is_nobody(await browser.get("/session", headers=both))


async def test_token_in_the_url_signs_nobody_in(browser, app, alice):
    made = await app.tokens.create(alice, "ci", ALL_SCOPES, lasts=None)

    for name in ("token", "access_token", "api_key", "code"):
        assert is_nobody(await browser.get("/session", params={name: made.secret}))


async def test_expired_and_revoked_tokens_are_worth_nothing(browser, app, alice):
    made = await app.tokens.create(alice, "ci", ALL_SCOPES, lasts=timedelta(hours=1))
    assert (await browser.get("/session", headers=by(made.secret))).status_code == 200

    app.clock = lambda: clock() + timedelta(hours=1, seconds=1)
    vars(app).pop("tokens")
    assert is_nobody(await browser.get("/session", headers=by(made.secret)))

    app.clock = clock
    vars(app).pop("tokens")
    assert (await browser.get("/session", headers=by(made.secret))).status_code == 200
    await app.tokens.revoke(alice, "ci")
    assert is_nobody(await browser.get("/session", headers=by(made.secret)))


async def test_token_of_a_removed_person_is_worth_nothing(browser, app, owner, alice):
    made = await app.tokens.create(alice, "ci", ALL_SCOPES, lasts=None)
    await owner.execute("DELETE FROM auth.users WHERE id = %s", [alice])

    assert is_nobody(await browser.get("/session", headers=by(made.secret)))


async def test_last_use_is_written_once_a_minute(browser, app, owner, alice):
    made = await app.tokens.create(alice, "ci", ALL_SCOPES, lasts=None)
    assert (await app.tokens.all(alice))[0].last_used_at is None
    await browser.get("/session", headers=by(made.secret))
    first = (await app.tokens.all(alice))[0].last_used_at
    assert first is not None

    await browser.get("/session", headers=by(made.secret))
    assert (await app.tokens.all(alice))[0].last_used_at == first
    await owner.execute("UPDATE rota.api_tokens SET last_used_at = now() - interval '61 seconds'")
    await browser.get("/session", headers=by(made.secret))
    assert (await app.tokens.all(alice))[0].last_used_at > first


async def test_secrets_are_in_no_row_and_no_repr(app, owner, alice):
    token = await app.tokens.create(alice, "ci", ALL_SCOPES, lasts=None)
    link = await app.links.make(alice)
    session = await app.sessions.begin(alice, by=SignedInBy.LINK, user_agent="x")

    rows = ""
    for table in ("api_tokens", "sign_in_links", "sessions"):
        cursor = await owner.execute(f"SELECT t::text FROM rota.{table} AS t")
        rows += "".join(row for (row,) in await cursor.fetchall())
    for secret in (token.secret, link.code, session.secret):
        assert len(secret) >= 43
        assert secret not in rows
        assert secret not in f"{token!r}{link!r}{session!r}{token}{link}{session}"


async def test_session_signs_in_and_cannot_be_replayed_after_sign_out(browser, app, alice):
    answered = await sign_in(browser, app, alice)
    PresentSession.model_validate(answered.json())
    assert answered.headers["cache-control"] == "no-store"
    stolen = browser.cookies[COOKIE]
    assert (await browser.get("/session")).json()["signed_in_by"] == "session"

    out = await browser.delete("/session", headers=page_headers(browser))

    assert out.status_code == 204
    assert COOKIE not in browser.cookies
    browser.cookies.set(COOKIE, stolen)
    assert is_nobody(await browser.get("/session"))


async def test_cookie_on_loopback_is_http_only_and_same_site(browser, app, alice):
    cookie = (await sign_in(browser, app, alice)).headers["set-cookie"]

    assert cookie.startswith(f"{COOKIE}=")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Path=/" in cookie
    assert "Secure" not in cookie
    assert "Domain" not in cookie


async def test_cookie_under_https_bears_the_host_prefix(app, alice):
    async with httpx.AsyncClient(
        transport=Transport(app=make_api(app)), base_url="https://rota.example.com/api/v1"
    ) as browser:
        cookie = (await sign_in(browser, app, alice)).headers["set-cookie"]
        assert cookie.startswith("__Host-rota=")
        assert "Secure" in cookie
        assert "Path=/" in cookie
        assert "Domain" not in cookie
        assert (await browser.get("/session")).status_code == 200
        secret = browser.cookies["__Host-rota"]
        browser.cookies.clear()
        browser.cookies.set("rota-443", secret)
        browser.cookies.set("rota-80", secret)
        assert is_nobody(await browser.get("/session"))


async def test_cookie_from_before_the_sign_in_signs_nobody_in(browser, app, alice, bob):
    """Session fixation: Bob sets Alice's browser a cookie, of a session or made up."""
    made = await app.sessions.begin(bob, by=SignedInBy.LINK, user_agent="his")
    for planted in (made.secret, "planted"):
        browser.cookies.clear()
        browser.cookies.set(COOKIE, planted, domain="127.0.0.1", path="/")
        answered = await sign_in(browser, app, alice)
        given = answered.cookies[COOKIE]
        assert given not in {planted, made.secret}

        async with httpx.AsyncClient(
            transport=browser._transport, base_url=browser.base_url
        ) as his:
            his.cookies.set(COOKIE, planted)
            assert is_nobody(await his.get("/session"))


async def test_each_sign_in_has_a_session_of_its_own_and_ends_the_former(browser, app, alice):
    await sign_in(browser, app, alice)
    former = browser.cookies[COOKIE]
    await sign_in(browser, app, alice)

    assert browser.cookies[COOKIE] != former
    assert len(await app.sessions.all(alice)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{ORIGIN}:8080"},
        {"Origin": f"{ORIGIN}.evil.example"},
        {"Origin": "https://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
)
async def test_other_sites_do_nothing_with_the_cookie(browser, app, alice, headers):
    await sign_in(browser, app, alice)
    token = {"X-CSRF-Token": csrf_token(browser.cookies[COOKIE])}

    refused = await browser.post(
        "/tokens", json={"name": "x", "scopes": ["read"]}, headers={**headers, **token}
    )

    assert refused.status_code == 403, refused.text
    assert refused.json()["type"] == "urn:rota:problem:other-site"
    assert await app.tokens.all(alice) == ()


@pytest.mark.parametrize("token", [None, "", "wrong", "ä"])
async def test_cookie_needs_the_csrf_token_of_its_session(browser, app, alice, bob, token):
    await sign_in(browser, app, alice)
    other = await app.sessions.begin(bob, by=SignedInBy.LINK, user_agent="his")
    given = {} if token is None else {"X-CSRF-Token": token.encode()}

    for headers in (given, {"X-CSRF-Token": csrf_token(other.secret)}):
        refused = await browser.post(
            "/tokens",
            json={"name": "x", "scopes": ["read"]},
            headers={"Origin": ORIGIN, **headers},
        )
        assert refused.status_code == 403
        assert refused.json()["type"] == "urn:rota:problem:csrf"


async def test_csrf_token_is_told_to_the_session_alone(browser, app, alice):
    answered = await sign_in(browser, app, alice)
    told = (await browser.get("/session")).json()["csrf_token"]

    assert told == answered.json()["csrf_token"]
    done = await browser.post(
        "/tokens",
        json={"name": "x", "scopes": ["read"]},
        headers={"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": told},
    )
    assert done.status_code == 201


async def test_program_with_a_token_needs_no_csrf_token(browser, app, alice):
    made = await app.tokens.create(alice, "ci", ALL_SCOPES, lasts=None)
    answered = await browser.delete("/tokens/none", headers=by(made.secret))
    assert answered.json()["type"] == "urn:rota:problem:in-person-only"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tokens"),
        ("POST", "/tokens"),
        ("DELETE", "/tokens/ci"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions/00000000-0000-0000-0000-000000000000"),
        ("DELETE", "/session"),
    ],
)
async def test_token_of_all_scopes_manages_no_tokens_and_no_sessions(
    browser, app, alice, method, path
):
    made = await app.tokens.create(alice, "ci", ALL_SCOPES, lasts=None)
    body = {"name": "more", "scopes": ["read"]} if method == "POST" else None

    refused = await browser.request(method, path, json=body, headers=by(made.secret))

    assert refused.status_code == 403, refused.text
    assert refused.json()["type"] == "urn:rota:problem:in-person-only"
    assert [one.name for one in await app.tokens.all(alice)] == ["ci"]
    assert is_nobody(await browser.request(method, path, json=body))


async def test_person_makes_lists_and_revokes_tokens(client, browser, alice, bob):
    her = client(alice)
    made = await her.post("/tokens", json={"name": "ci", "scopes": ["decide", "read"]})
    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    NewTokenShown.model_validate(made.json())
    secret = made.json()["secret"]
    assert (await browser.get("/session", headers=by(secret))).json()["scopes"] == [
        "read",
        "decide",
    ]
    await her.post("/tokens", json={"name": "ab", "scopes": ["read"], "lasts": None})

    first = (await her.get("/tokens", params={"limit": 1, "count": "true"})).json()
    second = (await her.get("/tokens", params={"limit": 1, "after": first["next"]})).json()

    assert [one["name"] for one in first["items"] + second["items"]] == ["ab", "ci"]
    assert (first["count"], second["next"]) == (2, None)
    assert first["items"][0]["expires_at"] is None
    model_of(ApiToken).model_validate(second["items"][0])
    assert secret not in f"{first}{second}"
    his = client(bob)
    assert (await his.get("/tokens")).json()["items"] == []
    assert (await his.delete("/tokens/ci")).status_code == 404
    assert (await his.delete(f"/tokens/{made.json()['id']}")).status_code == 404
    assert (await her.delete("/tokens/ci")).status_code == 204
    assert is_nobody(await browser.get("/session", headers=by(secret)))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["read"]}, "body.name"),
        ({"name": " ", "scopes": ["read"]}, "body.name"),
        ({"name": "a\u202eb", "scopes": ["read"]}, "body.name"),
        ({"name": "x" * 101, "scopes": ["read"]}, "body.name"),
        ({"name": "x", "scopes": []}, "body.scopes"),
        ({"name": "x", "scopes": ["all"]}, "body.scopes.0"),
        ({"name": "x", "scopes": "read"}, "body.scopes"),
        ({"name": "x", "scopes": ["read"], "lasts": 0}, "body.lasts"),
        ({"name": "x", "scopes": ["read"], "lasts": 1e9}, "body.expires"),
        ({"name": "x", "scopes": ["read"], "user_id": "1"}, "body.user_id"),
    ],
)
async def test_token_that_cannot_be_meant_names_its_field(client, alice, body, field):
    refused = await client(alice).post("/tokens", json=body)

    assert refused.status_code == 422, refused.text
    assert [one["field"] for one in refused.json()["errors"]] == [field]


async def test_second_token_of_a_name_is_a_conflict(client, alice, bob):
    body = {"name": "ci", "scopes": ["read"]}
    assert (await client(alice).post("/tokens", json=body)).status_code == 201
    assert (await client(alice).post("/tokens", json=body)).status_code == 409
    assert (await client(bob).post("/tokens", json=body)).status_code == 201


async def test_sessions_are_listed_and_ended_from_another_one(browser, client, app, alice, bob):
    await sign_in(browser, app, alice, **{"User-Agent": "Firefox\x1b[31m" + "x" * 500})
    her = client(alice)

    listed = (await her.get("/sessions", params={"count": "true"})).json()

    assert listed["count"] == 2
    for one in listed["items"]:
        SessionShown.model_validate(one)
    first = (await her.get("/sessions", params={"limit": 1})).json()
    rest = (await her.get("/sessions", params={"limit": 1, "after": first["next"]})).json()
    assert [*first["items"], *rest["items"]] == listed["items"]
    assert rest["next"] is None
    (other,) = [one for one in listed["items"] if not one["is_present"]]
    assert len(other["user_agent"]) == 200
    assert "\x1b" not in other["user_agent"]
    assert (await client(bob).delete(f"/sessions/{other['id']}")).status_code == 404
    assert (await browser.get("/session")).status_code == 200
    assert (await her.delete(f"/sessions/{other['id']}")).status_code == 204
    assert is_nobody(await browser.get("/session"))


@pytest.mark.parametrize(
    ("column", "ends"), [("idle_ends_at", timedelta(days=7)), ("ends_at", timedelta(days=30))]
)
async def test_session_ends_idle_and_for_good(browser, app, owner, alice, column, ends):
    await sign_in(browser, app, alice)
    (session,) = await app.sessions.all(alice)
    assert getattr(session, column) - session.created_at == ends
    await owner.execute(f"UPDATE rota.sessions SET {column} = now()")

    assert is_nobody(await browser.get("/session"))
    assert await app.sessions.all(alice) == ()


async def test_use_moves_the_idle_end_and_never_past_the_absolute_one(browser, app, owner, alice):
    await sign_in(browser, app, alice)
    (before,) = await app.sessions.all(alice)
    await browser.get("/session")
    assert (await app.sessions.all(alice))[0].last_seen_at == before.last_seen_at
    await owner.execute(
        "UPDATE rota.sessions SET last_seen_at = now() - interval '6 days',"
        " ends_at = now() + interval '1 day'"
    )

    assert (await browser.get("/session")).status_code == 200

    (after,) = await app.sessions.all(alice)
    assert after.last_seen_at > before.last_seen_at
    assert after.idle_ends_at == after.ends_at


async def test_newest_fifty_sessions_stay(app, alice):
    first = await app.sessions.begin(alice, by=SignedInBy.LINK, user_agent="first")
    for n in range(50):
        last = await app.sessions.begin(alice, by=SignedInBy.LINK, user_agent=str(n))

    assert len(await app.sessions.all(alice)) == 50
    assert await app.sessions.find(first.secret) is None
    assert await app.sessions.find(last.secret) is not None


async def test_link_signs_in_once(browser, app, alice):
    link = await app.links.make(alice)
    assert (await browser.post("/session", json={"code": link.code})).status_code == 201

    again = await browser.post("/session", json={"code": link.code})

    assert is_nobody(again)
    assert link.code not in again.text
    assert "set-cookie" not in again.headers


async def test_link_expires_after_fifteen_minutes(browser, app, alice):
    link = await app.links.make(alice)
    app.clock = lambda: clock() + timedelta(minutes=15)
    vars(app).pop("links")

    assert is_nobody(await browser.post("/session", json={"code": link.code}))


async def test_sign_in_from_another_site_is_refused_and_leaves_the_link(browser, app, alice):
    link = await app.links.make(alice)
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        refused = await browser.post("/session", json={"code": link.code}, headers=headers)
        assert refused.status_code == 403

    assert (await browser.post("/session", json={"code": link.code})).status_code == 201


async def test_a_form_of_another_site_cannot_sign_in(browser, app, alice):
    link = await app.links.make(alice)
    refused = await browser.post(
        "/session",
        content=f'{{"code": "{link.code}"}}',
        headers={"Content-Type": "text/plain"},
    )
    assert refused.status_code == 415


async def test_operators_are_those_of_the_settings(browser, app, alice, bob):
    token = await app.tokens.create(alice, "a", [Scope.READ], lasts=None)
    his = await app.tokens.create(bob, "b", [Scope.READ], lasts=None)
    app.settings = replace(app.settings, operators=("alice@example.com", str(bob)))
    for secret in (token.secret, his.secret):
        assert (await browser.get("/session", headers=by(secret))).json()["is_operator"] is True


async def test_settings_that_name_nobody_make_nobody_an_operator(browser, app, alice):
    token = await app.tokens.create(alice, "a", [Scope.READ], lasts=None)
    app.settings = replace(app.settings, operators=("alice@example.com", "gone@example.com"))

    told = (await browser.get("/session", headers=by(token.secret))).json()

    assert told["is_operator"] is False


async def test_no_log_line_has_a_secret(browser, app, alice, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    token = await app.tokens.create(alice, "ci", ALL_SCOPES, lasts=None)
    link = await app.links.make(alice)
    await browser.get("/session", headers=by(token.secret))
    await browser.get("/session", headers=by(f"{token.secret}x"))
    await browser.post("/session", json={"code": link.code})
    await browser.post("/session", json={"code": link.code})
    session = browser.cookies[COOKIE]
    await browser.get("/session")

    said = caplog.text + "".join(capfd.readouterr())
    for secret in (token.secret, link.code, session):
        assert secret not in said
