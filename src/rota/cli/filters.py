"""Words for an empty list: there is nothing, or the filters match none of what there is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

MOST_COUNTED: Final = 1_000
"""How many others are counted to say what filters leave out."""


def empty_list(
    plural: str, others: int, filters: Sequence[str | None], *, nothing_there: str
) -> str:
    """Say why a list is empty.

    `filters` are in words what was asked for ("from boomer"), None for what was not; `others` is
    how many there are without them.
    """
    kinds = [said for said in filters if said is not None]
    if not others or not kinds:
        return nothing_there
    kind = " and ".join(kinds)
    if others == 1:
        return f"There is one, and it is not {kind}."
    count = f"{others:,}" if others < MOST_COUNTED else f"{MOST_COUNTED:,} or more"
    return f"None of the {count} {plural} is {kind}."
