"""Our own origin, and what protects cookies: their names, their attributes, and CSRF.

A page of another site can have a browser send requests here with our cookie. It can neither read
answers, nor set the headers Origin and X-CSRF-Token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final

from fastapi import Request, Response

from rota.api.problems import ApiError

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def own_origin(request: Request) -> str:
    """Return scheme, host and port as the browser has them: `https://rota.example.com`.

    The server has checked the Host header by then.
    """
    public = request.app.state.rota.settings.exposure.public_url
    if public is not None and request.url.hostname == public.host:
        return str(public)  # whatever a reverse proxy says of the scheme
    return f"{request.url.scheme}://{request.url.netloc}"


def is_encrypted(request: Request) -> bool:
    """Return whether the browser uses https."""
    return own_origin(request).startswith("https:")


def cookie_name(request: Request) -> str:
    """Return the name of the session's cookie.

    Under https `__Host-` has browsers refuse one that another host or a page without TLS set. On
    loopback the port is in it, because cookies of one host are shared by all its ports.
    """
    if is_encrypted(request):
        return "__Host-rota"
    return f"rota-{request.url.port or 80}"


def set_cookie(request: Request, response: Response, secret: str, *, seconds: int) -> None:
    """Give the browser its session."""
    response.set_cookie(
        cookie_name(request),
        secret,
        max_age=seconds,
        path="/",
        secure=is_encrypted(request),
        httponly=True,
        samesite="lax",
    )


def drop_cookie(request: Request, response: Response) -> None:
    """Have the browser forget its session."""
    set_cookie(request, response, "", seconds=0)


def csrf_token(secret: str) -> str:
    """Return what a page of ours sends in X-CSRF-Token; it tells nothing of the cookie."""
    made = hmac.digest(secret.encode("utf-8", "surrogatepass"), b"rota csrf", hashlib.sha256)
    return base64.urlsafe_b64encode(made).decode().rstrip("=")


def refuse_other_sites(request: Request) -> None:
    """Raise ApiError 403 for a request that a page of another origin had the browser send."""
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    is_ours = origin == own_origin(request) if origin is not None else site == "same-origin"
    if not is_ours:
        raise ApiError(
            403,
            "other-site",
            "A request with a cookie has to come from a page of this rota: its header Origin (or "
            "Sec-Fetch-Site) says otherwise, or is missing. Programs use a token.",
        )


def check_csrf(request: Request, secret: str) -> None:
    """Raise ApiError 403 for a request with a cookie that no page of ours may have sent."""
    if request.method in SAFE_METHODS:
        return
    refuse_other_sites(request)
    given = request.headers.get("x-csrf-token", "")
    if not hmac.compare_digest(given.encode(), csrf_token(secret).encode()):
        raise ApiError(
            403,
            "csrf",
            "The header X-CSRF-Token is missing, or not that of this session. "
            "GET /api/v1/session returns it.",
        )
