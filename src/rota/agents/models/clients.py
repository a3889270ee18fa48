"""HTTP clients of models: one for each event loop, made without blocking the loop.

The connections of a client belong to the loop that opened them. langchain-openai and
langchain-anthropic keep one client for the whole process. After a loop has ended (for example
because a tool blocked it), every call over its connections fails with "Event loop is closed". Other
packages make a client for each model, and so for each run.
"""

from __future__ import annotations

import asyncio
import sys
from functools import lru_cache
from ssl import SSLContext
from typing import Any
from weakref import WeakKeyDictionary

from langchain_core.language_models import BaseChatModel

from rota.agents.models.providers import PROVIDERS


class LoopClients:
    """Keeps the clients, by the loop that they are used on and by their class."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Any, Any]] = (
            WeakKeyDictionary()
        )

    def options(self, provider: str) -> dict[str, Any]:
        """Return what models of a provider are to be built with."""
        if PROVIDERS[provider].module != "langchain_openai":
            return {}
        from openai import DefaultAsyncHttpxClient  # noqa: PLC0415  installed with the provider

        return {"http_async_client": self._made(DefaultAsyncHttpxClient)}

    def furnish(self, provider: str, model: BaseChatModel) -> None:
        """Give a model its client that is not built with one."""
        if provider != "anthropic":
            return
        from anthropic import (  # noqa: PLC0415  installed with the provider
            AsyncAnthropic,
            DefaultAsyncHttpxClient,
        )

        options: dict[str, Any] = model._client_params  # type: ignore[attr-defined]  # noqa: SLF001  there is no setting for it
        client = self._made(DefaultAsyncHttpxClient)
        model.__dict__["_async_client"] = AsyncAnthropic(**options, http_client=client)

    async def close(self) -> None:
        """Close the clients of the running loop."""
        for client in self._by_loop.pop(asyncio.get_running_loop(), {}).values():
            await client.aclose()

    def _made(self, client_class: Any) -> Any:
        """Return a client whose requests are each sent by one of the loop that they are made on."""
        clients = self

        class LoopClient(client_class):  # type: ignore[misc]  # of a class that is not known here
            async def send(self, request: Any, **options: Any) -> Any:
                return await clients._here(client_class).send(request, **options)

        return LoopClient(verify=_certificates(client_class))

    def _here(self, client_class: Any) -> Any:
        here = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        if client_class not in here:
            for loop in [loop for loop in self._by_loop if loop.is_closed()]:
                del self._by_loop[loop]
            here[client_class] = client_class(verify=_certificates(client_class))
        return here[client_class]


@lru_cache
def _certificates(client_class: Any) -> SSLContext:
    """Return the certificates that a client trusts; reading them takes long on a busy machine."""
    packages = [sys.modules[kind.__module__.partition(".")[0]] for kind in client_class.__mro__]
    httpx = next(package for package in packages if hasattr(package, "create_ssl_context"))
    context: SSLContext = httpx.create_ssl_context()
    return context
