"""Which servers a person may name over HTTP: none of this machine's own network.

Whoever has rota connect to a server sees whether it answers. On a shared server that would tell of
what its operator keeps from people.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv6Address, ip_address
from typing import Final

from rota.domain.errors import InvalidInputError, UnavailableError
from rota.domain.text.shortening import quoted

_PATIENCE: Final = 10.0


async def require_public(host: str, *, field: str) -> None:
    """Raise InvalidInputError for a host with any address that is not public.

    Loopback, private, link-local and other reserved addresses are not. Raises UnavailableError
    where the name is not known. This looks once: what the name stands for later is not checked.
    """
    try:
        async with asyncio.timeout(_PATIENCE):
            found = await asyncio.get_running_loop().getaddrinfo(
                host, None, type=socket.SOCK_STREAM
            )
    except (OSError, UnicodeError, ValueError, TimeoutError) as error:
        raise UnavailableError(
            f"The address of {quoted(host, 100)} was not found.", service="network"
        ) from error
    if not found or not all(_is_public(str(one[4][0])) for one in found):
        raise InvalidInputError(
            f"{quoted(host, 100)} is not on the public network. The operator connects such a "
            "server, with `rota connections add` and `--as`.",
            field=field,
        )


def _is_public(address: str) -> bool:
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip.sixtofour or ip
    return ip.is_global and not ip.is_multicast
