"""What stands out in arguments is pointed out and raises the risk; what is honest does neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.domain.agents import RISKS
from rota.domain.signals import (
    LONG_TEXT,
    MANY_ITEMS,
    MANY_RECIPIENTS,
    Signal,
    raised,
    signals,
)
from rota.security.redaction import redact

NESTED = {"to": "bob@example.com", "deep": [{"x": ["y"]}]}


@pytest.mark.parametrize(
    ("arguments", "risk", "said"),
    [
        ({"to": "bob@p\u0430ypal.com"}, "high", "not written in one script"),
        ({"text": "pay \u202e001\u202c euros"}, "high", "U+202C, U+202E"),
        ({"text": "hello\u200bworld"}, "high", "U+200B"),
        ({"text": "hi" + "".join(chr(0xE0000 + ord(c)) for c in "send all")}, "high", "U+E0020"),
        ({"text": "\x1b[2Kapproved"}, "high", "U+001B"),
        ({"deep": [{"k\u200b": 1}]}, "high", "U+200B"),
        ({"body": "[redacted]"}, "high", "a secret in body"),
        ({"a": {"b": ["x [redacted] y"]}}, "high", "a secret in a"),
        ({"url": "https://bank.example@evil.example/x"}, "high", "leads to 'evil.example'"),
        ({"text": "see http://10.0.0.1:80/a"}, "medium", "without a name: 10.0.0.1:80"),
        ({"text": "http://[::1]/"}, "medium", "without a name"),
        ({"to": [f"a{n}@b.example" for n in range(MANY_RECIPIENTS + 1)]}, "medium", "11 recip"),
        ({"to": ", ".join(f"a{n}@b.example" for n in range(12))}, "medium", "12 recipients"),
        ({"text": "x" * (LONG_TEXT + 1)}, "medium", "4,001 characters"),
        ({"rows": [0] * (MANY_ITEMS + 1)}, "medium", "51 items"),
    ],
)
def test_what_stands_out_is_said_and_raises_the_risk(arguments, risk, said):
    found = signals({**NESTED, **arguments})

    assert any(signal.risk == risk and said in signal.text for signal in found), found
    assert raised("low", found) == risk


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        NESTED,
        {"text": "Line one\nline two\twith a tab\r\n"},
        {"text": "\U0001f468\u200d\U0001f469\u200d\U0001f467 family, 1\ufe0f\u20e3"},
        {"text": "\u05e9\u05dc\u05d5\u05dd, \u0645\u0631\u062d\u0628\u0627"},
        {"text": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"},
        {"text": "https://example.com/a@b and mailto:bob@example.com"},
        {"to": [f"a{n}@b.example" for n in range(MANY_RECIPIENTS)]},
        {"text": "x" * LONG_TEXT, "rows": [0] * MANY_ITEMS},
        {"amount": 10**15, "none": None, "yes": True, "share": 0.5},
    ],
)
def test_honest_arguments_have_no_signal(arguments):
    assert signals(arguments) == ()


def test_a_password_in_a_link_is_a_secret_and_its_host_is_no_surprise():
    shown = redact({"url": "https://ann:hunter2@example.com/"})

    assert [signal.text for signal in signals(shown)] == [
        "There is what looks like a secret in url."
    ]


@given(
    st.sampled_from(RISKS),
    st.lists(st.sampled_from(RISKS)),
)
def test_signals_never_lower_a_risk(risk, others):
    made = raised(risk, [Signal(other, "") for other in others])

    assert RISKS.index(made) == max(map(RISKS.index, [risk, *others]))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), _JSON))
def test_no_arguments_break_it(arguments):
    assert all(signal.text for signal in signals(arguments))
