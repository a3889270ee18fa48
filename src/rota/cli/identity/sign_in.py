"""`rota sign-in`: a link that signs a person in at a browser, once."""

from __future__ import annotations

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions

group = CommandGroup()


@group.command("sign-in")
def sign_in(common: CommonOptions) -> None:
    """Print a link that signs you in at a browser: once, within 15 minutes.

    The server has to run (`rota up` or `rota serve`). Whoever opens the link is you there.
    """
    link = common.as_person(lambda app, me: app.links.make(me))
    url = link.url(common.settings.exposure.url)
    output.print_done(url, {"url": url, "expires_at": link.expires_at}, as_json=common.json)
