"""Deputies: people who may decide for another person."""

from __future__ import annotations

from dataclasses import dataclass

from rota.domain.ids import UserId


@dataclass(frozen=True, slots=True)
class Deputy:
    """`deputy_id` may decide when `user_id` does not answer in time. Names are for display."""

    user_id: UserId
    deputy_id: UserId
    user_name: str
    deputy_name: str
