"""`rota keys`: the keys that encrypt stored secrets."""

from __future__ import annotations

import asyncio
import sys

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions

group = CommandGroup()


@group.command("new", person=False)
def new(common: CommonOptions) -> None:
    """Make a new key for ROTA_SECRET_KEY, and print only the key.

    All processes on one database need the same key. Secrets that were stored with another key
    cannot be read, so set the key before you connect accounts, or use `rota keys rotate`. This
    command stores and changes nothing.
    """
    from rota.security.secrets.encryption import new_key

    key = new_key()
    if common.json:
        output.print_json({"secret_key": key})
        return
    print(key)
    if sys.stdout.isatty():
        output.warn(
            "Keep the key in a safe place, and give it to all processes on one database: "
            "as ROTA_SECRET_KEY=... in .env, or as secret_key in rota.toml."
        )


@group.command("rotate", person=False)
def rotate(common: CommonOptions) -> None:
    """Encrypt all stored secrets with a new key; interrupted, it goes on when it is called again.

    Where rota made its key file, this puts a new key before the others in it, and processes that
    run know of it. With ROTA_SECRET_KEY put the new key before the old one first, separated by a
    space, and restart rota. On a server of your own it takes the owner's URL.
    """
    from rota.bootstrap import keys
    from rota.bootstrap.backups import where_the_key_is

    with common.server() as server:
        done = asyncio.run(keys.rotate(common.settings, server))
    where = where_the_key_is(common.settings)
    if common.json:
        output.print_json(
            {
                "resealed": done.resealed,
                "signed": done.signed,
                "left": [
                    {
                        "kind": one.kind.value,
                        "id": one.found.id,
                        "user_id": one.found.user_id,
                        "name": one.found.name,
                    }
                    for one in done.left
                ],
                "keys": where,
            }
        )
    else:
        number = f"{done.resealed} secret{'' if done.resealed == 1 else 's'}"
        output.say(f"Encrypted anew with the newest key: {number}.")
        if done.signed:
            number = f"{done.signed} checkpoint{'' if done.signed == 1 else 's'}"
            output.say(f"Signed anew with it: {number} of the audit log.")
        for one in done.left:
            output.say(
                f"No key decrypts the {one.kind.value} {one.found.name} ({one.found.id}) of "
                f"{one.whose}."
            )
        output.say(
            "Keep the new key. The older ones decrypt backups from before; remove them from "
            f"{where} when you need none of those any more."
        )
    if done.left:
        raise typer.Exit(1)
