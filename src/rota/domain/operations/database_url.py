"""Reads a database URL as libpq does, and refuses a URL that libpq would read differently.

Used by the settings. An error shows no part of the URL, which may be a piece of a password.
"""

from __future__ import annotations

import re
from typing import Final

from rota.domain.errors import InvalidInputError

FOREIGN_PARAMETERS: Final = frozenset(
    {
        "connection_limit",
        "pgbouncer",
        "pool_mode",
        "pool_timeout",
        "prepared_statements",
        "schema",
        "socket_timeout",
        "sslaccept",
        "statement_cache_size",
        "supa",
        "workaround",
    }
)
"""Parameters that other programs write into such URLs, and libpq refuses."""

_UNENCODED: Final = re.compile(r"%(?![0-9a-fA-F]{2})")
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\[\]:@]*)(:\d*)?")
_PARAMETER: Final = re.compile(r"[A-Za-z_]+=.*", re.DOTALL)


def read_database_url(url: str, *, variable: str) -> tuple[str, tuple[str, ...]]:
    """Return the URL without parameters of other programs, and the names of these.

    Raises InvalidInputError.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidInputError(
            f"{variable} must begin with postgresql:// "
            "(for example postgresql://user@host:5432/database; a password stands behind the user "
            "and a colon)."
        )
    scheme, _, rest = url.partition("://")
    before, mark, query = rest.partition("?")
    authority, _, database = before.partition("/")
    hosts = authority.rpartition("@")[2].split(",")
    parameters = query.split("&") if mark and query else []
    if (
        _UNENCODED.search(url)
        or authority.count("@") > 1
        or "@" in database
        or not all(_HOST.fullmatch(host) for host in hosts)
        or not all(_PARAMETER.fullmatch(parameter) for parameter in parameters)
        or any(character.isspace() for character in url)
    ):
        raise InvalidInputError(
            f"{variable} cannot be read as a URL: percent-encode what user and password hold "
            "beside letters and digits (% as %25, @ as %40, / as %2F, ? as %3F, # as %23)."
        )
    ignored = [p for p in parameters if p.partition("=")[0] in FOREIGN_PARAMETERS]
    if not ignored:
        return url, ()
    kept = "&".join(p for p in parameters if p not in ignored)
    cleaned = f"{scheme}://{before}{'?' if kept else ''}{kept}"
    return cleaned, tuple(p.partition("=")[0] for p in ignored)
