"""`rota serve`: a process that serves the HTTP API; `rota openapi` describes that API."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.operations.processes import AsChild, log_ready, run_process, settle_memory
from rota.cli.operations.readiness import say_ready
from rota.cli.options import CommonOptions

if TYPE_CHECKING:
    from rota.bootstrap.app import App

group = CommandGroup()


@group.command("serve", person=False)
def serve(
    common: CommonOptions,
    listen: Annotated[
        str | None,
        typer.Option(
            "--listen",
            metavar="HOST:PORT",
            help="Where to listen (ROTA_LISTEN). 127.0.0.1:7682 unless you name another address.",
        ),
    ] = None,
    descriptor: Annotated[
        int | None,
        typer.Option(
            "--descriptor", hidden=True, help="A socket that listens. `rota up` uses this."
        ),
    ] = None,
    as_child: AsChild = False,
) -> None:
    """Serve the HTTP API, for this machine unless told otherwise.

    It runs until you stop it. With --json, its log is JSON lines. See docs/howto/reverse-proxy.md.
    """
    from rota.api.server import serving, sockets
    from rota.domain.operations.listening import read_listen_address

    settings = common.settings_of_child if as_child else common.settings
    exposure = settings.exposure
    if listen is not None:
        exposure = replace(exposure, listen=read_listen_address(listen, variable="--listen"))
    bound: socket.socket | None = None

    def prepare() -> None:
        nonlocal bound, exposure
        exposure.check(has_sign_in=settings.has_sign_in)
        if descriptor is None:
            bound = sockets.bind(exposure.listen)
        else:
            bound = socket.socket(fileno=descriptor)
        exposure = replace(exposure, listen=sockets.address_of(bound))

    async def work(app: App, stop: asyncio.Event) -> None:
        from rota.api.app import make_api
        from rota.api.rates import Rates
        from rota.services.operations.chores import reporting

        assert bound is not None  # noqa: S101  # `prepare` has run
        api = make_api(app, rates=Rates(reads=settings.requests_per_minute))
        settle_memory()
        async with reporting(
            app.database, "server", settings=app.settings.compared, url=exposure.url
        ):
            log_ready("server", as_child=as_child, url=exposure.url)
            say_ready()
            await serving.serve(api, exposure, bound, stop)

    run_process(settings, work, as_child=as_child, prepare=prepare)


@group.command("openapi", person=False)
def openapi(common: CommonOptions) -> None:  # noqa: ARG001  every command has them
    """Print the description of the HTTP API: OpenAPI 3.1, as JSON. It needs no database."""
    from rota.api.app import make_api
    from rota.api.description import describe

    output.print_json(describe(make_api(None)))
