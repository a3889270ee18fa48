"""Agents that may pay and mail, the rules of their owner, and what was paid."""

from __future__ import annotations

from typing import Any

import pytest

from rota.services.approvals.rules import RuleService
from tests.services.approvals.under_rules.policies import declare_payments, desk_with_payments
from tests.services.harness import clock


@pytest.fixture
def paid() -> list[Any]:
    return []


@pytest.fixture
def desk(workshop, paid):
    return desk_with_payments(workshop, paid)


@pytest.fixture
def rules(desk) -> RuleService:
    return RuleService(desk.workshop.database, clock=clock)


@pytest.fixture(autouse=True)
async def _declared(workshop):
    await declare_payments(workshop)
