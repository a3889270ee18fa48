"""Exponential backoff for loops that go on while the database fails, and their log lines.

A loop calls `failed` for each failure in a row and `succeeded` after them. The loop itself decides
what counts as a failure.
"""

from __future__ import annotations

import time
from typing import Any, Final

from rota.domain.errors import RotaError, UnavailableError
from rota.logs import LazyLogger

LONGEST_PAUSE: Final = 15.0
"""Seconds between two attempts at most: a database that is back is found within them."""

log = LazyLogger(__name__)


class Patience:
    """Pauses of one second, two, four and so on; a line in the log at failures 1, 2, 4, 8, ....

    `event` names the failure in these lines, and in the line that says that it is over.
    """

    def __init__(self, event: str, *, longest: float = LONGEST_PAUSE, **fields: Any) -> None:
        self._event = event
        self._longest = longest
        self._fields = fields
        self._failures = 0
        self._since = 0.0

    def failed(self, error: Exception) -> float:
        """Say so, if it is time to; returns the seconds to wait."""
        if not self._failures:
            self._since = time.monotonic()
        self._failures += 1
        if not self._failures & (self._failures - 1):  # a power of two
            self._tell(error)
        return min(2.0 ** min(self._failures - 1, 30), self._longest)

    def succeeded(self) -> None:
        """Forget the failures before it."""
        if self._failures:
            seconds = round(time.monotonic() - self._since, 1)
            log.warning(self._event, over_after=seconds, failures=self._failures, **self._fields)
        self._failures = 0

    def _tell(self, error: Exception) -> None:
        fields = {**self._fields, "error": str(error), "failures": self._failures}
        if isinstance(error, UnavailableError):
            log.warning(self._event, **fields)
        elif isinstance(error, RotaError):
            log.error(self._event, **fields)
        else:
            log.error(self._event, **fields, exc_info=error)
