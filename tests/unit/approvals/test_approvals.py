from __future__ import annotations

import itertools
import uuid
from typing import get_args

import pytest

from rota.domain.agents.configuration import Preference, Tier, ToolDeclaration
from rota.domain.approvals.verdict import judge
from rota.domain.ids import ToolId
from rota.domain.runs.run import NEXT, RunStatus


def declared(tier, preference=None):
    return ToolDeclaration(
        id=ToolId(uuid.uuid4()),
        name="t",
        description="",
        version=1,
        read_only=False,
        idempotent=False,
        risk="medium",
        default_tier=tier,
        timeout_seconds=1.0,
        preference=preference,
    )


EXPECTED = {
    ("auto", None): "allowed",
    ("auto", "auto"): "allowed",
    ("auto", "requires_approval"): "held",
    ("requires_approval", None): "held",
    ("requires_approval", "auto"): "held",  # a preference cannot loosen what the operator demands
    ("requires_approval", "requires_approval"): "held",
    ("user_configurable", None): "held",
    ("user_configurable", "auto"): "allowed",
    ("user_configurable", "requires_approval"): "held",
}


def test_table_names_every_combination():
    assert set(EXPECTED) == set(itertools.product(get_args(Tier), (None, *get_args(Preference))))


@pytest.mark.parametrize(("tier", "preference"), EXPECTED)
def test_tier_and_preference_decide(tier, preference):
    verdict = judge("t", declared(tier, preference))

    assert verdict.decision == EXPECTED[tier, preference]
    assert verdict.tier == tier
    assert verdict.reason


def test_unknown_tool_requires_approval():
    verdict = judge("t", None)

    assert (verdict.decision, verdict.tier, verdict.risk) == ("held", "unknown", "high")


def test_every_state_of_a_run_has_its_transitions_and_the_last_ones_have_none():
    assert set(NEXT) == set(RunStatus)
    assert not NEXT[RunStatus.FINISHED]
    assert not NEXT[RunStatus.CANCELLED]
