"""Who may decide in whose place."""

from __future__ import annotations

from dataclasses import dataclass

from rota.domain.ids import UserId


@dataclass(frozen=True, slots=True)
class Deputy:
    """`deputy_id` may decide what `user_id` did not in time. Names are for people to read."""

    user_id: UserId
    deputy_id: UserId
    user_name: str
    deputy_name: str
