"""Names in two scripts are pointed out, honest ones are not."""

from __future__ import annotations

import pytest

from rota.domain.approvals.lookalikes import MOST_FOUND, lookalikes
from rota.domain.approvals.risk_signals import risk_signals


@pytest.mark.parametrize(
    "text",
    [
        "bob@p\u0430ypal.com",
        "https://\u0261oogle.\u0441om/login",
        "Bob <bob@ex\u0430mple.com>",
        "\u03bfwn.com",
        "pay to \u0440\u0430\u0443.com now",
        "p\u0430ypal",
        "\u0261oogle",
        "\u13aalpha.com",
    ],
)
def test_mixed_scripts_are_found(text):
    assert lookalikes(["x", text])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("\uff50aypal.com", "paypal.com"),
        ("\U0001d429aypal.com", "paypal.com"),
        ("\uff57\uff57\uff57\uff0epaypal\uff0ecom", "www.paypal.com"),
        ("\u24dfaypal.com", "paypal.com"),
        ("paypa\u217c.com", "paypal.com"),
        ("\uff50aypal", "paypal"),
        ("bob\uff20evil.com", "bob@evil.com"),
        ("evil\u3002com", "evil.com"),
        ("bank.com\u2044x.evil.example", "bank.com/x.evil.example"),
        ("https://bank.com\u2215x", "https://bank.com/x"),
    ],
)
def test_names_that_programs_read_as_others_are_found(text, meant):
    (said,) = lookalikes([text])
    assert f"stands for {meant}: " in said


@pytest.mark.parametrize(
    "text",
    [
        "bob@example.com",
        "m\u00fcller@stra\u00dfe.de",
        "Привет, bob, how are you",
        "почта@почта.рф",
        "東京.jp",
        "\u00e9t\u00e9.fr",
        "",
        "...",
        "Москва-Berlin",
        "Рейс Москва-Berlin.",
        "https://example.com/Москва",
        "https://пример.com/",
        "TCP/IP-протокол",
        "PDF\u043a\u0430",
        "TNF\u03b1, NF\u03baB",
        "H\u2082O/CO\u2082, 5 m\u00b2/s, \u00bd/2",
        "\uff2e\uff4f\uff0e\uff11",
        "我用Python。Java也好",
        "/\u0261u\u02d0\u0261\u0259l/",
        "\u2460.item",
        "e\ufb03cient.com",
    ],
)
def test_honest_names_are_not(text):
    assert lookalikes([text]) == ()


def test_keys_are_read_too_and_no_more_than_ten_are_named():
    names = {f"{n}.p\u0430y.com": n for n in range(50)}
    assert len(risk_signals({"headers": names})) == MOST_FOUND
