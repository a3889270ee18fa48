"""Requests as a person goes through them: like ones together, the riskiest first."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rota.domain.approvals.actions import ActionMode, ActionStatus, PendingAction
from rota.domain.approvals.review import ROUTINE, Precedents, group_requests
from rota.domain.ids import ActionId, UserId

NOW = datetime(2026, 11, 28, 7, tzinfo=UTC)
ALICE, BOB = UserId(uuid.uuid4()), UserId(uuid.uuid4())


def request(tool="send", risk="low", hours=24, **changes: Any) -> PendingAction:
    values: dict[str, Any] = {
        "id": ActionId(uuid.uuid4()),
        "user_id": ALICE,
        "run_id": None,
        "agent_name": "watcher",
        "tool_name": tool,
        "tool_version": 1,
        "arguments": {},
        "arguments_hash": "",
        "risk": risk,
        "reason": "",
        "account": "",
        "mode": ActionMode.QUEUE,
        "status": ActionStatus.PENDING,
        "version": 1,
        "created_at": NOW,
        "expires_at": NOW + timedelta(hours=hours),
        "decision_reason": "",
    }
    empty = dict.fromkeys(set(PendingAction.__dataclass_fields__) - set(values))
    return PendingAction(**{**empty, **values, **changes})


def test_like_requests_are_one_group_whatever_stands_between_them():
    first, other, second = request(), request("pay"), request()

    made = group_requests([first, other, second])

    assert sorted(len(group.actions) for group in made) == [1, 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": BOB},
        {"agent_name": "other"},
        {"tool_name": "pay"},
        {"status": ActionStatus.UNKNOWN},
    ],
)
def test_requests_of_others_or_otherwise_are_not_alike(changes):
    assert len(group_requests([request(), request(**changes)])) == 2


def test_the_riskiest_come_first_and_of_those_what_expires_next():
    late, soon = request("a", "low", 9), request("b", "low", 2)
    risky, mild = request("c", "high", 20), request("c", "medium", 1)
    unknown = request("d", "low", 30, status=ActionStatus.UNKNOWN)

    made = group_requests([late, mild, soon, risky, unknown])

    assert [group.first.tool_name for group in made] == ["d", "c", "b", "a"]
    assert made[1].actions == (risky, mild)
    assert made[1].risk == "high"
    assert made[1].until == mild.expires_at


def test_a_group_says_what_is_alike_and_what_differs():
    (group,) = group_requests(
        [
            request(arguments={"to": "ann", "text": "Hello", "cc": None}),
            request(arguments={"to": "bob", "text": "Hello"}),
        ]
    )

    assert group.same == {"text": "Hello"}
    assert group.differing == ("to", "cc")


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), ([1], [1, 2]), ({"a": [0]}, {"a": [False]}), ({}, [])]
)
def test_what_is_equal_in_python_alone_is_not_the_same(one, other):
    (group,) = group_requests([request(arguments={"n": one}), request(arguments={"n": other})])

    assert group.differing == ("n",)


@pytest.mark.parametrize("value", [None, 1, "x", [1, {"a": None}], {"a": {"b": [0.5]}}])
def test_what_is_equal_is_the_same_however_deep(value):
    (group,) = group_requests(
        [request(arguments={"n": json.loads(json.dumps(value))}) for _ in range(3)]
    )

    assert group.same == {"n": value}


def test_secrets_that_nobody_sees_are_not_said_to_be_the_same():
    hidden = {"to": "ann", "key": "[redacted]"}
    (group,) = group_requests([request(arguments=hidden), request(arguments=hidden)])

    assert (group.same, group.differing) == ({"to": "ann"}, ("key",))


@pytest.mark.parametrize(
    ("approved", "refused", "expected"),
    [(ROUTINE, 0, True), (ROUTINE - 1, 0, False), (50, 1, False), (0, 0, False)],
)
def test_routine_is_many_times_yes_and_never_no(approved, refused, expected):
    assert Precedents(approved, refused).is_routine is expected
