"""SQL by name: one statement per file, in the room of the store that calls it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> bytes:
    """Return the text of `store/<room>/queries/<verb>_<what>.sql` for "room/verb_what".

    A name without a room is one of `store/queries/`: what every room needs (identity, migrations,
    people). Raises FileNotFoundError for an unknown name.
    """
    room, _, verb_and_what = name.rpartition("/")
    return files("rota.store").joinpath(room, "queries", f"{verb_and_what}.sql").read_bytes()
