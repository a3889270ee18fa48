"""Connections by OAuth over HTTP: a sign-in at Google or Microsoft begins here, and ends here."""

from __future__ import annotations

import html
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from rota.api.agents.connections import require_reachable
from rota.api.answers import KEPT_NOWHERE, StrictRoute, answer
from rota.api.callers import Caller, Manager, Services, who_calls
from rota.api.origins import is_encrypted, own_origin
from rota.api.problems import ApiError
from rota.bootstrap.app import App
from rota.domain.agents.mail_accounts import INBOX, ImapAccount, microsoft_account
from rota.domain.errors import InvalidInputError, RotaError
from rota.domain.ids import UserId
from rota.services.agents.connection_sign_ins import SignInBegun, SignInWanted
from rota.services.agents.grants import Connected
from rota.shown.connections import (
    SignedInShown,
    SignInWaitsShown,
    connection_json,
    resume_schedules,
)
from rota.shown.models import model_of

router = APIRouter(prefix="/connections/sign-ins", tags=["connections"], route_class=StrictRoute)
pages = APIRouter(include_in_schema=False)

CALLBACK: Final = "/connections/callback"
_SECONDS: Final = 15 * 60
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_Text = Annotated[str, Field(max_length=1_000)]


class SignInAsked(BaseModel):
    """An account to sign in to. Fields are those of `rota connections add`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["gmail", "google-calendar", "microsoft"]
    name: _Text = Field("", description="What you call it; its kind unless said.")
    account: _Text = Field("", description="The address of the account; microsoft needs it.")
    reconnect: bool = Field(
        False, description="Sign in anew to the connection of this name; all else of it stays."
    )
    send: bool = Field(False, description="gmail, microsoft: agents may send mail too.")
    write: bool = Field(False, description="google-calendar: agents may add events too.")
    client_id: _Text = Field("", description="Your client; left out: that of another connection.")
    client_secret: SecretStr = Field(SecretStr(""), max_length=1_000)
    client_file: SecretStr = Field(
        SecretStr(""), max_length=100_000, description="Google: the text of your client's file."
    )
    callback: bool = Field(
        False,
        description="Google: lead this browser back to rota. Else you send the last address.",
    )
    tenant: _Text = Field("", description="microsoft: the directory of the account.")
    folder: _Text = Field(INBOX, description="microsoft: the folder to read.")
    host: _Text = Field("", description="microsoft: another IMAP server.")
    port: int = Field(993, ge=1, le=65_535)
    smtp_host: _Text = Field("", description="microsoft: another server that sends mail.")
    smtp_port: int = Field(587, ge=1, le=65_535)
    certificate: str = Field("", max_length=100_000, description="The authority to trust, in PEM.")


class SignInAnswered(BaseModel):
    """A sign-in that ends. `answer` is the address to which Google led, or the code in it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    sign_in: str = Field(min_length=1, max_length=400_000, description="As it was answered.")
    answer: str = Field("", max_length=10_000, description="Google: the last address.")


@router.post("", status_code=201, response_model=model_of(SignInBegun))
async def begin_connection_sign_in(
    me: Manager,
    app: Services,
    request: Request,
    body: Annotated[
        SignInAsked,
        Body(
            openapi_examples={
                "gmail": {
                    "value": {"kind": "gmail", "client_id": "1.example", "client_secret": "secret"}
                }
            }
        ),
    ],
) -> Response:
    """Begin to connect an account at Google or Microsoft: the answer has the page to open."""
    _require_fitting(body)
    if body.callback and me.by != "session":
        raise InvalidInputError(
            "Only a browser that is signed in is led back to rota. Leave `callback` out, and send "
            "the last address.",
            field="callback",
        )
    mailbox = None
    if body.kind == "microsoft" and not body.reconnect:
        await require_reachable(me, host=body.host, smtp_host=body.smtp_host)
        mailbox = _mailbox(body)
    wanted = SignInWanted(
        body.kind,
        body.name,
        body.account,
        to_act=body.send or body.write,
        reconnect=body.reconnect,
        client_id=body.client_id,
        client_secret=body.client_secret.get_secret_value(),
        client_file=body.client_file.get_secret_value(),
        tenant=body.tenant,
        callback=f"{own_origin(request)}{CALLBACK}" if body.callback else "",
        mailbox=mailbox,
    )
    begun = await app.connection_sign_ins.begin(me.user_id, wanted)
    answered = answer(begun, 201, headers=KEPT_NOWHERE)
    if body.callback:
        _keep(request, answered, begun.sign_in, seconds=_SECONDS)
    return answered


@router.post(
    "/finish",
    status_code=201,
    response_model=SignedInShown,
    responses={202: {"model": SignInWaitsShown, "description": "Nobody has typed the code yet."}},
)
async def finish_connection_sign_in(
    me: Manager,
    app: Services,
    body: Annotated[
        SignInAnswered,
        Body(
            openapi_examples={
                "gmail": {
                    "value": {
                        "sign_in": "AAAA",
                        "answer": "http://127.0.0.1:50000?state=S&code=4/C",
                    }
                }
            }
        ),
    ],
) -> Response:
    """End a sign-in. The connection is tried first, and stored only if it works.

    Of Microsoft it asks once whether the code was typed, and answers 202 while it was not.
    """
    made = await app.connection_sign_ins.finish(me.user_id, body.sign_in, body.answer)
    if made is None:
        return answer({"status": "waiting"}, 202)
    return answer(await _shown(app, me.user_id, made), 201)


@pages.get(CALLBACK)
async def come_back(request: Request, app: Services) -> Response:
    """Connect the account that Google led this browser back from, for who is signed in here."""
    kept = request.cookies.get(_cookie(request), "")
    try:
        me = await _who_came_back(request, kept)
        address = f"{own_origin(request)}{CALLBACK}?{request.url.query}"
        made = await app.connection_sign_ins.finish(me.user_id, kept, address)
    except ApiError as error:
        answered = _page("Not connected", error.detail, error.status)
    except RotaError as error:
        answered = _page("Not connected", error.message, 400)
    else:
        shown = {} if made is None else await _shown(app, me.user_id, made)
        lacks = f" You did not allow {shown['lacks']}." if shown.get("lacks") else ""
        said = f"{shown.get('account')}: {shown.get('found')}.{lacks} You can close this window."
        answered = _page("Connected", said, 200)
    _keep(request, answered, "", seconds=0)
    return answered


async def _who_came_back(request: Request, kept: str) -> Caller:
    me = await who_calls(request)
    if me.by != "session" or not kept:
        raise ApiError(403, "no-sign-in", "This browser began no sign-in. Begin again in rota.")
    return me


async def _shown(app: App, me: UserId, made: Connected) -> dict[str, Any]:
    resumed = await resume_schedules(app, me, made.name)
    shown = connection_json(await app.connections.get(me, made.name), app.clock())
    more = {"found": made.found, "lacks": made.lacks, "warning": made.warning}
    return shown | more | {"resumed": resumed}


def _require_fitting(body: SignInAsked) -> None:
    """Raise InvalidInputError for a field that is another kind's."""
    is_microsoft = body.kind == "microsoft"
    others = {
        "write": body.kind != "google-calendar",
        "send": body.kind == "google-calendar",
        **dict.fromkeys(("client_file", "client_secret", "callback"), is_microsoft),
        **dict.fromkeys(("tenant", "host", "smtp_host", "certificate"), not is_microsoft),
        **dict.fromkeys(("port", "smtp_port", "folder"), not is_microsoft),
    }
    for name in sorted(body.model_fields_set):
        if others.get(name) and getattr(body, name):
            raise InvalidInputError(f"{body.kind} has no `{name}`.", field=name)


def _mailbox(body: SignInAsked) -> ImapAccount:
    return replace(
        microsoft_account(body.account, host=body.host, smtp_host=body.smtp_host),
        port=body.port,
        folder=body.folder,
        smtp_port=body.smtp_port,
        certificate=body.certificate,
    )


def _cookie(request: Request) -> str:
    port = request.url.port or 80
    return "__Host-rota-connection" if is_encrypted(request) else f"rota-connection-{port}"


def _keep(request: Request, answered: Response, kept: str, *, seconds: int) -> None:
    answered.set_cookie(
        _cookie(request),
        kept,
        max_age=seconds,
        path="/",
        secure=is_encrypted(request),
        httponly=True,
        samesite="lax",
    )


def _page(title: str, said: str, status: int) -> Response:
    page = f"<!doctype html><title>{title}</title><h1>{title}</h1><p>{html.escape(said)}</p>\n"
    return HTMLResponse(page, status, headers=_HEADERS)
