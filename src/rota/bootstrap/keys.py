"""Rotation of the key that encrypts secrets."""

from __future__ import annotations

from rota.bootstrap.app import Server, data_dir, find_cipher, make_cipher
from rota.domain.errors import SetupRequiredError
from rota.security.secrets.encryption import KeyFile
from rota.services.operations import keys
from rota.services.operations.keys import Rotation
from rota.settings import Settings
from rota.store.database import Database
from rota.store.operations.backups import require_owner


async def rotate(settings: Settings, server: Server) -> Rotation:
    """Encrypt all secrets with the newest key; make that first in rota's own key file.

    A rotation that was interrupted goes on with the key that it made. Raises SetupRequiredError
    where a new key has to be configured first, and for another role than the owner.
    """
    if (cipher := find_cipher(settings)) is None:
        cipher = make_cipher(settings)
    file = KeyFile(data_dir(settings) / "secret.key") if settings.secret_key is None else None
    if file is None and len(cipher.keys) == 1:
        where = settings.name_of("ROTA_SECRET_KEY")
        raise SetupRequiredError(
            f"{where} has one key. Make another (`rota keys new`), put it before that one, "
            "separated by a space, wherever rota runs, and restart rota there. Then rotate.",
            what="secret_key",
        )
    await require_owner(server.owner_url)
    async with Database(server.owner_url, prepared_statements=False).opened() as database:
        if file is not None and not await keys.is_unfinished(database, cipher):
            file.add()
        return await keys.rotate(database, cipher)
