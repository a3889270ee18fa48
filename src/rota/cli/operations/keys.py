"""`rota keys`: the key that encrypts stored secrets."""

from __future__ import annotations

import sys

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions

group = CommandGroup()


@group.command("new", person=False)
def new(common: CommonOptions) -> None:
    """Make a new key for ROTA_SECRET_KEY, and print it alone.

    All processes on one database need the same one. What was stored with another key is not read by
    it: give rota a key before you connect accounts. Nothing is stored or changed.
    """
    from rota.security.secrets.encryption import new_key

    key = new_key()
    if common.json:
        output.print_json({"secret_key": key})
        return
    print(key)
    if sys.stdout.isatty():
        output.warn(
            "Keep it in a safe place, and give it to all processes on one database: "
            "ROTA_SECRET_KEY=... in .env, or secret_key in rota.toml."
        )
