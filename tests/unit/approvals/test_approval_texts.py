"""Requests in a table: the beginning of their arguments, however much follows."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.cli.approvals.texts import _LONGEST_CELL, _cell

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), _JSON))
def test_cell_is_the_text_of_the_arguments_cut_to_fit(arguments):
    text = json.dumps(arguments, ensure_ascii=False)
    fits = len(text) <= _LONGEST_CELL
    assert _cell(arguments) == (text if fits else f"{text[: _LONGEST_CELL - 1]}\u2026")


@pytest.mark.parametrize(
    "value",
    [
        "\u00e9" * 8_000_000,
        ["x"] * 1_000_000,
        {str(n): n for n in range(500_000)},
        "\n" * 8_000_000,
    ],
    ids=["text", "list", "object", "lines"],
)
def test_megabytes_are_not_written_to_show_sixty_letters(value):
    started = time.process_time()
    for _ in range(200):
        assert len(_cell({"text": value})) == _LONGEST_CELL
    assert time.process_time() - started < 2  # half a minute, if all of it were written
