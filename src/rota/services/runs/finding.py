"""Finds a run by its id, or by the beginning of it."""

from __future__ import annotations

from rota.domain.runs.views import RunView
from rota.services.references import ENOUGH, id_range, the_one
from rota.store.database import Connection
from rota.store.runs import views


async def find_run(conn: Connection, reference: str) -> RunView:
    """Return a run that the transaction's person sees.

    Raises NotFoundError, and InvalidInputError where the beginning fits several.
    """
    ids = id_range(reference)
    found = await views.find_runs(conn, ids, limit=ENOUGH) if ids else ()
    return the_one("run", reference, found, hint="See `rota runs list`.")
