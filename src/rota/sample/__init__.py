"""A mailbox to try rota with: a made-up Monday morning, written for this project."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def sample_mailbox_path() -> Path:
    """Return the path of the sample mailbox, an mbox file that ships with the package.

    Its messages are of Monday, 2 March 2026: search it without dates that count back from today.
    """
    return Path(str(files(__name__) / "inbox.mbox"))
