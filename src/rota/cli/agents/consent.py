"""How a person consents to a connection: in a browser here, or in one on another machine.

Everything is said on standard error, so that standard output stays the command's answer.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import typer

from rota.cli.agents import connect
from rota.domain.errors import InvalidInputError, SetupRequiredError

if TYPE_CHECKING:
    from rota.agents.tools.oauth.authorization import AuthorizationRequest
    from rota.agents.tools.oauth.clients import OAuthClient
    from rota.agents.tools.oauth.issuer import OAuthIssuer
    from rota.domain.agents.grants import Grant

_LONGEST_WAIT: Final = 15 * 60.0
_BROWSER_SECONDS: Final = 3.0
T = TypeVar("T")
_ELSEWHERE: Final = (
    "Is the browser on another machine? Then its last page does not load, and the address of that "
    "page is the answer: paste it here."
)


async def google_grant(
    issuer: OAuthIssuer, kind: str, client: OAuthClient, *, to_act: bool, account: str, paste: bool
) -> Grant:
    """Return what a person consents to in a browser; raises as `OAuthIssuer.exchange`."""
    # httpx and Authlib, for those commands only that need them.
    from rota.agents.tools.oauth.loopback import LoopbackRedirect

    async with LoopbackRedirect() as redirect:
        request = issuer.authorization(kind, client, redirect.uri, to_act=to_act, account=account)
        redirect.expects = request.is_answer
        is_open = not paste and await _opens(request.url)
        _say(
            "Your browser opens Google's page. If it does not, open this address:"
            if is_open
            else "Open this address in a browser, on any machine:"
        )
        _say(f"\n{request.url}\n")
        if paste or not is_open or sys.stdin.isatty():
            _say(_ELSEWHERE)
        is_read = paste or not is_open or sys.stdin.isatty()
        answered = asyncio.create_task(redirect.answer())
        try:
            async with asyncio.timeout(_LONGEST_WAIT):
                return await _exchange(issuer, kind, request, answered, is_read=is_read)
        except TimeoutError as error:
            raise SetupRequiredError(
                "No answer came from the browser within 15 minutes. Where Google's page shows an "
                "error, docs/howto/gmail.md says what it means.",
                what="connection",
            ) from error
        finally:
            answered.cancel()


async def _exchange(
    issuer: OAuthIssuer,
    kind: str,
    request: AuthorizationRequest,
    answered: asyncio.Task[str],
    *,
    is_read: bool,
) -> Grant:
    """Take the browser's answer, or what is pasted, whichever comes first."""
    while True:
        lines = asyncio.create_task(_line()) if is_read else None
        waiting = {answered} if lines is None else {answered, lines}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if answered.done():
            return await issuer.exchange(kind, request, answered.result())
        pasted = "" if lines is None else lines.result()
        if not pasted:  # standard input is at its end; a browser here may still answer
            is_read = False
            continue
        if not pasted.strip():
            continue
        try:
            return await issuer.exchange(kind, request, pasted)
        except InvalidInputError as error:
            if not sys.stdin.isatty():
                raise
            _say(error.message)


def google_client(file: Path | None, known: OAuthClient | None) -> OAuthClient:
    """Return the client of a file, the one that is known, or one that is typed.

    Raises InvalidInputError.
    """
    # As above.
    from rota.agents.tools.oauth.clients import client, client_from_file

    if file is not None:
        return client_from_file(connect.read_file(file))
    if known is not None:
        return known
    if not sys.stdin.isatty():
        raise InvalidInputError(
            "Name your client of Google's: --client FILE, as its console downloads it. "
            "docs/howto/gmail.md says how it is made.",
            field="client",
        )
    _say("Your client of Google's, of the type Desktop app (docs/howto/gmail.md):")
    return client(connect.ask("Client id", is_secret=False), connect.ask("Client secret"))


def say_code(page: str, user_code: str) -> None:
    """Say where to type a code."""
    _say(f"Open {page} in a browser, on any machine, and enter the code {user_code}")
    _say("rota waits until you have signed in there.")


def _say(text: str) -> None:
    typer.echo(text, err=True)


async def _opens(url: str) -> bool:
    """Open a browser; False where there is none, True where it takes its time.

    One that `BROWSER` names may run until its window is closed, and needs our answer before that.
    """
    try:
        async with asyncio.timeout(_BROWSER_SECONDS):
            return await _in_thread(lambda: _open(url))
    except TimeoutError:
        return True


def _open(url: str) -> bool:
    """Open a browser with a window of its own; False where there is none."""
    try:
        browser = webbrowser.get()
    except webbrowser.Error:
        return False
    # One in the terminal (w3m, lynx) would take it over, and cannot show Google's page.
    in_terminal = type(browser) is webbrowser.GenericBrowser and not os.environ.get("BROWSER")
    return not in_terminal and browser.open(url)


async def _line() -> str:
    """Read a line of standard input; empty at its end."""
    return await _in_thread(sys.stdin.readline)


async def _in_thread(work: Callable[[], T]) -> T:
    """Return what a function returns, from a thread that nobody has to wait for.

    asyncio.to_thread is joined when the loop ends: a line that nobody types would keep it.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def done(found: T) -> None:
        if not outcome.done():
            outcome.set_result(found)

    def run() -> None:
        found = work()
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(done, found)

    threading.Thread(target=run, daemon=True).start()
    return await outcome
