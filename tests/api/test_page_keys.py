from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from rota.api.pages import PageAsked
from rota.domain.errors import InvalidInputError

RUN = "6f7d3c0a-1111-4222-8333-444455556666"


def asked(*after):
    return PageAsked(10, after, wants_count=False, _list="list")


def test_keys_are_read_as_what_the_list_is_ordered_by():
    keys = asked("2026-12-24T17:00:00Z", RUN, "noon", 3).keys(datetime, UUID, str, int)
    assert keys == (datetime(2026, 12, 24, 17, tzinfo=UTC), UUID(RUN), "noon", 3)
    assert PageAsked(10, None, wants_count=False, _list="list").keys(str) is None


@pytest.mark.parametrize(
    ("after", "kinds"),
    [
        (("noon", "more"), (str,)),
        ((3,), (str,)),
        (("noon",), (int,)),
        ((True,), (int,)),
        (("2026-12-24T17:00:00",), (datetime,)),  # of no zone: the database would guess one
        (("no time",), (datetime,)),
        (("no id",), (UUID,)),
        (("a\0b",), (str,)),
        ((None,), (str,)),
    ],
)
def test_keys_that_no_page_of_the_list_has_are_refused(after, kinds):
    with pytest.raises(InvalidInputError, match="Begin with the first page") as refused:
        asked(*after).keys(*kinds)
    assert refused.value.field == "after"
