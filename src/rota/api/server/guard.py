"""What every request passes first, and every answer last: proxies, hosts, sizes, strict headers.

It stands outside of FastAPI, so that its headers are on answers to faults, too.
"""

from __future__ import annotations

import asyncio
from typing import Final

from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from rota.api.problems import problem
from rota.domain.operations.listening import Exposure, is_loopback, plain_address

LARGEST_HEAD: Final = 16_384
"""Bytes of a request's line and headers together."""

STRICT_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-embedder-policy", b"require-corp"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
"""On every answer that does not set them itself, as a page does its Content-Security-Policy."""

_HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
_FOR_MONITORS: Final = frozenset({"/healthz", "/readyz"})
"""Answer under any Host: monitors ask by address, and they say nothing that a stranger may not."""


class Guard:
    """Wraps an ASGI application for one way of being reached."""

    def __init__(self, app: ASGIApp, exposure: Exposure) -> None:
        self._app = app
        self._exposure = exposure
        trusted = [str(network) for network in exposure.proxies]
        self._behind_proxy = ProxyHeadersMiddleware(app, trusted_hosts=trusted)  # type: ignore[arg-type]  # uvicorn's own ASGI types

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_begun = is_answered = False

        async def strict(message: Message) -> None:
            nonlocal is_begun, is_answered
            if message["type"] == "http.response.start":
                is_begun = True
                message["headers"] = _strict(message.get("headers", ()), scope)
            await send(message)
            if message["type"] == "http.response.body":
                is_answered = not message.get("more_body", False)

        if (refusal := self._refusal(scope)) is not None:
            await refusal(scope, receive, strict)
            return
        app = self._behind_proxy if self._is_forwarded(scope) else self._app
        try:
            await app(scope, receive, strict)  # type: ignore[arg-type]  # as above
        except asyncio.CancelledError:
            if is_begun:
                raise
            await stopping()(scope, receive, strict)  # the process ends: nobody waits for this task
        except Exception:
            # Starlette raises anew what `handle_errors` has logged and answered.
            if not is_answered:
                raise

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        """Return what is answered to a request that goes no further."""
        if scope["client"] is not None:
            address, port = scope["client"]
            scope["client"] = (plain_address(address), port)
        if scope["http_version"] not in {"1.0", "1.1"}:
            return problem(505, "http-version", "This server speaks HTTP/1.1.")
        head = len(scope["raw_path"]) + len(scope["query_string"])
        if head + sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEAD:
            return headers_too_large()
        address = scope["client"][0] if scope["client"] is not None else ""
        is_forwarded = self._is_forwarded(scope)
        if is_forwarded and not self._exposure.is_proxy(address):
            return problem(
                400,
                "proxy-not-trusted",
                "This request came through a reverse proxy that rota does not trust. Name the "
                "proxy's address in ROTA_TRUSTED_PROXIES.",
            )
        if scope["path"] in _FOR_MONITORS:
            return None
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = hosts[0].decode("latin-1") if len(hosts) == 1 else ""
        is_local = is_loopback(address) and not is_forwarded
        if not self._exposure.knows_host(host, is_local=is_local):
            return problem(
                421,
                "unknown-host",
                "This server has another name. Use the address that `rota up` or `rota serve` "
                "prints; its operator sets it as ROTA_PUBLIC_URL.",
            )
        return None

    def _is_forwarded(self, scope: Scope) -> bool:
        return any(
            name == b"forwarded" or name.startswith(b"x-forwarded-") for name, _ in scope["headers"]
        )


def headers_too_large() -> JSONResponse:
    """Return the answer to a request with too large a head."""
    said = f"A request's line and headers may have {LARGEST_HEAD:,} bytes."
    return problem(431, "headers-too-large", said)


def stopping() -> JSONResponse:
    """Return the answer to a request that is not over when the server ends."""
    said = "The server stops. Ask again in a moment."
    return problem(503, "stopping", said, headers={"Retry-After": "5", "Connection": "close"})


def _strict(given: object, scope: Scope) -> list[tuple[bytes, bytes]]:
    headers = [(name.lower(), value) for name, value in given]  # type: ignore[attr-defined]  # pairs, by ASGI
    there = {name for name, _ in headers}
    added = STRICT_HEADERS if scope["scheme"] != "https" else (*STRICT_HEADERS, _HSTS)
    return [*headers, *(header for header in added if header[0] not in there)]
