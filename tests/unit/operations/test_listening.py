from __future__ import annotations

import pytest

from rota.domain.errors import InvalidInputError, SetupRequiredError
from rota.domain.operations.listening import (
    Exposure,
    plain_address,
    read_listen_address,
    read_networks,
    read_public_url,
)


def exposure(
    listen: str = "127.0.0.1:7682",
    public: str | None = None,
    proxies: str = "",
    *,
    plain_http: bool = False,
) -> Exposure:
    return Exposure(
        read_listen_address(listen, variable="L"),
        None if public is None else read_public_url(public, variable="P"),
        read_networks(proxies, variable="T"),
        plain_http=plain_http,
    )


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("127.0.0.1:7682", "127.0.0.1:7682"),
        ("localhost:80", "127.0.0.1:80"),
        ("[::1]:7682", "[::1]:7682"),
        ("0.0.0.0:0", "0.0.0.0:0"),
        ("[0:0:0:0:0:0:0:1]:1", "[::1]:1"),
    ],
)
def test_an_address_to_listen_on_is_read(text, read):
    assert str(read_listen_address(text, variable="L")) == read


@pytest.mark.parametrize(
    "text",
    [
        *("7682", ":7682", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "host:1"),
        *("127.0.0.1:٣", "[::1:7682", "http://127.0.0.1:7682", "127.1:80", "127.0.0.1:1 ", "::1:1"),
    ],
)
def test_what_is_no_address_to_listen_on_names_the_setting(text):
    with pytest.raises(InvalidInputError, match=r"^ROTA_LISTEN in x is "):
        read_listen_address(text, variable="ROTA_LISTEN in x")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://rota.example.com", "https://rota.example.com"),
        ("https://rota.example.com:443/", "https://rota.example.com"),
        ("https://Rota.Example.com.:8443", "https://rota.example.com:8443"),
        ("http://[fd00::1]:7682", "http://[fd00::1]:7682"),
    ],
)
def test_a_public_url_is_read(text, read):
    assert str(read_public_url(text, variable="P")) == read


@pytest.mark.parametrize(
    "text",
    [
        *(
            "rota.example.com",
            "ftp://rota.example.com",
            "https://",
            "https://rota.example.com/rota",
        ),
        *("https://a@rota.example.com", "https://rota.example.com?x=1", "https://[::1"),
        *("https://rota.example.com:0", "https://rota.example.com:99999"),
        *("https://röta.example.com", "https://a b"),
    ],
)
def test_what_is_no_public_url_is_refused(text):
    with pytest.raises(InvalidInputError, match="without a path"):
        read_public_url(text, variable="P")


@pytest.mark.parametrize("text", ["proxy", "10.0.0.1/8", "0.0.0.0/0", "::/0", "127.0.0.1,::1", "*"])
def test_proxies_are_addresses_and_never_everybody(text):
    with pytest.raises(InvalidInputError, match=r"^T has "):
        read_networks(text, variable="T")


@pytest.mark.parametrize(
    "safe",
    [
        exposure(),
        exposure("[::1]:80"),
        exposure(public="http://localhost:7682"),
        exposure(public="https://rota.example.com", proxies="127.0.0.1"),
        exposure(public="http://rota.lan", proxies="127.0.0.1", plain_http=True),
    ],
)
def test_loopback_needs_no_provider_to_sign_in_with(safe):
    safe.check(has_sign_in=False)


@pytest.mark.parametrize(
    ("unsafe", "named"),
    [
        (exposure(public="https://rota.example.com"), "ROTA_TRUSTED_PROXIES"),
        (exposure(public="http://rota.lan", proxies="127.0.0.1"), "ROTA_PLAIN_HTTP"),
        (exposure(public="http://rota.lan", plain_http=True), "ROTA_TRUSTED_PROXIES"),
        (exposure("0.0.0.0:7682"), "ROTA_PUBLIC_URL"),
        (exposure("0.0.0.0:7682", "http://localhost:7682"), "ROTA_PUBLIC_URL"),
        (exposure("0.0.0.0:7682", "http://rota.lan:7682"), "ROTA_PLAIN_HTTP"),
        (exposure("0.0.0.0:7682", "https://rota.example.com"), "ROTA_TRUSTED_PROXIES"),
        (exposure("[::]:7682", "https://rota.example.com"), "ROTA_TRUSTED_PROXIES"),
    ],
)
def test_what_is_not_safe_is_refused_and_names_what_to_set(unsafe, named):
    with pytest.raises(SetupRequiredError, match=named):
        unsafe.check(has_sign_in=True)


@pytest.mark.parametrize(
    "exposed",
    [
        exposure("0.0.0.0:7682", "https://rota.example.com", "10.0.0.1"),
        exposure("100.64.0.3:7682", "http://100.64.0.3:7682", plain_http=True),
    ],
)
def test_other_machines_are_let_in_only_where_people_can_sign_in(exposed):
    exposed.check(has_sign_in=True)
    with pytest.raises(SetupRequiredError, match="sign-in by a provider first"):
        exposed.check(has_sign_in=False)


@pytest.mark.parametrize(
    ("host", "is_known"),
    [
        ("127.0.0.1:7682", True),
        ("localhost:7682", True),
        ("LOCALHOST:7682", True),
        ("[::1]:7682", True),
        ("localhost", False),  # port 80
        ("localhost:8000", False),
        ("evil.example", False),
        ("evil.example:7682", False),
        ("localhost:7682.evil.example", False),
        ("127.0.0.1:7682@evil.example", False),
        ("localhost:7682/x", False),
        ("", False),
        ("[::1", False),
        ("rota.example.com", True),
        ("rota.example.com:443", True),
        ("rota.example.com.", True),
        ("rota.example.com:80", False),
        ("x.rota.example.com", False),
    ],
)
def test_only_own_names_are_known(host, is_known):
    one = exposure(public="https://rota.example.com", proxies="127.0.0.1")
    assert one.knows_host(host, is_local=True) is is_known


def test_names_of_loopback_do_not_count_for_others():
    one = exposure(public="https://rota.example.com", proxies="127.0.0.1")
    assert not one.knows_host("localhost:7682", is_local=False)
    assert one.knows_host("rota.example.com", is_local=False)


def test_proxies_are_known_by_address_and_network():
    one = exposure(proxies="127.0.0.1 10.0.0.0/24 fd00::/8")
    for address in ("127.0.0.1", "10.0.0.77", "fd00::5", plain_address("::ffff:10.0.0.1")):
        assert one.is_proxy(address)
    for address in ("127.0.0.2", "10.0.1.1", "::1", "", "localhost"):
        assert not one.is_proxy(address)
