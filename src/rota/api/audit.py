"""The audit log over HTTP: its entries, its heads, a check of it, and its export."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Response
from pydantic import AwareDatetime

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Reader, Services, whose
from rota.api.downloads import download_lines
from rota.api.pages import Page, page_of
from rota.domain.audit.heads import read_heads
from rota.services.audit.service import head_line
from rota.shown.audit import (
    AuditEntryShown,
    HeadShown,
    VerificationShown,
    entry_json,
    verification_json,
)
from rota.shown.models import Shown

router = APIRouter(prefix="/audit", tags=["audit"], route_class=StrictRoute)

Everybody = Annotated[
    bool, Query(description="The entries of everybody; for operators.", examples=[True])
]
_HEAD: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_LINES: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Lines of JSON, exactly as they were sealed.",
        "content": {
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"type": "chain", "chain": "..."}\n{"type": "head", "seq": 1}\n',
            }
        },
    }
}
_FURTHEST: Final = 2**63 - 1


class Heads(Shown):
    """The heads of chains: yours, or everybody's."""

    items: list[HeadShown]


@router.get("", response_model=page_of(AuditEntryShown, "AuditPage"))
async def list_audit_entries(
    me: Reader,
    app: Services,
    page: Page,
    run: Annotated[
        str | None, Query(description="Only of this run: its id, or the beginning of it.")
    ] = None,
    action: Annotated[
        str | None, Query(description="Only of this request: its id, or the beginning of it.")
    ] = None,
    tool: Annotated[
        str | None, Query(description="Only of this tool.", examples=["send_mail"])
    ] = None,
    since: Annotated[
        AwareDatetime | None, Query(description="Only of calls since then (RFC 3339).")
    ] = None,
) -> Response:
    """List your entries of the audit log, the newest first."""
    keys = page.keys(int)
    wanted: dict[str, Any] = {"run": run, "action": action, "tool": tool, "since": since}
    found = await app.audit.entries(
        me.user_id,
        **wanted,
        before=min(keys[0], _FURTHEST) if keys else None,
        limit=page.fetched,
    )
    count = await app.audit.count(me.user_id, **wanted) if page.wants_count else None
    answered = page.page(found, lambda one: (one.id,), count=count)
    answered["items"] = [entry_json(one) for one in answered["items"]]
    return answer(answered)


@router.get("/verify", response_model=VerificationShown)
async def verify_audit(
    me: Reader,
    app: Services,
    head: Annotated[
        list[str] | None,
        Query(
            description="Heads that you kept, which the chains must still contain: each is 64 "
            "hexadecimal digits, or a line of JSON.",
            max_length=100,
            examples=[[_HEAD]],
        ),
    ] = None,
    everybody: Everybody = False,
) -> Response:
    """Check the audit log. A sealed entry that was changed or removed is a problem."""
    user_id = whose(me, everybody=everybody)
    heads = read_heads("\n".join(head)) if head else ()
    found = await app.audit.verify(user_id, now=app.clock(), heads=heads)
    return answer(verification_json(found))


@router.get("/heads", response_model=Heads)
async def list_audit_heads(me: Reader, app: Services, everybody: Everybody = False) -> Response:
    """Return the head of your chain. Keep it elsewhere, for a later check."""
    found = await app.audit.heads(whose(me, everybody=everybody))
    return answer({"items": [head_line(one) for one in found]})


@router.get("/export", response_class=Response, responses=_LINES)
async def export_audit(me: Reader, app: Services, everybody: Everybody = False) -> Response:
    """Return the chain as lines of JSON, its head last. It can be checked without rota."""
    return await download_lines(_lines(app, whose(me, everybody=everybody)), "rota-audit.jsonl")


async def _lines(app: Services, user_id: Any) -> AsyncIterator[str]:
    async for line in app.audit.export(user_id):
        yield json.dumps(line, ensure_ascii=False)
