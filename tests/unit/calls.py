"""Work counted in calls: the same on every machine, however busy."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


class TooManyCallsError(BaseException):
    """Work came to more calls than it may; nothing that catches errors catches this."""


def calls_of(work: Callable[[], Any], *, most: int) -> int:
    """Do some work and return how many calls it came to, of Python's and of C's functions.

    Raises TooManyCallsError at the first that is more than `most`, so that work without an end has
    one.
    """
    counted = 0

    def count(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal counted
        if event in {"call", "c_call"}:
            counted += 1
            if counted > most:
                raise TooManyCallsError(f"more than {most} calls")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return counted
