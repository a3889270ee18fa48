"""The page of one-time links, and the way to an issuer of OpenID Connect and back.

Nobody is sent to an address that a request names: after the sign-in it is always `/sign-in`.
"""

from __future__ import annotations

import html
from importlib.resources import files
from typing import Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from rota.api.callers import Services
from rota.api.identity.sessions import begin_session
from rota.api.origins import is_encrypted, own_origin
from rota.api.rates import FAILURES, at_most
from rota.domain.errors import NotSignedInError, SetupRequiredError, UnavailableError
from rota.domain.identity.sessions import SignedInBy
from rota.domain.identity.sign_ins import SIGN_IN_LASTS

router = APIRouter(include_in_schema=False)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_FILES: Final = files("rota.api.identity.sign_in")
_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


@router.get("/sign-in")
async def sign_in_page() -> Response:
    """Return the page that signs in by the code behind `#` of its address."""
    return HTMLResponse(_FILES.joinpath("sign_in.html").read_bytes(), headers=_HEADERS)


@router.get("/sign-in.js")
async def sign_in_script() -> Response:
    """Return the script of that page."""
    script = _FILES.joinpath("sign_in.js").read_bytes()
    return Response(script, headers=_HEADERS, media_type="text/javascript")


@router.get("/sign-in/ways")
async def ways(app: Services) -> Response:
    """Tell how one can sign in here."""
    return JSONResponse({"oidc": app.oidc_client is not None})


@router.get("/sign-in/oidc", dependencies=[Depends(at_most(FAILURES, "sign-in"))])
async def to_issuer(request: Request, app: Services) -> Response:
    """Send the browser to the issuer."""
    try:
        url, kept = await app.oidc.begin(_callback(request))
    except (SetupRequiredError, UnavailableError) as error:
        return _failed(error.message, 503)
    answered = RedirectResponse(url, 303, headers=_HEADERS)
    _keep(request, answered, kept, seconds=int(SIGN_IN_LASTS.total_seconds()))
    return answered


@router.get("/sign-in/oidc/callback", dependencies=[Depends(at_most(FAILURES, "sign-in"))])
async def from_issuer(request: Request, app: Services) -> Response:
    """Sign in whom the issuer has named, and show the page that says so."""
    given = dict(request.query_params)
    kept = request.cookies.get(_cookie(request))
    try:
        user_id = await app.oidc.finish(kept, given, _callback(request))
    except NotSignedInError as error:
        answered: Response = _failed(error.message, 401)
    except (SetupRequiredError, UnavailableError) as error:
        answered = _failed(error.message, 503)
    else:
        answered = RedirectResponse("/sign-in", 303, headers=_HEADERS)
        await begin_session(request, app, user_id, SignedInBy.OIDC, answered)
    _keep(request, answered, "", seconds=0)
    return answered


def _callback(request: Request) -> str:
    return f"{own_origin(request)}/sign-in/oidc/callback"


def _cookie(request: Request) -> str:
    return "__Host-rota-oidc" if is_encrypted(request) else f"rota-oidc-{request.url.port or 80}"


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


def _failed(said: str, status: int) -> Response:
    text = html.escape(said)
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Not signed in</title><h1>Not signed in</h1><p>{text}</p>\n"
    )
    return HTMLResponse(page, status, headers=_HEADERS)
