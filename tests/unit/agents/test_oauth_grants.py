"""Grants of a provider on loopback: first got, refreshed, ended; and its words when it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from rota.agents.tools.oauth.clients import OAuthClient
from rota.agents.tools.oauth.issuer import OAuthIssuer
from rota.agents.tools.oauth.loopback import LoopbackRedirect
from rota.domain.agents.connections import ReconnectRequiredError
from rota.domain.agents.grants import Grant
from rota.domain.errors import InvalidInputError, SetupRequiredError, UnavailableError
from tests.loopback.gmail import Failure
from tests.loopback.oauth_provider import CLIENT_ID, CLIENT_SECRET, OAuthProvider, RefusedError

CLIENT = OAuthClient(CLIENT_ID, CLIENT_SECRET)
READ = "https://www.googleapis.com/auth/gmail.readonly"
COMPOSE = "https://www.googleapis.com/auth/gmail.compose"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 6, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def time():
    return Clock()


@pytest.fixture
def provider(time):
    with OAuthProvider(clock=time) as running:
        yield running


@pytest.fixture
def waits():
    return []


@pytest.fixture
async def issuer(provider, time, waits):
    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        time.now += timedelta(seconds=seconds)

    async with httpx.AsyncClient() as http:
        endpoints = {"google-oauth": provider.url, "microsoft-oauth": provider.url}
        yield OAuthIssuer(http, clock=time, endpoints=endpoints, sleep=sleep)


async def consent(issuer, *, kind="gmail", to_act=False, client=CLIENT):
    """Connect as a browser on this machine does, through the port where rota listens."""
    async with LoopbackRedirect() as redirect, httpx.AsyncClient() as browser:
        request = issuer.authorization(kind, client, redirect.uri, to_act=to_act)
        redirect.expects = request.is_answer
        page = await browser.get(request.url, follow_redirects=True)
        answer = await redirect.answer()
    assert "You can close this window" in page.text
    return await issuer.exchange(kind, request, answer)


async def test_consent_gives_a_grant_of_the_least_scopes(issuer, provider, time):
    grant = await consent(issuer)

    assert grant.scopes == (READ,)
    assert grant.access_ends_at == time.now + timedelta(seconds=3599)
    assert (grant.ends_at, grant.granted_at) == (None, time.now)
    assert provider.accepts(f"Bearer {grant.access_token}", READ) is None
    assert Grant.from_secret(grant.as_secret()) == grant
    asked = provider.asked[0].form
    assert (asked["access_type"], asked["prompt"]) == ("offline", "consent")
    assert asked["code_challenge_method"] == "S256"
    assert "code_verifier" not in asked
    for secret in (grant.refresh_token, grant.access_token, CLIENT_SECRET):
        assert secret not in repr(grant)


async def test_to_send_one_more_scope_is_asked_for(issuer):
    assert (await consent(issuer, to_act=True)).scopes == (READ, COMPOSE)


async def test_a_verifier_of_another_attempt_is_refused(issuer, provider):
    async with httpx.AsyncClient() as browser:
        request = issuer.authorization("gmail", CLIENT, "http://127.0.0.1:9")
        other = issuer.authorization("gmail", CLIENT, "http://127.0.0.1:9")
        answer = (await browser.get(request.url)).headers["location"]

    with pytest.raises(InvalidInputError, match="another attempt"):
        await issuer.exchange("gmail", other, answer)
    assert len(provider.asked) == 1  # the code was sent nowhere
    stolen = answer.replace(request.state, other.state)
    with pytest.raises(SetupRequiredError, match="Invalid code verifier"):
        await issuer.exchange("gmail", other, stolen)


@pytest.mark.parametrize(
    "pasted",
    ["{}", "  {}\n", "<{}>", '"{}"', "{}#", "{broken}"],
    ids=["as it is", "spaces", "angle brackets", "quotes", "fragment", "wrapped by the terminal"],
)
async def test_the_address_is_pasted_in_many_ways(issuer, pasted):
    async with httpx.AsyncClient() as browser:
        request = issuer.authorization("gmail", CLIENT, "http://127.0.0.1:9")
        answer = (await browser.get(request.url)).headers["location"]
    broken = "\n  ".join(answer[n : n + 40] for n in range(0, len(answer), 40))

    grant = await issuer.exchange("gmail", request, pasted.format(answer, broken=broken))

    assert grant.refresh_token


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        "4/0AeanS0Yt",
        "http://127.0.0.1:9/?state=x",
        "http://[::1",
        "https://accounts.google.com",
    ],
)
async def test_what_is_no_answer_is_said(issuer, pasted):
    request = issuer.authorization("gmail", CLIENT, "http://127.0.0.1:9")

    with pytest.raises(InvalidInputError, match=r"begins with http://127\.0\.0\.1:9 and has code="):
        await issuer.exchange("gmail", request, pasted)


async def test_a_code_works_once(issuer):
    async with httpx.AsyncClient() as browser:
        request = issuer.authorization("gmail", CLIENT, "http://127.0.0.1:9")
        answer = (await browser.get(request.url)).headers["location"]
    await issuer.exchange("gmail", request, answer)

    with pytest.raises(SetupRequiredError, match="each works once"):
        await issuer.exchange("gmail", request, answer)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("access_denied", "consent was refused"),
        ("admin_policy_enforced", "An administrator of your team has to allow this app"),
        ("org_internal", "An administrator"),
        ("something_new", r"Google refused \(something_new\)"),
    ],
)
async def test_who_declines_gets_no_grant(issuer, provider, error, said):
    provider.declines = error

    with pytest.raises(SetupRequiredError, match=said):
        await consent(issuer)


async def test_other_requests_to_the_port_are_no_answer(issuer, provider):
    async with LoopbackRedirect() as redirect, httpx.AsyncClient() as browser:
        request = issuer.authorization("gmail", CLIENT, redirect.uri)
        redirect.expects = request.is_answer
        for path in ("/favicon.ico", "/?code=guessed&state=guessed", "/?state=" + request.state):
            assert (await browser.get(redirect.uri + path)).status_code == 404
        assert (await browser.post(redirect.uri, content="x")).status_code == 404
        await browser.get(request.url, follow_redirects=True)
        answer = await redirect.answer()
    assert (await issuer.exchange("gmail", request, answer)).refresh_token


async def test_a_refresh_keeps_what_the_provider_leaves_out(issuer, time):
    first = await consent(issuer)
    time.now += timedelta(hours=2)

    later = await issuer.refresh(first)

    assert later.refresh_token == first.refresh_token
    assert later.access_token != first.access_token
    assert later.access_ends_at == time.now + timedelta(seconds=3599)
    assert (later.granted_at, later.scopes) == (first.granted_at, first.scopes)


async def test_a_rotated_refresh_token_takes_the_place_of_the_old(issuer, provider):
    provider.rotates, provider.reuse = True, "refused"
    first = await consent(issuer)

    second = await issuer.refresh(first)
    third = await issuer.refresh(second)

    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    with pytest.raises(ReconnectRequiredError, match="used before"):
        await issuer.refresh(first)


async def test_seven_days_of_an_app_in_testing_are_known_from_the_start(issuer, provider, time):
    provider.grant_seconds = 604_799
    grant = await consent(issuer)
    assert grant.ends_at == time.now + timedelta(seconds=604_799)

    time.now += timedelta(days=7)
    with pytest.raises(ReconnectRequiredError, match="publishing status is Testing") as caught:
        await issuer.refresh(grant)
    assert "https://console.cloud.google.com/auth/audience" in caught.value.message


@pytest.mark.parametrize(
    ("age", "is_testing"),
    [(timedelta(days=2), False), (timedelta(days=7, hours=1), True), (timedelta(days=60), False)],
)
async def test_seven_days_are_recognised_by_the_age_of_the_grant(
    issuer, provider, time, age, is_testing
):
    provider.grant_seconds, provider.says_end = int(age.total_seconds()), False
    grant = await consent(issuer)
    assert grant.ends_at is None

    time.now += age
    with pytest.raises(ReconnectRequiredError, match="expired or revoked") as caught:
        await issuer.refresh(grant)

    assert ("Testing" in caught.value.message) is is_testing
    assert ("the password was changed" in caught.value.message) is not is_testing


async def test_revoked_at_the_provider(issuer, provider):
    grant = await consent(issuer)
    provider.revoke_all()

    with pytest.raises(ReconnectRequiredError, match="it was revoked, the password was changed"):
        await issuer.refresh(grant)


async def test_revoking_ends_it_and_may_be_repeated(issuer, provider):
    grant = await consent(issuer)

    await issuer.revoke(grant)
    await issuer.revoke(grant)

    assert provider.grants[0].is_revoked
    assert provider.accepts(f"Bearer {grant.access_token}") is not None


async def test_a_deleted_client_is_said(issuer, provider):
    grant = await consent(issuer)
    provider.clients.clear()

    with pytest.raises(SetupRequiredError, match=r"does not accept the client \(invalid_client"):
        await issuer.refresh(grant)


@pytest.mark.parametrize(
    ("refusal", "kind", "said"),
    [
        (RefusedError("invalid_grant", "x", error_subtype="invalid_rapt"), None, "sessions"),
        (RefusedError("invalid_grant", "x", error_codes=[50173]), "m", "password was changed"),
        (RefusedError("invalid_grant", "x", error_codes=[700082]), "m", "not used for so long"),
        (RefusedError("invalid_grant", "x", error_codes=[50076]), "m", "sign in again"),
        (RefusedError("interaction_required", "x"), "m", "sign in again"),
        (RefusedError("invalid_client", "x", error_codes=[7000218]), "m", "public client flows"),
        (RefusedError("invalid_grant", "x", error_codes=[65001]), "m", "An administrator"),
    ],
)
async def test_refusals_say_what_to_do(issuer, provider, refusal, kind, said):
    grant = Grant("microsoft" if kind else "google", CLIENT_ID, CLIENT_SECRET, "1//x")
    provider.failures.append(refusal)

    with pytest.raises(SetupRequiredError, match=said):
        await issuer.refresh(grant)


async def test_what_a_provider_says_is_cleaned_and_bounded(issuer, provider):
    nasty = "no\x1b[31m\r\n\u202egnp " + "x" * 5_000 + " Trace ID: 1234"
    provider.failures.append(RefusedError("invalid_grant\n", nasty))

    with pytest.raises(SetupRequiredError) as caught:
        await issuer.refresh(Grant("google", CLIENT_ID, CLIENT_SECRET, "1//x"))

    message = caught.value.message
    assert len(message) < 700
    assert message.isprintable()
    assert "Trace ID" not in message


@pytest.mark.parametrize(
    "failure",
    [
        Failure(503),
        Failure(429),
        Failure(200, body=b"<html>captive portal"),
        Failure(400, body=b"[]"),
        Failure(200, body=b'{"error": "temporarily_unavailable"}'),
        Failure(302, headers={"Location": "http://127.0.0.1:1/"}, body=b""),
    ],
    ids=["503", "429", "portal", "list", "words", "redirect"],
)
async def test_what_may_pass_is_tried_again(issuer, provider, waits, failure):
    grant = await consent(issuer)
    provider.failures.append(failure)

    assert (await issuer.refresh(grant)).access_token
    assert waits == [1.0]

    provider.failures.extend([failure] * 3)
    with pytest.raises(UnavailableError, match=r"Google .*Try again later"):
        await issuer.refresh(grant)


async def test_an_unreachable_provider_keeps_its_secrets(time):
    async with httpx.AsyncClient() as http:

        async def sleep(_seconds):
            pass

        issuer = OAuthIssuer(
            http, clock=time, endpoints={"google-oauth": "http://127.0.0.1:1"}, sleep=sleep
        )
        with pytest.raises(UnavailableError, match="could not be reached") as caught:
            await issuer.refresh(Grant("google", CLIENT_ID, CLIENT_SECRET, "1//secret"))
    assert "1//secret" not in repr(caught.value)


async def test_a_network_that_is_down_is_said_without_its_number(time):
    async def sleep(_seconds):
        pass

    async with httpx.AsyncClient() as http:
        elsewhere = {"google-oauth": "http://no-such-host.invalid"}
        issuer = OAuthIssuer(http, clock=time, endpoints=elsewhere, sleep=sleep)
        with pytest.raises(UnavailableError, match=r"could not be reached: [A-Z][a-z]") as caught:
            await issuer.refresh(Grant("google", CLIENT_ID, CLIENT_SECRET, "1//secret"))
    assert "Errno" not in caught.value.message


async def test_tokens_that_are_none_are_not_shown(issuer, provider):
    provider.failures.append(Failure(200, body=b'{"access_token": ["very-secret"]}'))

    with pytest.raises(UnavailableError, match="not what OAuth says") as caught:
        await issuer.refresh(Grant("google", CLIENT_ID, CLIENT_SECRET, "1//x"))
    assert "very-secret" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_without_a_refresh_token_nothing_is_connected(issuer, provider):
    provider.failures.append(
        Failure(200, body=b'{"access_token": "a", "expires_in": "3599", "scope": ""}')
    )

    with pytest.raises(SetupRequiredError, match="gave no refresh token"):
        await consent(issuer)


def test_the_page_of_consent_is_googles():
    issuer = OAuthIssuer(httpx.AsyncClient(), clock=Clock())
    request = issuer.authorization(
        "google-calendar", CLIENT, "http://127.0.0.1:9", to_act=True, account="me@x.example"
    )

    parts = urlsplit(request.url)
    asked = parse_qs(parts.query)
    assert request.url.startswith("https://accounts.google.com/o/oauth2/v2/auth?")
    assert asked["scope"][0].split() == [
        "https://www.googleapis.com/auth/calendar.readonly",
        "https://www.googleapis.com/auth/calendar.events",
    ]
    assert asked["login_hint"] == ["me@x.example"]
    assert CLIENT_SECRET not in request.url
