"""SQL by name: one statement per file in `store/queries/`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> bytes:
    """Return the text of `queries/<name>.sql`; raises FileNotFoundError for an unknown name."""
    return files("rota.store").joinpath("queries", f"{name}.sql").read_bytes()
