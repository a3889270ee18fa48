"""Lines are broken so that no terminal has to, and nothing of them is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from rota.cli.output import wrapped


@given(st.text(), st.integers(2, 100), st.integers(2, 100))
def test_no_piece_is_too_wide_and_nothing_is_lost(text, first, rest):
    text = text.replace("\n", " ").replace("\r", " ")

    start, *others = wrapped(text, first=first, rest=rest)

    assert "".join([start, *others]) == text.expandtabs()
    assert cell_len(start) <= first
    assert all(cell_len(piece) <= rest for piece in others)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", [""]),
        ("0123456789", ["0123456789"]),
        ("01234567890", ["0123456789", "0"]),
        ("one two three", ["one two ", "three"]),
        ("a" + " " * 12, ["a         ", "   "]),
        ("\u6771" * 6, ["\u6771" * 5, "\u6771"]),
        ("\u2764\ufe0f" * 4, ["\u2764\ufe0f" * 3, "\u2764\ufe0f"]),
        ("a\tbcd", ["a       ", "bcd"]),
    ],
)
def test_where_a_line_is_broken(text, pieces):
    assert list(wrapped(text, first=10, rest=10)) == pieces


def test_a_megabyte_is_no_matter():
    assert sum(map(len, wrapped("\u00e9" * 1_000_000, first=80, rest=80))) == 1_000_000


def test_a_command_in_backticks_stays_on_one_line_to_be_copied():
    text = "07:00 briefing: it failed badly (`rota runs show 3a5e46f8`)"
    assert list(wrapped(text, first=50, rest=40)) == [
        "07:00 briefing: it failed badly ",
        "(`rota runs show 3a5e46f8`)",
    ]
    assert "".join(wrapped(f"x `{'a b ' * 40}`", first=20, rest=20)) == f"x `{'a b ' * 40}`"
