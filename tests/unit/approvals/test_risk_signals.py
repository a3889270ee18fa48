"""What looks suspicious is pointed out and raises the risk; what is honest does neither."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.domain.agents.configuration import RISKS
from rota.domain.approvals.risk_signals import (
    LONG_TEXT,
    MANY_ITEMS,
    MANY_RECIPIENTS,
    RiskSignal,
    raised_risk,
    risk_signals,
)
from rota.security.secrets.redaction import redact
from tests.unit.calls import calls_of

NESTED = {"to": "bob@example.com", "deep": [{"x": ["y"]}]}


@pytest.mark.parametrize(
    ("arguments", "risk", "said"),
    [
        ({"to": "bob@p\u0430ypal.com"}, "high", "not written in one script"),
        ({"text": "pay \u202e001\u202c euros"}, "high", "U+202C, U+202E"),
        ({"text": "hello\u200bworld"}, "high", "U+200B"),
        ({"text": "hi" + "".join(chr(0xE0000 + ord(c)) for c in "send all")}, "high", "U+E0020"),
        ({"text": "\x1b[2Kapproved"}, "high", "U+001B"),
        ({"text": "pay\u00adpal"}, "high", "U+00AD"),
        ({"text": "pay\u200cpal \u200d"}, "high", "U+200C, U+200D"),
        ({"text": "\u3164\u2800\U000e0100"}, "high", "U+2800, U+3164, U+E0100"),
        ({"text": "abc\u200fdef"}, "high", "U+200F"),
        ({"text": "x\ufe0f"}, "high", "U+FE0F"),
        ({"to": "\uff50aypal.com"}, "high", "stands for paypal.com"),
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
def test_each_signal_is_said_and_raises_the_risk(arguments, risk, said):
    found = risk_signals({**NESTED, **arguments})

    assert any(signal.risk == risk and said in signal.text for signal in found), found
    assert raised_risk("low", found) == risk


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        NESTED,
        {"text": "Line one\nline two\twith a tab\r\n"},
        {"text": "\U0001f468\u200d\U0001f469\u200d\U0001f467 family, 1\ufe0f\u20e3"},
        {"text": "\u05e9\u05dc\u05d5\u05dd, \u0645\u0631\u062d\u0628\u0627"},
        {"text": "\u05e9\u05dc\u05d5\u05dd!\u200f (\u0645\u0631\u062d\u0628\u0627)\u061c"},
        {"text": "\u2764\ufe0f \U0001f44d\U0001f3fd\u200d\u2642\ufe0f \u00a9\ufe0f"},
        {"text": "Ah\u00a0! 12\u202f000\u2009\u20ac, \u3000\u6771\u4eac, \uf0b7 item"},
        {"text": "\u0915\u094d\u200d\u0937 \u0633\u0646\u0629 \u0600\u0661"},
        {"text": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"},
        {"text": "https://example.com/a@b and mailto:bob@example.com"},
        {"to": [f"a{n}@b.example" for n in range(MANY_RECIPIENTS)]},
        {"text": "x" * LONG_TEXT, "rows": [0] * MANY_ITEMS},
        {"amount": 10**15, "none": None, "yes": True, "share": 0.5},
    ],
)
def test_honest_arguments_have_no_signal(arguments):
    assert risk_signals(arguments) == ()


def test_a_password_in_a_link_is_a_secret_and_its_host_is_no_surprise():
    shown = redact({"url": "https://ann:hunter2@example.com/"})

    assert [signal.text for signal in risk_signals(shown)] == [
        "There is what looks like a secret in url."
    ]


@given(
    st.sampled_from(RISKS),
    st.lists(st.sampled_from(RISKS)),
)
def test_signals_never_lower_a_risk(risk, others):
    made = raised_risk(risk, [RiskSignal(other, "") for other in others])

    assert RISKS.index(made) == max(map(RISKS.index, [risk, *others]))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.slow
@given(st.dictionaries(st.text(), _JSON))
def test_no_arguments_break_it(arguments):
    assert all(signal.text for signal in risk_signals(arguments))


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        *("A", "\u0430", "\u00e9", "\uff50", "A\u0430", "\u200d", "\U0001f468\u200d", "\u202e"),
        *("://", "@", ".", "/", "[", '"', "<", ":", "@:", "a@b.example,", "1.1.1.1/", "\u00e9."),
        *("a://a@", "a://", "a+", "http://10.0.0.1/", "\u00e9@", "[redacted]"),
    ],
)
def test_twice_the_text_is_twice_the_work(piece):
    """A worker's loop does it, while a row is locked. What is quadratic is four times the work."""

    def look(size):
        text = (piece * size)[:size]
        risk_signals({"to": text, "text": text, text: 1})

    once = calls_of(lambda: look(20_000), most=2_000_000)
    assert calls_of(lambda: look(40_000), most=4_000_000) < 2.5 * once
    # What a pattern does is no call. One that is quadratic takes so long that the test is stopped.
    look(1_000_000)


@pytest.mark.slow
def test_many_texts_are_as_much_work_as_they_are_text():
    def look(count):
        risk_signals({"rows": [{"a": "A" * 20_000}] * count, "k": ["\u00e9" * 100] * (count * 100)})

    once = calls_of(lambda: look(20), most=2_000_000)
    assert calls_of(lambda: look(40), most=4_000_000) < 2.5 * once
    look(200)
