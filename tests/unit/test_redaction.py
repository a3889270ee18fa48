from __future__ import annotations

import pytest

from rota.domain.content import REDACTED
from rota.security.redaction import redact, redact_text

SECRETS = [
    "sk-" + "a1B2" * 8,
    "ghp_" + "a" * 36,
    "xoxb-1234567890-abc",
    "ya29.a0AfH6SMBabcdefg",
    "AKIA" + "A" * 16,
    "123456789:" + "A" * 35,
    "Bearer abcdefgh12345678",
    "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF2Q",
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


def test_plain_words_stay():
    text = "The token of my appreciation; skip the password chapter. max_tokens: 5"

    assert redact_text(text) == text
    assert redact({"max_tokens": 5, "tokenizer": "x"}) == {"max_tokens": 5, "tokenizer": "x"}
