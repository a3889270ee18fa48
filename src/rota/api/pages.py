"""Pages of lists: opaque keyset cursors, so that page 1,000 costs what page 1 costs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Final, TypeVar
from uuid import UUID

from fastapi import Depends, Query, Request
from pydantic import create_model

from rota.domain.errors import InvalidInputError
from rota.domain.text.jsonable import jsonable
from rota.shown.models import Shown

LARGEST_PAGE: Final = 200

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageAsked:
    """Which page of a list a request asks for.

    `after` are the keys of the last item of the page before, None for the first page. They are what
    the client sent: no more than JSON scalars, and they may be anything.
    """

    limit: int
    after: tuple[Any, ...] | None
    wants_count: bool
    _list: str

    def page(
        self, found: Sequence[T], keys: Callable[[T], tuple[Any, ...]], *, count: int | None = None
    ) -> dict[str, Any]:
        """Return the envelope. `found` has one item more than `limit` where there are more.

        `keys` gives of an item what the list is ordered by, which a cursor holds.
        """
        items = list(found[: self.limit])
        more = len(found) > self.limit
        following = _written(self._list, keys(items[-1])) if more else None
        counted = {"count": count} if self.wants_count else {}
        return {"items": items, "next": following, **counted}

    def keys(self, *kinds: type[Any]) -> tuple[Any, ...] | None:
        """Return the keys of `after` as these kinds of value; None for the first page.

        Kinds are str, int, bool, float, UUID, date and datetime (aware). Raises InvalidInputError.
        """
        if self.after is None:
            return None
        if len(self.after) != len(kinds):
            raise _not_ours()
        return tuple(_key(key, kind) for key, kind in zip(self.after, kinds, strict=True))

    @property
    def fetched(self) -> int:
        """How many items to ask the database for: one more, to see whether there are more."""
        return self.limit + 1


def _page(
    request: Request,
    limit: Annotated[
        int,
        Query(ge=1, le=LARGEST_PAGE, description="The most items of one page.", examples=[20]),
    ] = 50,
    after: Annotated[
        str | None,
        Query(max_length=1_000, description="`next` of the page before; none for the first."),
    ] = None,
    count: Annotated[bool, Query(description="Count all items, too: slower.")] = False,
) -> PageAsked:
    filters = sorted(
        (k, v)
        for k, v in request.query_params.multi_items()
        if k not in {"limit", "after", "count"}
    )
    told = json.dumps([request.url.path, filters]).encode()
    mark = hashlib.sha256(told).hexdigest()[:8]
    return PageAsked(limit, None if after is None else _read(mark, after), count, mark)


Page = Annotated[PageAsked, Depends(_page)]
"""A route's parameter: which page is asked for."""


def page_of(item: type, name: str) -> type[Shown]:
    """Return the model of a page of items, for OpenAPI."""
    return create_model(
        name,
        __base__=Shown,
        __doc__="One page of a list. `next` is for `after`, null on the last page.",
        items=(list[item], ...),  # type: ignore[valid-type]  # a type that is made here
        next=(str | None, ...),
        count=(int | None, None),
    )


def _written(mark: str, keys: tuple[Any, ...]) -> str:
    text = json.dumps([mark, *jsonable(keys)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read(mark: str, cursor: str) -> tuple[Any, ...]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        read = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise _not_ours() from error
    if not isinstance(read, list) or len(read) < 2 or read[0] != mark:
        raise _not_ours()
    if not all(isinstance(key, str | int | float | None) for key in read):
        raise _not_ours()
    return tuple(read[1:])


def _key(key: object, kind: type[Any]) -> Any:
    if kind in {UUID, date, datetime} and isinstance(key, str):
        try:
            read = UUID(key) if kind is UUID else kind.fromisoformat(key)
        except ValueError as error:
            raise _not_ours() from error
        if not isinstance(read, datetime) or read.tzinfo is not None:
            return read
    if type(key) is kind and (not isinstance(key, str) or "\0" not in key):
        return key
    raise _not_ours()


def _not_ours() -> InvalidInputError:
    return InvalidInputError(
        "`after` is not from a page of this list, with these filters. Begin with the first page.",
        field="after",
    )
