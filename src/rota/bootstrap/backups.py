"""Backup and restore, for the embedded database and for the operator's own database."""

from __future__ import annotations

from pathlib import Path

from rota.bootstrap.app import Server, bring_up_to_date, clock, data_dir, find_cipher
from rota.domain.operations.backups import Manifest, Restored
from rota.services.operations import backups
from rota.services.operations.backups import Backup, open_backup
from rota.settings import Settings
from rota.store.embedded.files import instance_lock
from rota.store.migrations import migrate

__all__ = ["back_up", "open_backup", "restore", "where_the_key_is"]


async def back_up(settings: Settings, server: Server, file: Path) -> Manifest:
    """Back up what a server holds; raises as `services.operations.backups.back_up`."""
    return await backups.back_up(server.owner_url, file, cipher=find_cipher(settings), now=clock())


def where_the_key_is(settings: Settings) -> str:
    """Say where the key lies that a backup does not have."""
    if settings.secret_key is not None:
        return settings.name_of("ROTA_SECRET_KEY")
    return str(data_dir(settings) / "secret.key")


async def restore(
    settings: Settings,
    server: Server,
    backup: Backup,
    *,
    replaces: bool,
    goes_on: bool,
    skips_due: bool,
) -> Restored:
    """Bring a backup into a server, and its schema up to date.

    On the embedded server a new database is made, which takes the old one's place once all is in
    it. On another one the rows are replaced in one transaction.

    Raises ConflictError where rota runs, or the database is not empty and is not to be replaced.
    """
    embedded = server.embedded
    manifest = backup.manifest

    async def into(url: str) -> Restored:
        reached = await backups.reached_sequences(server.owner_url)
        await migrate(url, shipped=backups.migrations_of(manifest))
        left, cancelled = await backups.load(
            url, backup, reached=reached, goes_on=goes_on, skips_due=skips_due
        )
        await bring_up_to_date(Server(url, url, None))
        cipher = find_cipher(settings)
        opens = cipher is not None and manifest.key_id in cipher.key_ids
        return Restored(manifest, left, cancelled, opens or not manifest.sealed)

    if embedded is None:
        await backups.check_replaceable(server.owner_url, replaces=replaces, is_fresh=False)
        await backups.check_same_schema(server.owner_url, manifest)
        return await into(server.owner_url)
    with instance_lock(embedded.data_dir):  # no `rota up` begins meanwhile, and no other restore
        await backups.check_replaceable(server.owner_url, replaces=replaces, is_fresh=True)
        with embedded.replaced_database() as url:
            return await into(url)
