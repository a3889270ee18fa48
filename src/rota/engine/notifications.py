"""Filters the notifications (NOTIFY) on the queue's channel before PgQueuer sees them.

Everybody who can connect to the database may notify on that channel. PgQueuer trusts each
notification: it logs the ones that it cannot parse, cancels the jobs that they name, and reads the
queue once for each. So PgQueuer gets only two kinds: a wake-up that rota makes itself, at most once
in a hundredth of a second, and the answers to PgQueuer's own probes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

import structlog

from rota.domain.text.shortening import shorten

WAKE_GAP: Final = 0.01
"""Seconds between two wake-ups at least."""

TOLD_EVERY: Final = 60.0
"""Seconds between two lines of the log about what was ignored."""

_LONGEST: Final = 500
_SHOWN: Final = 60

log = structlog.get_logger(__name__)


class NotificationFilter:
    """Passes wake-ups and PgQueuer's own probes on, and ignores all other notifications.

    `probes` returns the ids of the probes that are under way.
    """

    def __init__(
        self, channel: str, passed: Callable[[str], None], probes: Callable[[], Iterable[object]]
    ) -> None:
        self._channel = channel
        self._passed = passed
        self._probes = probes
        self._is_due = False
        self._ignored = 0
        self._told = -TOLD_EVERY

    def __call__(self, payload: str | bytes | bytearray) -> None:
        """Take a notification; never raises."""
        text = payload if isinstance(payload, str) else bytes(payload).decode(errors="replace")
        if len(text) > _LONGEST:
            self._ignore(text)
        elif '"table_changed_event"' in text:
            self._wake()
        elif any(str(probe) in text for probe in self._probes()):
            self._passed(text)
        elif '"health_check_event"' not in text:  # that is another worker's
            self._ignore(text)

    def _wake(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(WAKE_GAP, self._pass_wake)

    def _pass_wake(self) -> None:
        self._is_due = False
        event = {
            "channel": self._channel,
            "operation": "update",
            "sent_at": datetime.now(UTC).isoformat(),
            "table": "pgqueuer",
            "type": "table_changed_event",
        }
        self._passed(json.dumps(event))

    def _ignore(self, text: str) -> None:
        self._ignored += 1
        now = time.monotonic()
        if now - self._told >= TOLD_EVERY:
            log.warning(
                "notifications_ignored", count=self._ignored, the_last=ascii(shorten(text, _SHOWN))
            )
            self._told, self._ignored = now, 0
