"""Typed identifiers, so that a run's id cannot be passed where a user's belongs."""

from __future__ import annotations

from typing import NewType
from uuid import UUID

UserId = NewType("UserId", UUID)
UserId.__doc__ = """A person's id, as `App.person` and `App.named` return it: for annotations.

>>> async def count_waiting(app: rota.App, me: rota.UserId) -> int:
...     return len(await app.approvals.list_actions(me))
>>> await count_waiting(app, me)
1
"""
AgentId = NewType("AgentId", UUID)
ToolId = NewType("ToolId", UUID)
CalendarId = NewType("CalendarId", UUID)
ScheduleId = NewType("ScheduleId", UUID)
RunId = NewType("RunId", UUID)
ResultId = NewType("ResultId", UUID)
NotificationId = NewType("NotificationId", UUID)
ActionId = NewType("ActionId", UUID)
RuleId = NewType("RuleId", UUID)
FencingToken = NewType("FencingToken", int)
