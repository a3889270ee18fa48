"""Where the server listens, what address people use, and what that needs to be safe."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from rota.domain.errors import InvalidInputError, SetupRequiredError

DEFAULT_PORT: Final = 7682
_LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORT_OF: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """An address of this machine, and a port; port 0 is any that is free."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return f"{_bracketed(self.host)}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)

    def with_port(self, port: int) -> ListenAddress:
        """Return the same address with another port."""
        return replace(self, port=port)


@dataclass(frozen=True, slots=True)
class PublicUrl:
    """The address that people and programs use, without a path."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        port = "" if self.port == _PORT_OF[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{_bracketed(self.host)}{port}"

    @property
    def is_local(self) -> bool:
        """Whether it names this machine, for whoever opens it."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine for itself."""
    if host == "localhost":
        return True
    ip = _ip(host)
    return ip is not None and ip.is_loopback


def plain_address(address: str) -> str:
    """Return an address as such where it is an IPv4 address in the form of an IPv6 one."""
    mapped = getattr(_ip(address), "ipv4_mapped", None)
    return str(mapped) if mapped is not None else address


def read_listen_address(text: str, *, variable: str) -> ListenAddress:
    """Read `HOST:PORT`, as in `127.0.0.1:7682` or `[::1]:7682`; raises InvalidInputError."""
    host, _, port = text.rpartition(":")
    is_bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if is_bracketed else "127.0.0.1" if host == "localhost" else host
    is_port = port.isascii() and port.isdecimal() and int(port) <= 65_535
    ip = _ip(host)
    if not is_port or ip is None or (ip.version == 6) is not is_bracketed:
        raise InvalidInputError(
            f"{variable} is {text!r}; it must be an address of this machine and a port, such as "
            f"127.0.0.1:{DEFAULT_PORT} or [::1]:{DEFAULT_PORT}."
        )
    return ListenAddress(str(ip), int(port))


def read_public_url(text: str, *, variable: str) -> PublicUrl:
    """Read `https://rota.example.com`; raises InvalidInputError, also for one with a path."""
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    has_more = parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc
    if (
        parts.scheme not in _PORT_OF
        or not host
        or has_more
        or port == 0
        or not _HOST.fullmatch(host)
    ):
        raise InvalidInputError(
            f"{variable} is {text!r}; it must be an address without a path, such as "
            "https://rota.example.com."
        )
    return PublicUrl(parts.scheme, host, port or _PORT_OF[parts.scheme])


def read_networks(text: str, *, variable: str) -> tuple[Network, ...]:
    """Read addresses and networks that are separated by spaces; raises InvalidInputError."""
    networks: list[Network] = []
    for item in text.split():
        try:
            network = ipaddress.ip_network(item)
        except ValueError:
            raise InvalidInputError(
                f"{variable} has {item!r}; each entry is an address or a network, such as "
                "127.0.0.1 or 10.0.0.0/24."
            ) from None
        if network.prefixlen == 0:
            raise InvalidInputError(
                f"{variable} has {item!r}, which is everybody. Name the address of the reverse "
                "proxy."
            )
        networks.append(network)
    return tuple(networks)


@dataclass(frozen=True, slots=True)
class Exposure:
    """Who can reach the server, and by which names.

    `proxies` are the reverse proxies whose word for the client's address counts. `plain_http`: the
    operator says that HTTP without TLS in a private network is meant.
    """

    listen: ListenAddress = field(default_factory=ListenAddress)
    public_url: PublicUrl | None = None
    proxies: tuple[Network, ...] = ()
    plain_http: bool = False

    @property
    def url(self) -> str:
        """The address to open."""
        return str(self.public_url) if self.public_url is not None else f"http://{self.listen}"

    def is_proxy(self, address: str) -> bool:
        """Return whether a connection from this address is that of a trusted reverse proxy."""
        ip = _ip(address)
        return ip is not None and any(ip in network for network in self.proxies)

    def knows_host(self, host: str, *, is_local: bool) -> bool:
        """Return whether a Host header names this server.

        A page of another site can have its own name point to this machine (DNS rebinding). Its
        requests have that name here. Names of loopback count where `is_local`: the connection comes
        from this machine, and not through a proxy.
        """
        name, port = _split_host(host)
        public = self.public_url
        if public is not None and name == public.host:
            return (port or _PORT_OF[public.scheme]) == public.port
        if not is_local:
            return False
        return name in _LOCAL_NAMES | {self.listen.host} and (port or 80) == self.listen.port

    def check(self, *, has_sign_in: bool) -> None:
        """Raise SetupRequiredError where listening like this is not safe."""
        public = self.public_url
        if public is not None and not public.is_local:
            if public.scheme == "http" and not self.plain_http:
                raise _unsafe(
                    f"ROTA_PUBLIC_URL is {public}: passwords and tokens would travel unencrypted. "
                    "Use https:// with a reverse proxy (docs/howto/reverse-proxy.md). In a private "
                    "network that is trusted, set ROTA_PLAIN_HTTP=on.",
                )
            is_behind_proxy = public.scheme == "https" or self.listen.is_local
            if is_behind_proxy and not self.proxies:
                raise _unsafe(
                    f"ROTA_PUBLIC_URL is {public}, so a reverse proxy stands before rota. Name its "
                    "address in ROTA_TRUSTED_PROXIES: 127.0.0.1 where it runs on this machine "
                    "(docs/howto/reverse-proxy.md).",
                )
        if self.listen.is_local:
            return
        if not has_sign_in:
            raise _unsafe(
                f"{self.listen} can be reached from other machines, and nobody could sign in "
                "there. Listen on 127.0.0.1, or set up sign-in by a provider first "
                "(docs/howto/sign-in.md).",
            )
        if public is None or public.is_local:
            raise _unsafe(
                f"{self.listen} can be reached from other machines. Set ROTA_PUBLIC_URL to the "
                "address that people use, such as https://rota.example.com "
                "(docs/howto/reverse-proxy.md).",
            )


def _unsafe(message: str) -> SetupRequiredError:
    return SetupRequiredError(message, what="listen")


def _split_host(host: str) -> tuple[str, int | None]:
    """Return name and port of a Host header; a name that none is for what cannot be meant."""
    try:
        parts = urlsplit(f"//{host}")
        if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
            return "", None
        return (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return "", None


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
