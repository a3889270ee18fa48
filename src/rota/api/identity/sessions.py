"""Sessions over HTTP: sign in by a one-time link, see and end sessions, sign out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Body, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import KEPT_NOWHERE, StrictRoute, answer
from rota.api.callers import Caller, InPerson, Services, SignedIn
from rota.api.origins import (
    cookie_name,
    csrf_token,
    drop_cookie,
    refuse_other_sites,
    set_cookie,
)
from rota.api.pages import Page, page_of
from rota.api.problems import ApiError
from rota.api.rates import FAILURES, at_most
from rota.bootstrap.app import App
from rota.domain.identity.scopes import ALL_SCOPES, Scope
from rota.domain.identity.sessions import ABSOLUTE_END, Session, SignedInBy
from rota.shown.identity import PresentSession, SessionShown, session_json

router = APIRouter(tags=["sessions"], route_class=StrictRoute)


class SignInCode(BaseModel):
    """The code of a one-time link: what follows `#` in it."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(max_length=200, description="What follows `#` in the link.", repr=False)


_ID: Final = "6f2d8c4e-0f5b-4a39-9d7e-1c2b3a4d5e6f"
_EXAMPLE: Final = {"link": {"value": {"code": "QwHzu8n1bJbQv3Wk0jM9Wf8y7cN2kq5LrT4sXv6ZpA0"}}}


async def begin_session(
    request: Request, app: App, user_id: Any, by: SignedInBy, answered: Response
) -> tuple[UUID, str]:
    """Sign a person in: a new session, whose cookie goes with the answer; the former one ends."""
    made = await app.sessions.begin(
        user_id,
        by=by,
        user_agent=request.headers.get("user-agent", ""),
        former=request.cookies.get(cookie_name(request)),
    )
    set_cookie(request, answered, made.secret, seconds=int(ABSOLUTE_END.total_seconds()))
    return made.session.id, made.secret


@router.post(
    "/session",
    status_code=201,
    response_model=PresentSession,
    dependencies=[Depends(at_most(FAILURES, "sign-in"))],
)
async def sign_in(
    request: Request,
    app: Services,
    wanted: Annotated[SignInCode, Body(openapi_examples=_EXAMPLE)],
) -> Response:
    """Sign in by the code of a one-time link. The answer sets the cookie of a new session."""
    if "origin" in request.headers or "sec-fetch-site" in request.headers:
        refuse_other_sites(request)
    user_id = await app.links.redeem(wanted.code)
    set_later = Response()
    session_id, secret = await begin_session(request, app, user_id, SignedInBy.LINK, set_later)
    authenticate = request.app.state.authenticate
    is_operator = await authenticate.is_operator(user_id)
    me = Caller(user_id, ALL_SCOPES, is_operator, "session", session_id)
    answered = answer(await _present(app, me, secret), 201, headers=KEPT_NOWHERE)
    answered.raw_headers += [
        header for header in set_later.raw_headers if header[0] == b"set-cookie"
    ]
    return answered


@router.get("/session", response_model=PresentSession)
async def get_session(request: Request, me: SignedIn, app: Services) -> Response:
    """Tell who is signed in, how, and what they may do."""
    secret = request.cookies.get(cookie_name(request)) if me.by == "session" else None
    return answer(await _present(app, me, secret), headers=KEPT_NOWHERE)


@router.delete("/session", status_code=204)
async def sign_out(request: Request, me: InPerson, app: Services) -> Response:
    """Sign out: the session of the cookie ends, here and wherever else it may be."""
    if me.session_id is None:
        raise ApiError(409, "no-session", "You are signed in without a session: nothing to end.")
    await app.sessions.end(me.user_id, me.session_id)
    answered = Response(status_code=204)
    drop_cookie(request, answered)
    return answered


@router.get("/sessions", response_model=page_of(SessionShown, "SessionPage"))
async def list_sessions(me: InPerson, app: Services, page: Page) -> Response:
    """List your sessions, the one that was seen last first. `user_agent` is not to be believed."""
    found = await app.sessions.all(me.user_id)
    after = page.keys(datetime, UUID)
    rest = [one for one in found if after is None or _keys(one) < after]
    shown = page.page(rest, _keys, count=len(found))
    shown["items"] = [session_json(session, me.session_id) for session in shown["items"]]
    return answer(shown)


@router.delete("/sessions/{session}", status_code=204)
async def end_session(
    me: InPerson, app: Services, session: Annotated[UUID, Path(examples=[_ID])]
) -> Response:
    """End one of your sessions: its cookie is worth nothing from now on."""
    await app.sessions.end(me.user_id, session)
    return Response(status_code=204)


def _keys(session: Session) -> tuple[datetime, UUID]:
    return session.last_seen_at, session.id


async def _present(app: App, me: Caller, secret: str | None) -> dict[str, Any]:
    return {
        "user_id": me.user_id,
        "email": await app.address_of(me.user_id),
        "scopes": [scope for scope in Scope if scope in me.scopes],
        "is_operator": me.is_operator,
        "signed_in_by": me.by,
        "session_id": me.session_id,
        "csrf_token": None if secret is None else csrf_token(secret),
    }
