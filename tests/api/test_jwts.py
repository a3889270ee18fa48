"""JWTs of a Supabase project: only those that it signed, for us, now."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

from rota.api.app import make_api
from rota.domain.identity.issuers import SupabaseProject
from rota.services.identity.signing_keys import PAUSE, SigningKeys
from tests.api.conftest import ORIGIN, Transport
from tests.loopback.issuer_keys import issuer_keys

SECRET = "s" * 40
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "alg": "RS256", "use": "sig"})
EC = ECKey.generate_key("P-256", {"kid": "ec", "alg": "ES256", "use": "sig"})
OTHER = ECKey.generate_key("P-256", {"kid": "ec"})
NEWER = ECKey.generate_key("P-256", {"kid": "newer"})


@pytest.fixture
def project():
    with issuer_keys() as served:
        served.answer = {"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]}
        yield served


@pytest.fixture
def believed(app, project):
    """Have the services believe the project's JWTs."""

    def believe(**changes):
        known = replace(SupabaseProject(project.url), **changes)
        app.settings = replace(app.settings, supabase=known)
        vars(app).pop("jwts", None)
        return known

    believe()
    return believe


@pytest.fixture
async def browser(app, believed):
    async with httpx.AsyncClient(
        transport=Transport(app=make_api(app), raise_app_exceptions=False),
        base_url=f"{ORIGIN}/api/v1",
    ) as made:
        yield made


def claims_of(project, person, **changes):
    now = int(time.time())
    claims = {
        "iss": f"{project.url}/auth/v1",
        "aud": "authenticated",
        "role": "authenticated",
        "sub": str(person),
        "iat": now,
        "exp": now + 3600,
        "is_anonymous": False,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not None}


def signed(claims, key=EC, **header):
    if isinstance(key, OctKey):
        given = {"alg": "HS256", **header}
    else:
        given = {"alg": "ES256" if isinstance(key, ECKey) else "RS256", "kid": key.kid, **header}
    return jwt.encode(given, claims, key, algorithms=[given["alg"]])


def unsigned(header, claims, signature=b""):
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


async def ask(browser, token):
    return await browser.get("/session", headers={"Authorization": f"Bearer {token}"})


async def is_refused(browser, token):
    answered = await ask(browser, token)
    assert answered.status_code == 401, answered.text
    assert "www-authenticate" in answered.headers
    assert token not in answered.text
    return True


@pytest.mark.parametrize("key", [EC, RSA], ids=["ES256", "RS256"])
async def test_jwt_of_the_project_signs_its_person_in(browser, project, alice, key):
    told = (await ask(browser, signed(claims_of(project, alice), key))).json()

    assert told["user_id"] == str(alice)
    assert told["signed_in_by"] == "jwt"
    assert set(told["scopes"]) == {"read", "trigger", "manage", "decide"}
    assert project.fetched == ["/auth/v1/.well-known/jwks.json"]


async def test_jwt_by_the_shared_secret_signs_its_person_in(browser, believed, project, alice):
    token = signed(claims_of(project, alice), OctKey.import_key(SECRET))
    assert await is_refused(browser, token)

    believed(secret=SECRET)
    assert (await ask(browser, token)).json()["user_id"] == str(alice)
    other = signed(claims_of(project, alice), OctKey.import_key("t" * 40))
    assert await is_refused(browser, other)


async def test_no_algorithm_but_the_key_s_own_is_taken(browser, believed, project, alice):
    believed(secret=SECRET)
    claims = claims_of(project, alice)
    public = {
        "pem": RSA.as_pem(private=False),
        "der": RSA.as_der(private=False),
        "jwk": json.dumps(RSA.as_dict(private=False)).encode(),
    }
    for alg in ("none", "None", "NONE", ""):
        for kid in ("rsa", "ec"):
            assert await is_refused(browser, unsigned({"alg": alg, "kid": kid}, claims))
    for text in public.values():
        for header in ({"alg": "HS256"}, {"alg": "HS256", "kid": "rsa"}):
            body = unsigned(header, claims).rpartition(".")[0]
            mac = hmac.digest(text, body.encode(), hashlib.sha256)
            forged = f"{body}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"
            assert await is_refused(browser, forged)
    for alg in ("HS384", "HS512"):
        forged = jwt.encode({"alg": alg}, claims, OctKey.import_key(SECRET * 2), algorithms=[alg])
        assert await is_refused(browser, forged)
    for alg in ("PS256", "RS512"):
        key = RSAKey.import_key(
            {name: part for name, part in RSA.as_dict(private=True).items() if name != "alg"}
        )
        forged = jwt.encode({"alg": alg, "kid": "rsa"}, claims, key, algorithms=[alg])
        assert await is_refused(browser, forged)
    assert await is_refused(browser, signed(claims, EC, kid="rsa"))


async def test_secret_key_that_was_published_verifies_nothing(browser, project, alice):
    project.answer = {"keys": [OctKey.import_key(SECRET, {"kid": "oct"}).as_dict()]}
    token = signed(claims_of(project, alice), OctKey.import_key(SECRET), kid="oct")
    assert await is_refused(browser, token)


async def test_key_in_the_header_is_not_believed(browser, project, alice):
    token = signed(claims_of(project, alice), OTHER, jwk=OTHER.as_dict(private=False))
    assert await is_refused(browser, token)
    token = signed(claims_of(project, alice), OTHER, jku="https://evil.example/jwks.json")
    assert await is_refused(browser, token)


async def test_signature_of_another_key_and_changed_claims_are_refused(
    browser, project, alice, bob
):
    assert await is_refused(browser, signed(claims_of(project, alice), OTHER))
    head, _, signature = signed(claims_of(project, alice)).split(".")
    _, body, _ = signed(claims_of(project, bob)).split(".")
    assert await is_refused(browser, f"{head}.{body}.{signature}")
    assert await is_refused(browser, f"{head}.{body}.")


@pytest.mark.parametrize(
    ("claims", "is_valid"),
    [
        ({"exp": -59}, True),
        ({"exp": -61}, False),
        ({"exp": None}, False),
        ({"nbf": 59}, True),
        ({"nbf": 61}, False),
        ({"iat": 59}, True),
        ({"iat": 3600}, False),
    ],
)
async def test_times_count_with_a_leeway_of_a_minute(
    browser, app, project, alice, claims, is_valid
):
    now = int(time.time())
    app.clock = lambda: datetime.fromtimestamp(now, UTC)
    vars(app).pop("jwts", None)
    given = {name: None if by is None else now + by for name, by in claims.items()}
    answered = await ask(browser, signed(claims_of(project, alice, **given)))
    assert (answered.status_code == 200) is is_valid, answered.text


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example/auth/v1"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"aud": []},
        {"aud": ["other"]},
        {"aud": {"authenticated": 1}},
        {"role": "anon"},
        {"role": "service_role"},
        {"role": None},
        {"role": ["authenticated"]},
        {"sub": None},
        {"sub": ""},
        {"sub": "alice@example.com"},
        {"sub": 1},
        {"sub": "00000000-0000-0000-0000-000000000000"},
        {"is_anonymous": True},
        {"is_anonymous": "false"},
        {"exp": "never"},
        {"exp": True},
        {"exp": 1e400},
    ],
    ids=str,
)
async def test_claims_that_are_not_for_us_are_refused(browser, project, alice, claims):
    assert await is_refused(browser, signed(claims_of(project, alice, **claims)))


async def test_several_audiences_may_name_us(browser, project, alice):
    token = signed(claims_of(project, alice, aud=["other", "authenticated"]))
    assert (await ask(browser, token)).status_code == 200


async def test_anonymous_sign_in_counts_where_it_is_allowed(browser, believed, project, alice):
    believed(anonymous=True)
    token = signed(claims_of(project, alice, is_anonymous=True))
    assert (await ask(browser, token)).status_code == 200


async def test_without_a_project_no_jwt_counts(browser, app, project, alice):
    app.settings = replace(app.settings, supabase=None)
    vars(app).pop("jwts", None)
    assert await is_refused(browser, signed(claims_of(project, alice)))
    assert project.fetched == []


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "..",
        "a.b.c",
        "a.b.c.d.e",
        "eyJhbGciOiJFUzI1NiJ9.e30.x",
        "bnVsbA.e30.eA",
        "W10.e30.eA",
        "x" * 12_000,
        base64.urlsafe_b64encode(b"[" * 6_000).decode() + ".e30.eA",
        unsigned({"alg": "ES256", "kid": ["ec"]}, {}),
        unsigned({"alg": "ES256", "kid": "ec", "crit": ["x"], "x": 1}, {}),
        unsigned({"alg": ["ES256"], "kid": "ec"}, {}),
    ],
    ids=lambda text: text[:20],
)
async def test_what_is_no_jwt_is_refused(browser, token):
    assert await is_refused(browser, token)


def keys_of(project, now):
    return SigningKeys(project.url, monotonic=lambda: now[0])


async def test_rotated_key_is_fetched_and_the_withdrawn_one_counts_no_more(project):
    now = [100.0]
    keys = keys_of(project, now)
    assert await keys.find("ec") is not None
    project.answer = {"keys": [NEWER.as_dict(private=False)]}
    assert await keys.find("newer") is None  # not within ten seconds

    now[0] += PAUSE
    assert await keys.find("newer") is not None
    assert await keys.find("ec") is None


async def test_withdrawn_key_is_forgotten_though_nobody_names_a_new_one(project):
    now = [100.0]
    keys = keys_of(project, now)
    assert await keys.find("ec") is not None
    project.answer = {"keys": [NEWER.as_dict(private=False)]}
    now[0] += 601
    assert await keys.find("ec") is None


async def test_unknown_ids_fetch_once_in_ten_seconds(browser, project, alice):
    tokens = [signed(claims_of(project, alice), OTHER, kid=f"k{n}") for n in range(30)]
    for token in tokens:
        assert await is_refused(browser, token)
    assert len(project.fetched) == 1


async def test_known_keys_count_while_the_issuer_does_not_answer(project):
    now = [100.0]
    keys = keys_of(project, now)
    assert await keys.find("ec") is not None
    project.status = 500
    for _ in range(3):
        now[0] += 601
        assert await keys.find("ec") is not None
    project.status, project.answer = 200, b"no json"
    now[0] += 601
    assert await keys.find("ec") is not None
    project.answer = {"keys": "x"}
    now[0] += 601
    assert await keys.find("ec") is not None


async def test_issuer_that_never_answered_is_unavailable_and_not_a_bad_token(
    browser, project, alice
):
    project.status = 503
    answered = await ask(browser, signed(claims_of(project, alice)))
    assert answered.status_code == 503
    assert "Retry-After" in answered.headers


@pytest.mark.parametrize("answer", [b"x" * 300_000, b'{"keys": [' + b"[" * 100_000])
async def test_answer_of_an_issuer_is_bounded(browser, project, alice, answer):
    project.answer = answer
    assert (await ask(browser, signed(claims_of(project, alice)))).status_code == 503


async def test_redirect_of_an_issuer_is_not_followed(browser, project, alice):
    project.status = 302
    project.headers = {"Location": f"{project.url}/elsewhere"}
    assert (await ask(browser, signed(claims_of(project, alice)))).status_code == 503
    assert len(project.fetched) == 1


async def test_odd_keys_are_passed_over(project, browser, alice):
    project.answer = {
        "keys": [
            None,
            {"kty": "RSA"},
            {"kty": "EC", "kid": "ec", "crv": "P-256", "x": "!", "y": "!"},
            {**EC.as_dict(private=False), "kid": "enc", "use": "enc"},
            {"kty": "AKP", "kid": "new"},
            EC.as_dict(private=False),
        ]
    }
    assert (await ask(browser, signed(claims_of(project, alice)))).status_code == 200
    assert await is_refused(browser, signed(claims_of(project, alice), EC, kid="enc"))
