"""Approval requests over HTTP: lists, all that a decision needs, and decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import KEPT_NOWHERE, StrictRoute, answer
from rota.api.callers import Decider, Reader, Scope, Services, require_scope
from rota.api.pages import Page, page_of
from rota.domain.agents.configuration import Risk
from rota.domain.approvals.actions import ActionStatus, ApprovalDecision, Settlement
from rota.domain.approvals.review import group_requests
from rota.domain.approvals.rules import ALWAYS_LASTS
from rota.domain.schedules.written_time import parse_duration
from rota.services.approvals.service import MOST_LISTED, OPEN, DecidedRequest, Seen
from rota.shown.approvals import ActionDetailsShown, ActionShown, GroupShown, details_json
from rota.shown.models import Shown, model_of
from rota.shown.rules import ApprovedAlwaysShown, rule_json

router = APIRouter(prefix="/approvals", tags=["approvals"], route_class=StrictRoute)

VIA: Final = "api"
DecidedShown = model_of(DecidedRequest)
MOST_DECIDED: Final = 200
_HASH: Final = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"

Action = Annotated[
    str,
    Path(
        description="The request's id, or the beginning of it.",
        max_length=100,
        examples=["3f2a61c4-90d1-4a57-b1f0-5e2c8d7a9b13"],
    ),
]
Status: TypeAlias = ActionStatus | Literal["all"]
OfStatus = Annotated[
    list[Status] | None,
    Query(description="Only these statuses, or `all`. Default: pending and unknown."),
]
OfAgent = Annotated[str | None, Query(description="Only requests of this agent.")]
OfTool = Annotated[
    str | None, Query(description="Only requests to call this tool.", examples=["send_mail"])
]
UpTo = Annotated[Risk, Query(description="Only requests of this risk or lower.")]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=2**31 - 1, description="The request's version, as it was shown.")
    arguments_hash: str = Field(
        pattern="^[0-9a-f]{64}$", description="The hash of its arguments, as it was shown."
    )


class Decision(_Asked):
    """A decision on a request, as it was shown."""

    reason: str = Field("", description="Why; the agent reads it. Cut at 1,000 characters.")


class Approval(_Asked):
    """The approval of a request as it was shown, and of calls like it."""

    only: list[str] | None = Field(
        None, min_length=1, description="The arguments that the rule compares. Default: all."
    )
    lasts: str | None = Field(
        None, alias="for", description="How long the rule lasts: `30d`. Default: 90 days."
    )


class Edit(BaseModel):
    """Other arguments for a request."""

    model_config = ConfigDict(extra="forbid", strict=True)

    arguments: dict[str, Any] = Field(
        description="All arguments. A redaction mark where it was shown means what it hides."
    )
    version: int = Field(ge=1, le=2**31 - 1, description="The request's version, as it was shown.")
    approve: bool = Field(False, description="Approve them at once: both, or neither.")


class Settled(BaseModel):
    """What became of a call of unknown outcome."""

    model_config = ConfigDict(extra="forbid", strict=True)

    outcome: Settlement = Field(description="`again` calls it once more.")


class SeenRequest(_Asked):
    """A request as it was shown."""

    request: str = Field(description="The request's id, or the beginning of it.")


class Decisions(BaseModel):
    """A decision on many requests, each as it was shown."""

    model_config = ConfigDict(extra="forbid", strict=True)

    decision: ApprovalDecision
    reason: str = Field("", description="Why; the agents read it. Cut at 1,000 characters.")
    requests: list[SeenRequest] = Field(min_length=1, max_length=MOST_DECIDED)


class Groups(Shown):
    """Similar requests together, the riskiest first. `all_shown`: no request is left out."""

    items: list[GroupShown]  # type: ignore[valid-type]  # a type that is made
    all_shown: bool


class DecidedRequests(Shown):
    """What came of each decision, in the order of the requests."""

    items: list[DecidedShown]  # type: ignore[valid-type]  # a type that is made


def _example(**value: Any) -> dict[str, Any]:
    return {"example": {"value": value}}


_SEEN: Final = {"version": 1, "arguments_hash": _HASH}


@router.get("", response_model=page_of(ActionShown, "ApprovalPage"))
async def list_approvals(
    me: Reader,
    app: Services,
    page: Page,
    status: OfStatus = None,
    agent: OfAgent = None,
    tool: OfTool = None,
    up_to: UpTo = "high",
) -> Response:
    """List requests, newest first: yours, and those passed on to you as a deputy."""
    wanted: dict[str, Any] = {
        "statuses": _statuses(status),
        "agent_name": agent,
        "tool_name": tool,
        "up_to": up_to,
    }
    found = await app.approvals.list_actions(
        me.user_id, **wanted, after=page.keys(datetime, UUID), limit=page.fetched
    )
    count = await app.approvals.count_actions(me.user_id, **wanted) if page.wants_count else None
    return answer(page.page(found, lambda one: (one.created_at, one.id), count=count))


@router.get("/groups", response_model=Groups)
async def list_approval_groups(
    me: Reader,
    app: Services,
    status: OfStatus = None,
    agent: OfAgent = None,
    tool: OfTool = None,
    up_to: UpTo = "high",
) -> Response:
    """List similar requests together: those of one person, agent and tool, with the same status.

    The newest 1,000 requests are looked at.
    """
    found = await app.approvals.list_actions(
        me.user_id,
        statuses=_statuses(status),
        agent_name=agent,
        tool_name=tool,
        up_to=up_to,
        limit=MOST_LISTED + 1,
    )
    groups = group_requests(found[:MOST_LISTED])
    return answer({"items": groups, "all_shown": len(found) <= MOST_LISTED})


@router.post("/decide", response_model=DecidedRequests)
async def decide_approvals(
    me: Decider,
    app: Services,
    body: Annotated[
        Decisions,
        Body(
            openapi_examples=_example(decision="approve", requests=[{"request": "3f2a", **_SEEN}])
        ),
    ],
) -> Response:
    """Approve or refuse many requests, each by itself: what cannot be decided stops no other."""
    requests = [Seen(one.request, one.version, one.arguments_hash) for one in body.requests]
    decided = await app.approvals.decide_seen(
        me.user_id, requests, body.decision, body.reason, via=VIA
    )
    return answer({"items": decided})


@router.get("/{action}", response_model=ActionDetailsShown)
async def get_approval(
    me: Reader,
    app: Services,
    action: Action,
    reveal: Annotated[
        bool,
        Query(
            description="Show redacted values, too. It needs the scope `decide`, and the audit "
            "log records that you looked."
        ),
    ] = False,
) -> Response:
    """Return a request with all that a decision needs."""
    if reveal:
        require_scope(me, Scope.DECIDE)
    found = await app.approvals.details(me.user_id, action, now=app.clock(), via=VIA, reveal=reveal)
    return answer(details_json(found), headers=KEPT_NOWHERE if reveal else None)


@router.post("/{action}/approve", response_model=ActionShown)
async def approve_action(
    me: Decider,
    app: Services,
    action: Action,
    body: Annotated[Decision, Body(openapi_examples=_example(**_SEEN))],
) -> Response:
    """Approve a request. Its call runs once.

    409 where it was decided, edited or expired meanwhile; `reached` says what it is by now.
    """
    return await _decide(me, app, action, "approve", body)


@router.post("/{action}/refuse", response_model=ActionShown)
async def refuse_action(
    me: Decider,
    app: Services,
    action: Action,
    body: Annotated[Decision, Body(openapi_examples=_example(**_SEEN, reason="Not today."))],
) -> Response:
    """Refuse a request. Its call does not run. 409 as for an approval."""
    return await _decide(me, app, action, "refuse", body)


@router.post("/{action}/approve-always", response_model=ApprovedAlwaysShown)
async def approve_action_always(
    me: Decider,
    app: Services,
    action: Action,
    body: Annotated[Approval, Body(openapi_examples=_example(**_SEEN, **{"for": "30d"}))],
) -> Response:
    """Approve a request, and add a rule that lets the same call run without approval.

    Both, or neither. 409 also where such a rule would let nothing run.
    """
    lasts = ALWAYS_LASTS if body.lasts is None else parse_duration(body.lasts, field="for")
    made = await app.rules.approve_always(
        me.user_id,
        action,
        version=body.version,
        arguments_hash=body.arguments_hash,
        only=body.only,
        lasts=lasts,
        via=VIA,
    )
    return answer({"action": made.action, "rule": rule_json(made.rule)})


@router.post("/{action}/edit", response_model=ActionShown)
async def edit_action(
    me: Decider,
    app: Services,
    action: Action,
    body: Annotated[
        Edit, Body(openapi_examples=_example(arguments={"to": "b@example.com"}, version=1))
    ],
) -> Response:
    """Replace the arguments of a pending request, which gets a new version."""
    made = await app.approvals.edit(
        me.user_id, action, body.arguments, version=body.version, approve=body.approve, via=VIA
    )
    return answer(made)


@router.post("/{action}/settle", response_model=ActionShown)
async def settle_action(
    me: Decider,
    app: Services,
    action: Action,
    body: Annotated[Settled, Body(openapi_examples=_example(outcome="happened"))],
) -> Response:
    """Record what happened to a call of unknown outcome, which only its owner can say."""
    return answer(await app.approvals.settle(me.user_id, action, body.outcome, via=VIA))


async def _decide(
    me: Decider, app: Services, action: str, decision: ApprovalDecision, body: Decision
) -> Response:
    made = await app.approvals.decide(
        me.user_id,
        action,
        decision,
        body.reason,
        version=body.version,
        arguments_hash=body.arguments_hash,
        via=VIA,
    )
    return answer(made)


def _statuses(asked: Sequence[Status] | None) -> Sequence[ActionStatus] | None:
    """Return what is asked for as the service has it; None: all."""
    if asked is None:
        return OPEN
    return None if "all" in asked else [ActionStatus(one) for one in asked]
