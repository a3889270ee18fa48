"""Names in two scripts are pointed out, honest ones are not."""

from __future__ import annotations

import pytest

from rota.domain.lookalikes import MOST_FOUND, lookalikes


@pytest.mark.parametrize(
    "text",
    [
        "bob@p\u0430ypal.com",
        "https://\u0261oogle.\u0441om/login",
        "Bob <bob@ex\u0430mple.com>",
        "\u03bfwn.com",
        "pay to \u0440\u0430\u0443.com now",
    ],
)
def test_mixed_scripts_are_found(text):
    assert lookalikes({"to": ["x", {"deep": text}]})


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
    ],
)
def test_honest_names_are_not(text):
    assert lookalikes({"to": text}) == ()


def test_keys_are_read_too_and_no_more_than_ten_are_named():
    names = {f"{n}.p\u0430y.com": n for n in range(50)}
    assert len(lookalikes(names)) == MOST_FOUND
