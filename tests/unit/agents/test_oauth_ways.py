"""The other ways to a grant: a code typed on another device, and a service account's signature."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from rota.agents.tools.oauth.clients import OAuthClient, client, client_from_file
from rota.domain.agents.grants import Grant
from rota.domain.errors import InvalidInputError, SetupRequiredError, UnavailableError
from tests.loopback.gmail import Failure
from tests.loopback.oauth_provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    PUBLIC_CLIENT_ID,
    OAuthProvider,
    RefusedError,
)
from tests.unit.agents.test_oauth_grants import READ, issuer, provider, time, waits

__all__ = ["issuer", "provider", "time", "waits"]

APP = OAuthClient(PUBLIC_CLIENT_ID)
IMAP = "https://outlook.office.com/IMAP.AccessAsUser.All"
SMTP = "https://outlook.office.com/SMTP.Send"
PENDING = RefusedError("authorization_pending")


async def test_a_code_that_is_typed_elsewhere(issuer, provider, waits, time):
    device = await issuer.device("microsoft", APP, to_act=True)
    assert device.page == f"{provider.url}/devicelogin"
    assert device.device_code not in repr(device)
    provider.failures.extend([PENDING, RefusedError("slow_down"), Failure(503), PENDING])
    provider.enter(device.user_code)

    grant = await issuer.wait_for(device)

    assert grant.scopes == (IMAP, SMTP)
    assert grant.refresh_token
    assert "client_secret" not in provider.asked[-1].form
    assert provider.asked[0].path == "/common/oauth2/v2.0/devicecode"
    assert provider.asked[0].form["scope"] == f"{IMAP} {SMTP} offline_access"
    # 5 s as told, 5 more once it says so; the second of the 503 is its second attempt.
    assert waits == [5, 5, 10, 1.0, 10]


async def test_the_tenant_is_asked_again_at_each_refresh(issuer, provider):
    provider.rotates = True
    device = await issuer.device("microsoft", OAuthClient(PUBLIC_CLIENT_ID, tenant="consumers"))
    provider.enter(device.user_code)
    grant = await issuer.wait_for(device)

    later = await issuer.refresh(grant)

    assert provider.asked[-1].path == "/consumers/oauth2/v2.0/token"
    assert later.refresh_token != grant.refresh_token


@pytest.mark.parametrize(
    ("scope", "scopes"),
    [
        ("https://outlook.office365.com/imap.accessasuser.all", (IMAP,)),
        ("IMAP.AccessAsUser.All SMTP.Send openid", (IMAP, SMTP, "openid")),
        (None, (IMAP,)),  # RFC 6749: as was asked for
    ],
)
async def test_scopes_are_known_however_the_provider_names_them(issuer, provider, scope, scopes):
    tokens = {"access_token": "a", "refresh_token": "r", "expires_in": "3599", "scope": scope}
    body = json.dumps({name: value for name, value in tokens.items() if value}).encode()
    device = await issuer.device("microsoft", APP)
    provider.failures.append(Failure(200, body=body))

    grant = await issuer.wait_for(device)
    assert grant.scopes == scopes
    provider.failures.append(Failure(200, body=body))
    assert (await issuer.refresh(grant)).scopes == scopes


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        (RefusedError("authorization_declined"), "consent was refused"),
        (RefusedError("expired_token"), "not entered in time"),
        (RefusedError("invalid_client", "x", error_codes=[7000218]), "Allow public client flows"),
        (RefusedError("invalid_grant", "x", error_codes=[53003]), "rules of your team"),
    ],
)
async def test_a_code_that_leads_to_nothing(issuer, provider, refusal, said):
    device = await issuer.device("microsoft", APP)
    provider.failures.extend([PENDING, refusal])

    with pytest.raises(SetupRequiredError, match=said):
        await issuer.wait_for(device)


async def test_a_code_that_nobody_types_ends(issuer, time):
    device = await issuer.device("microsoft", APP)

    with pytest.raises(SetupRequiredError, match="not entered in time"):
        await issuer.wait_for(device)

    assert time.now >= device.ends_at


async def test_an_app_that_is_not_there(issuer):
    with pytest.raises(SetupRequiredError, match=r"do not belong together.*AADSTS700016"):
        await issuer.device("microsoft", OAuthClient("0000-1111"))


async def test_microsoft_has_no_revocation(issuer):
    with pytest.raises(UnavailableError, match=r"https://account\.live\.com/consent/Manage"):
        await issuer.revoke(Grant("microsoft", PUBLIC_CLIENT_ID, refresh_token="x"))


async def test_a_service_account_reads_as_somebody_of_its_team(issuer, provider, time):
    key = provider.service_account_file(READ)

    grant = await issuer.service_account("gmail", key, "sam@team.example")
    time.now += timedelta(hours=5)
    later = await issuer.refresh(grant)

    assert provider.account_of(f"Bearer {later.access_token}") == "sam@team.example"
    assert provider.accepts(f"Bearer {later.access_token}", READ) is None
    assert (later.refresh_token, later.scopes) == ("", (READ,))
    assert Grant.from_secret(later.as_secret()) == later
    await issuer.revoke(later)  # nothing to revoke, and no error


async def test_what_the_team_did_not_delegate(issuer, provider):
    key = provider.service_account_file(READ)

    with pytest.raises(SetupRequiredError, match="1098765") as caught:
        await issuer.service_account("google-calendar", key, "sam@team.example")
    assert "calendar.readonly" in caught.value.message
    assert "https://admin.google.com/ac/owl/domainwidedelegation" in caught.value.message


async def test_somebody_who_is_not_of_the_team(issuer, provider):
    with pytest.raises(SetupRequiredError, match=r"no account eve@other\.example in this team"):
        await issuer.service_account(
            "gmail", provider.service_account_file(READ), "eve@other.example"
        )


@pytest.mark.parametrize(
    ("wrong_by", "said"),
    [(timedelta(minutes=31), "31 minutes ahead of"), (timedelta(hours=-2), "120 minutes behind")],
)
async def test_a_clock_that_is_wrong_is_named(issuer, provider, time, wrong_by, said):
    key = provider.service_account_file(READ)
    provider.clock = lambda: time.now - wrong_by

    with pytest.raises(SetupRequiredError, match=f"clock is {said} Google's"):
        await issuer.service_account("gmail", key, "sam@team.example")


async def test_a_key_that_was_deleted(issuer, provider):
    key = provider.service_account_file(READ)
    provider.keys.clear()

    with pytest.raises(SetupRequiredError, match=r"service account's key.*Was it deleted"):
        await issuer.service_account("gmail", key, "sam@team.example")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("[]", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"installed": {"client_id": "x"}}', "It is a client: give it as --client FILE"),
        ('{"type": "service_account", "private_key": "x"}', "private key in this file cannot"),
    ],
)
async def test_what_is_no_key_of_a_service_account(issuer, text, said):
    with pytest.raises(InvalidInputError, match=said):
        await issuer.service_account("gmail", text, "sam@team.example")


def test_a_client_is_read_from_the_file_of_the_console():
    file = OAuthProvider.client_file
    assert client_from_file(file(None)) == OAuthClient(CLIENT_ID, CLIENT_SECRET)
    assert CLIENT_SECRET not in repr(client_from_file(file(None)))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json", "not JSON"),
        (OAuthProvider.client_file(None, "web"), "of the type Web application"),
        (json.dumps({"type": "service_account"}), "--service-account FILE"),
        ("{}", "of the type Desktop app"),
        ('{"installed": 3}', "of the type Desktop app"),
        ('{"installed": {"client_id": "a b"}}', "one word"),
    ],
)
def test_what_is_no_client(text, said):
    with pytest.raises(InvalidInputError, match=said):
        client_from_file(text)


@pytest.mark.parametrize("typed", ["", "two words", "x" * 301])
def test_what_is_no_client_id(typed):
    with pytest.raises(InvalidInputError, match="one word"):
        client(typed)
    with pytest.raises(InvalidInputError, match="tenant"):
        client("x" * 30, tenant="../evil")
