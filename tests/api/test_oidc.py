"""Sign-in at npm's oidc-provider: authorization code with PKCE, state and nonce."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from rota.api.app import make_api
from rota.domain.errors import ConflictError, NotFoundError
from rota.domain.identity.issuers import OidcClient
from rota.domain.identity.sessions import SignedInBy
from tests.api.conftest import ORIGIN, Transport
from tests.loopback.oidc_provider import oidc_provider, sign_in_at, why_missing
from tests.services.harness import clock

pytestmark = pytest.mark.oidc

CALLBACK = f"{ORIGIN}/sign-in/oidc/callback"
SECRET = "s3cret: with/odd+signs%"


@pytest.fixture(scope="module")
def issuer():
    if (reason := why_missing()) is not None:
        pytest.skip(reason)
    with oidc_provider(CALLBACK) as served:
        yield served


@pytest.fixture
def set_up(app, issuer):
    """Have this rota be a client of the provider."""

    def be(**changes):
        known = replace(OidcClient(issuer, "rota", SECRET), **changes)
        app.settings = replace(app.settings, oidc=known)
        vars(app).pop("oidc", None)

    be()
    return be


def browser_of(app):
    return httpx.AsyncClient(
        transport=Transport(app=make_api(app), raise_app_exceptions=False), base_url=ORIGIN
    )


@pytest.fixture
async def browser(app, set_up):
    async with browser_of(app) as made:
        yield made


async def begin(browser, **params):
    answered = await browser.get("/sign-in/oidc", params=params)
    assert answered.status_code == 303, answered.text
    return answered.headers["location"]


async def sign_in(browser, subject):
    back = await sign_in_at(await begin(browser), subject)
    assert back.startswith(f"{CALLBACK}?")
    return await browser.get(back)


async def who(browser):
    return await browser.get("/api/v1/session")


async def test_person_whom_the_operator_linked_signs_in(browser, app, issuer, alice):
    refused = await sign_in(browser, "alice-1")
    assert refused.status_code == 401
    assert f"subject &#x27;alice-1&#x27; of {issuer}" in refused.text
    assert "rota people link EMAIL" in refused.text
    assert (await who(browser)).status_code == 401

    await app.identities.link(alice, issuer, "alice-1")
    answered = await sign_in(browser, "alice-1")

    assert (answered.status_code, answered.headers["location"]) == (303, "/sign-in")
    told = (await who(browser)).json()
    assert (told["user_id"], told["signed_in_by"]) == (str(alice), "session")
    (session,) = await app.sessions.all(alice)
    assert session.signed_in_by is SignedInBy.OIDC


@pytest.mark.parametrize(
    "client",
    [{"client_id": "rota-public", "secret": None}, {"client_id": "rota-post", "secret": "s3cret"}],
    ids=lambda client: client["client_id"],
)
async def test_other_kinds_of_clients_sign_in(browser, set_up, app, issuer, alice, client):
    set_up(**client)
    await app.identities.link(alice, issuer, "alice-1")
    assert (await sign_in(browser, "alice-1")).status_code == 303
    assert (await who(browser)).json()["user_id"] == str(alice)


async def test_wrong_secret_signs_nobody_in(browser, set_up, app, issuer, alice):
    set_up(secret="wrong")
    await app.identities.link(alice, issuer, "alice-1")
    refused = await sign_in(browser, "alice-1")
    assert refused.status_code == 401
    assert "invalid_client" in refused.text
    assert "wrong" not in refused.text


async def test_request_has_pkce_state_and_nonce_and_no_secret(browser):
    first, second = [parse_qs(urlsplit(await begin(browser)).query) for _ in range(2)]
    assert first["code_challenge_method"] == ["S256"]
    assert first["response_type"] == ["code"]
    assert first["redirect_uri"] == [CALLBACK]
    for name in ("state", "nonce", "code_challenge"):
        assert len(first[name][0]) >= 43
        assert first[name] != second[name]
    assert SECRET not in f"{first}"


async def test_answer_signs_in_at_the_browser_that_began_alone(browser, app, issuer, alice):
    await app.identities.link(alice, issuer, "alice-1")
    back = await sign_in_at(await begin(browser), "alice-1")
    async with browser_of(app) as other:
        assert (await other.get(back)).status_code == 401
        await begin(other)  # one of its own is under way
        assert (await other.get(back)).status_code == 401
        assert (await who(other)).status_code == 401


async def test_answer_counts_once(browser, app, issuer, alice):
    await app.identities.link(alice, issuer, "alice-1")
    location = await begin(browser)
    kept = dict(browser.cookies)
    back = await sign_in_at(location, "alice-1")
    assert (await browser.get(back)).status_code == 303
    browser.cookies.clear()
    assert (await browser.get(back)).status_code == 401
    for name, value in kept.items():  # by somebody who copied all of it
        browser.cookies.set(name, value)
    refused = await browser.get(back)
    assert refused.status_code == 401
    assert "invalid_grant" in refused.text


@pytest.mark.parametrize("change", ["state", "code", "iss", "kept"])
async def test_changed_answer_signs_nobody_in(browser, app, issuer, alice, change):
    await app.identities.link(alice, issuer, "alice-1")
    back = httpx.URL(await sign_in_at(await begin(browser), "alice-1"))
    if change == "kept":
        browser.cookies.set("rota-oidc-80", "AAAA", domain="127.0.0.1", path="/")
    else:
        back = back.copy_set_param(change, "https://evil.example")
    assert (await browser.get(str(back))).status_code == 401
    assert (await who(browser)).status_code == 401


async def test_nonce_of_another_sign_in_is_refused(browser, app, issuer, alice, monkeypatch):
    await app.identities.link(alice, issuer, "alice-1")
    back = await sign_in_at(await begin(browser), "alice-1")
    opened = app.oidc._opened
    monkeypatch.setattr(
        type(app.oidc), "_opened", lambda self, kept: replace(opened(kept), nonce="other")
    )
    refused = await browser.get(back)
    assert refused.status_code == 401
    assert "nonce" in refused.text


async def test_code_is_worth_nothing_without_its_verifier(browser, app, issuer, alice, monkeypatch):
    await app.identities.link(alice, issuer, "alice-1")
    back = await sign_in_at(await begin(browser), "alice-1")
    opened = app.oidc._opened
    monkeypatch.setattr(
        type(app.oidc), "_opened", lambda self, kept: replace(opened(kept), verifier="x" * 43)
    )
    assert "invalid_grant" in (await browser.get(back)).text


async def test_refusal_at_the_issuer_is_told(browser):
    back = await sign_in_at(await begin(browser), "x", refuses=True)
    refused = await browser.get(back)
    assert refused.status_code == 401
    assert "The issuer signed nobody in" in refused.text


async def test_words_of_an_issuer_are_text(browser):
    state = parse_qs(urlsplit(await begin(browser)).query)["state"][0]
    refused = await browser.get(
        "/sign-in/oidc/callback",
        params={"state": state, "error": "x", "error_description": "<script>alert(1)</script>"},
    )
    assert "<script>" not in refused.text
    assert "default-src 'none'" in refused.headers["content-security-policy"]


async def test_nobody_is_sent_to_another_site_after_the_sign_in(browser, app, issuer, alice):
    await app.identities.link(alice, issuer, "alice-1")
    evil = {"next": "https://evil.example", "redirect_uri": "https://evil.example"}
    location = await begin(browser, **evil)
    assert location.startswith(issuer)
    assert "evil" not in location
    back = httpx.URL(await sign_in_at(location, "alice-1")).copy_merge_params(evil)
    assert (await browser.get(str(back))).headers["location"] == "/sign-in"


@pytest.mark.parametrize(
    ("match_email", "subject", "is_signed_in"),
    [
        (False, "verified-alice", False),
        (True, "unverified-alice", False),
        (True, "verified-nobody", False),
        (True, "verified-alice", True),
    ],
)
async def test_address_counts_if_it_is_verified_and_allowed(
    browser, set_up, app, issuer, alice, match_email, subject, is_signed_in
):
    set_up(match_email=match_email)
    answered = await sign_in(browser, subject)
    assert (answered.status_code == 303) is is_signed_in
    assert len(await app.identities.all(alice)) == is_signed_in


async def test_address_links_one_subject_only(browser, set_up, app, owner, issuer, alice):
    set_up(match_email=True)
    assert (await sign_in(browser, "verified-alice")).status_code == 303
    await owner.execute("UPDATE rota.identities SET subject = 'first'")
    assert (await sign_in(browser, "verified-alice")).status_code == 401


async def test_session_of_before_ends_at_the_sign_in(browser, app, issuer, alice, bob):
    await app.identities.link(alice, issuer, "alice-1")
    planted = await app.sessions.begin(bob, by=SignedInBy.LINK, user_agent="his")
    browser.cookies.set("rota-80", planted.secret, domain="127.0.0.1", path="/")
    await sign_in(browser, "alice-1")
    assert (await who(browser)).json()["user_id"] == str(alice)
    assert await app.sessions.find(planted.secret) is None


async def test_sign_in_that_took_too_long_begins_again(browser, app, issuer, alice):
    await app.identities.link(alice, issuer, "alice-1")
    back = await sign_in_at(await begin(browser), "alice-1")
    app.oidc._clock = lambda: clock() + timedelta(minutes=10, seconds=1)
    refused = await browser.get(back)
    assert "took too long" in refused.text


async def test_issuer_that_does_not_answer_is_told(browser, set_up):
    set_up(issuer="http://127.0.0.1:9")
    refused = await browser.get("/sign-in/oidc")
    assert refused.status_code == 503
    assert "did not answer" in refused.text


async def test_issuer_by_another_name_is_not_believed(browser, set_up, issuer):
    set_up(issuer=issuer.replace("127.0.0.1", "localhost"))
    refused = await browser.get("/sign-in/oidc")
    assert refused.status_code == 503
    assert "calls itself" in refused.text


async def test_subject_is_linked_to_one_person(app, alice, bob):
    await app.identities.link(alice, "https://issuer.example", "1")
    await app.identities.link(alice, "https://issuer.example", "1")
    with pytest.raises(ConflictError):
        await app.identities.link(bob, "https://issuer.example", "1")
    with pytest.raises(NotFoundError):
        await app.identities.unlink(bob, "https://issuer.example", "1")
    await app.identities.unlink(alice, "https://issuer.example", "1")
    await app.identities.link(bob, "https://issuer.example", "1")
