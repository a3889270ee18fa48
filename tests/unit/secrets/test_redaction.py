from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rota.domain.text.storable import REDACTED
from rota.security.secrets.redaction import redact, redact_beginning, redact_text
from tests.unit.calls import calls_of

SECRETS = [
    "sk-" + "a1B2" * 8,
    "ghp_" + "a" * 36,
    "xoxb-1234567890-abc",
    "ya29.a0AfH6SMBabcdefg",
    "AKIA" + "A" * 16,
    "123456789:" + "A" * 35,
    "Bearer abcdefgh12345678",
    "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF2Q",
    "sk_live_" + "a1" * 12,
    "rk_live_" + "a1" * 12,
    "pk_live_" + "a1" * 12,
    "github_pat_" + "A1_" * 20,
    "glpat-" + "a-B1" * 5,
    "npm_" + "a1" * 18,
    "hf_" + "a1" * 17,
    "xapp-1-A111-222-abc",
    "ASIA" + "A" * 16,
    "GOCSPX-" + "a-B1" * 7,
    "SG." + "a" * 22 + "." + "b" * 43,
    "AGE-SECRET-KEY-1" + "QPZRY9X8GF" * 5,
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQOY\n-----END PGP PRIVATE KEY BLOCK-----",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_secret_is_known_by_its_form(secret):
    assert secret not in redact_text(f"before {secret} after")
    assert redact_text(f"before {secret} after").startswith("before ")


def test_password_in_a_url_goes_and_the_host_stays():
    assert redact_text("postgresql://rota:hush@db:5432/x") == f"postgresql://{REDACTED}@db:5432/x"


def test_secret_is_known_by_its_key_at_any_depth():
    value = {"a": [{"api_key": "x", "Authorization": "y", "user_password": "z", "name": "n"}]}

    assert redact(value) == {
        "a": [
            {"api_key": REDACTED, "Authorization": REDACTED, "user_password": REDACTED, "name": "n"}
        ]
    }


SECRET_NAMES = """
    password passwords Password userPassword user_password user-password user.password PASSWORD
    PGPASSWORD passwd pwd db_pwd passphrase passcode pass db_pass smtpPass pin userPin pin_code otp
    totp_secret auth basic_auth authHeader bearer bearerToken apikey api_key apiKey APIKey X-API-Key
    api_keys token Token accessToken access_token refresh-token id_token authToken auth_tokens
    session_token csrfToken csrf_tokens xsrf botToken authtoken secret secrets client_secret
    clientSecret secretKey secret_key SECRET_ACCESS_KEY aws_secret_access_key signing_key signingKey
    privateKey private_key encryption_key AccountKey connection_string connectionString
    connectionStrings Authorization Proxy-Authorization cookie cookies Set-Cookie session_cookie
    credential credentials secret_id password2 oauth2_token password_hash
""".split()
HARMLESS_NAMES = """
    token_count tokenCount token_type token_url token_endpoint tokenizer input_tokens max_tokens
    total_tokens max_output_tokens cache_read_input_tokens stop_tokens page_token nextPageToken
    next_token sync_token pinned pinning spin author authors authority authorized authored oauth
    authenticate passenger passage compass bypass passed first_pass monkey key keyboard keys
    primary_key foreign_key public_key publicKey sort_key idempotency_key entry_key turkey donkey
    cookie_policy cookie_consent cookiecutter secretary secretariat password_policy
    password_changed_at password_file private_key_path api_key_id api_key_name api_key_env
    secret_name no_password session_id user_id opinion pintotal capital name subject body to content
""".split()


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", ["hunter2", 4711, 47.11, ["a", "b"], {"a": "b"}, " ", [1, "b"]])
def test_secret_is_known_by_its_name(name, value):
    assert redact({name: value, "n": 1}) == {name: REDACTED, "n": 1}


@pytest.mark.parametrize("name", HARMLESS_NAMES)
@pytest.mark.parametrize("value", ["hunter2", 4711, ["a", "b"], {"a": "b"}])
def test_name_that_only_sounds_like_one_hides_nothing(name, value):
    assert redact({name: value}) == {name: value}


@pytest.mark.parametrize("name", SECRET_NAMES)
@pytest.mark.parametrize("value", [None, True, False, "", [], {}])
def test_nothing_and_truth_values_are_no_secrets(name, value):
    assert redact({name: value}) == {name: value}


@pytest.mark.parametrize("value", [5, "5", 5.5, {"input": 5, "output": 6}, [5, 6]])
def test_tokens_that_are_counted_are_no_secrets(value):
    assert redact({"tokens": value}) == {"tokens": value}
    assert redact({"tokens": ["a1b2"]}) == {"tokens": REDACTED}


@pytest.mark.parametrize("name", ["name", "key", "header", "field", "Name"])
def test_value_with_its_name_beside_it_is_a_secret(name):
    pair = {name: "Authorization", "value": "x", "n": 1}
    assert redact([pair]) == [{**pair, "value": REDACTED}]
    harmless = {name: "Subject", "value": "x"}
    assert redact(harmless) == harmless


def test_content_of_what_has_a_name_is_no_header():
    message = {"name": "reset_password", "content": "done"}
    assert redact(message) == message
    assert redact({"name": "Secret Santa", "value": "x"}) == {"name": "Secret Santa", "value": "x"}


def test_list_of_a_name_and_a_value_is_a_secret():
    assert redact([["Authorization", "x"], ["Accept", "y"]]) == [
        ["Authorization", REDACTED],
        ["Accept", "y"],
    ]
    assert redact(["pass", "fail"]) == ["pass", "fail"]


def test_json_in_a_text_is_looked_through():
    text = json.dumps({"to": "bob", "login": {"pin": 4711}, "n": json.dumps({"otp": [1, 2]})})

    shown = json.loads(redact({"body": text})["body"])

    assert shown == {
        "to": "bob",
        "login": {"pin": REDACTED},
        "n": json.dumps({"otp": REDACTED}),
    }
    assert redact_text('{ "to" : "bob" }') == '{ "to" : "bob" }'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password: hunter2", "password: *"),
        ("use password=hunter2, then go", "use password=*, then go"),
        ("password = 'hunter 2' and go", "password = '*' and go"),
        ("curl --password hunter2 --verbose", "curl --password * --verbose"),
        ("curl --password=hunter2 --verbose", "curl --password=* --verbose"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=* psql"),
        ("Authorization: Basic aHVudGVyMg== ok", "Authorization: * ok"),
        ("-H 'Authorization: Token hunter2'", "-H 'Authorization: *'"),
        ("X-API-Key: hunter2 ok", "X-API-Key: * ok"),
        ("API key: hunter2 ok", "API key: * ok"),
        ("Cookie: a=hunter2; b=hunter2\nAccept: x", "Cookie: *\nAccept: x"),
        ("https://x/y?token=hunter2&page=2#z", "https://x/y?token=*&page=2#z"),
        ("redis://:hunter2@h:1/0", "redis://*@h:1/0"),
        ("https://hunter2@host/x", "https://*@host/x"),
        ("postgres://u:hun@ter#2@h/x", "postgres://*@h/x"),
        ('failed: {"password": "hunter2", "to": "bob"}', 'failed: {"password": "*", "to": "bob"}'),
        ('{\\"password\\": \\"hunter2\\"} no', '{\\"password\\": \\"*\\"} no'),
        ("AccountKey=hunter2==;EndpointSuffix=x", "AccountKey=*;EndpointSuffix=x"),
        ("aws_secret_access_key=hunter2", "aws_secret_access_key=*"),
        ('password: "hunter2', "password: *"),
        ("(password: hunter2).", "(password: *)."),
    ],
)
def test_secret_is_known_by_the_name_before_it(text, shown):
    assert redact_text(text) == shown.replace("*", REDACTED)
    assert redact([text]) == [shown.replace("*", REDACTED)]


@pytest.mark.parametrize(
    "text",
    [
        "The token of my appreciation; skip the password chapter. max_tokens: 5",
        "the password is on the note",
        "the secret ingredient: love",
        "tokens: 512, author: Bob, key: value, pass me the salt",
        "Passwords expire after 90 days",
        "rota migrate --database-url postgresql://rota_owner_of_production:...@HOST/rota",
        "12:30 meet the secretary; https://example.com/token/page?q=a@b.c",
        "ssh://git@github.com/x and postgresql://rota@localhost/x, bob@example.com",
        "password: null, token=None, secret: false",
        "(the password:) [token=]",
    ],
)
def test_plain_words_stay(text):
    assert redact_text(text) == text


def test_prose_loses_one_word_at_most():
    assert redact_text("token: see docs, chapter 2") == f"token: {REDACTED} docs, chapter 2"


FRAGMENTS = [
    *SECRETS,
    *(
        "password",
        "token",
        "Authorization",
        "API key",
        "Cookie",
        "pin",
        "x",
        "é",
        "a1b2c3d4e5f6g7h8",
    ),
    *(
        ":",
        "=",
        " ",
        "=>",
        "--",
        "-",
        ".",
        "/",
        "://",
        "@",
        "?",
        "&",
        ";",
        ",",
        "\n",
        "\\",
        '"',
        "'",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        REDACTED,
        "[red",
        "Basic ",
        "bearer ",
        "null",
        "5",
        "eyJ",
        "sk-",
    ),
]
texts = st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts, st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.one_of(texts, st.sampled_from(["name", "value", "key", *SECRET_NAMES])),
            inner,
            max_size=4,
        ),
        inner.map(json.dumps),
    ),
    max_leaves=12,
)


@settings(max_examples=1_000)
@given(texts)
def test_redacting_again_changes_nothing(text):
    once = redact_text(text)
    assert redact_text(once) == once


@settings(max_examples=500)
@given(values)
def test_redacting_a_value_again_changes_nothing(value):
    once = redact(value)
    assert repr(redact(once)) == repr(once)  # nan is not equal to itself


def test_a_key_right_behind_another_one_is_redacted_too():
    glued = f"AGE-SECRET-KEY-1{'Q' * 30}sk-{'a' * 20}"
    assert redact_text(glued) == REDACTED * 2


def test_what_is_too_deep_to_look_through_is_a_secret():
    deep: object = "hunter2"
    for _ in range(3_000):
        deep = [deep]
    assert "hunter2" not in repr(redact(deep))
    assert redact("[" * 100_000 + "]" * 100_000)


def test_half_of_a_pair_of_surrogates_stays_an_escape():
    text = redact_text('{"password": "x", "n": "\\ud800"}')
    assert text.encode()
    assert json.loads(text) == {"password": REDACTED, "n": "\ud800"}


ADVERSARIES = [
    *("eyJaaaaaaaa-", "eyJaaaaaaaa.", "a.", "aaaaaaaa", "a", "A", " ", "\n", '"', "'", "\\", '\\"'),
    *("password:", "password: ", "password=", 'password:"', "password:'", 'password:\\"', "pin:`"),
    *(
        "password: [",
        "password: }}",
        "token=)",
        "--password ",
        "--password",
        "--",
        "bearer ",
        "://",
    ),
    *("://a", "://a:", "a://b@", "@", "sk-", "SG.aaaaaaaaaaaaaaaaaaaaaa", "-----BEGIN ", "-----"),
    *("-----BEGIN PRIVATE KEY-----", "PRIVATE KEY", "Cookie: a=", "Cookie: a=b;", "a=b;", ";", "="),
    *(
        "Authorization: ",
        "Authorization: Basic ",
        "Authorization: Digest ",
        "API key",
        "[redacted]",
    ),
    *("password: [redacted]", "{", "[", "[[", '{"a":', "1234567890:", "ghp_", "AKIA", "x:y ", "é"),
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", ADVERSARIES)
def test_work_grows_with_the_text_and_not_faster(piece):
    """What is quadratic is sixteen times the work for four times as much text."""

    def work(size: int) -> None:
        text = piece * (size // len(piece))
        for wrapped in (text, "password: " + text, "x://" + text + "!", "[" + text + "]"):
            redact_text(wrapped)

    small = calls_of(lambda: work(4_000), most=1_000_000)
    assert calls_of(lambda: work(16_000), most=4_000_000) < 6 * small
    # What a pattern does is no call. One that is quadratic takes so long that the test is stopped.
    work(150_000)


def test_keys_that_do_not_end_are_read_once():
    """Each looked for to the end of the text would take longer than a test may."""
    assert redact_text("-----BEGIN PRIVATE KEY-----" * 80_000) == REDACTED


@pytest.mark.parametrize("before", [*range(80, 101), 1_950, 2_190, 2_199, 4_199])
@pytest.mark.parametrize("secret", ["sk-" + "a1B2" * 8, "password=hunter2hunter2", "x@" * 9])
def test_beginning_of_a_long_text_shows_no_part_of_a_secret(before, secret):
    text = "." * before + f" {secret} " + "." * 10_000
    shown = redact_beginning(text, 100)

    assert redact_text(text).startswith(shown.removesuffix("…"))
    assert len(shown) == 100


def test_text_that_is_nearly_all_secrets_shows_none_that_was_cut():
    text = " ".join(["sk-" + "a1B2" * 50] * 1_000)

    for limit in range(1, 200, 7):
        assert "a1B2" not in redact_beginning(text, limit)


def test_beginning_of_a_text_is_looked_at_and_no_more():
    def look(size):
        redact_beginning("name: value = x, " * size, 100)

    assert calls_of(lambda: look(100_000), most=1_000_000) <= 2 * calls_of(
        lambda: look(1_000), most=1_000_000
    )
