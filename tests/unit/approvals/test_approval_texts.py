"""Requests in a table: the beginning of their arguments, however much follows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rota.cli.approvals.texts import in_brief

LONGEST = 60

_DUMPS = json.dumps
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.slow
@given(st.dictionaries(st.text(), _JSON))
def test_cell_is_the_text_of_the_arguments_cut_to_fit(arguments):
    text = json.dumps(arguments, ensure_ascii=False)
    fits = len(text) <= LONGEST
    assert in_brief(arguments) == (text if fits else f"{text[: LONGEST - 1]}\u2026")


class CountedList(list):
    """A list that counts how many of its items are read."""

    read = 0

    def __iter__(self):
        for item in super().__iter__():
            self.read += 1
            yield item


class CountedDict(dict):
    """An object that counts how many of its items are read."""

    read = 0

    def items(self):
        for pair in super().items():
            self.read += 1
            yield pair


@pytest.mark.parametrize(
    "value",
    [
        "\u00e9" * 8_000_000,
        CountedList(["x"] * 1_000_000),
        CountedDict({str(n): n for n in range(500_000)}),
        "\n" * 8_000_000,
        CountedList(["x" * 8_000_000]),
        CountedDict({"k" * 8_000_000: 1}),
    ],
    ids=["text", "list", "object", "lines", "text in a list", "name"],
)
def test_megabytes_are_neither_read_nor_written_to_show_sixty_letters(monkeypatch, value):
    written = []

    def dumps(*args, **kwargs):
        written.append(_DUMPS(*args, **kwargs))
        return written[-1]

    monkeypatch.setattr("rota.cli.approvals.texts.json.dumps", dumps)

    assert len(in_brief({"text": value})) == LONGEST

    assert sum(map(len, written)) < 10 * LONGEST
    assert getattr(value, "read", 0) <= LONGEST
