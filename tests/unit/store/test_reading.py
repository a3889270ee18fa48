"""Values from rows, and parameters from values: by the names and types of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

import pytest

from rota.domain.ids import RunId
from rota.store.reading import read
from rota.store.records import columns_of, row_of

AT = datetime(2026, 1, 5, 7, tzinfo=UTC)


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True)
class Rule:
    every: timedelta | None
    instants: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Thing:
    id: RunId
    parent: UUID | None
    colour: Colour
    other: Colour | None
    rule: Rule
    at: datetime | None
    seconds: float
    tags: frozenset[str]
    options: Mapping[str, Any]
    note: str = ""


def row(**columns: Any) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "parent": None,
        "colour": "red",
        "other": None,
        "every": 90,
        "instants": [AT],
        "at": AT,
        "seconds": Decimal("1.5"),
        "tags": ["a", "b"],
        "options": {"dry_run": True},
        "note": "n",
        **columns,
    }


def test_types_of_fields_say_what_becomes_of_columns():
    made = row(unknown="passed over")

    assert read(Thing, made) == Thing(
        id=made["id"],
        parent=None,
        colour=Colour.RED,
        other=None,
        rule=Rule(timedelta(seconds=90), (AT,)),
        at=AT,
        seconds=1.5,
        tags=frozenset({"a", "b"}),
        options={"dry_run": True},
        note="n",
    )
    assert read(Thing, made).colour is Colour.RED


def test_row_that_came_as_json_is_read_alike():
    made = row(parent=uuid4(), other="red")
    as_json = made | {
        "id": str(made["id"]),
        "parent": str(made["parent"]),
        "at": AT.isoformat(),
    }

    assert read(Thing, as_json) == read(Thing, made)


def test_null_is_none_and_an_empty_tuple():
    found = read(Thing, row(at=None, every=None, instants=None))

    assert (found.at, found.rule) == (None, Rule(None, ()))


@pytest.mark.parametrize("column", ["id", "every", "note"])
def test_field_without_a_column_is_an_error_even_with_a_default(column):
    made = row()
    del made[column]

    with pytest.raises(KeyError, match=column):
        read(Thing, made)


def test_word_that_no_enum_has_is_refused():
    with pytest.raises(ValueError, match="blue"):
        read(Thing, row(colour="blue"))


def test_columns_of_a_value_are_its_fields_and_those_within_it():
    rule = Rule(timedelta(seconds=90))

    assert row_of(rule) == {"every": timedelta(seconds=90), "instants": ()}
    columns = columns_of(read(Thing, row()))
    assert columns.items() >= {"every": rule.every, "note": "n"}.items()
    assert "rule" not in columns


def test_own_field_goes_before_one_of_the_same_name_within():
    @dataclass(frozen=True)
    class Content:
        every: str
        rule: Rule

    assert columns_of(Content("day", Rule(None)))["every"] == "day"
