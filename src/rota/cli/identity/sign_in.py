"""`rota sign-in`: a link that signs a person in at a browser, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import SetupRequiredError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.identity.sessions import SignInLink
    from rota.domain.ids import UserId

group = CommandGroup()


@group.command("sign-in")
def sign_in(common: CommonOptions) -> None:
    """Print a link that signs you in at a browser: once, within 15 minutes.

    The server has to run (`rota up` or `rota serve`). The person who opens the link is you there.
    """
    link, served = common.as_person(_make)
    url = link.url(served)
    output.print_done(url, {"url": url, "expires_at": link.expires_at}, as_json=common.json)


async def _make(app: App, me: UserId) -> tuple[SignInLink, str]:
    served = await app.status.server_url()
    if served is None:
        raise SetupRequiredError("No server runs. Start it first: `rota up -d`.", what="server")
    return await app.links.make(me), served
