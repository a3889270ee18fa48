"""Finds the mail folder on disk that belongs to a person.

The operator names the folder by a setting or by `rota up --mail`. No row in the database names one.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from rota.bootstrap.app import App, data_dir
from rota.domain.errors import SetupRequiredError
from rota.domain.ids import UserId
from rota.sample import recent_sample, sample_mailbox_path
from rota.settings import Settings


def remember_mail(settings: Settings, path: Path) -> None:
    """Keep `rota up --mail PATH` for later starts without it."""
    folder = data_dir(settings)
    (folder / "mail").write_text(str(path.expanduser().resolve()), encoding="utf-8")


def write_sample(settings: Settings, now: datetime) -> None:
    """Put the sample mailbox into the data directory, its mail of the morning before `now`."""
    _sample(settings).write_bytes(recent_sample(now))


def mail_path(settings: Settings) -> Path:
    """Return the mail folder of an embedded server's owner: named, remembered, or the sample."""
    if settings.mail is not None:
        return settings.mail
    remembered = data_dir(settings) / "mail"
    if remembered.is_file():
        return Path(remembered.read_text(encoding="utf-8").strip())
    sample = _sample(settings)
    return sample if sample.is_file() else sample_mailbox_path()


def _sample(settings: Settings) -> Path:
    return data_dir(settings) / "sample.mbox"


async def mail_folders(app: App, *, of: str = "") -> Callable[[UserId], Path]:
    """Return who may read which mail folder on this machine's disk: one person, one folder.

    A folder on disk is the operator's, not a row's: on a shared database it is the folder of the
    person named by ROTA_USER, and nobody else's. `of` is what errors call this process: without
    it, the worker's host and pid. Raises SetupRequiredError where ROTA_MAIL is set alone.
    """
    settings = app.settings
    if app.server.embedded is not None:
        owner: UserId | None = await app.person()
        path: Path | None = mail_path(settings)
    else:
        if settings.mail is not None and settings.user is None:
            raise SetupRequiredError(
                f"{settings.name_of('ROTA_MAIL')} is set; ROTA_USER says whose mail it is. Set it "
                "too, in the same place, or take ROTA_MAIL away.",
                what="user",
            )
        owner = await app.person() if settings.mail is not None else None
        path = settings.mail

    where = of or f"the worker {socket.gethostname()}:{os.getpid()}"

    def folder(user_id: UserId) -> Path:
        if path is None or user_id != owner:
            raise SetupRequiredError(
                f"No mail folder is set up for you on {where}. Set ROTA_MAIL to an mbox file or a "
                "Maildir, and ROTA_USER to its owner, there, and restart it.",
                what="mail_folder",
            )
        return path

    return folder
