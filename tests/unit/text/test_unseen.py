"""What nobody sees is written out, in honest writing nothing is."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.domain.text.unseen import hidden_in, spell_out

HIDDEN = (
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b\u180e\u200b\u202e\u2066\u2800\u3164\ufe00\ufe0e"
    "\ufe0f\ufeff\uffa0\ufffc\U0001bca0\U0001d173\U000e0001\U000e0041\U000e0100\U000e0fff\x9b\x1b\x00"
)


@pytest.mark.parametrize("character", HIDDEN, ids=lambda c: f"{ord(c):04X}")
def test_character_that_nobody_sees_is_written_out_and_named(character):
    assert spell_out(f"a{character}b").isascii()
    assert hidden_in(f"a{character}b") == {character}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u202e", "\\u202e"),
        ("\U000e0041", "\\u{e0041}"),
        ("\r", "\\u000d"),
        ("\u3000", "\\u3000"),
        ("\ue000", "\\ue000"),
        ("\ud800", "\\ud800"),
        ("\U0001d17a", "\\u{1d17a}"),
        ("12\u202f000\u00a0\u20ac", "12 000 \u20ac"),
    ],
)
def test_how_it_is_written_out(text, shown):
    assert spell_out(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "a\n\tb \u00e9 \u65e5\u672c",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f 1\ufe0f\u20e3",
        "\U0001f44d\U0001f3fd\u200d\u2642\ufe0f",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "\u0600\u0661",
    ],
)
def test_honest_writing_stays_as_it_is(text):
    assert spell_out(text) == text
    assert hidden_in(text) == frozenset()


def test_joiners_in_a_row_hide_something():
    assert spell_out("\u0645\u200c\u200c\u062e") == "\u0645\u200c\\u200c\u062e"
    assert hidden_in("\u0645\u200c\u200c\u062e") == {"\u200c"}


@pytest.mark.slow
def test_no_character_of_any_script_is_shown_that_unicode_says_is_not():
    unseen = {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp", "Zs"}
    seen_all_the_same = 13  # signs around numbers
    left = [
        c
        for c in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(c) in unseen and spell_out(c) == c
    ]
    assert set(left) >= {" ", "\n", "\t"}
    assert len(left) == 3 + seen_all_the_same


@given(st.text())
def test_no_text_breaks_it(text):
    shown = spell_out(text)
    assert hidden_in(shown) <= set("\u200e\u200f\u061c")
    assert spell_out(shown) == shown
