"""Approval requests as JSON: one with all that a decision needs, and groups of similar ones."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from rota.domain.approvals.actions import ActionStatus, PendingAction
from rota.domain.approvals.call_texts import readable_call
from rota.domain.approvals.review import (
    ActionDetails,
    Precedents,
    RequestGroup,
    approval_in_words,
    same_calls,
)
from rota.domain.approvals.risk_signals import RiskSignal
from rota.domain.ids import ActionId, UserId
from rota.domain.text.jsonable import fields_of
from rota.shown.models import Shown, model_of

ActionShown = model_of(PendingAction)
GroupShown = model_of(RequestGroup)
_SIGNALS: Any = list[model_of(RiskSignal)]  # type: ignore[misc]  # a type that is made


class NamedText(Shown):
    """A name and what stands beside it."""

    name: str
    value: str


class CallOfRequest(Shown):
    """What a call would make, a mail or an event. The agent wrote all of it."""

    headers: list[NamedText]
    text: str


class DeputyNamed(Shown):
    """Somebody who may decide for the owner."""

    user_id: UserId
    name: str


ActionDetailsShown = create_model(
    "ActionDetails",
    __base__=ActionShown,
    __doc__="A request with all that helps to decide on it, as its reader sees it.",
    signals=(
        _SIGNALS,
        Field(description="What to look at twice."),
    ),
    precedents=(
        model_of(Precedents),
        Field(description="Decisions on such requests in the last 90 days."),
    ),
    like=(int, Field(description="How many others are pending for the same agent and tool.")),
    like_ids=(list[ActionId], Field(description="The ids of those.")),
    same_call_ids=(
        list[ActionId],
        Field(description="Those of them that ask for the very same call; each runs by itself."),
    ),
    whose=(str | None, Field(description="Its owner's name; null where the owner looks.")),
    deputies=(list[DeputyNamed], Field(description="The deputies of its owner.")),
    schedule=(str | None, Field(description="The schedule of the run that asked.")),
    prompt=(str | None, Field(description="The prompt of the run that asked.")),
    sender=(str, Field(description="The address that a mail would come from, where it is known.")),
    call=(
        CallOfRequest | None,
        Field(description="The mail or the event that the call would make."),
    ),
    if_approved=(str | None, Field(description="What an approval would do; null if it is over.")),
    offers_rule=(bool, Field(description="Whether `approve-always` is worth a thought.")),
    time_zone=(str, Field(description="The reader's time zone.")),
)


def details_json(shown: ActionDetails) -> dict[str, Any]:
    """Return a request as JSON, with all that is known of it."""
    action = shown.action
    same = next((s for s in same_calls([action, *shown.like]) if action in s), ())
    is_pending = action.status is ActionStatus.PENDING
    return {
        **fields_of(action),
        "arguments": shown.arguments,
        "signals": action.signals,
        "precedents": shown.precedents,
        "like": len(shown.like),
        "like_ids": [one.id for one in shown.like],
        "same_call_ids": [one.id for one in same if one.id != action.id],
        "whose": shown.owner_name,
        "deputies": [{"user_id": one, "name": name} for one, name in shown.deputies.items()],
        "schedule": shown.schedule_name,
        "prompt": shown.prompt,
        "sender": shown.sender,
        "call": _call(shown),
        "if_approved": approval_in_words(action) if is_pending else None,
        "offers_rule": shown.offers_rule,
        "time_zone": shown.time_zone,
    }


def _call(shown: ActionDetails) -> dict[str, Any] | None:
    made = readable_call(shown.action.tool_name, shown.arguments, sender=shown.sender)
    if made is None:
        return None
    return {
        "headers": [{"name": name, "value": value} for name, value in made.headers],
        "text": made.text,
    }
