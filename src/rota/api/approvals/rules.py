"""Approval rules over HTTP: which calls run, which wait, and which are refused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Decider, Reader, Services, whose
from rota.api.pages import Page, page_of
from rota.domain.agents.configuration import Risk
from rota.domain.approvals.rules import LONGEST_NOTE, MOST_CONDITIONS, Attendance, Rule
from rota.services.approvals.rule_files import RuleEntry
from rota.shown.rules import (
    AddedRuleShown,
    ExplanationShown,
    ListedRuleShown,
    explained_json,
    rule_json,
)

router = APIRouter(prefix="/rules", tags=["rules"], route_class=StrictRoute)

OfOperator = Annotated[
    bool, Query(description="The operator's rules, which hold for everybody; for operators.")
]
_TOOL: Final = "A tool's name, or the beginning of names and `*`."
_BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)


class RuleAsked(BaseModel):
    """A rule: `refuse` comes before `require`, and `require` before `allow`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    effect: Literal["allow", "require", "refuse"]
    tool: str = Field(max_length=64, description=_TOOL)
    when: list[str] = Field(
        [],
        max_length=MOST_CONDITIONS,
        description="Conditions, all of which have to hold: `amount over 100`.",
    )
    agent: str | None = Field(None, description="Only for calls of this agent.")
    schedule: str | None = Field(
        None, description="Only for runs of this schedule. The operator names it by its id."
    )
    user: str | None = Field(None, description="A rule of the operator's: only for this person.")
    runs: Attendance = "any"
    risk: Risk | None = Field(None, description="Such a call counts as at least this risk.")
    note: str = Field("", max_length=LONGEST_NOTE, description="Why; the agent can read it.")
    expires: str | None = Field(None, description="When the rule ends: `90d`, `2027-01-31`.")
    uses: int | None = Field(
        None, ge=1, le=2**31 - 1, description="`allow` only: let only this many calls run."
    )


class AddedRule(AddedRuleShown):
    """A rule that was asked for. `warnings` say why it may not do what was meant."""

    warnings: list[str]


class CallAsked(BaseModel):
    """A call that is to be explained; it is not made."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tool: str = Field(max_length=64, description="The tool's name.")
    arguments: dict[str, Any] = Field({}, description="The arguments of the call.")
    agent: str | None = Field(None, description="Only the rules for this agent.")
    schedule: str | None = Field(None, description="Assume a run of this schedule.")
    interactive: bool = Field(False, description="Assume a run that a person has just asked for.")


@router.get("", response_model=page_of(ListedRuleShown, "RulePage"))
async def list_rules(
    me: Reader,
    app: Services,
    page: Page,
    operator: Annotated[
        bool, Query(description="Only the operator's rules; for operators.", examples=[True])
    ] = False,
) -> Response:
    """List the rules that hold for you: the operator's, then your own."""
    user_id = whose(me, everybody=operator)
    found = sorted(await app.rules.list_rules(user_id), key=_keys)
    last = page.keys(bool, datetime, UUID)
    rules = [rule for rule in found if last is None or _keys(rule) > last][: page.fetched]
    names = await app.rules.list_names(user_id, rules)
    stale = await app.rules.list_stale(user_id, rules)
    answered = page.page(rules, _keys, count=len(found))
    answered["items"] = [
        rule_json(rule, names) | {"stale": rule.id in stale} for rule in answered["items"]
    ]
    return answer(answered)


@router.post(
    "",
    response_model=AddedRule,
    responses={201: {"model": AddedRule, "description": "The rule is new."}},
)
async def add_rule(
    me: Decider,
    app: Services,
    body: Annotated[
        RuleAsked,
        Body(
            openapi_examples={
                "refuse": {
                    "value": {"effect": "refuse", "tool": "pay", "when": ["amount over 100"]}
                }
            }
        ),
    ],
    operator: OfOperator = False,
) -> Response:
    """Add a rule. The same rule is not added twice: then the answer is 200, and it stays."""
    user_id = whose(me, everybody=operator)
    effect = "deny" if body.effect == "refuse" else body.effect
    fields = body.model_dump(exclude={"effect", "when"})
    (made,) = await app.rules.add_entries(
        user_id, [RuleEntry(effect, when=tuple(body.when), **fields)]
    )
    names = await app.rules.list_names(user_id, [made.rule])
    warnings = await app.rules.list_doubts(user_id, [made.rule])
    shown = rule_json(made.rule, names) | {"is_new": made.is_new, "warnings": warnings}
    return answer(shown, 201 if made.is_new else 200)


@router.post("/explain", response_model=ExplanationShown)
async def explain_call(
    me: Decider,
    app: Services,
    body: Annotated[
        CallAsked,
        Body(
            openapi_examples={"pay": {"value": {"tool": "pay", "arguments": {"amount": "99.90"}}}}
        ),
    ],
) -> Response:
    """Explain what would happen to a call, which rules decide, and what would change that.

    Nothing is called.
    """
    explained = await app.rules.explain(
        me.user_id,
        body.tool,
        body.arguments,
        agent_name=body.agent,
        schedule=body.schedule,
        unattended=not body.interactive,
    )
    return answer(explained_json(explained))


@router.delete("/{rule}", status_code=204)
async def delete_rule(
    me: Decider,
    app: Services,
    rule: Annotated[
        str,
        Path(
            description="The rule's id, or the beginning of it.",
            max_length=100,
            examples=["8b1d0f6e-2f7c-4c55-9a3e-6d0e4b7c1a92"],
        ),
    ],
    operator: OfOperator = False,
) -> Response:
    """Remove a rule. Calls from now on are decided without it."""
    await app.rules.remove(whose(me, everybody=operator), rule)
    return Response(status_code=204)


def _keys(rule: Rule) -> tuple[bool, datetime, UUID]:
    """Return by what rules are listed: the operator's first, the oldest first."""
    return not rule.is_operators, rule.created_at or _BEGINNING, rule.id
