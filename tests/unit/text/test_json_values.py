"""JSON objects that a person writes on the command line."""

import pytest

from rota.domain.errors import InvalidInputError
from rota.domain.text.json_values import json_object


def test_an_object_is_read():
    assert json_object('{"a": [1, null], "b": {}}', "The hints", "hints") == {
        "a": [1, None],
        "b": {},
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "The hints cannot be read as JSON: The JSON has a fault at line 1"),
        ('{"a": 1, "a": 2}', "the key 'a' twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "too large"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"a": ' + "[" * 60 + "]" * 60 + "}", "nested"),
        ("[1]", "The hints: give a JSON object"),
    ],
)
def test_what_is_no_plain_object_is_refused_with_a_sentence(text, said):
    with pytest.raises(InvalidInputError) as caught:
        json_object(text, "The hints", "hints")
    assert said in caught.value.message
    assert caught.value.message.endswith(".")
    assert caught.value.field == "hints"
